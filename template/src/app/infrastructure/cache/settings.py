"""Settings of the cache."""

from __future__ import annotations

from pydantic import Field

from app.core.settings import Count, ModuleSettings, Seconds


class CacheSettings(ModuleSettings):
    """How long things may take, and what happens when they take longer."""

    enable_cache: bool = True
    """Off: nothing is read or kept, everything is computed. Tokens are not concerned."""
    cache_timeout: Seconds = Field(default=0.5, gt=0)
    """How long Redis may take to answer, or to be connected to, before the cache does without.
    Shorter, and a busy machine is taken for an outage."""
    cache_retry: Seconds = Field(default=1.0, gt=0)
    """Pause before Redis is tried again; until then nobody waits for it."""
    cache_lease: Seconds = Field(default=10.0, gt=0)
    """After that time others compute what a process that died was computing."""
    cache_wait: Seconds = Field(default=30.0, gt=0)
    """How long to wait for a value that another process computes, before computing it too."""
    cache_jitter: float = Field(default=0.1, ge=0, lt=1)
    """Lives are shortened by up to this share, so that what came together does not go together."""
    cache_replica_lag: Seconds = Field(default=2.0, ge=0)
    """How far a read replica may lag: for so long after an invalidation nothing is kept. Counts
    only where the database has replicas."""
    tokens_per_user: Count = Field(default=50, ge=1)
    """Tokens of one user in `TokenStore`; one more ends the one that expires first."""
