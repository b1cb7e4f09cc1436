"""`http` of langgraph.json is kept to by a running server: origins, groups of routes, webhooks."""

import json
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from agent_runner.app.server.composition import running_server
from agent_runner.clients.settings.settings import Settings
from tests.unit.server.conftest import http_client, own_settings, redis_url, settings
from tests.unit.server.test_limits import changed

__all__ = ["own_settings", "redis_url", "settings"]


@asynccontextmanager
async def served(settings: Settings, folder: Path, **http: Any) -> AsyncIterator[httpx.AsyncClient]:
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"chat": "./chat.py:graph"}, "http": http}))
    async with running_server(changed(settings, graphs=file)) as server, http_client(server) as client:
        yield client


async def test_pages_of_the_origins_that_it_names(settings: Settings, tmp_path: Path) -> None:
    """They and those of the setting may call, no others; they may read the headers that it names."""
    cors = {
        "allow_origins": ["https://a.example"],
        "allow_origin_regex": "https://.*[.]b[.]example",
        "expose_headers": ["X-Own"],
        "max_age": 7,
    }
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    own = changed(settings, cors_origins="https://c.example")
    async with served(own, tmp_path, cors=cors) as http:
        for origin, may in {
            "https://a.example": True,
            "https://x.b.example": True,
            "https://c.example": True,
            "https://d.example": False,
            "http://localhost:3000": False,
        }.items():
            answer = await http.options("/threads", headers=asks | {"origin": origin})
            assert (answer.headers.get("access-control-allow-origin") == origin) is may, origin
            assert answer.headers["access-control-max-age"] == "7"
        answer = await http.get("/ok", headers={"origin": "https://a.example"})
        assert "X-Own" in answer.headers["access-control-expose-headers"]


async def test_groups_of_routes_that_it_leaves_out(settings: Settings, tmp_path: Path) -> None:
    """They are not there and not in the document; the others are."""
    thread, run = f"/threads/{uuid.uuid4()}", str(uuid.uuid4())
    async with served(settings, tmp_path, disable_store=True, disable_runs=True, disable_assistants=True) as http:
        for path in ("/runs/wait", f"{thread}/runs/{run}/cancel", "/store/items/search", "/assistants/search"):
            answer = await http.post(path, json={})
            assert (answer.status_code, set(answer.json())) == (404, {"detail", "code", "next_step"}), path
        assert (await http.post("/threads", json={})).status_code == 200
        paths = (await http.get("/openapi.json")).json()["paths"]
        assert "/threads" in paths
        assert not [path for path in paths if path.startswith(("/runs", "/store", "/assistants")) or "/runs" in path]


async def test_webhooks_that_it_leaves_out(settings: Settings, tmp_path: Path) -> None:
    """The run is made, and its webhook is not kept: an address that would be refused does not matter."""
    body = {"assistant_id": "chat", "input": {}, "webhook": "http://127.0.0.1:1/x"}
    async with served(settings, tmp_path, disable_webhooks=True) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        answer = await http.post(f"/threads/{thread}/runs", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["kwargs"].get("webhook") is None
    async with served(settings, tmp_path) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        assert (await http.post(f"/threads/{thread}/runs", json=body)).status_code == 422


async def test_what_the_document_forbids_is_refused(settings: Settings, tmp_path: Path) -> None:
    """Ids that are none, a number in place of false, a place in a stream that was never one: each says which field."""
    thread, run = f"/threads/{uuid.uuid4()}", str(uuid.uuid4())
    item = {"namespace": ["a"], "key": "b", "value": {}}
    async with served(settings, tmp_path) as http:
        for path, body, word in (
            ("/runs/crons/search", {"thread_id": "AAA"}, "thread_id"),
            ("/runs/crons/count", {"assistant_id": "AAA"}, "assistant_id"),
        ):
            answer = await http.post(path, json=body)
            assert (answer.status_code, word in answer.json()["detail"]) == (422, True), path
        for index in (0, True):
            answer = await http.put("/store/items", json={**item, "index": index})
            assert (answer.status_code, "index" in answer.json()["detail"]) == (422, True)
        answer = await http.get(f"{thread}/runs/{run}/stream", headers={"Last-Event-ID": "none"})
        assert (answer.status_code, "Last-Event-ID" in answer.json()["detail"]) == (400, True)
        paths = (await http.get("/openapi.json")).json()["paths"]
        asked = {one["name"]: one["schema"] for one in paths["/threads/{thread_id}/stream"]["get"]["parameters"]}
        assert re.search(asked["stream_modes"]["anyOf"][0]["items"]["pattern"], "lifecycle,run_modes")
        asked = {one["name"]: one["schema"] for one in paths["/store/items"]["get"]["parameters"]}
        assert not re.search(asked["namespace"]["anyOf"][0]["items"]["pattern"], "with\x00in")
