"""Let the outbox hold events too.

Revision outbox_0002, after outbox_0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "outbox_0002"
down_revision = "outbox_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The default keeps processes of the release before going, which know of no other kind.
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("kind", sa.String(length=10), server_default="job", nullable=False)
        )


def downgrade() -> None:
    # Events nobody has got yet are no jobs: what comes before would call them dead.
    op.execute(sa.text("DELETE FROM outbox WHERE kind <> 'job' AND published_at IS NOT NULL"))
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.drop_column("kind")
