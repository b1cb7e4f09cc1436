"""A redrive gets its secrets again, by the command line and by gRPC."""

from pathlib import Path
from typing import Any

import grpc
import httpx

from agent_runner.app.server.composition import RunningServer
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1 import executions_pb2_grpc as own_grpc
from tests.processes.with_a_server.commands import command
from tests.unit.server.conftest import AUTHORIZED, created
from tests.unit.server.identity import code_of


async def secrets(server: RunningServer, id: str) -> dict[str, str]:
    """As they are sealed in the row."""
    row = await server.ctx.store.get(id)
    assert row is not None
    return {name: value.value for name, value in server.ctx.sealing.open_env(row.sealed_env).items()}


async def test_by_the_command_line(server: RunningServer, http: httpx.AsyncClient, tmp_path: Path) -> None:
    """Those that are missing are named, with the way to give them; values are not shown."""
    old = await created(http, env={"TOKEN": "first", "OTHER": "second"})
    id = old["metadata"]["id"]
    await http.post(f"/v1/executions/{id}/cancel")
    refused = await command(server, tmp_path, "executions", "redrive", id, "--env", "TOKEN=new-value")
    assert refused.returncode == 1
    assert "OTHER" in refused.stderr
    assert "--env" in refused.stderr
    assert "TOKEN" not in refused.stderr.partition("Error:")[2]
    done = await command(server, tmp_path, "executions", "redrive", id, "--env", "TOKEN=new-value", "-e", "OTHER=x=y")
    assert done.returncode == 0, done.stderr
    assert "new-value" not in done.stdout + done.stderr
    assert await secrets(server, done.stdout.strip()) == {"TOKEN": "new-value", "OTHER": "x=y"}
    usage = await command(server, tmp_path, "executions", "redrive", id, "--env", "NOT_SET_ANYWHERE")
    assert usage.returncode == 2


async def test_by_grpc(server: RunningServer, http: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
    """`env` of the request; without it FAILED_PRECONDITION names the secret, a name that is none INVALID_ARGUMENT."""
    executions: Any = own_grpc.ExecutionsStub(channel)
    id = (await created(http, env={"TOKEN": "first"}))["metadata"]["id"]
    await http.post(f"/v1/executions/{id}/cancel")
    code, text = await code_of(executions.redrive(own.RedriveRequest(execution_id=id), metadata=AUTHORIZED))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "TOKEN" in text
    wrong = own.RedriveRequest(execution_id=id, env={"TOKEN": "x", "NO=NAME": "x"})
    assert (await code_of(executions.redrive(wrong, metadata=AUTHORIZED)))[0] is grpc.StatusCode.INVALID_ARGUMENT
    again = own.RedriveRequest(execution_id=id, env={"TOKEN": "a-new-value"})
    new = await executions.redrive(again, metadata=AUTHORIZED)
    assert await secrets(server, new.metadata.id) == {"TOKEN": "a-new-value"}
    assert "a-new-value" not in str(new)
