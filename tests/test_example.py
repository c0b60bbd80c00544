"""The systems of `examples/`, run as their pages say."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from base64 import b64encode
from email import message_from_bytes
from email.policy import default
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.demo import DIRECT, get
from scripts.example import EXAMPLES, lay_over, names
from scripts.servers import free_port
from tests.rendering import BRIEF_TESTS, ROOT, Service, Template, service_environment
from tests.running import STOP_SECONDS, running

HELPER = "deferred-execution-helper"


def call(url: str, method: str = "GET", **options: Any) -> tuple[int, Any]:
    """Return status and JSON of an answer."""
    request = urllib.request.Request(url, method=method, **options)  # noqa: S310 - our own server
    with DIRECT.open(request, timeout=60) as answer:
        text = answer.read().decode()
        return answer.status, json.loads(text) if text.startswith("{") else text


@pytest.mark.parametrize("engine", ["rabbitmq", "bullmq"])
def test_the_helper_runs_by_one_command(engine: str, tmp_path: Path) -> None:
    """A request is answered; a worker changes the row and writes the mail; docs ask who it is."""
    if engine == "rabbitmq" and "TEST_RABBITMQ_URL" not in os.environ:
        pytest.skip("TEST_RABBITMQ_URL names no RabbitMQ")
    port, folder = free_port(), tmp_path / "service"
    argv = ["make", "-C", str(ROOT), "example", f"NAME={HELPER}", f"ENGINE={engine}"]
    argv += [f"PORT={port}", f"DIR={folder}"]
    # The broker is of all tests: what is in it belongs to this run alone.
    env = service_environment(APP_NAME=f"example-{os.getpid()}-{engine}")
    with running(argv, tmp_path, env, tmp_path / "log") as made:
        made.wait_until(lambda: "Ctrl-C stops it" in made.printed())
        url = f"http://127.0.0.1:{port}"
        assert call(f"{url}/example")[1] == {"id": 1, "name": "Old name"}

        status, answer = call(f"{url}/example", "POST")
        assert (status, len(answer["jobs"])) == (HTTPStatus.ACCEPTED, 2)
        made.wait_until(lambda: call(f"{url}/example")[1]["name"] == "New name")
        made.wait_until(lambda: any((folder / "var/mail").glob("*.eml")))

        (path,) = (folder / "var/mail").glob("*.eml")
        mail = message_from_bytes(path.read_bytes(), policy=default)
        assert (mail["To"], mail["Subject"]) == ("test@example.com", "You are New name now")
        made.wait_until(lambda: all(job in made.printed() for job in answer["jobs"]))

        assert get(f"{url}/docs")[0] == HTTPStatus.UNAUTHORIZED
        basic = {"Authorization": f"Basic {b64encode(b'swagger:swagger').decode()}"}
        assert call(f"{url}/docs", headers=basic)[0] == HTTPStatus.OK
        os.killpg(made.process.pid, signal.SIGINT)
        made.process.wait(STOP_SECONDS)


@pytest.fixture(params=names())
def example(request: pytest.FixtureRequest, template: Template, tmp_path: Path) -> Service:
    """A service that was generated with an example's answers, with its files laid over."""
    answers = yaml.safe_load((EXAMPLES / request.param / "answers.yml").read_text("utf-8"))
    service = template.service(answers).copied_to(tmp_path / "service")
    lay_over(request.param, service.folder)
    return service


def test_its_files_are_as_good_as_the_template_s(example: Service, mypy_cache: Path) -> None:
    example.python("-m", "ruff", "check", ".")
    example.python("-m", "ruff", "format", "--check", ".")
    example.python("-m", "mypy", "--cache-dir", mypy_cache)
    example.python("-m", *BRIEF_TESTS, "tests/modules")
