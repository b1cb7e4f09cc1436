"""The deepagents engine with the demo model: real tools, real sub-agents, shared graphs."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import BaseTool, tool

from agent_runner.clients.engine.agent_definition import Bundle, SubAgentSpec
from agent_runner.clients.engine.contain import contain
from agent_runner.clients.engine.current import AgentExitError, CurrentRun, StopRun
from agent_runner.clients.engine.middleware import RunGuard
from agent_runner.clients.engine.turn import call_config
from agent_runner.clients.engine.user_graphs.run_context import RECURSION_LIMIT
from agent_runner.clients.sandbox.local import LocalSandbox
from tests.unit.engine.world import SECRET, World, make_world
from tests.unit.models.settings import SomeSettings


async def test_a_message_becomes_real_work(world: World) -> None:
    """Commands, files and two parallel sub-agents really run, and the answer is made from what they returned."""
    ended = await world.turn(
        "> write a.txt: hello\\nworld\n$ wc -l < a.txt\n@researcher count $ ls\n@reviewer read $ cat a.txt", world.run()
    )
    assert (world.directory / "boxes" / "t" / "workspace" / "a.txt").read_text() == "hello\nworld"
    assert [m.status for m in ended.tool_messages("execute")] == ["success"]
    delegations = [m for m in ended.messages if isinstance(m, AIMessage) and len(m.tool_calls) > 1]
    assert [c["args"]["subagent_type"] for c in delegations[-1].tool_calls if c["name"] == "task"] == [
        "researcher",
        "reviewer",
    ]
    assert "> > a.txt" in ended.answer
    assert "> > hello" in ended.answer
    assert {todo["status"] for todo in ended.values["todos"]} == {"completed"}
    assert not ended.waits


async def test_a_failed_command_is_a_failed_tool_and_the_agent_goes_on(world: World) -> None:
    """Exit code 3 is an error message with its exit code; so is a file that is not there; the next line runs."""
    ended = await world.turn("$ echo out; exit 3\n> read nope\n$ echo next", world.run())
    failed, fine = ended.tool_messages("execute")
    assert (failed.status, failed.artifact["exit_code"]) == ("error", 3)
    assert (fine.status, fine.artifact["exit_code"]) == ("success", 0)
    assert [m.status for m in ended.tool_messages("read_file")] == ["error"]
    assert "exited 3" in ended.answer
    assert "> next" in ended.answer


async def test_no_secret_reaches_the_memory(world: World) -> None:
    """Tool results are masked before they enter the graph, also those of a sub-agent's tools."""
    await world.turn("$ echo $TOKEN > f; cat f\n> read f\n@researcher $ cat f", world.run())
    await world.memory.aclose()
    stored = b"".join(path.read_bytes() for path in world.directory.glob("memory.db*"))
    assert b"********" in stored
    assert SECRET.encode() not in stored


async def test_a_graph_is_built_once_and_shared_by_concurrent_runs(world: World) -> None:
    """Equal bundles have one graph (with graphton each run its own); runs at the same time stay in their own sandboxes
    and threads."""
    one, other = await asyncio.gather(world.factory.graph(Bundle()), world.factory.graph(Bundle()))
    assert (one is other) is (SomeSettings().engine == "deepagents")
    assert await world.factory.graph(Bundle(instructions="another agent")) is not one
    names = [f"t{n}" for n in range(5)]
    ends = await asyncio.gather(
        *(world.turn(f"$ echo {n} > mine; sleep 0.2; cat *\n@reviewer $ cat mine", world.run(n)) for n in names)
    )
    for name, ended in zip(names, ends, strict=True):
        assert ended.tool_messages("execute")[0].text.startswith(f"{name}\n")
        assert f"> > {name}" in ended.answer


async def test_own_instructions_and_sub_agents(world: World) -> None:
    """A bundle's own sub-agents are the ones that can be asked, beside the general one."""
    bundle = Bundle(instructions="Be brief.", sub_agents=(SubAgentSpec(name="clerk", description="files things"),))
    ended = await world.turn("@clerk $ echo filed\n@researcher $ echo found", world.run(), bundle)
    assert "clerk answered" in ended.answer
    assert "general-purpose answered" in ended.answer


async def test_the_gate_is_passed_before_every_model_and_tool_call(world: World) -> None:
    """A closed gate stops the next call, in sub-agents too; an error in it ends the run whatever tool it is in."""
    passed: list[int] = []

    async def gate() -> None:
        passed.append(1)
        if len(passed) == 4:  # model, write_todos, model, and now the task: inside it everything is refused
            raise StopRun("fenced out")

    with pytest.raises(StopRun, match="fenced out"):
        await world.turn("@researcher $ echo hi", world.run(gate=gate))
    seen = len(passed)

    async def count() -> None:
        passed.append(1)

    await world.turn("@researcher $ echo hi", world.run("other", gate=count))
    assert len(passed) - seen >= 9


@pytest.mark.promise("1.28")
def test_the_step_limit_is_in_the_call_config() -> None:
    """1000 steps; without it in the call's config astream_events stops at 25."""
    config = call_config(CurrentRun(thread_id="t"), Bundle())
    assert config["recursion_limit"] == RECURSION_LIMIT == 1000
    assert config["configurable"] == {"thread_id": "t"}


def raising(error: BaseException) -> BaseTool:
    @tool
    async def trouble() -> str:
        """Raises."""
        raise error

    @tool
    def blocking_trouble() -> str:
        """Raises in a thread."""
        raise error

    return trouble if isinstance(error, SystemExit) else blocking_trouble


async def run_tool(trouble: BaseTool, run: CurrentRun) -> Any:
    """An agent with our guard that calls `trouble` once."""
    from langchain.agents import create_agent
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel

    from agent_runner.clients.engine.current import running

    class Scripted(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self

    call = {"name": trouble.name, "args": {}, "id": "c1", "type": "tool_call"}
    model = Scripted(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("went on")]))
    agent = create_agent(model, [trouble], middleware=[RunGuard()])
    with running(run):
        return await agent.ainvoke({"messages": [HumanMessage("go")]})


@pytest.mark.parametrize(
    "error", [ValueError(f"bad {SECRET}"), RecursionError("deep"), MemoryError(), OSError(5, "io")]
)
async def test_an_exception_of_a_tool_is_a_failed_tool(world: World, error: Exception) -> None:
    """The agent reads its masked text and goes on, for errors of every size."""
    result = await run_tool(raising(error), world.run())
    assert result["messages"][-1].text == "went on"
    failed = result["messages"][-2]
    assert failed.status == "error"
    assert type(error).__name__ in failed.text
    assert SECRET not in failed.text


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_what_is_no_exception_ends_the_run_and_only_the_run(world: World, error: BaseException) -> None:
    """SystemExit, KeyboardInterrupt and a CancelledError of the agent's own are errors that name them."""
    loop = asyncio.get_running_loop()
    contain(loop)
    try:
        with pytest.raises(AgentExitError, match=type(error).__name__):
            await run_tool(raising(error), world.run())
    finally:
        loop.set_task_factory(None)


async def test_a_real_cancel_stays_a_cancel_and_kills_the_command(world: World) -> None:
    """task.cancel() of a run in a command raises CancelledError and leaves no process."""
    run = world.run()
    assert isinstance(run.sandbox, LocalSandbox)
    started = run.sandbox.work_dir / "started"
    task = asyncio.create_task(world.turn("$ touch started; sleep 100", run))
    async with asyncio.timeout(20):
        while not started.exists():
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not run.sandbox.busy


async def test_an_unknown_sub_agent_is_a_failed_call() -> None:
    """deepagents would answer a hint as a success."""
    guard = RunGuard(frozenset({"researcher"}))

    request: Any = SimpleNamespace(tool_call={"name": "task", "args": {"subagent_type": "nobody"}, "id": "c1"})

    async def never(_: Any) -> Any:
        raise AssertionError

    failed: Any = await guard.awrap_tool_call(request, never)
    assert failed.status == "error"
    assert "researcher" in failed.content


async def test_without_a_sandbox_files_live_in_the_conversation(tmp_path: Path) -> None:
    """AGENT_RUNNER_SANDBOX=none: no commands, and files that the next turn still has."""
    async with make_world(tmp_path) as world:
        run, bundle = CurrentRun(thread_id="t"), Bundle(model_name="demo", sandboxed=False)
        first = await world.turn("> write a.txt: kept\n$ echo hi", run, bundle)
        assert "no `execute` tool" in first.answer
        second = await world.turn("> read a.txt", CurrentRun(thread_id="t", head_checkpoint_id=first.head), bundle)
        assert second.answer.endswith("kept")
