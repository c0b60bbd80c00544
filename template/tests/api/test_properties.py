"""Whatever a client sends, the answer is what the OpenAPI document promises, and never a 5xx.

The requests are made up from the document by schemathesis and sent to a real process.
`PROPERTY_EXAMPLES` sets how many per operation.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.cli.conftest import environment
from tests.cli.test_serving import PATIENCE, running, wait_until_ready
from tests.ports import free_port

pytestmark = pytest.mark.process
EXAMPLES = int(os.environ.get("PROPERTY_EXAMPLES", "25"))
SLOW_IS_FINE: list[Any] = list(HealthCheck)
PREPARE = "from app.cli.running import prepare; prepare()"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    """The document of a running service with its own, prepared data."""
    folder: Path = tmp_path_factory.mktemp("service")
    subprocess.run([sys.executable, "-c", PREPARE], cwd=folder, env=environment(), check=True)
    port = free_port()
    with running(folder, "serve", "--port", str(port), LOG_LEVEL="ERROR") as process:
        wait_until_ready(port, process)
        yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")


def test_answers_are_as_documented(api: schemathesis.BaseSchema, subtests: pytest.Subtests) -> None:
    # Not schemathesis' own parametrisation: of 4.32 it reaches into pytest's private parts.
    document: Any = api
    for found in document.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=SLOW_IS_FINE,
        )
        @given(case=operation.as_strategy())
        def answers(case: Any) -> None:
            # Two users may not have one address: valid data may be refused, as documented.
            case.call_and_validate(excluded_checks=[positive_data_acceptance], timeout=PATIENCE)

        with subtests.test(operation.label):
            answers()
