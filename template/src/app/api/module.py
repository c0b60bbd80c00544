"""Declare the API as a module: its settings, and the request as something to inject."""

from __future__ import annotations

from dishka import Provider, Scope
from fastapi import Request

from app.api.settings import ApiSettings
from app.core.module import Module

provider = Provider(scope=Scope.REQUEST)
provider.from_context(provides=Request)

module = Module(
    name="api",
    summary="The HTTP edge: errors, limits, security headers, CORS, docs",
    requires=("health", "logger"),
    settings=ApiSettings,
    providers=(provider,),
)
