"""The OpenAPI document says what clients have to expect."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from httpx2 import AsyncClient

from app.api import create_app
from app.core.discovery import Registry, discover
from app.core.errors import ConfigurationError
from app.core.module import Module
from app.core.problems import PROBLEM_JSON, PROBLEM_SCHEMA

PROBLEM = {PROBLEM_JSON: {"schema": PROBLEM_SCHEMA}}


@pytest.fixture
async def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


async def test_every_operation_documents_problems(document: dict[str, Any]) -> None:
    assert operations(document)
    for operation in operations(document):
        assert operation["responses"]["default"]["content"] == PROBLEM


async def test_every_operation_has_a_tag_that_is_described(document: dict[str, Any]) -> None:
    described = {tag["name"] for tag in document["tags"] if tag["description"]}

    for operation in operations(document):
        assert set(operation["tags"]) <= described
        assert operation["summary"]


async def test_operation_ids_are_the_names_of_functions(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in operations(document)]

    assert "get_readiness" in ids
    assert len(set(ids)) == len(ids)
    assert all(name.isidentifier() for name in ids)


async def test_the_framework_s_own_error_schema_is_gone(document: dict[str, Any]) -> None:
    assert "ValidationError" not in json.dumps(document)
    assert document["components"]["schemas"]["Problem"]["examples"]


async def test_bodies_parameters_and_declared_errors_are_documented(probe: AsyncClient) -> None:
    paths = (await probe.get("/openapi.json")).json()["paths"]

    create = paths["/probe/things"]["post"]["responses"]
    assert create["413"]["content"] == create["422"]["content"] == PROBLEM
    assert paths["/probe/things/{thing_id}"]["get"]["responses"]["422"]["content"] == PROBLEM
    conflict = paths["/probe/conflict"]["get"]["responses"]
    assert "422" not in conflict
    assert conflict["409"]["content"] == PROBLEM
    assert conflict["409"]["description"] == "The request contradicts the present state."


def test_two_operations_of_one_name_are_refused_with_both_paths() -> None:
    router = APIRouter()
    for path in ("/a", "/b"):
        router.add_api_route(path, lambda: None, name="same")
    twins = Module(name="twins", summary="Two of one name", routers=(router,))

    with pytest.raises(ConfigurationError, match="'same': /a and /b"):
        create_app(registry=Registry((*discover().modules, twins)))
