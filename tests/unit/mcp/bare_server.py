"""An MCP server without any package, which is there in a moment: `python bare_server.py [MODE]`.

echo (the default)   has `echo`, and `read`, and one with a name that models do not accept
hang                 never answers
noise                prints what is no message, and then works
flood                answers the first call with a line that never ends
child                leaves a process behind that ignores everything
"""

import json
import signal
import subprocess
import sys
import time

MODE = sys.argv[1] if len(sys.argv) > 1 else "echo"
TOOLS = [
    {"name": name, "description": f"It is {name}.", "inputSchema": {"type": "object"}}
    for name in ("echo", "read_file", "a.dotted/name")
]


def answer(request: dict) -> dict | None:  # type: ignore[type-arg]
    method, params = request.get("method"), request.get("params", {})
    if method == "initialize":
        info = {"name": "bare", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        if MODE == "flood":
            while True:
                sys.stdout.write("x" * (1 << 20))
        return {"content": [{"type": "text", "text": json.dumps({params["name"]: params.get("arguments")})}]}
    return None


if MODE == "hang":
    sys.stderr.write("still looking for the moon\n")
    sys.stderr.flush()
    time.sleep(3600)
if MODE == "noise":
    print("Welcome to the server!", flush=True)
if MODE == "child":
    code = "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(3600)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

for line in sys.stdin:
    request = json.loads(line)
    result = answer(request)
    if "id" in request and result is not None:
        print(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}), flush=True)
