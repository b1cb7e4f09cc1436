"""The log of a worker with two runs at once: every line says whose it is, and shows none of its secrets."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_runner.tasks.run.execution import execute
from agent_runner.v1 import runner_pb2 as pb
from tests.support.log_lines import kept_objects
from tests.unit.tasks.runner_process import Quiet, runner_process, settings_of
from tests.unit.tasks.runner_server import FENCE, HANDLE, RunnerServer

GRAPH = """
import asyncio
import logging
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

log = logging.getLogger("users.graph")
BOTH = asyncio.Barrier(2)

async def speak(state):
    word = state["messages"][-1].content
    await BOTH.wait()
    log.warning("node says %s", word)
    await asyncio.to_thread(log.warning, "thread says %s", word)
    await BOTH.wait()
    return {"messages": [AIMessage("done")]}

builder = StateGraph(MessagesState)
builder.add_node("speak", speak)
builder.add_edge(START, "speak")
builder.add_edge("speak", END)
"""


class TwoRuns(RunnerServer):
    """Each execution is a claim of its own: handle, session and secret."""

    async def claim(self, request: pb.ClaimRequest, context: Any) -> pb.ClaimReply:
        number = int(request.execution_id[-1])
        reply = pb.ClaimReply()
        reply.CopyFrom(self.claim_reply)
        reply.handle, reply.attempt = HANDLE + number, number
        reply.session.metadata.id = f"ses-{number}"
        reply.thread_id, reply.message = f"thread-{number}", f"the-secret-of-{number}"
        reply.env["TOKEN"] = f"the-secret-of-{number}"
        reply.secret_names.append("TOKEN")
        return reply


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    with kept_objects() as objects:
        yield objects


async def test_every_line_inside_a_run_is_that_runs(lines: list[dict[str, Any]], tmp_path: Path) -> None:
    """Ours and the graph's, on the loop and in a thread: execution, session, attempt, fence and worker of that run,
    its secret as asterisks; lines of the process have none of them, also after the runs."""
    (tmp_path / "graphs.py").write_text(GRAPH)
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"agent": "./graphs.py:builder"}}))
    server = await TwoRuns().start()
    server.claim_reply.graph = "agent"
    try:
        async with runner_process(settings_of(server.port, tmp_path, graphs=tmp_path / "langgraph.json")) as process:
            works = [process.loop.submit(execute(process, f"exec-{n}", Quiet())) for n in (1, 2)]  # type: ignore[arg-type]
            await asyncio.gather(*(asyncio.to_thread(work.result, 30) for work in works))
            process.loop.call_soon(logging.getLogger("after").info, "afterwards")
    finally:
        await server.stop()
    for number in (1, 2):
        own = [line for line in lines if line.get("execution_id") == f"exec-{number}"]
        events = [line.get("event", line["message"].split(" says")[0]) for line in own]
        assert events == ["run.begins", "node", "thread", "run.ends"]
        assert {line["session_id"] for line in own} == {f"ses-{number}"}
        assert {line["attempt"] for line in own} == {number}
        assert {line["fence"] for line in own} == {FENCE}
        assert {line.get("worker") for line in own} == {"worker@here"}
    said = [line["message"] for line in lines if line["logger"] == "users.graph"]
    assert sorted(said) == ["node says ********"] * 2 + ["thread says ********"] * 2
    others = [line for line in lines if "execution_id" not in line]
    assert any(line["message"] == "afterwards" for line in others)
    assert not any({"session_id", "attempt", "fence"} & line.keys() for line in others)
