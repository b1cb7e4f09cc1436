#!/bin/bash
# One would guess: `daytona.get(id, request_timeout=2)` against a service that does not answer ends after 2 s, with the
#   error class that the SDK has for it (DaytonaTimeoutError; its asynchronous client raises that). The parameter's text:
#   "It bounds how long the SDK waits for the HTTP response".
# What happens: it ends after 8 s and sends the request four times, because the limit is that of one try, and urllib3
#   repeats what only reads three times by default. What it raises is neither DaytonaTimeoutError nor
#   DaytonaConnectionError but their base class without a status: the SDK translates urllib3's ReadTimeoutError and
#   NewConnectionError, and with repeats urllib3 never raises those, it raises MaxRetryError around them. So a refused
#   connection is no DaytonaConnectionError either, and code that tells "not reachable" from other failures by class
#   works with AsyncDaytona and fails with Daytona.
# Version: daytona 0.226.1, urllib3 2.8.0.
# Source: daytona/_utils/errors.py TRANSPORT_ERROR_TO_DAYTONA_ERROR; daytona/_sync/daytona.py (Configuration without
#   retries); urllib3/connectionpool.py urlopen, urllib3/util/retry.py Retry.DEFAULT.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q daytona==0.226.1 urllib3==2.8.0
cat > "$work/seen.py" <<'PY'
import asyncio, logging, socket, threading, time

logging.disable(logging.CRITICAL)
from daytona import AsyncDaytona, Daytona, DaytonaConfig, DaytonaConnectionError, DaytonaError, DaytonaTimeoutError

asked, held = [], []
silent = socket.create_server(("127.0.0.1", 0))
with socket.create_server(("127.0.0.1", 0)) as once:
    closed = once.getsockname()[1]

def listen():
    """Reads each request and answers none; the SDK's socket for events is closed at once."""
    while True:
        peer, _ = silent.accept()
        line = peer.recv(65536).split(b"\r\n")[0].decode()
        if "socket.io" in line:
            peer.close()
        else:
            asked.append(line)
            held.append(peer)

threading.Thread(target=listen, daemon=True).start()

def config(port):
    return DaytonaConfig(api_key="k", api_url=f"http://127.0.0.1:{port}/api", target="us")

async def asynchronous(port):
    async with AsyncDaytona(config(port)) as client:
        await client.get("x", request_timeout=2)

def seen(who, port):
    asked.clear()
    began = time.monotonic()
    try:
        if who == "AsyncDaytona":
            asyncio.run(asynchronous(port))
        else:
            Daytona(config(port)).get("x", request_timeout=2)
    except DaytonaError as error:
        kinds = [one.__name__ for one in (DaytonaTimeoutError, DaytonaConnectionError) if isinstance(error, one)]
        what = "refused" if port == closed else "no answer"
        print(f"{who}, {what}: {time.monotonic() - began:.1f} s, {len(asked)} requests, {type(error).__name__}, an"
              f" instance of {kinds or 'neither'}", flush=True)
        return len(asked), kinds

both = ["DaytonaTimeoutError", "DaytonaConnectionError"]
port = silent.getsockname()[1]
found = [seen("Daytona", port), seen("AsyncDaytona", port), seen("Daytona", closed), seen("AsyncDaytona", closed)]
expected = [(4, []), (1, both), (0, []), (0, ["DaytonaConnectionError"])]
raise SystemExit(0 if found == expected else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
