"""Everything that somebody could read of an execution from outside: what a secret must not be found in.

A surface is a name and its bytes. What crosses the broker is recorded while it happens (Redis' MONITOR, RabbitMQ's
firehose); the rest is read afterwards.
"""

import base64
import json
import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import amqp
import httpx
import psutil
import redis

from tests.integration.rabbitmq import RabbitNode
from tests.integration.stack import KEY, Json, Stack

Surface = tuple[str, bytes]
BODY = re.compile(rb'"body\\*": \\*"([A-Za-z0-9+/=]+)')


class Monitor:
    """Every command that crosses the broker, as Redis itself shows it. `with Monitor(port) as monitor:`"""

    def __init__(self, port: int) -> None:
        self._client = redis.Redis(port=port)
        self._commands: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Monitor":
        self._monitor: Any = self._client.monitor()  # type: ignore[no-untyped-call]
        self._monitor.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # The recorder reads until it sees this.
        with redis.Redis(port=self._client.get_connection_kwargs()["port"]) as other:
            other.echo("the-end-of-the-recording")
        self._thread.join(20)
        self._monitor.__exit__(None, None, None)
        self._client.close()

    def _listen(self) -> None:
        for command in self._monitor.listen():
            said = command["command"]
            self._commands.append(said if isinstance(said, bytes) else str(said).encode())
            if b"the-end-of-the-recording" in self._commands[-1]:
                return

    @property
    def recorded(self) -> bytes:
        """With the bodies of messages, which kombu writes in base64, in clear."""
        bodies = [base64.b64decode(body) for command in self._commands for body in BODY.findall(command)]
        return b"\n".join([*self._commands, *bodies])


class Firehose:
    """Every message that crosses a RabbitMQ, as its own tracing shows it. `with Firehose(node) as firehose:`"""

    def __init__(self, node: RabbitNode) -> None:
        self._node = node
        self._messages: list[bytes] = []
        self._end, self._ended = uuid.uuid4().hex, False
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Firehose":
        self._connection = amqp.Connection(f"127.0.0.1:{self._node.port}")
        self._connection.connect()
        channel = self._connection.channel()
        queue = "recording"
        channel.queue_declare(queue, exclusive=True)
        channel.queue_bind(queue, "amq.rabbitmq.trace", "#")
        channel.basic_consume(queue, no_ack=True, callback=self._keep)
        self._node.ctl("trace_on")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # The recorder reads until it sees this.
        with amqp.Connection(f"127.0.0.1:{self._node.port}") as other:
            other.channel().basic_publish(amqp.Message(self._end), "amq.fanout")
        self._thread.join(20)
        self._node.ctl("trace_off")
        self._connection.close()

    def _keep(self, message: Any) -> None:
        body = message.body if isinstance(message.body, bytes) else str(message.body).encode()
        self._messages.append(repr((message.headers, message.properties)).encode() + b"\n" + body)
        self._ended = self._ended or body == self._end.encode()

    def _listen(self) -> None:
        while not self._ended:
            self._connection.drain_events(timeout=300)

    @property
    def recorded(self) -> bytes:
        assert self._ended, "the recording ended too early"
        return b"\n".join(self._messages)


class Events:
    """The SSE stream of one execution, byte for byte, from now to its end."""

    def __init__(self, stack: Stack, id: str) -> None:
        self._stack, self._id = stack, id
        self._read: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        headers = {"Authorization": f"Bearer {KEY}"}
        address = f"http://127.0.0.1:{self._stack.http_port}/v1/executions/{self._id}/events"
        with httpx.stream("GET", address, headers=headers, timeout=60, trust_env=False) as answer:
            self._read.extend(answer.iter_bytes())

    def whole(self) -> bytes:
        self._thread.join(60)
        assert not self._thread.is_alive(), "the stream did not close"
        return b"".join(self._read)


def of_redis(port: int) -> Iterator[Surface]:
    """All keys with what they hold, not as DUMP packs it."""
    with redis.Redis(port=port) as client:
        for key in client.scan_iter(count=1000):
            kind = client.type(key).decode()
            yield f"Redis {kind} {key.decode(errors='replace')}", key + b"\n" + repr(_value(client, kind, key)).encode()


def _value(client: "redis.Redis", kind: str, key: bytes) -> Any:
    match kind:
        case "string":
            return client.get(key)
        case "list":
            return client.lrange(key, 0, -1)
        case "hash":
            return client.hgetall(key)
        case "set":
            return client.smembers(key)
        case "zset":
            return client.zrange(key, 0, -1, withscores=True)
        case "stream":
            return client.xrange(key)
    raise AssertionError(f"a key of type {kind}")


def of_files(folder: Path, *, without: str = "") -> Iterator[Surface]:
    """Databases with their journals, checkpoints, Redis' append-only files, logs of all processes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not (without and path.is_relative_to(folder / without)):
            yield f"file {path.relative_to(folder)}", path.read_bytes()


def of_processes(stack: Stack) -> Iterator[Surface]:
    """Environment and command line of every process of the stack."""
    for process in stack.survivors():
        try:
            environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            yield (
                f"process {process.pid} {process.name()}",
                environment + b"\0".join(part.encode() for part in process.cmdline()),
            )
        except (OSError, psutil.Error):
            continue


def of_flower(port: int, id: str) -> Iterator[Surface]:
    """Its API and its pages about all tasks and workers."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=("admin", KEY), timeout=30, trust_env=False) as flower:
        tasks: dict[str, Json] = flower.get("/api/tasks").raise_for_status().json()
        yield "Flower /api/tasks", json.dumps(tasks).encode()
        for task in tasks:
            for address in (f"/api/task/info/{task}", f"/api/task/result/{task}", f"/task/{task}"):
                yield f"Flower {address}", flower.get(address).content
        for address in ("/api/workers?refresh=1", "/workers", "/tasks", "/metrics"):
            yield f"Flower {address}", flower.get(address).content


def of_api(stack: Stack, *addresses: str) -> Iterator[Surface]:
    for address in addresses:
        yield f"GET {address}", stack.http.get(address).raise_for_status().content
