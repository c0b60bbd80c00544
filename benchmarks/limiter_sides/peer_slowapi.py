"""slowapi where it works: on a decorated route. Its client of Redis blocks the event loop."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from slowapi import Limiter
from slowapi.util import get_remote_address

from benchmarks.limiter_sides.common import RATE, main, per_request


async def measure(port: int, what: str, _checks: int) -> float:
    """Measure a route with it, or without."""
    app = FastAPI(openapi_url=None)
    limiter = Limiter(
        key_func=get_remote_address,
        storage_uri=f"redis://127.0.0.1:{port}/0",
        headers_enabled=True,
    )
    app.state.limiter = limiter

    async def item(item_id: int, request: Request, response: Response) -> int:
        del request, response
        return item_id

    if what == "request":
        item = limiter.limit(f"{RATE}/minute")(item)
    app.get("/items/{item_id}")(item)
    return await per_request(app, "/items/7")


if __name__ == "__main__":
    main(measure)
