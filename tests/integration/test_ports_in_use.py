"""A server that cannot have its ports ends, and nothing of it stays: no process, no port, no connection to Redis."""

import socket
import sys

import pytest
import redis

from agent_runner.app.cli.commands.roles import SERVER_MODULE
from tests.integration.stack import Stack
from tests.support.ports import free_port
from tests.support.waiting import eventually


def connections(stack: Stack) -> set[str]:
    """The ids of those that Redis has now, without the one that asks."""
    with redis.Redis(port=stack.redis_port) as client:
        own = str(client.client_id())
        return {str(one["id"]) for one in client.client_list()} - {own}


@pytest.mark.parametrize("taken", ["HTTP", "GRPC"])
def test_a_server_without_its_ports_leaves_nothing(shared_server: Stack, taken: str) -> None:
    """It says which port, and ends; the server that has the port serves on, and one on free ports starts."""
    stack, free = shared_server, free_port()
    ports = {"AGENT_RUNNER_HTTP_PORT": str(free), "AGENT_RUNNER_GRPC_PORT": str(free)}
    in_use = str(stack.http_port if taken == "HTTP" else stack.grpc_port)
    ports[f"AGENT_RUNNER_{taken}_PORT"] = in_use
    ours = {one.pid for one in stack.survivors()}
    quiet = eventually(lambda: connections(stack))
    second = stack.spawn("server", [sys.executable, "-m", SERVER_MODULE], ports)
    assert second.popen.wait(60) == 1, second.output()
    said = second.output()
    assert "STARTUP FAILURE" in said
    assert in_use in said, said
    assert "Traceback" not in said
    assert {one.pid for one in stack.survivors()} == ours
    with socket.create_server(("127.0.0.1", free)):
        pass  # nobody holds it
    eventually(lambda: connections(stack) <= quiet or None, what="no connection of the second server")
    stack.wait_ready()
    own = {"AGENT_RUNNER_HTTP_PORT": str(free), "AGENT_RUNNER_GRPC_PORT": str(free_port())}
    third = stack.spawn("server", [sys.executable, "-m", SERVER_MODULE], own)
    eventually(lambda: "server is up" in third.output(), what="a server on free ports")
