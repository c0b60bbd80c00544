"""Password hashing: argon2id, off the event loop."""

from __future__ import annotations

import asyncio

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

from app.modules.users.settings import UserSettings


class PasswordHasher:
    """Hashes passwords with argon2id (RFC 9106).

    One hash takes about 0.1 s and 64 MiB on purpose. It runs in a thread, so that the event loop
    goes on, and behind a semaphore, so that a burst of registrations can't take all memory.
    """

    def __init__(self, settings: UserSettings) -> None:
        """Read how many hashes may be computed at once."""
        self._hash = PasswordHash((Argon2Hasher(),))
        self._slots = asyncio.Semaphore(settings.password_hash_concurrency)

    async def hash(self, password: SecretStr) -> str:
        """Return the encoded hash: algorithm, parameters, salt and digest in one string."""
        async with self._slots:
            return await asyncio.to_thread(self._hash.hash, password.get_secret_value())

    async def verify(self, password: SecretStr, encoded: str) -> bool:
        """Tell whether `password` is the one that `encoded` was made from."""
        async with self._slots:
            return await asyncio.to_thread(self._hash.verify, password.get_secret_value(), encoded)
