"""The users module."""

from __future__ import annotations

from dishka import Provider, Scope

from app.core.module import Module
from app.modules.users.passwords import PasswordHasher
from app.modules.users.repository import UserRepository
from app.modules.users.router import router
from app.modules.users.seeds import USERS_SEED
from app.modules.users.service import UserService
from app.modules.users.settings import UserSettings

provider = Provider(scope=Scope.REQUEST)
provider.provide(PasswordHasher, scope=Scope.APP)
provider.provide(UserRepository)
provider.provide(UserService)

module = Module(
    name="users",
    summary="Users: the example feature in its full anatomy",
    requires=("database",),
    settings=UserSettings,
    providers=(provider,),
    routers=(router,),
    contributes=(USERS_SEED,),
)
