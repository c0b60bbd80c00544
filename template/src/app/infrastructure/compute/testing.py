"""Tests of the service run methods with `@compute` in place: no queue, no processes.

A test of the processes themselves starts the service as one: see `docs/compute.md`.
"""

from __future__ import annotations

import pytest
from dishka import Provider, Scope


@pytest.fixture
def override_compute(monkeypatch: pytest.MonkeyPatch) -> Provider:
    """Have the started service compute in place."""
    monkeypatch.setenv("COMPUTE_INLINE", "1")
    return Provider(scope=Scope.APP)
