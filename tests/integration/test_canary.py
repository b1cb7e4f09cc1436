"""C4, law L9: three secrets that an agent's tools use and print, and not one place outside of the tools shows them."""

import json
import secrets
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.rabbitmq import RabbitNode
from tests.integration.stack import KEY, Json, Stack
from tests.integration.surfaces import (
    Events,
    Firehose,
    Monitor,
    Surface,
    of_api,
    of_files,
    of_flower,
    of_processes,
    of_redis,
)
from tests.support.ports import free_port
from tests.support.waiting import eventually

NAMES = ("FROM_AGENT", "FROM_ENVIRONMENT", "FROM_RUNTIME")
MASKED = "********"


class Canaries:
    """One secret per name. Each has a core that no way of writing it changes, so that every form is found."""

    def __init__(self) -> None:
        self.cores = {name: f"canary{secrets.token_hex(12)}" for name in NAMES}
        self.values = {name: f"\"q\\uoted' {core}\té$HOME" for name, core in self.cores.items()}

    def found_in(self, surfaces: Iterable[Surface]) -> list[str]:
        return [
            f"{name} in {where}"
            for where, content in surfaces
            for name, core in self.cores.items()
            if core.encode() in content
        ]


@contextmanager
def door(opens_for: dict[str, str]) -> Iterator[tuple[int, list[bool]]]:
    """A service that the secrets are for: its port, and for each call whether they were right."""
    calls: list[bool] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            calls.append(given == opens_for)
            self.send_response(204 if calls[-1] else 403)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_address[1]), calls
    finally:
        server.shutdown()
        server.server_close()


def session_with_secrets(stack: Stack, canaries: Canaries) -> str:
    """An agent with an env_spec, its instance with an environment, a session of both."""

    def make(route: str, kind: str, **spec: Any) -> Json:
        metadata = {"name": f"canary {kind}", "owner_scope": "organization"}
        body = {"api_version": "agentic.stigmer.ai/v1", "kind": kind, "metadata": metadata, "spec": spec}
        answer = stack.http.post(f"/v1/{route}", json=body)
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        return made

    def secret(name: str) -> Json:
        return {name: {"value": canaries.values[name], "is_secret": True}}

    instructions = "Use what you were given."
    agent = make("agents", "Agent", instructions=instructions, env_spec={"data": secret("FROM_AGENT")})
    environment = make("environments", "Environment", data=secret("FROM_ENVIRONMENT"))
    refs = [{"kind": "environment", "slug": environment["metadata"]["slug"]}]
    instance = make("agent-instances", "AgentInstance", agent_id=agent["metadata"]["id"], environment_refs=refs)
    session = make("sessions", "Session", agent_instance_id=instance["metadata"]["id"])
    return str(session["metadata"]["id"])


def message(port: int) -> str:
    """Uses all three, and prints them in every way that comes to mind."""
    python = f"{sys.executable} -c"
    given = f"{{n: os.environ[n] for n in {NAMES!r}}}".replace("'", '\\"')
    opened = f"print(urllib.request.urlopen('http://127.0.0.1:{port}', json.dumps({given}).encode()).status)"
    all_of_them = " ".join(NAMES)
    return "\n".join(
        [
            f'$ {python} "import json, os, urllib.request; {opened}"',
            f"$ printenv {all_of_them}",
            "$ env",
            "$ export -p",
            f'$ {python} "import json, os; print(json.dumps(dict(os.environ)))"',
            f'$ {python} "import os; print(dict(os.environ))"',
            f"$ printenv {all_of_them} > kept.txt; printenv {all_of_them} >&2; exit 3",
            "> read /kept.txt",
            f"$ seq 1 50000; printenv {all_of_them}; seq 1 50000; printenv {all_of_them}",
            '$ ls "/nowhere/$FROM_RUNTIME" "/nowhere/$FROM_AGENT"',
            '$ touch "named $FROM_ENVIRONMENT"; ls',
            f"@researcher look at $ printenv {all_of_them} $ cat kept.txt",
        ]
    )


def flower_of(stack: Stack) -> int:
    port = free_port()
    stack.start("flower", FLOWER_PORT=str(port))

    def up() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/api/workers", auth=("admin", KEY), trust_env=False).is_success
        except httpx.HTTPError:
            return False

    eventually(up, within_s=60, what="Flower")
    return port


@pytest.mark.timeout(300)
@pytest.mark.parametrize("log_level", ["INFO", "DEBUG"])
@pytest.mark.promise("1.69")
def test_no_secret_leaves(tmp_path: Path, log_level: str) -> None:
    """The tools use the values; outside of the tools' processes there is nothing of them, in any form."""
    with Stack.open(tmp_path, LOG_LEVEL=log_level, AGENT_RUNNER_SANDBOX_NETWORK="on") as stack:
        look_everywhere(stack, Canaries())


@pytest.mark.timeout(300)
@pytest.mark.promise("1.69")
def test_no_secret_leaves_through_rabbitmq(tmp_path: Path, node: RabbitNode) -> None:
    """Nor is there anything of them in its messages or its files."""
    with Stack.open(tmp_path, node.url, LOG_LEVEL="DEBUG", AGENT_RUNNER_SANDBOX_NETWORK="on") as stack:
        look_everywhere(stack, Canaries(), node)


def look_everywhere(stack: Stack, canaries: Canaries, node: RabbitNode | None = None) -> None:
    flower = flower_of(stack)
    stack.start("orchestrator")
    stack.start_worker()
    session = session_with_secrets(stack, canaries)
    with ExitStack() as open_now:
        monitor = open_now.enter_context(Monitor(stack.redis_port))
        firehose = open_now.enter_context(Firehose(node)) if node else None
        port, calls = open_now.enter_context(door(canaries.values))
        env = {"FROM_RUNTIME": canaries.values["FROM_RUNTIME"]}
        created = stack.create(message(port), session_id=session, env=env)
        id = created["metadata"]["id"]
        events = Events(stack, id)
        ended = stack.wait_for(id, "EXECUTION_COMPLETED", within_s=90)
        stream = events.whole()
        # The next turn reads what the first one left in the memory.
        again = stack.create("What did I say?\n$ cat kept.txt", session_id=session, env=env)["metadata"]["id"]
        stack.wait_for(again, "EXECUTION_COMPLETED")
        seen = eventually(lambda: {n: c for n, c in of_flower(flower, id) if id.encode() in c}, what="Flower's tasks")
    assert calls == [True], "the tool did not use the three values"
    assert_masked(ended)
    routes = ("executions", "agents", "agent-instances", "sessions", "environments", "skills")
    surfaces = {
        "the message": json.dumps([created, ended]).encode(),
        "MONITOR": monitor.recorded,
        "SSE": stream,
        **seen,
        **dict(of_flower(flower, id)),
        **dict(of_redis(stack.redis_port)),
        **dict(of_files(stack.folder, without="sandboxes")),
        **dict(of_processes(stack)),
        **dict(of_api(stack, *(f"/v1/{route}" for route in routes), "/v1/workers", "/metrics")),
        **dict(of_api(stack, f"/v1/executions/{id}", f"/v1/executions/{again}", f"/v1/sessions/{session}")),
    }
    if node and firehose:
        surfaces |= {"firehose": firehose.recorded, **{f"RabbitMQ {n}": c for n, c in of_files(node.folder)}}
    assert_looked_at_the_right_things(surfaces, id, "firehose" if node else "MONITOR")
    assert canaries.found_in(surfaces.items()) == []
    assert canaries.found_in(of_files(stack.folder / "sandboxes")), "the tools' files hold them: the search works"
    stack.http.delete(f"/v1/sessions/{session}").raise_for_status()
    eventually(lambda: gone(canaries, stack), what="the sandbox to be removed")


def gone(canaries: Canaries, stack: Stack) -> bool:
    """No file of the stack holds one; false while files go away under the search."""
    try:
        return not canaries.found_in(of_files(stack.folder))
    except FileNotFoundError:
        return False


def assert_masked(ended: Json) -> None:
    """Every tool that printed shows asterisks in the values' places."""
    calls = [call for call in ended["status"]["tool_calls"] if call["name"] in ("execute", "read_file")]
    printed = [call for call in calls if MASKED in str(call.get("result")) + str(call.get("error"))]
    assert len(calls) == 13
    assert [call["args"] for call in calls if call not in printed] == [calls[0]["args"]]
    assert "204" in calls[0]["result"]


def assert_looked_at_the_right_things(surfaces: dict[str, bytes], id: str, broker: str) -> None:
    """A search that reads the wrong places finds nothing, too: each of these knows the execution."""
    arguments = f'[["{id}"], '.encode()
    assert arguments in surfaces[broker], f"no message of the execution in {broker}"
    for place in ("MONITOR", "SSE", "file agent-runner.db", "Flower /api/tasks"):
        assert any(id.encode() in content for name, content in surfaces.items() if name.startswith(place)), place
    for place in ("Redis string celery-task-meta", "file worker-", "file server-", "file appendonlydir", "process "):
        assert any(name.startswith(place) for name in surfaces), (place, sorted(surfaces))
    memory = b"".join(content for name, content in surfaces.items() if name.startswith("file checkpoints.db"))
    assert b"printenv" in memory
    assert MASKED.encode() in memory
