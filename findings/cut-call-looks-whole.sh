#!/bin/bash
# One would guess: a stream that ends in the middle of a tool call's arguments (a gateway's time limit, a server that runs
#   out of memory, a content filter) ends in an exception, or leaves an *invalid* tool call: half of a JSON text is no JSON.
# What happens: no exception, and a *valid* tool call. LangChain completes the JSON of every call when it merges the chunks
#   (it closes the open string and the object), so `rm -rf /work/tmp` that was cut becomes a whole call of `rm -rf /work`.
#   The same for finish reasons content_filter and length, and for an error that the server sends as a chunk
#   ({"object": "error"}, as vLLM does): the client skips it in silence. The raw text is gone from the final message.
# Version: langchain-openai 1.7.4, langchain-core 1.8.3, openai 3.57.0.
# Source: langchain_core/messages/ai.py AIMessageChunk.init_tool_calls (parse_partial_json);
#   langchain_openai/chat_models/base.py BaseChatOpenAI._convert_chunk_to_generation_chunk; openai/_streaming.py.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langchain-openai==1.7.4 langchain-core==1.8.3 openai==3.57.0
cat > "$work/seen.py" <<'PY'
import asyncio, json
from langchain_openai import ChatOpenAI

def delta(made, reason=None):
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": made, "finish_reason": reason}]}

CUT = delta({"role": "assistant", "tool_calls": [{"index": 0, "id": "call_1", "type": "function",
             "function": {"name": "run", "arguments": '{"command": "rm -rf /work'}}]})
ENDS = {
    "the stream just ends": [],
    "an error as a chunk": [{"object": "error", "message": "out of memory", "type": "InternalServerError", "code": 500}],
    "content_filter": [delta({}, "content_filter")],
    "length": [delta({}, "length")],
    "tool_calls": [delta({}, "tool_calls")],
}
chunks = []

async def serve(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(int(l.split(b":")[1]) for l in head.split(b"\r\n") if l.lower().startswith(b"content-length"))
    await reader.readexactly(size)
    body = b"".join(b"data: %s\n\n" % json.dumps(c).encode() for c in chunks)
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n%s"
                 % (len(body), body))
    await writer.drain(); writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    model = ChatOpenAI(model="m", api_key="k", base_url=url, streaming=True, use_responses_api=False)
    same = True
    for name, end in ENDS.items():
        chunks[:] = [CUT, *end]
        try:
            message = await model.ainvoke("go")
            print(f"{name}: valid calls {[c['args'] for c in message.tool_calls]}, invalid {message.invalid_tool_calls}")
            same &= [c["args"] for c in message.tool_calls] == [{"command": "rm -rf /work"}]
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {error}")
            same = False
    return same

raise SystemExit(0 if asyncio.run(main()) else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
