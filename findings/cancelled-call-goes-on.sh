#!/bin/bash
# One would guess: a tool call that the client gives up (its task is cancelled, or its timeout is over) is given up by the
#   server too. The protocol has a message for it (notifications/cancelled), and the server of the same package obeys it.
# What happens: the client never sends it. The caller gets its CancelledError or "Timed out", the server works on, with all
#   its effects, until the tool is done, and nobody reads the answer. Where servers are shared between runs, cancelled calls
#   pile up in them. With the notification, sent by hand, the server stops the tool at once.
# Version: mcp 1.30.0.
# Source: mcp/shared/session.py BaseSession.send_request: `finally` drops the response's stream and sends nothing;
#   _receive_loop cancels a request in flight when the notification comes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q mcp==1.30.0
cat > "$work/server.py" <<'PY'
import sys
import anyio
from mcp.server.fastmcp import FastMCP

server = FastMCP("demo", log_level="CRITICAL")

def note(text):
    with open(sys.argv[1], "a") as journal:
        journal.write(text + "\n")

@server.tool()
async def work() -> str:
    """Takes two seconds."""
    note("started")
    try:
        await anyio.sleep(2)
        note("finished")
    except BaseException:
        note("stopped")
        raise
    return "done"

server.run()
PY
cat > "$work/seen.py" <<'PY'
import asyncio, datetime, pathlib, sys
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client

folder = pathlib.Path(sys.argv[1])

async def fate(how):
    """What became of the tool after the client has given up its call."""
    journal = folder / how
    journal.touch()
    program = StdioServerParameters(command=sys.executable, args=[str(folder / "server.py"), str(journal)])
    limit = datetime.timedelta(seconds=1) if how == "timeout" else None
    async with stdio_client(program) as streams, ClientSession(*streams) as session:
        await session.initialize()
        call = asyncio.create_task(session.call_tool("work", {}, read_timeout_seconds=limit))
        while "started" not in journal.read_text():
            await asyncio.sleep(0.02)
        if how != "timeout":
            call.cancel()
        try:
            await call
        except (asyncio.CancelledError, McpError):
            pass
        if how == "told":  # requests are numbered from 0: initialize is the first
            told = types.CancelledNotification(params=types.CancelledNotificationParams(requestId=1))
            await session.send_notification(types.ClientNotification(told))
        async with asyncio.timeout(30):
            while len(lines := journal.read_text().split()) < 2:
                await asyncio.sleep(0.02)
        await session.send_ping()  # the answer that nobody reads has come by then
    return lines[1]

async def main():
    return {how: await fate(how) for how in ("cancelled", "timeout", "told")}

seen = asyncio.run(main())
print("the tool, after its call was cancelled / ran into its timeout / was cancelled and the server told:", seen)
same = seen == {"cancelled": "finished", "timeout": "finished", "told": "stopped"}
raise SystemExit(0 if same else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py" "$work"
