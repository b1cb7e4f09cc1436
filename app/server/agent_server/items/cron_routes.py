"""Crons: this version has none, and says so. The routes are not described: there is nothing to ask them for."""

from typing import NoReturn

from fastapi import APIRouter

from agent_runner.app.server.problems import Kind, Problem

CRON_CALLS = (
    ("POST", "/threads/{thread_id}/runs/crons"),
    ("POST", "/runs/crons"),
    ("POST", "/runs/crons/search"),
    ("POST", "/runs/crons/count"),
    ("GET", "/runs/crons/{cron_id}"),
    ("PATCH", "/runs/crons/{cron_id}"),
    ("DELETE", "/runs/crons/{cron_id}"),
)


def cron_routes() -> APIRouter:
    routes = APIRouter(tags=["crons"])

    async def refuse() -> NoReturn:
        raise Problem(
            Kind.UNIMPLEMENTED,
            "crons: this version starts no runs by the clock",
            next_step="Let cron, a timer of systemd or Celery's beat call POST /runs.",
        )

    for method, path in CRON_CALLS:
        routes.add_api_route(path, refuse, methods=[method], include_in_schema=False, response_model=None)
    return routes
