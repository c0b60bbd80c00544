"""Settings of this engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from app.core.settings import Count, ModuleSettings, Seconds, Weakness

PASSWORD_OF_EVERYBODY = "guest"  # noqa: S105 - RabbitMQ's own default
OWN_MACHINE = {"127.0.0.1", "::1", "localhost"}


class RabbitmqSettings(ModuleSettings):
    """Where RabbitMQ is."""

    rabbitmq_url: SecretStr = SecretStr("amqp://guest:guest@127.0.0.1:5672/")
    """amqp:// or amqps:// (TLS), user, password, host, port, and the virtual host as path. Nodes
    of a cluster are separated by commas: amqp://user:secret@one:5672,two:5672/."""
    rabbitmq_heartbeat: Seconds = Field(default=15.0, ge=1)
    """A connection that was silent for three times as long is given up."""
    rabbitmq_group_size: Count = Field(default=0, ge=0)
    """Copies of each queue in a cluster (x-quorum-initial-group-size); 0: RabbitMQ decides."""

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        _ = self.urls
        return self

    @property
    def urls(self) -> list[str]:
        """One URL per node, with the heartbeat.

        Raises:
            ValueError: not a URL of RabbitMQ.
        """
        parts = urlsplit(self.rabbitmq_url.get_secret_value())
        account, _, hosts = parts.netloc.rpartition("@")
        if parts.scheme not in {"amqp", "amqps"} or not all(hosts.split(",")):
            message = "RABBITMQ_URL looks like amqp://user:password@host:5672/vhost"
            raise ValueError(message)
        query = "&".join(filter(None, (parts.query, f"heartbeat={self.rabbitmq_heartbeat:.0f}")))
        account = f"{account}@" if account else ""
        path = parts.path or "/"
        urls = [f"{parts.scheme}://{account}{h}{path}?{query}" for h in hosts.split(",")]
        for url in urls:
            _ = urlsplit(url).port
        return urls

    def weaknesses(self) -> Iterable[Weakness]:
        """The password every RabbitMQ begins with, which it takes on its own machine only."""
        parts = urlsplit(self.urls[0])
        if parts.password in {None, PASSWORD_OF_EVERYBODY} and parts.hostname not in OWN_MACHINE:
            yield Weakness(
                "RABBITMQ_URL",
                "holds no password, or the one every RabbitMQ begins with",
                "make a user of the service's own: rabbitmqctl add_user NAME PASSWORD",
            )
