"""Fixtures for tests of code that has limits.

Without one of them nothing is counted, so that no test is refused for what others have sent.
"""

from __future__ import annotations

import pytest
from dishka import Provider, Scope

from app.infrastructure.rate_limiter.memory import MemoryStore, NoLimits
from app.infrastructure.rate_limiter.store import Store


@pytest.fixture
def limits_in_memory() -> MemoryStore:
    """Count the requests of this test, in memory; `limits_in_memory.reset()` forgets them."""
    return MemoryStore()


@pytest.fixture
def limits_in_redis() -> None:
    """Count the requests of this test in the tests' Redis."""


@pytest.fixture
def override_rate_limiter(request: pytest.FixtureRequest) -> Provider:
    """What the fixtures above replace."""
    provider = Provider(scope=Scope.APP)
    if "limits_in_redis" in request.fixturenames:
        return provider
    store: Store = NoLimits()
    if "limits_in_memory" in request.fixturenames:
        store = request.getfixturevalue("limits_in_memory")
    provider.provide(lambda: store, provides=Store, override=True)
    return provider
