"""What an agent's run looks like does not depend on the engine: kept statuses that each engine has to give.

`make test-graphton` runs this with graphton, in its own environment. `AGENT_RUNNER_TEST_WRITE_GOLDENS=1` writes the
files anew; only from the default engine.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from agent_runner.clients.engine.agent_definition import Bundle, SubAgentSpec
from agent_runner.clients.engine.current import running
from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.clients.engine.turn import Given, open_turn
from agent_runner.status.log.builder import StatusBuilder
from agent_runner.status.log.log import LogRow, fold, render
from agent_runner.status.requests.approvals import rules_of
from tests.unit.engine.world import World
from tests.unit.models.settings import SomeSettings
from tests.unit.status_builder.scripted_model import Reply, ScriptedModel, in_turn, said

GOLDENS = Path(__file__).parent / "goldens"
WRITES = bool(os.environ.get("AGENT_RUNNER_TEST_WRITE_GOLDENS"))
UNSTABLE = {"timestamp", "started_at", "completed_at", "created_at", "updated_at", "message_id"}
CLERK = SubAgentSpec(name="clerk", description="files things", instructions="File it, whatever it is.")
TODOS = [{"content": "look", "status": "in_progress"}, {"content": "tell", "status": "pending"}]
DONE = [{"content": "look", "status": "completed"}, {"content": "tell", "status": "completed"}]


def run(id_: str, command: str) -> tuple[str, str, dict[str, Any]]:
    return id_, "execute", {"command": command}


def task(id_: str, about: str, who: str = "clerk") -> tuple[str, str, dict[str, Any]]:
    return id_, "task", {"description": about, "subagent_type": who}


WORK = in_turn(
    said("I plan.", ("t1", "write_todos", {"todos": TODOS})),
    said("I write.", ("w", "write_file", {"file_path": "/a.txt", "content": "one\ntwo\n"})),
    said("Twice the same.", run("e1", "cat a.txt"), run("e2", "cat a.txt")),
    said("And reading.", ("r", "read_file", {"file_path": "/a.txt"}), ("l", "ls", {"path": "/"})),
    said(
        "What goes wrong.",
        run("exits", "echo out; exit 3"),
        ("gone", "read_file", {"file_path": "/nope"}),
        ("bad", "execute", {"timeout": "soon"}),
        ("ghost", "nothing_like_it", {"q": 1}),
        task("nobody", "ask", "nobody"),
    ),
    said("Both at once.", task("k1", "ALPHA part"), task("k2", "BETA part")),
    said("", ("t2", "write_todos", {"todos": DONE})),
    said("All done."),
    ALPHA=[said("Alpha looks.", run("s", "echo alpha")), said("Alpha is filed.")],
    BETA=[said("Beta looks.", run("s", "echo beta; exit 1")), said("Beta is not.")],
)
ASKS = in_turn(
    said("I ask.", run("e1", "echo one"), ("l", "ls", {"path": "/"})),
    said("And let somebody ask.", task("k", "GAMMA part")),
    said("Over."),
    GAMMA=[said("May I?", run("s", "echo gamma")), said("Gamma is filed.")],
)
LOOPS = in_turn(*[said("Again.", run("same", "echo poll"))] * 6, said("Enough."))
CASES: dict[str, tuple[Reply, str, tuple[str, ...]]] = {
    "work": (WORK, "", ("go",)),
    "approved": (ASKS, '{"execute": "always"}', ("go", "approve", "approve")),
    "refused": (ASKS, '{"execute": "always"}', ("go", "reject: not now", "reject: never")),
    "loops": (LOOPS, "", ("go",)),
}
"""What the model says, the rules of approval, and what the user says."""


def build(bundle: Bundle, model: ScriptedModel, saver: Any) -> Any:
    if SomeSettings().engine == "graphton":
        from agent_runner.clients.engine.engines.graphton_agent import build_graphton_agent

        return build_graphton_agent(bundle, model, saver)
    from agent_runner.clients.engine.engines.deep_agents import build_deep_agent

    return build_deep_agent(bundle, model, saver)


def plain(value: Any) -> Any:
    """Without times and random ids, and without what the engine's own tools are called."""
    if isinstance(value, dict):
        if "expects" in value:
            value = {**value, "id": ""}
        # The texts name the tools that there are: graphton has one more.
        failed = {"error", "result"} if value.get("status") == "TOOL_CALL_FAILED" else set()
        return {name: plain(one) for name, one in value.items() if name not in UNSTABLE | failed}
    return [plain(one) for one in value] if isinstance(value, list) else value


def in_order(status: dict[str, Any]) -> dict[str, Any]:
    """What two sub-agents do at a time has no order: by their scope, then as it came."""
    for name in ("messages", "tool_calls", "sub_agent_executions"):
        status[name] = sorted(status.get(name, []), key=lambda one: str(scope_of(one)))
    return status


def scope_of(one: dict[str, Any]) -> Any:
    metadata = one.get("component_metadata", {}).get("metadata") or one.get("metadata") or {}
    return metadata.get("scope", one.get("id", "") if "input" in one else "")


@pytest.mark.promise("6.40")
@pytest.mark.usefixtures("both_sources")
@pytest.mark.parametrize("name", sorted(CASES))
async def test_every_engine_gives_the_kept_status(world: World, name: str) -> None:
    """Files, commands, failures, an unknown tool, two sub-agents at a time, approvals, a loop: turn by turn."""
    reply, rules, says = CASES[name]
    approvals = rules_of(rules) if rules else ()
    bundle = Bundle(instructions="Do what you are asked.", sub_agents=(CLERK,), approvals=approvals)
    head, statuses = "", []
    for message in says:
        current = world.run(head=head)
        assert current.sandbox is not None
        graph = build(bundle, ScriptedModel(reply=reply), world.memory.saver)
        builder = StatusBuilder()
        with running(current):
            turn = await open_turn(graph, current, bundle, Given(message=message))
            deltas = []
            async for event in run_events(graph, turn.input, turn.config):
                deltas += builder.feed(event)
            deltas += builder.finish()
        await current.sandbox.close()
        head = current.head_checkpoint_id
        rows = [LogRow(seq=n, at=n, fence=1, kind=d.kind, payload=d.payload) for n, d in enumerate(deltas, 1)]
        statuses.append(in_order(plain(render(fold(rows)))))
    file = GOLDENS / f"{name}.json"
    if WRITES:
        file.write_text(json.dumps(statuses, indent=1, sort_keys=True) + "\n")
    assert statuses == json.loads(file.read_text())
