"""Routes that FastAPI reads when they are needed: by whom, how often, and that nothing is lost by it."""

import asyncio
from typing import Any

import httpx
from fastapi import Depends, FastAPI, HTTPException
from fastapi.routing import APIRoute
from starlette.routing import Route

from agent_runner.app.server.access.scopes import OPEN
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.app.server.http.routes.plain_route import PlainRoute
from agent_runner.app.server.route_group import LateRoute, RouteGroup
from agent_runner.clients.settings.settings import Settings
from tests.unit.server.conftest import http_client


def routes_of(server: RunningServer) -> list[LateRoute]:
    app: Any = server.http.config.app
    return [route for route in app.routes if isinstance(route, LateRoute)]


def read(route: LateRoute) -> bool:
    return "dependant" in vars(route)


async def test_a_server_reads_only_what_it_is_asked_for(own_settings: Settings) -> None:
    """At its start none; then one for each that a request needed, and all for the description. No router is included:
    FastAPI would make each of its routes a second time."""
    async with running_server(own_settings) as server, http_client(server) as http:
        assert len(routes_of(server)) > 100
        assert not [route.path for route in routes_of(server) if read(route)]
        app: Any = server.http.config.app
        assert {type(route) for route in app.routes} == {LateRoute, APIRoute, Route, PlainRoute}
        for _ in range(2):
            assert (await http.get("/v1/agents")).status_code == 200
        assert [(route.path, route.methods) for route in routes_of(server) if read(route)] == [("/v1/agents", {"GET"})]
        described = (await http.get("/openapi.json")).json()
        assert all(read(route) for route in routes_of(server))
        shown = {(path, method.upper()) for path, one in described["paths"].items() for method in one}
        assert shown == {(route.path, method) for route in routes_of(server) for method in route.methods}


async def test_what_is_not_open_is_behind_the_guard(own_settings: Settings) -> None:
    """Of every route the description says whether it needs a key."""
    async with running_server(own_settings) as server:
        free = {
            f"{method} {route.path}"
            for route in routes_of(server) if not route.dependant.dependencies for method in route.methods
        }  # fmt: skip
    assert free - set(OPEN) == set()
    assert "GET /healthz" in free


async def test_the_guard_comes_first() -> None:
    """Before the endpoint's own dependencies and before a parameter is refused; each route of a group has it."""
    calls: list[str] = []

    def guard() -> None:
        calls.append("guard")
        raise HTTPException(403)

    group = RouteGroup(prefix="/things", tags=["things"])

    @group.get("/{number}")
    async def get(number: int) -> int:
        return number

    @group.delete("/{number}")
    async def delete(number: int) -> int:
        return number

    app = FastAPI()
    app.router.routes += group.guarded([Depends(guard)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        for method in ("GET", "DELETE"):
            assert (await http.request(method, "/things/1")).status_code == 403
        assert (await http.get("/things")).status_code == 404
        assert (await http.put("/things/1")).status_code == 405
    assert calls == ["guard", "guard"]


async def test_first_requests_at_once() -> None:
    """All of them are answered."""
    group = RouteGroup()

    @group.get("/{number}")
    async def get(number: int) -> int:
        return number

    app = FastAPI()
    app.router.routes += group.routes
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        answers = await asyncio.gather(*(http.get(f"/{number}") for number in range(20)))
    assert [answer.json() for answer in answers] == list(range(20))


def test_a_name_that_no_route_has() -> None:
    """Is an error as of any other object, before and after the route is read."""

    async def get() -> None: ...

    route, own = LateRoute("/a", get, dependencies=[]), APIRoute("/a", get)
    assert not hasattr(route, "no_such_thing")
    assert not hasattr(route, "no_such_thing")
    assert {name: vars(route)[name] for name in ("name", "unique_id", "status_code", "tags")} == {
        name: vars(own)[name] for name in ("name", "unique_id", "status_code", "tags")
    }
    assert route == own
