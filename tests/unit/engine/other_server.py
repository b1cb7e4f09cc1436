"""`RemoteGraph`s of a server that knows one thing to say, and no state of its graphs."""

import json
from collections.abc import Callable
from typing import Any

import httpx
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk.client import LangGraphClient

Events = list[tuple[str, Any]]


def counting() -> Events:
    return [("updates", {"far": {"ran": ["far away"]}}), ("values", {"ran": ["far away"]})]


def asking() -> Events:
    return [("updates", {"__interrupt__": [{"id": "asked-there", "value": "Far away?"}]})]


def remote(events: Events) -> RemoteGraph:
    client = LangGraphClient(httpx.AsyncClient(base_url="http://other", transport=httpx.MockTransport(_server(events))))
    return RemoteGraph("far", client=client)


def _server(events: Events) -> Callable[[httpx.Request], httpx.Response]:
    stream = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/runs/stream"):
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, text=stream)
        return httpx.Response(404, json={"detail": "no such state"})

    return answer
