"""The bar of RELIABILITY: 50 secrets planted everywhere, none found in any output."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote

import pytest
from dishka import Provider
from fastapi import APIRouter, Request
from httpx2 import ASGITransport, AsyncClient
from loguru import logger
from pydantic import BaseModel, SecretStr

from app.api import create_app
from app.core.discovery import Registry, discover
from app.core.module import Module
from app.core.settings import ModuleSettings, load_settings
from app.infrastructure.logger import bind_context
from tests.infrastructure.logger.conftest import Configure, Written


class Planted:
    """Hands out secrets and remembers the part of each that no encoding changes."""

    def __init__(self) -> None:
        self.secrets: list[str] = []

    def __call__(self, form: str = "{}") -> str:
        self.secrets.append(f"s{token_hex(12)}")
        return form.format(self.secrets[-1])

    def basic(self) -> str:
        """Return `Basic` credentials."""
        self.secrets.append(base64.b64encode(f"me:{token_hex(12)}".encode()).decode())
        return f"Basic {self.secrets[-1]}"

    def jwt(self) -> str:
        """Return a JSON Web Token."""
        self.secrets.append(token_hex(12))
        return f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{self.secrets[-1]}"


class PlantedSettings(ModuleSettings):
    """Where secrets of a service live."""

    planted_key: SecretStr
    planted_dsn: SecretStr
    planted_list: tuple[SecretStr, ...]


class Login(BaseModel):
    """A body as a handler would log it by mistake."""

    username: str
    password: str


router = APIRouter()


@router.post("/planted")
async def echo(request: Request) -> None:
    """Do everything one should not do."""
    body = await request.body()
    logger.info("headers {}", request.headers)
    logger.info("raw headers {}", request.headers.raw)
    logger.info("url {}", request.url)
    logger.info("body {}", body)
    logger.info("body {}", body.decode())
    logger.info("model {!r}", Login.model_validate_json(body))
    logger.bind(
        headers=dict(request.headers), query=dict(request.query_params), body=json.loads(body)
    ).info("bound")
    logging.getLogger("library").warning("%s %s", dict(request.headers), str(request.url))
    raise RuntimeError(str(request.url), json.loads(body), dict(request.headers))


PLANTED = Module(name="planted", summary="Leaks", routers=(router,), settings=PlantedSettings)


@pytest.mark.parametrize("form", ["console", "json"])
async def test_fifty_planted_secrets_are_not_found(  # noqa: PLR0913, PLR0917 - fixtures
    form: str,
    overrides: list[Provider],
    configure: Configure,
    written: Written,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planted, path = Planted(), tmp_path / "app.log"
    environment = {
        "PLANTED_KEY": planted("{}/'\"\\ x"),
        "PLANTED_DSN": f"postgresql://me:{quote(planted('{}@/'), safe='')}@db/x",
        "PLANTED_LIST": json.dumps([planted(), planted()]),
        "DOCS_PASSWORD": planted(),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    configure(LOG_FORMAT=form, LOG_FILE=path, LOG_LEVEL="DEBUG")
    registry = Registry((*discover().modules, PLANTED))
    app = create_app(
        registry=registry, settings=load_settings(registry.modules), overrides=overrides
    )
    transport = ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        await request(client, planted)
        log_by_mistake(planted, environment)

    lines = [*written(), *path.read_text().splitlines()]
    assert len(planted.secrets) >= 50
    assert [line for line in lines if any(secret in line for secret in planted.secrets)] == []
    # What surrounds them is there: they are masked, the lines are not lost.
    output = "\n".join(lines)
    assert output.count("***") > 100
    for text in ("raw headers", "bound", "RuntimeError", "by mistake 30", "driver", "/planted"):
        assert text in output


async def request(client: AsyncClient, planted: Planted) -> None:
    await client.post(
        f"/planted?token={planted()}&api_key={planted()}&signature={planted()}"
        f"&page=1&access_token={planted()}&client_secret={planted()}&X-Amz-Signature={planted()}",
        headers={
            "Authorization": f"Bearer {planted()}",
            "Proxy-Authorization": planted.basic(),
            "Cookie": f"sid={planted()}; theme={planted()}",
            "X-Api-Key": planted(),
            "X-Auth-Token": planted(),
            "X-Csrf-Token": planted(),
            "Referer": f"https://me:{planted()}@example.org/?password={planted()}",
            "User-Agent": f"agent Bearer {planted()}",
            "X-Session": planted.jwt(),
        },
        json={
            "username": "joe",
            "password": planted('{}"\\,; x'),
            "newPassword": planted(),
            "nested": [{"apiKey": planted(), "credentials": {"user": planted(), "x": planted()}}],
            "note": f"my password={planted()} and Bearer {planted()}",
            "dsn": f"redis://:{planted()}@cache",
            "inner": json.dumps({"secret": planted("{} y")}),
        },
    )


def drive(text: str) -> None:
    message = f"driver: {text}"
    raise ConnectionError(message) from ValueError(text)


def log_by_mistake(planted: Planted, environment: dict[str, str]) -> None:
    """Log what job arguments, drivers and libraries hold."""
    logger.info("environment {}", environment)
    for value in environment.values():
        logger.info("by mistake {}", value)
    texts = [
        f"amqp://guest:{planted()}@mq:5672/%2F",
        f"mongodb+srv://u:{planted('{}/x@')}@h/x",
        f"https://{planted()}@git.example.org",
        f"/callback?code={planted()}&state={planted()}",
        f"connect host=db user=x password={planted()} dbname=y",
        f"Server=x;Pwd={planted()};Encrypt=yes",
        f"--db-password={planted()}",
        f"password => {planted()}",
        f"session_id: {planted()}",
        f"set-cookie: sid={planted()}; HttpOnly",
        f"export AWS_SECRET_ACCESS_KEY={planted()}",
        f"job send(token='{planted()}', to='x')",
        f"Private_Key : '{planted()}'",
        f"-----BEGIN PRIVATE KEY-----\n{planted()}\n-----END PRIVATE KEY-----",
        *(f"key {issuer}{planted()}" for issuer in ("ghp_", "sk_live_", "xoxb-", "glpat-")),
        f"jwt {planted.jwt()}",
    ]
    for number, text in enumerate(texts, 20):
        logger.info("by mistake {} {}", number, text)
        logging.getLogger("library").info("by mistake %s", text)
        logger.bind(argument=text, arguments=[{"args": (text,)}]).info("job")
        try:
            drive(text)
        except ConnectionError:
            logger.exception("by mistake")
    with bind_context(user_agent=texts[0], user_id=texts[1]):
        logger.info("context")
