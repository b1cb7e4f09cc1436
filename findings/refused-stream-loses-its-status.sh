#!/bin/bash
# One would guess: a call that the server refuses ends with the server's status (PERMISSION_DENIED and its text), whoever
#   the client is; grpc's two Python clients, the blocking one and grpc.aio, differ in how they are called and not in what
#   they report.
# What happens: where the caller still has messages to send when the refusal arrives, grpc.aio reports INTERNAL "Internal
#   error from Core" in most calls (about 19 of 20 with twenty messages, 2 of 3 with three, 1 in 2,000 with one), and
#   `call.code()` says the same for ever. The status that the server sent is lost: a client cannot tell a revoked key, a
#   quota or a drain from a bug, and retries what it must not. The blocking client reports the server's status every time.
# Version: grpcio 1.85.3.
# Source: grpc/aio/_call.py _StreamRequestMixin._write: a write that fails because the call has ended sets the call's status
#   (set_internal_error), before the status that the server sent is read.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q grpcio==1.85.3
cat > "$work/seen.py" <<'PY'
import asyncio, collections
import grpc

CALLS, MESSAGES = 500, 20

async def refuse(requests, context):
    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this key may not")

def blocking(port):
    seen = collections.Counter()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        talk = channel.stream_stream("/demo.Talk/Talk")
        for _ in range(CALLS):
            try:
                next(talk(iter([b"x"] * MESSAGES)))
            except grpc.RpcError as error:
                seen[error.code().name, error.details()] += 1
    return seen

async def asynchronous(port):
    seen = collections.Counter()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        talk = channel.stream_stream("/demo.Talk/Talk")
        for _ in range(CALLS):
            call = talk(iter([b"x"] * MESSAGES))
            try:
                await call.read()
            except grpc.aio.AioRpcError as error:
                seen[error.code().name, error.details()] += 1
            assert await call.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.PERMISSION_DENIED)
    return seen

async def main():
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(refuse)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("demo.Talk", {"Talk": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    true, hidden = ("PERMISSION_DENIED", "this key may not"), ("INTERNAL", "Internal error from Core")
    told, lost = await asyncio.to_thread(blocking, port), await asynchronous(port)
    await server.stop(None)
    print(f"grpcio {grpc.__version__}, {CALLS} refused calls with {MESSAGES} messages each")
    print(f"blocking client: {dict(told)}")
    print(f"grpc.aio client: {dict(lost)}")
    return told == {true: CALLS} and lost[hidden] > CALLS / 2

raise SystemExit(0 if asyncio.run(main()) else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py" 2>&1 | grep -v "GOAWAY"
exit "${PIPESTATUS[0]}"
