#!/bin/bash
# One would guess: a call of an MCP tool whose request is answered 503 once (a gateway that deploys, a limit of rate) raises
#   an error that says so at `call_tool`, as an HTTP client would; the session stays, and the next call is answered.
# What happens: `call_tool` raises asyncio.CancelledError, which no `except Exception` of a tool catches and which a
#   framework takes for its own cancel (nobody cancelled the task). Each further call in the block ends the same way,
#   although the server is well again. The 503 with its status is raised only where the block of the transport is left,
#   inside an ExceptionGroup. The cause: a request runs as a task of the transport's task group, and raise_for_status()
#   in it cancels the whole group, which includes the task that entered the block.
#   A client needs a task of its own for each session, and has to open it again after any answer that is no success.
# Seen: calls before, at and after the one 503: ["3", "CancelledError", "CancelledError"]; raised by the block: ExceptionGroup [503];
#   a new session: 3.
# Version: mcp 1.30.0, anyio 4.16.0, httpx 0.28.1, CPython 3.11.
# Source: mcp/client/streamable_http.py StreamableHTTPTransport._handle_post_request (raise_for_status) and post_writer
#   (`tg.start_soon(handle_request_async)`); only a 404 becomes an answer to the caller.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q mcp==1.30.0 anyio==4.16.0 httpx==0.28.1 uvicorn==0.54.0
cat > "$work/seen.py" <<'PY'
import asyncio, socket, threading
import uvicorn
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.server.fastmcp import FastMCP

server = FastMCP("counter", log_level="CRITICAL")
refusals = []


@server.tool()
def add(a: int, b: int) -> str:
    return str(a + b)


behind = server.streamable_http_app()


async def gateway(scope, receive, send):
    """In front of the server: answers 503 as often as `refusals` says."""
    if scope["type"] == "http" and scope["method"] == "POST" and refusals:
        status = refusals.pop()
        await send({"type": "http.response.start", "status": status, "headers": [(b"retry-after", b"1")]})
        await send({"type": "http.response.body", "body": b""})
        return
    await behind(scope, receive, send)


async def called(session):
    try:
        return (await session.call_tool("add", {"a": 1, "b": 2})).content[0].text
    except BaseException as error:
        return type(error).__name__


async def main(url):
    seen = []
    try:
        async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            seen.append(await called(session))
            refusals.append(503)
            seen.append(await called(session))
            seen.append(await called(session))
    except BaseException as error:
        group = error
    print("calls before, at and after the one 503:", seen, "| cancels asked for by anybody:", asyncio.current_task().cancelling())
    print("raised by the block:", type(group).__name__, [getattr(e, "response", None) and e.response.status_code for e in group.exceptions])
    async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as session:
        await session.initialize()
        print("a new session:", await called(session))
    return seen == ["3", "CancelledError", "CancelledError"]


listening = socket.socket()
listening.bind(("127.0.0.1", 0))
running = uvicorn.Server(uvicorn.Config(gateway, log_level="error"))
threading.Thread(target=lambda: running.run(sockets=[listening]), daemon=True).start()
same = asyncio.run(asyncio.wait_for(main(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"), 60))
running.should_exit = True
raise SystemExit(0 if same else "it behaves otherwise now")
PY
"$work/venv/bin/python" "$work/seen.py"
