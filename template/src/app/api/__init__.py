"""The HTTP edge: the ASGI application, its middleware and its errors."""

from app.api.application import create_app

__all__ = ["create_app"]
