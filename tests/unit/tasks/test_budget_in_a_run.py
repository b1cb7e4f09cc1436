"""A run that uses up its budget: it ends E308 with its work kept, whoever made the call that was too many."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.models.budget import ANNOTATION, OWNERS
from agent_runner.status.phases import Phase
from agent_runner.tasks.run.execution import execute
from agent_runner.tasks.worker.process import RunnerProcess
from tests.unit.tasks.runner_process import Quiet, runner_process, settings_of
from tests.unit.tasks.runner_server import RunnerServer


@pytest.fixture
async def server() -> AsyncIterator[RunnerServer]:
    server = await RunnerServer().start()
    claim = server.claim_reply
    claim.thread_id, claim.model_name, claim.session.metadata.id = "thread-1", "demo", "ses-1"
    claim.agent.spec.instructions = "Use your tools."
    yield server
    await server.stop()


@pytest.fixture
async def process(server: RunnerServer, tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    async with runner_process(settings_of(server.port, tmp_path, sandbox="local", llm_provider="demo")) as process:
        yield process


async def run(server: RunnerServer, process: RunnerProcess, message: str, **limits: int) -> dict[str, Any]:
    server.claim_reply.message = message
    if limits:
        server.claim_reply.agent.metadata.annotations[ANNOTATION] = json.dumps(limits)
    work = process.loop.submit(execute(process, "exec-1", Quiet()))  # type: ignore[arg-type]
    await asyncio.to_thread(work.result, 100)
    (settled,) = server.settled
    return {"phase": settled.phase, "code": settled.code, **json.loads(settled.facts_json or "{}")}


LOOP = "\n".join(["$ echo again"] * 6)


@pytest.mark.parametrize(
    ("limits", "words", "commands"),
    [  # the demo model's first call plans, and it keeps the plan up to date beside the commands
        ({"same_calls": 3}, "more than 3 same_calls: 'execute' with the same arguments each time", 3),
        ({"model_calls": 3}, "more than 3 model_calls", 2),
        ({"tool_calls": 3}, "more than 3 tool_calls", 1),
        ({"tokens": 1}, "more than 1 tokens", 0),
    ],
)
async def test_a_budget_is_used_up(
    server: RunnerServer, process: RunnerProcess, limits: dict[str, int], words: str, commands: int
) -> None:
    """FAILED with the code and the limit; the calls before it are in the status with their results."""
    end = await run(server, process, LOOP, **limits)
    assert (end["phase"], end["code"], end["original_error"]) == (Phase.FAILED, "E308", words)
    ran = [row for kind, row in server.stored if kind == "tool_end" and row["status"] == "TOOL_CALL_COMPLETED"]
    assert len(ran) == commands


async def test_a_sub_agents_calls_count(server: RunnerServer, process: RunnerProcess) -> None:
    """A run cannot get more by delegating."""
    end = await run(server, process, "@researcher $ echo 1 $ echo 2 $ echo 3", tool_calls=4)
    assert (end["code"], end["original_error"]) == ("E308", "more than 4 tool_calls")


async def test_the_time_of_tools_is_up(server: RunnerServer, process: RunnerProcess) -> None:
    """A call that reaches the limit is stopped with its command; the run ends with the limit."""
    end = await run(server, process, "$ sleep 300", tool_seconds=1)
    assert (end["code"], end["original_error"]) == ("E308", "more than 1 tool_seconds")


@pytest.mark.promise("6.04")
async def test_another_worker_goes_on_counting(server: RunnerServer, process: RunnerProcess) -> None:
    """What the execution did before the claim is used up already."""
    server.claim_reply.spent_json = json.dumps({"tool_calls": 4, "model_calls": 7, "same": {}})
    server.claim_reply.agent.metadata.annotations[OWNERS] = json.dumps({"tool_calls": "agent"})
    end = await run(server, process, LOOP, tool_calls=6)
    assert (end["code"], end["original_error"]) == ("E308", "more than 6 tool_calls, the limit of its agent")
    ran = [row for kind, row in server.stored if kind == "tool_end" and row["status"] == "TOOL_CALL_COMPLETED"]
    assert len(ran) < 2


async def test_within_its_budget(server: RunnerServer, process: RunnerProcess) -> None:
    """Limits that are not reached change nothing."""
    end = await run(
        server, process, LOOP, model_calls=100, tool_calls=100, tokens=10**9, same_calls=6, tool_seconds=600
    )
    assert end["phase"] == Phase.COMPLETED
