"""The avatars module."""

from __future__ import annotations

from dishka import Provider, Scope

from app.core.module import Module
from app.modules.avatars.pictures import Pictures
from app.modules.avatars.router import router
from app.modules.avatars.service import AvatarService, delete_with_user
from app.modules.avatars.settings import AvatarSettings
from app.modules.users.ports import DeletedWithUser

provider = Provider(scope=Scope.REQUEST)
provider.provide(Pictures, scope=Scope.APP)
provider.provide(AvatarService)

module = Module(
    name="avatars",
    summary="Pictures of users: files that belong to rows",
    requires=("database", "users", "storage"),
    settings=AvatarSettings,
    providers=(provider,),
    routers=(router,),
    contributes=(DeletedWithUser(delete_with_user),),
)
