#!/bin/bash
# One would guess: `exec_start` of the docker SDK returns all that the command printed, and with `socket=True` a socket
#   from which all of it can be read.
# What happens: what the engine sends together with the head of its answer is lost, without any error: `exec_start`
#   returns b'' for a command that printed a line. The SDK reads the head through http.client's buffered reader, which
#   takes as much as there is, and then reads from the raw socket below that reader. Whether a short output arrives with
#   the head depends on how busy the two machines are, so now and then a command seems to have printed nothing. What was
#   lost is still in the reader, `response.raw._fp.fp.peek()`, which is where our adapter takes it from.
# Version: docker 7.2.0.
# Source: docker/api/client.py _get_raw_response_socket (`response.raw._fp.fp.raw`), _read_from_socket.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q docker==7.2.0
cat > "$work/seen.py" <<'PY'
import socket, sys, threading, time

import docker

path = sys.argv[1]
FRAME = b"\x01\x00\x00\x00\x00\x00\x00\x06hello\n"
HEAD = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

def engine(listener, pause_s):
    """Answers one request as an engine does that has started a program: a head, then what the program printed."""
    peer, _ = listener.accept()
    with peer, peer.makefile("rb") as request:
        length = 0
        while (line := request.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        request.read(length)
        if pause_s:
            peer.sendall(HEAD)
            time.sleep(pause_s)
            peer.sendall(FRAME)
        else:
            peer.sendall(HEAD + FRAME)

def printed(pause_s, **options):
    with socket.socket(socket.AF_UNIX) as listener:
        name = f"{path}/{time.monotonic_ns()}"
        listener.bind(name)
        listener.listen()
        threading.Thread(target=engine, args=(listener, pause_s), daemon=True).start()
        return docker.APIClient(base_url=f"unix://{name}", version="1.41").exec_start("id", **options)

later, together = printed(0.5), printed(0)
print(f"head, then output: {later!r}; head and output together: {together!r}")
raw = printed(0, socket=True)
left = raw._response.raw._fp.fp.peek()
print(f"the socket has {raw._sock.recv(100)!r}, the reader above it {left!r}")
raise SystemExit(0 if (later, together, left) == (b"hello\n", b"", FRAME) else "the behaviour has changed")
PY
"$work/venv/bin/python" -W ignore "$work/seen.py" "$work"
