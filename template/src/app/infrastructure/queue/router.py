"""The job queue over HTTP, for whoever holds `QUEUE_ADMIN_TOKEN`. Without one it is closed."""

from __future__ import annotations

import secrets
from typing import Annotated

from dishka import FromDishka
from fastapi import APIRouter, Depends, Path, Query, Request, status
from pydantic import AwareDatetime, BaseModel, Field

from app.core.errors import NotFoundError, UnauthorizedError
from app.core.problems import problem_responses
from app.core.routing import ScopedRoute
from app.infrastructure.queue.admin import JobAdmin, JobFilter
from app.infrastructure.queue.errors import InvalidJobError, UnknownJobError
from app.infrastructure.queue.jobs import DeadReason, JobState
from app.infrastructure.queue.schemas import Changed, JobRead, QueueRead, ScheduleRead
from app.infrastructure.queue.settings import QueueSettings


async def guard(request: Request) -> None:
    """Let in who has the token.

    Raises:
        NotFoundError: there is no token in the settings.
        UnauthorizedError: the request has another one, or none.
    """
    settings = await request.app.state.dishka_container.get(QueueSettings)
    token = settings.queue_admin_token.get_secret_value()
    if not token:
        raise NotFoundError
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not secrets.compare_digest(given.encode(), token.encode()):
        raise UnauthorizedError(headers={"WWW-Authenticate": "Bearer"})


router = APIRouter(
    prefix="/jobs", tags=["queue"], route_class=ScopedRoute, dependencies=[Depends(guard)]
)

QueueParameter = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,60}$")]


class JobQuery(BaseModel):
    """Which jobs."""

    name: str | None = None
    reason: DeadReason | None = None
    trace_id: str | None = None
    before: AwareDatetime | None = None

    def wanted(self) -> JobFilter:
        """Return the filter."""
        return JobFilter(
            name=self.name, reason=self.reason, trace_id=self.trace_id, before=self.before
        )


class JobListQuery(JobQuery):
    """Which jobs, and how many of them."""

    state: JobState = JobState.WAITING
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


@router.get("/queues")
async def list_queues(admin: FromDishka[JobAdmin]) -> list[QueueRead]:
    """List the queues with their counts."""
    return [QueueRead.model_validate(item) for item in await admin.overview()]


@router.get("/schedules")
async def list_schedules(admin: FromDishka[JobAdmin]) -> list[ScheduleRead]:
    """List the schedules of all queues."""
    return [ScheduleRead.model_validate(item) for item in await admin.schedules()]


@router.get("/queues/{queue}")
async def list_jobs(
    queue: QueueParameter, query: Annotated[JobListQuery, Query()], admin: FromDishka[JobAdmin]
) -> list[JobRead]:
    """List jobs of one state."""
    found = await admin.select(queue, query.state, query.wanted(), query.limit)
    return [JobRead.model_validate(item) for item in found]


@router.get("/queues/{queue}/{job_id}", responses=problem_responses(UnknownJobError))
async def get_job(queue: QueueParameter, job_id: str, admin: FromDishka[JobAdmin]) -> JobRead:
    """Get a job."""
    return JobRead.model_validate(await admin.find(queue, job_id))


@router.post(
    "/queues/{queue}/{job_id}/replay",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(UnknownJobError),
)
async def replay_job(queue: QueueParameter, job_id: str, admin: FromDishka[JobAdmin]) -> None:
    """Start a dead job afresh."""
    await admin.replay(queue, job_id)


@router.post(
    "/queues/{queue}/{job_id}/cancel",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(UnknownJobError),
)
async def cancel_job(queue: QueueParameter, job_id: str, admin: FromDishka[JobAdmin]) -> None:
    """Cancel a job."""
    await admin.cancel(queue, job_id)


@router.post("/queues/{queue}/replay")
async def replay_jobs(
    queue: QueueParameter, query: Annotated[JobQuery, Query()], admin: FromDishka[JobAdmin]
) -> Changed:
    """Start all matching dead jobs afresh."""
    return Changed(count=await admin.replay_all(queue, query.wanted()))


@router.post("/queues/{queue}/pause", status_code=status.HTTP_204_NO_CONTENT)
async def pause_queue(queue: QueueParameter, admin: FromDishka[JobAdmin]) -> None:
    """Let no worker start another job of a queue."""
    await admin.pause(queue)


@router.post("/queues/{queue}/resume", status_code=status.HTTP_204_NO_CONTENT)
async def resume_queue(queue: QueueParameter, admin: FromDishka[JobAdmin]) -> None:
    """Undo pausing."""
    await admin.resume(queue)


@router.delete("/queues/{queue}", responses=problem_responses(InvalidJobError))
async def purge_jobs(
    queue: QueueParameter, state: JobState, admin: FromDishka[JobAdmin]
) -> Changed:
    """Delete all jobs of a state."""
    return Changed(count=await admin.purge(queue, state))
