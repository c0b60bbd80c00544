"""Users to work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from httpx2 import AsyncClient

MakeUser = Callable[..., Awaitable[dict[str, Any]]]
PASSWORD = "correct horse battery"


@pytest.fixture
def make_user(client: AsyncClient) -> MakeUser:
    """Create a user over HTTP and return what the service answers."""

    async def make(name: str = "Ada Lovelace", email: str = "") -> dict[str, Any]:
        email = email or f"{name.split(maxsplit=1)[0].lower()}@example.com"
        body = {"name": name, "email": email, "password": PASSWORD}
        answer = await client.post("/users", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    return make
