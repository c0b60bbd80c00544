"""`POST /example`: answers at once, and leaves the work to a worker."""

from __future__ import annotations

from typing import Annotated

from dishka import FromDishka
from fastapi import APIRouter, Body, status
from pydantic import BaseModel, ConfigDict, Field

from app.core.errors import NotFoundError
from app.core.problems import problem_responses
from app.core.routing import ScopedRoute
from app.infrastructure.deferred import Tasks
from app.infrastructure.mail import EmailService
from app.modules.example.repository import UserChanges, UserRepository

router = APIRouter(prefix="/example", tags=["example"], route_class=ScopedRoute)
FIRST = 1
"""The user the example is about."""


class Renaming(BaseModel):
    """What to do."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(default="New name", min_length=1, max_length=200)
    email: str = Field(default="test@example.com", max_length=254)


class Deferred(BaseModel):
    """What will be done."""

    jobs: list[str]
    """Their ids; every line a worker writes about one of them has it."""


class Person(BaseModel):
    """Somebody."""

    id: int
    name: str


@router.post("", status_code=status.HTTP_202_ACCEPTED)
async def rename_later(
    tasks: FromDishka[Tasks], renaming: Annotated[Renaming | None, Body()] = None
) -> Deferred:
    """Rename the first user and write a mail about it, later."""
    new = renaming or Renaming()
    jobs = await tasks.run_later(
        lambda run: [
            # A simple call.
            run(UserRepository).update(FIRST, UserChanges(name=new.name)),
            # A chain.
            run(EmailService).to(new.email).template("renamed").send({"name": new.name}),
        ]
    )
    return Deferred(jobs=[job.id for job in jobs])


@router.get("", responses=problem_responses(NotFoundError))
async def first(users: FromDishka[UserRepository]) -> Person:
    """Show the first user: `POST` again, with another name, and look again."""
    user = await users.get(FIRST)
    return Person(id=user.id, name=user.name)
