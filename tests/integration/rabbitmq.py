"""RabbitMQ for the integration tests: the one that AGENT_RUNNER_TEST_AMQP_URL names, and nodes of a test's own."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest
from kombu import Connection

from tests.support.ports import free_port
from tests.support.waiting import eventually

VARIABLE = "AGENT_RUNNER_TEST_AMQP_URL"
START_S = 150.0
"""Erlang starts in 5 s, and on a machine full of work, which it shares with other tests, in more than a minute."""
EVERY_BROKER = pytest.mark.parametrize(
    "broker",
    [
        "redis",
        pytest.param(
            "rabbitmq",
            marks=pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"with RabbitMQ only if {VARIABLE} is set"),
        ),
    ],
    indirect=True,
)
"""`pytestmark = EVERY_BROKER` runs a module's tests with each broker; they use the fixture `broker`, or `stack`.

A message holds an execution's id and nothing else. Therefore these modules run with Redis alone: what they look at does
not cross the broker, whichever it is.

    test_bytes         what is written to the store and sent to the server
    test_own_graphs    a graph's input and output: from and to the server
    test_skills        archives and environments: from the server
    test_runner_key    what a key may do at the server

`test_canary` looks at everything that does cross it, and has a test for each broker.
"""


def messages_ready(url: str, queue: str) -> int:
    with Connection(url, connect_timeout=5) as connection:
        channel: Any = connection.default_channel
        return int(channel.queue_declare(queue, passive=True).message_count)


def scripts() -> Path | None:
    """Where rabbitmq-server is. Debian's wrapper on the PATH becomes another user; the real one is used."""
    found = shutil.which("rabbitmq-server")
    places = [Path("/usr/lib/rabbitmq/bin"), *([Path(found).resolve().parent] if found else [])]
    return next((p for p in places if (p / "rabbitmq-server").exists()), None)


class RabbitNode:
    """A node of its own, with its own epmd, cookie and data, to be killed and started again."""

    def __init__(self, folder: Path, place: Path) -> None:
        self.folder, self._place, self._log = folder, place, folder / "rabbitmq.log"
        self.port, distribution, epmd = free_port(), free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        for name in ("home", "data", "log"):
            (folder / name).mkdir()
        (folder / "plugins").write_text("[].")
        # Looked for every second instead of every minute, and within what a test can wait.
        (folder / "advanced.config").write_text(
            "[{rabbit, [{consumer_timeout, 10000}, {channel_tick_interval, 1000}]}]."
        )
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        }

    def __enter__(self) -> "RabbitNode":
        # Ours, in the foreground: the one that a node starts for itself outlives it.
        self._epmd = subprocess.Popen(["epmd"], env=self._environment)
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._epmd.terminate()
        self._epmd.wait(10)

    def start(self) -> None:
        with self._log.open("wb") as output:
            self._popen = subprocess.Popen(
                [str(self._place / "rabbitmq-server")],
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(lambda: b"completed with" in self._log.read_bytes(), within_s=START_S, what="RabbitMQ")

    def signal(self, number: int) -> None:
        """To the whole node: the script that started it, and Erlang."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, number)

    def end(self, number: int) -> None:
        """Until it is gone."""
        self.signal(number)
        self._popen.wait(30)

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    @property
    def version(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.ctl("version").strip().split(".")[:2])

    def ctl(self, *words: str) -> str:
        done = subprocess.run(
            [str(self._place / "rabbitmqctl"), "--quiet", *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close_connections(self) -> None:
        """Every one of them, as an operator does it; clients are told."""
        self.ctl("close_all_connections", "test")

    def delete_queue(self, name: str) -> None:
        """Also one that is not there. By AMQP: `rabbitmqctl` starts an Erlang of its own each time."""
        with amqp.Connection(f"127.0.0.1:{self.port}") as connection:
            connection.channel().queue_delete(name)

    def type_of(self, queue: str) -> str:
        """Empty when there is none of that name."""
        rows = self.ctl("list_queues", "--no-table-headers", "name", "type").splitlines()
        return dict(row.split("\t") for row in rows if row).get(queue, "")


@contextlib.contextmanager
def a_node(folder: Path) -> Iterator[RabbitNode]:
    place = scripts()
    if place is None or shutil.which("epmd") is None:
        pytest.skip("rabbitmq-server or Erlang's epmd is not installed")
    with RabbitNode(folder, place) as node:
        yield node
