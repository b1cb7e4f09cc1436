#!/bin/bash
# One would guess: a failure that OpenAI's Responses API tells in its stream (`response.failed`, `error`) is raised as an error
#   of the client, with the code and the message that the server sent, as it is where the status is not 200.
# What happens: langchain-openai raises a bare ValueError whose text is the repr of the error object, or "code: message". It has
#   no code, no status and no body, and its class is of no provider: a retry or a fallback that looks at the class of errors
#   (openai.APIError, RateLimitError) takes a rate limit or an overloaded server for a mistake of the program.
# Version: langchain-openai 1.7.4, openai 3.57.0
# Source: langchain_openai/chat_models/base.py _convert_responses_chunk_to_generation_chunk (`raise ValueError(error_msg)`)
# Here: clients/models/providers.py reads code and message from the text (`_told_by_responses`).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q langchain-openai==1.7.4 openai==3.57.0
cat > "$work/seen.py" <<'PY'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from langchain_openai import ChatOpenAI

ERROR = {"code": "rate_limit_exceeded", "message": "Slow down"}
RESPONSE = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": [], "parallel_tool_calls": True,
            "tool_choice": "auto", "tools": [], "status": "failed", "error": ERROR}
EVENTS = {"failed": {"type": "response.failed", "sequence_number": 0, "response": RESPONSE},
          "error": {"type": "error", "sequence_number": 0, "param": None, **ERROR}}


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        event = EVENTS[body["model"]]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
bare = 0
for name in EVENTS:
    model = ChatOpenAI(model=name, api_key="k", base_url=f"http://127.0.0.1:{server.server_port}", use_responses_api=True)
    try:
        list(model.stream("hi"))
    except Exception as error:
        bare += type(error) is ValueError
        print(f"{name:8}{type(error).__name__}: {error}")
raise SystemExit(0 if bare == len(EVENTS) else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
