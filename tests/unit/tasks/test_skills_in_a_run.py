"""Skills in a run of this process: laid out before the agent starts, read on demand, E303 where they cannot be."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from agent_runner.clients.models import demo
from agent_runner.clients.models.demo_plan import Action, Tools, next_action
from agent_runner.clients.skills.archive import hash_of
from agent_runner.status.phases import Phase
from agent_runner.tasks.run.execution import execute
from agent_runner.tasks.worker.process import RunnerProcess
from agent_runner.v1 import runner_pb2 as pb
from tests.unit.skills.archives import archive
from tests.unit.tasks.runner_process import Quiet, runner_process, settings_of
from tests.unit.tasks.runner_server import RunnerServer

BODY = "Run `scripts/read.sh`."
DATA = archive({"scripts/read.sh": "#!/bin/sh\necho it was read"})


@pytest.fixture
async def server() -> AsyncIterator[RunnerServer]:
    server = await RunnerServer().start()
    claim = server.claim_reply
    claim.thread_id, claim.message, claim.model_name = "thread-1", "hello", "demo"
    claim.session.metadata.id = "ses-1"
    claim.agent.spec.instructions = "Help people with their bills."
    claim.skills.add(
        name="Invoices", description="Reads invoices.", folder="invoices", version_hash=hash_of(DATA), artifact_key="k"
    )
    server.archives["k"] = DATA
    yield server
    await server.stop()


@pytest.fixture
async def process(server: RunnerServer, tmp_path: Path, request: Any) -> AsyncIterator[RunnerProcess]:
    sandbox = getattr(request, "param", "local")
    async with runner_process(settings_of(server.port, tmp_path, sandbox=sandbox, llm_provider="demo")) as process:
        yield process


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The system prompts that the model was given."""
    seen: list[str] = []

    def watched(messages: list[BaseMessage], tools: Tools) -> Action:
        seen.append(str(messages[0].text))
        return next_action(messages, tools)

    monkeypatch.setattr(demo, "next_action", watched)
    return seen


async def run(process: RunnerProcess) -> None:
    work = process.loop.submit(execute(process, "exec-1", Quiet()))  # type: ignore[arg-type]
    await asyncio.to_thread(work.result, 60)


def told(server: RunnerServer) -> dict[str, Any]:
    (settled,) = server.settled
    return {"phase": settled.phase, "code": settled.code, **json.loads(settled.facts_json or "{}")}


@pytest.mark.promise("1.30")
async def test_a_skill_is_read_on_demand(server: RunnerServer, process: RunnerProcess, prompts: list[str]) -> None:
    """The prompt holds name, description and path, not the body; at that path the agent finds it, and can run it."""
    server.claim_reply.message = "> read /skills/invoices/SKILL.md\n$ skills/invoices/scripts/read.sh"
    await run(process)
    assert told(server)["phase"] == Phase.COMPLETED
    assert "- Invoices: Reads invoices. (`/skills/invoices/SKILL.md`)" in prompts[0]
    assert not any(BODY in prompt for prompt in prompts)
    results = [payload["result"] for kind, payload in server.stored if kind == "tool_end"]
    assert any(BODY in result for result in results)
    assert any("it was read" in result for result in results)


@pytest.mark.promise("1.30")
async def test_inject_puts_the_body_into_the_prompt(
    server: RunnerServer, process: RunnerProcess, prompts: list[str]
) -> None:
    """An agent may ask for the whole text; the files are there all the same."""
    server.claim_reply.agent.metadata.annotations["agent-runner/skills"] = "inject"
    server.claim_reply.message = "$ skills/invoices/scripts/read.sh"
    await run(process)
    assert told(server)["phase"] == Phase.COMPLETED
    assert BODY in prompts[0]
    assert "name: Invoices" not in prompts[0]


@pytest.mark.parametrize("process", ["none"], indirect=True)
async def test_without_a_sandbox_the_body_is_in_the_prompt(
    server: RunnerServer, process: RunnerProcess, prompts: list[str]
) -> None:
    """There is nothing to read files in."""
    await run(process)
    assert told(server)["phase"] == Phase.COMPLETED
    assert BODY in prompts[0]


async def test_a_sub_agent_knows_its_own_skills(
    server: RunnerServer, process: RunnerProcess, prompts: list[str]
) -> None:
    """Neither the main agent nor another sub-agent is told of them; the general one has the agent's own."""
    claim = server.claim_reply
    claim.agent.spec.sub_agents.add(name="clerk", description="files things", instructions="You file things.")
    claim.skills.add(
        name="Filing", description="Files bills.", folder="filing", version_hash=hash_of(DATA), artifact_key="k",
        sub_agent="clerk",
    )  # fmt: skip
    claim.message = "@clerk $ ls skills/filing\n@general-purpose $ ls skills/invoices"
    await run(process)
    assert told(server)["phase"] == Phase.COMPLETED
    main = next(p for p in prompts if "Help people with their bills." in p)
    clerk = next(p for p in prompts if "You file things." in p)
    general = next(p for p in prompts if "Do the delegated task" in p)
    assert ["Invoices:" in p for p in (main, clerk, general)] == [True, False, True]
    assert ["Filing:" in p for p in (main, clerk, general)] == [False, True, False]
    assert server.fetched == ["k"]


async def test_a_lost_answer_is_asked_for_again(server: RunnerServer, process: RunnerProcess) -> None:
    """A server that is restarted while the archive is fetched fails nothing."""
    claimed = server.claim

    async def claim(request: pb.ClaimRequest, context: Any) -> pb.ClaimReply:
        reply = await claimed(request, context)
        server.drop_answers = 1
        return reply

    server.claim = claim  # type: ignore[method-assign]
    await server.stop()
    await server.start()
    await run(process)
    assert told(server)["phase"] == Phase.COMPLETED
    assert server.fetched == ["k", "k"]


async def test_a_skill_that_cannot_be_had_is_e303(server: RunnerServer, process: RunnerProcess) -> None:
    """The run ends before the agent starts, and says which skill and why."""
    server.archives.clear()
    await run(process)
    ended = told(server)
    assert (ended["phase"], ended["code"], ended["what"]) == (Phase.FAILED, "E303", "Invoices")
    assert "not found" in ended["original_error"]


@pytest.mark.parametrize(("code", "expected"), [("E303", "E303"), ("E304", "E304"), ("", "E302"), ("E999", "E302")])
async def test_what_the_server_could_not_resolve(
    server: RunnerServer, process: RunnerProcess, code: str, expected: str
) -> None:
    """The server's code is the run's; a server that says none means E302."""
    claim = server.claim_reply
    claim.bundle_error, claim.bundle_error_code, claim.bundle_error_what = "it does not exist", code, "prod"
    await run(process)
    ended = told(server)
    assert (ended["phase"], ended["code"]) == (Phase.FAILED, expected)
    assert (ended["what"], ended["original_error"]) == ("prod", "it does not exist")
