#!/bin/bash
# One would guess: the clients of the two large providers, made by the same generator, treat a Retry-After alike; the older
#   ones gave up on a wait above 60 s and used their own short back-off.
# What happens: openai 3.57.0 gives up at once (one attempt) where Retry-After is above 120 s. anthropic 2.14.0 has no such
#   limit: it sleeps in silence for as long as the header says (cut at 4,294,967 s, seven weeks). A rate limit with
#   "come back in an hour" is an agent that hangs in one model call, without an exception, a log line or a callback, and is
#   ended later by somebody's time-out with a reason that is not the true one.
# Version: anthropic 2.14.0, openai 3.57.0.
# Source: anthropic/_base_client.py BaseClient._calculate_retry_timeout; openai/_base_client.py BaseClient._should_retry.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q anthropic==2.14.0 openai==3.57.0
cat > "$work/seen.py" <<'PY'
import asyncio, json, time
import anthropic, openai

asked = []
slept = []

async def serve(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(int(l.split(b":")[1]) for l in head.split(b"\r\n") if l.lower().startswith(b"content-length"))
    await reader.readexactly(size)
    asked.append(head.split(b" ", 2)[1].decode())
    body = json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}).encode()
    writer.write(b"HTTP/1.1 429 X\r\nretry-after: 3600\r\nconnection: close\r\ncontent-type: application/json\r\n"
                 b"content-length: %d\r\n\r\n%s" % (len(body), body))
    await writer.drain(); writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    ask = [{"role": "user", "content": "hi"}]
    async def timed(call):
        try:
            await asyncio.wait_for(call, 15)
        except Exception as error:
            return type(error).__name__
    o = openai.AsyncOpenAI(api_key="k", base_url=url)
    a = anthropic.AsyncAnthropic(api_key="k", base_url=url)
    seen_o = await timed(o.chat.completions.create(model="m", messages=ask)); n_o = len(asked)
    seen_a = await timed(a.messages.create(model="m", max_tokens=5, messages=ask)); n_a = len(asked) - n_o
    print(f"openai {openai.__version__}: Retry-After 3600: {seen_o} after {n_o} request(s)")
    print(f"anthropic {anthropic.__version__}: Retry-After 3600: {seen_a} after {n_a} request(s): still asleep after 15 s" )
    return (seen_o, n_o, seen_a, n_a) == ("RateLimitError", 1, "TimeoutError", 1)

raise SystemExit(0 if asyncio.run(main()) else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
