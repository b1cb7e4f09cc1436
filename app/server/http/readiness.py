"""`/healthz`: the process lives. `/readyz`: it has what it needs, and if not, what is missing and why."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fastapi.responses import JSONResponse
from kombu import Connection

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.http.answers import PROBLEM
from agent_runner.app.server.http.document.message_schemas import ref
from agent_runner.app.server.http.document.schemas import STRING, STRINGS, answer, object_of
from agent_runner.app.server.http.shared_answer import Fresh
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.app.server.route_group import RouteGroup
from agent_runner.clients.broker.celery_config import celery_url
from agent_runner.clients.broker.redis_probe import RedisFull, broker_commands, open_client, refused
from agent_runner.clients.settings.settings import Settings

CHECK_S = 3
_CHECKED = object_of(ready={"type": "boolean"}, checks={"type": "object", "additionalProperties": STRING})
_MISSING = {"allOf": [ref("Problem"), _CHECKED, object_of(missing=STRINGS)]}
_NOT_READY = {"description": "what is down, and why", "content": {PROBLEM: {"schema": _MISSING}}}
Check = Callable[[], Awaitable[object]]


def readiness_routes(ctx: ServerContext) -> RouteGroup:
    routes = RouteGroup(tags=["health"])
    checks: Mapping[str, Check] = {
        "database": ctx.store.ping,
        "broker": lambda: _broker(ctx.settings),
        "redis": ctx.wakeups.ping,
    }

    async def checked() -> dict[str, str]:
        return dict(zip(checks, await asyncio.gather(*map(_why_down, checks.values())), strict=True))

    fresh = Fresh(checked, for_s=ctx.settings.health_fresh_s, soon=ctx.outliving)

    @routes.get("/healthz", responses={200: answer(object_of(status={"const": "ok"}))})
    async def healthz() -> JSONResponse:
        """The process is up."""
        return JSONResponse({"status": "ok"})

    @routes.get("/readyz", responses={200: answer(_CHECKED), 503: _NOT_READY})
    async def readyz() -> JSONResponse:
        """200 when database, broker and Redis answer; else 503 naming those that do not."""
        found = await fresh.get()
        down = {name: why for name, why in found.items() if why}
        body = {"ready": not down, "checks": {name: why or "up" for name, why in found.items()}}
        if not down:
            return JSONResponse(body)
        problem = Problem(
            Kind.UNAVAILABLE,
            "; ".join(f"{name}: {why}" for name, why in down.items()),
            next_step="agent-runner doctor shows what is down and how to start it.",
        )
        return JSONResponse(
            {**problem.as_json(), **body, "missing": sorted(down)},
            status_code=problem.kind.http_status,
            media_type=PROBLEM,
        )

    return routes


async def _why_down(check: Check) -> str:
    """The error of a check; empty when it is up. It contains no address: a URL can hold a password."""
    try:
        await asyncio.wait_for(check(), CHECK_S)
    except RedisFull as full:
        return str(full)
    except TimeoutError:
        return f"did not answer within {CHECK_S} s"
    except Exception as error:
        return f"cannot be reached ({type(error).__name__})"
    return ""


async def _broker(settings: Settings) -> None:
    await asyncio.to_thread(_connect, settings)


def _connect(settings: Settings) -> None:
    """Raises `RedisFull` for a Redis that answers and takes no write."""
    url = settings.broker_url
    with Connection(celery_url(url), connect_timeout=CHECK_S / 2) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=CHECK_S)
    if url.startswith(("redis://", "rediss://", "unix://")):
        with open_client(url, CHECK_S / 2) as client:
            refused(client, broker_commands((settings.runner_queue,)))
