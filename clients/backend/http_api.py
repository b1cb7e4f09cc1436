"""The HTTP API's client: executions, their event stream, the server's health.

ApiError            the server refused: `code`, `title`, `detail`, `next_step` of its application/problem+json
  Unreachable       no server answered; the same call may be tried again
"""

import asyncio
import json
import ssl
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal, Self, cast
from urllib.parse import quote

import httpx
import httpx_sse

from agent_runner.clients.backend.tls import trusted

CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 5.0, 30.0
SILENCE_S = 40.0
"""The server sends a comment every 15 s; a stream silent for longer than this is a dead connection."""
PATIENCE_S = 60.0
"""How long a broken stream, or a create that got no answer, is tried again."""
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 2.0
Json = dict[str, Any]
Rows = list[Json]


class ApiError(Exception):
    """The server refused the call. `status` is the HTTP status, 0 when there was none."""

    def __init__(self, *, code: str, title: str, detail: str = "", next_step: str = "", status: int = 0) -> None:
        super().__init__(": ".join(part for part in (title, detail) if part))
        self.code, self.title, self.detail, self.next_step, self.status = code, title, detail, next_step, status


class Unreachable(ApiError):
    """No server answered at this address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """`id` is the log's seq. `data` depends on the event's kind, see the HTTP API's documentation."""

    kind: Literal["snapshot", "update", "end"]
    id: int
    data: Json


class HttpApi:
    """One server. Use as an async context manager, or `close()` it."""

    def __init__(self, url: str, api_key: str, tls_ca: Path | None = None, *, patience_s: float = PATIENCE_S) -> None:
        """`tls_ca`: the authority whose certificates are trusted, instead of the system's."""
        self.url = url.rstrip("/")
        self._patience_s = patience_s
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            verify=_authorities(self.url, tls_ca),
            trust_env=False,  # proxy variables of the environment are for model providers
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def create(self, request: Mapping[str, Any], *, idempotency_key: str = "") -> Json:
        """Create an execution from the short form or a contract AgentExecution; returns the AgentExecution.

        Tried again under one idempotency key while no answer arrives, so that one call makes one execution.
        """
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        pauses = _Pauses(self._patience_s)
        while True:
            try:
                return await self._call("POST", "/v1/executions", json=dict(request), headers=headers)
            except Unreachable as error:
                await pauses.sleep_or_raise(error)

    async def get(self, execution_id: str) -> Json:
        return await self._call("GET", f"/v1/executions/{quote(execution_id, safe='')}")

    async def list(
        self, *, phase: str = "", session_id: str = "", agent: str = "", waiting: bool = False, page_size: int = 0,
        page_token: str = "", full: bool = False,
    ) -> Json:  # fmt: skip
        """Newest first: `entries`, and `next_page_token` unless it is the last page. `full`: entries with their
        content."""
        given = {
            "phase": phase, "session_id": session_id, "agent": agent, "page_size": page_size, "page_token": page_token,
            "waiting_for_input": "true" if waiting else "", "view": "full" if full else "",
        }  # fmt: skip
        return await self._call("GET", "/v1/executions", params={k: v for k, v in given.items() if v})

    async def cancel(self, execution_id: str) -> Json:
        """Ask for the execution to end; the end itself arrives on the stream."""
        return await self._call("POST", f"/v1/executions/{quote(execution_id, safe='')}/cancel")

    async def redrive(self, execution_id: str, env: Mapping[str, str] | None = None, begin: str = "") -> Json:
        """Create an execution with the same input and return it; secrets (`env`) must be given again. `begin`:
        `failed_step` or `start`; empty for the first that is possible."""
        path = f"/v1/executions/{quote(execution_id, safe='')}/redrive"
        return await self._call("POST", path, json={"env": dict(env or {}), **({"from": begin} if begin else {})})

    async def retention(self, days: float | None = None, *, dry_run: bool = False) -> Json:
        """Remove data older than `days` (None: the server's setting), as much as one call can (`more`: some is left);
        with `dry_run` only count it."""
        given = {"dry_run": dry_run} | ({} if days is None else {"days": days})
        return await self._call("POST", "/v1/retention", json=given)

    async def apply(self, plural: str, resource: Mapping[str, Any]) -> Json:
        """Create or replace one of `agents`, `agent-instances`, `sessions`, `skills`, `environments`."""
        return await self._call("PUT", f"/v1/{plural}", json=dict(resource))

    async def create_key(
        self, *, name: str, scopes: Iterable[str], org: str = "", queues: Iterable[str] = (),
        expires_in_s: float | None = None,
    ) -> Json:  # fmt: skip
        """Create an API key. `key` in the answer is the key itself; it is never shown again."""
        body: Json = {"name": name, "scopes": list(scopes), "org": org}
        if served := list(queues):
            body["queues"] = served
        if expires_in_s is not None:
            body["expires_in_s"] = expires_in_s
        return await self._call("POST", "/v1/keys", json=body)

    async def keys(self) -> Rows:
        """All API keys, newest first, revoked ones too."""
        rows: Rows = (await self._call("GET", "/v1/keys")).get("keys") or []
        return rows

    async def revoke_key(self, key_id: str) -> Json:
        return await self._call("DELETE", f"/v1/keys/{quote(key_id, safe='')}")

    async def schedules(
        self, method: str = "GET", *path: str, body: Mapping[str, Any] | None = None, once: bool = False, **params: Any
    ) -> Json:
        """A call below `/v1/schedules`. `once`: sent again, it is the same call."""
        rest: Json = {} if body is None else {"json": dict(body)}
        if once:
            rest["headers"] = {"Idempotency-Key": uuid.uuid4().hex}
        address = "/".join(("/v1/schedules", *(quote(part, safe="") for part in path)))
        return await self._call(method, address, params={k: v for k, v in params.items() if v}, **rest)

    async def workers(self) -> Rows:
        """One entry per worker process that is present or left within a day; its `state` says which."""
        answer = await self._call("GET", "/v1/workers")
        rows: Rows = answer.get("workers") or []
        return rows

    async def health(self) -> Json:
        """`{"ready": bool, ...}` with what the server says about its dependencies."""
        response = await self._request("GET", "/readyz")
        return {"ready": response.is_success, **_json(response)}

    async def events(self, execution_id: str, last_event_id: int | None = None) -> AsyncGenerator[StreamEvent, None]:
        """Follow an execution to its end. After a broken connection it goes on where the connection broke (law L7).

        Without `last_event_id` the first event is a snapshot; with it, only the log's rows after that seq come (0: the
        whole log). The last event is `end`. Raises `ApiError` when the server cannot serve it, `Unreachable` when no
        server answers for a minute.
        """
        seen, pauses = last_event_id, _Pauses(self._patience_s)
        while True:
            broken: ApiError | None = None
            try:
                async with aclosing(self._stream(execution_id, seen)) as stream:
                    async for event in stream:
                        pauses.reset()
                        if seen is not None and event.id <= seen and event.kind == "update":
                            continue
                        seen = max(event.id, seen or 0)
                        yield event
                        if event.kind == "end":
                            return
            except (httpx.TransportError, httpx_sse.SSEError, json.JSONDecodeError):
                pass  # it goes on below, as after a stream that ends without `end`
            except ApiError as error:
                if 400 <= error.status < 500 and error.status != 429:
                    raise
                broken = error
            await pauses.sleep_or_raise(broken)

    async def _stream(self, execution_id: str, seen: int | None) -> AsyncGenerator[StreamEvent, None]:
        headers = {"Accept": "text/event-stream"} | ({} if seen is None else {"Last-Event-ID": str(seen)})
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S, read=SILENCE_S)
        path = f"/v1/executions/{quote(execution_id, safe='')}/events"
        async with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if not response.is_success:
                await response.aread()
                raise _problem(response)
            async for sse in httpx_sse.EventSource(response).aiter_sse():
                data = json.loads(sse.data or "{}")
                if sse.event == "error":
                    raise _typed(data, response.status_code)
                if sse.event in ("snapshot", "update", "end"):
                    kind = cast(Literal["snapshot", "update", "end"], sse.event)
                    yield StreamEvent(kind=kind, id=int(data.get("seq") or sse.id or 0), data=data)

    async def _call(self, method: str, path: str, **rest: Any) -> Json:
        response = await self._request(method, path, **rest)
        if not response.is_success:
            raise _problem(response)
        return _json(response)

    async def _request(self, method: str, path: str, **rest: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **rest)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise _unreachable(self.url, error) from error


class _Pauses:
    """Growing pauses between tries, until `patience_s` have passed since the last success."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self.reset()

    def reset(self) -> None:
        self._since = monotonic()
        self._pause_s = FIRST_PAUSE_S

    async def sleep_or_raise(self, error: ApiError | None) -> None:
        """Sleep before the next try. Raises `error`, else `Unreachable`, when the tries have lasted too long."""
        if monotonic() - self._since + self._pause_s > self._patience_s:
            raise error or Unreachable(
                code="UNAVAILABLE",
                title="No server answers",
                detail=f"tried for {self._patience_s:g} s",
                next_step="The execution goes on without us: agent-runner executions watch ID follows it again.",
            )
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)


def _problem(response: httpx.Response) -> ApiError:
    """The error in the server's answer; an answer of a gateway, or an empty one, gets a text of ours."""
    said = _json(response)
    if response.status_code in (502, 503, 504) and not said.get("code"):
        return Unreachable(
            code="UNAVAILABLE", title="The server is not ready", detail=f"HTTP {response.status_code}",
            status=response.status_code, next_step="agent-runner doctor shows what is down.",
        )  # fmt: skip
    return _typed(said, response.status_code)


def _typed(said: Json, status: int) -> ApiError:
    return ApiError(
        code=str(said.get("code") or f"HTTP_{status}"),
        title=str(said.get("title") or f"The server answered {status}"),
        detail=str(said.get("detail") or ""),
        next_step=str(said.get("next_step") or ""),
        status=int(said.get("status") or status),
    )


def _authorities(url: str, ca: Path | None) -> ssl.SSLContext:
    """Without TLS nobody is trusted: to read the system's authorities takes 15 ms, at the start of each command."""
    if ca is None and url.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return trusted(ca) if ca else httpx.create_ssl_context()


def _unreachable(url: str, error: Exception) -> Unreachable:
    return Unreachable(
        code="UNAVAILABLE",
        title=f"No server answers at {url}",
        detail=str(error) or type(error).__name__,
        next_step="Start one with agent-runner dev, or name another with --server or AGENT_RUNNER_HTTP_URL.",
    )


def _json(response: httpx.Response) -> Json:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {"entries": found} if isinstance(found, list) else {}
