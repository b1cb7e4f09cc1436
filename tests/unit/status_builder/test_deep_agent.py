"""What a deep agent does is what its status says: real graphs, a scripted model."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage

from tests.unit.status_builder.runs import agent, tell
from tests.unit.status_builder.scripted_model import ScriptedModel, in_turn, said

TODOS = [{"content": "look", "status": "in_progress"}, {"content": "tell", "status": "pending"}]
DONE = [{"content": "look", "status": "completed"}, {"content": "tell", "status": "pending"}]


def task(id_: str, about: str) -> tuple[str, str, dict[str, Any]]:
    return id_, "task", {"description": about, "subagent_type": "researcher"}


FULL_RUN = in_turn(
    said("I plan the work.", ("t1", "write_todos", {"todos": TODOS})),
    said("Twice the same.", ("a1", "add", {"a": 1, "b": 2}), ("a2", "add", {"a": 1, "b": 2})),
    said("A mistake.", ("bad", "add", {"a": "x", "b": 1}), ("ghost", "nothing_like_it", {"q": 1})),
    said("I delegate.", task("k1", "ALPHA question"), task("k2", "BETA question")),
    said("", ("t2", "write_todos", {"todos": DONE})),
    said("The answer is 42."),
    ALPHA=[said("Alpha looks.", ("sa", "add", {"a": 10, "b": 1})), said("Alpha result.")],
    BETA=[said("Beta looks.", ("sb", "add", {"a": 20, "b": 1})), said("Beta result.")],
)


@pytest.mark.promise("1.44")
@pytest.mark.promise("2.10")
async def test_a_full_run_fills_all_four_lists() -> None:
    """Messages, tool calls, sub-agents and todos of one run all appear, each in its place."""
    told = await tell(agent(ScriptedModel(reply=FULL_RUN)), "go")
    assert told.error is None
    assert told.texts() == [
        "I plan the work.",
        "Twice the same.",
        "A mistake.",
        "I delegate.",
        "",
        "The answer is 42.",
    ]
    assert [call["id"] for call in told.status["tool_calls"]] == ["a1", "a2", "bad", "ghost", "k1", "k2", "sa", "sb"]
    assert {todo["content"]: todo["status"] for todo in told.status["todos"].values()} == {
        "look": "TODO_COMPLETED",
        "tell": "TODO_PENDING",
    }
    assert [sub["output"] for sub in told.status["sub_agent_executions"]] == ["Alpha result.", "Beta result."]
    assert told.builder.messages == 10
    assert told.builder.tool_calls == 8
    assert told.builder.used.tokens["input_tokens"] == 100
    assert told.builder.open_step() == ""


@pytest.mark.promise("1.45")
@pytest.mark.promise("1.57")
async def test_todos_are_no_tool_calls() -> None:
    """write_todos sets the todos and leaves no trace among calls and messages; a second one changes what it changes."""
    told = await tell(agent(ScriptedModel(reply=FULL_RUN)), "go")
    assert not [call for call in told.status["tool_calls"] if call["name"] == "write_todos"]
    assert not [m for m in told.status["messages"] if any(c["name"] == "write_todos" for c in m.get("tool_calls", []))]
    first, second = told.status["todos"]["1"], told.status["todos"]["2"]
    assert first["updated_at"] > first["created_at"]
    assert second["updated_at"] == second["created_at"]


@pytest.mark.promise("0.25")
@pytest.mark.promise("1.56")
async def test_identical_calls_are_two_calls() -> None:
    """Two calls with the same name and arguments are two entries, each with its own result."""
    told = await tell(agent(ScriptedModel(reply=FULL_RUN)), "go")
    assert [(told.call(id_)["result"], told.call(id_)["status"]) for id_ in ("a1", "a2")] == [
        ("3", "TOOL_CALL_COMPLETED")
    ] * 2


@pytest.mark.promise("1.51")
@pytest.mark.promise("1.52")
async def test_a_call_is_shown_twice_and_the_same() -> None:
    """A tool call stands in the status and in the message that issued it, with equal status, result and times."""
    status = (await tell(agent(ScriptedModel(reply=FULL_RUN)), "go")).status
    in_messages = [call for message in status["messages"] for call in message.get("tool_calls", [])]
    assert sorted(in_messages, key=lambda c: str(c["id"])) == sorted(status["tool_calls"], key=lambda c: str(c["id"]))
    assert all(call["started_at"] < call["completed_at"] for call in in_messages)
    twice = next(m for m in status["messages"] if m.get("content") == "Twice the same.")
    assert [call["id"] for call in twice["tool_calls"]] == ["a1", "a2"]


async def test_a_bad_argument_and_an_unknown_tool_are_failed_calls() -> None:
    """A call with bad arguments, and one of a tool that does not exist, fail with their reason; the run goes on."""
    told = await tell(agent(ScriptedModel(reply=FULL_RUN)), "go")
    assert told.call("bad")["status"] == told.call("ghost")["status"] == "TOOL_CALL_FAILED"
    assert "valid integer" in told.call("bad")["error"]
    assert "nothing_like_it is not a valid tool" in told.call("ghost")["error"]
    assert told.call("ghost")["args"] == {"q": 1}


@pytest.mark.promise("1.49")
@pytest.mark.promise("1.50")
async def test_parallel_sub_agents_of_one_name_are_kept_apart() -> None:
    """What each of two parallel sub-agents says and calls carries its own scope and never reaches the main list."""
    told = await tell(agent(ScriptedModel(reply=FULL_RUN)), "go")
    assert told.texts("k1") == ["Alpha looks.", "Alpha result."]
    assert told.texts("k2") == ["Beta looks.", "Beta result."]
    assert told.call("sa")["component_metadata"]["metadata"]["scope"] == "k1"
    assert told.call("sb")["component_metadata"]["metadata"]["scope"] == "k2"
    assert told.call("sb")["result"] == "21"
    one, two = told.status["sub_agent_executions"]
    assert (one["id"], one["name"], one["input"]) == ("k1", "researcher", "ALPHA question")
    assert (two["id"], two["name"], two["input"]) == ("k2", "researcher", "BETA question")
    assert one["status"] == two["status"] == "SUB_AGENT_COMPLETED"
    assert one["started_at"] < one["completed_at"]
    statuses = [d.payload["status"] for d in told.deltas if d.kind == "sub_agent"]
    assert statuses == ["SUB_AGENT_IN_PROGRESS"] * 2


async def test_calls_with_one_id_in_two_sub_agents_are_two_calls() -> None:
    """An id that two sub-agents both use does not make one call of two."""
    same = [said("Looking.", ("s1", "add", {"a": 1, "b": 1})), said("Found.")]
    reply = in_turn(said("", task("k1", "SUB one"), task("k2", "SUB two")), said("Done."), SUB=same)
    told = await tell(agent(ScriptedModel(reply=reply)), "go")
    subs = [c for c in told.status["tool_calls"] if c["name"] == "add"]
    assert [c["id"] for c in subs] == ["s1", "s1~2"]
    assert {c["component_metadata"]["metadata"]["scope"] for c in subs} == {"k1", "k2"}
    assert all(c["status"] == "TOOL_CALL_COMPLETED" for c in subs)


async def test_a_loop_that_uses_one_id_again_is_shown_in_full() -> None:
    """A model that gives each of its calls the same id has each of them shown."""
    poll = said("Polling.", ("call_1", "add", {"a": 1, "b": 1}))
    told = await tell(agent(ScriptedModel(reply=in_turn(poll, poll, poll, said("Done.")))), "go")
    assert [c["id"] for c in told.status["tool_calls"]] == ["call_1", "call_1~2", "call_1~3"]
    assert all(c["status"] == "TOOL_CALL_COMPLETED" for c in told.status["tool_calls"])


async def test_a_tool_that_raises_is_a_failed_call_and_fails_the_run() -> None:
    """The error of a tool is kept with its call, whatever the graph makes of it."""
    reply = in_turn(said("I try.", ("f", "fail", {"why": "no such host"})), said("Never said."))
    told = await tell(agent(ScriptedModel(reply=reply)), "go")
    assert isinstance(told.error, ValueError)
    assert told.call("f")["status"] == "TOOL_CALL_FAILED"
    assert told.call("f")["error"] == "ValueError: no such host"
    assert told.texts() == ["I try."]


@pytest.mark.promise("1.54")
async def test_text_in_blocks_is_the_same_text() -> None:
    """Content as a list of blocks, as Anthropic streams it, gives the same messages as plain text."""
    plain = await tell(agent(ScriptedModel(reply=FULL_RUN)), "go")
    blocks = await tell(agent(ScriptedModel(reply=FULL_RUN, blocks=True)), "go")
    assert blocks.texts() == plain.texts()
    assert blocks.texts("k1") == plain.texts("k1")


async def test_metadata_of_a_message_tells_its_cost() -> None:
    """An AI message carries the tokens, the model and the reason of its end."""
    told = await tell(agent(ScriptedModel(reply=in_turn(said("One two three.")))), "go")
    metadata = told.status["messages"][0]["metadata"]
    assert metadata["usage"] == {"input_tokens": 10, "output_tokens": 3, "total_tokens": 13}
    assert (metadata["model"], metadata["finish_reason"]) == ("scripted-1", "stop")


async def test_a_broken_model_call_leaves_what_it_said_and_is_marked() -> None:
    """Text that came before a model failed is kept, marked as incomplete."""
    told = await tell(agent(ScriptedModel(reply=in_turn(said("I will die of this here")), dies_after=3)), "go")
    assert isinstance(told.error, ConnectionError)
    assert told.texts() == ["I will die "]
    assert told.status["messages"][0]["metadata"]["incomplete"] is True


async def test_a_model_call_that_is_tried_again_is_a_message_of_its_own() -> None:
    """After a failed model call the fallback's answer does not run on in the half message."""
    from deepagents import create_deep_agent
    from langchain.agents.middleware import ModelFallbackMiddleware

    broken = ScriptedModel(reply=in_turn(said("I will die of this here")), dies_after=2)
    second = ScriptedModel(reply=in_turn(said("All well.")))
    graph = create_deep_agent(model=broken, middleware=[ModelFallbackMiddleware(second)])
    told = await tell(graph, "go")
    assert told.error is None
    assert told.texts() == ["I will ", "All well."]
    assert [m["metadata"].get("incomplete") for m in told.status["messages"]] == [True, None]


async def test_an_empty_answer_is_said() -> None:
    """A run that ends without a word gets a remark, so that nobody wonders."""
    told = await tell(agent(ScriptedModel(reply=lambda _: AIMessage(content=""))), "go")
    assert told.status["messages"][-1]["type"] == "MESSAGE_SYSTEM"
    assert "without an answer" in told.status["messages"][-1]["content"]


@pytest.mark.promise("1.46")
async def test_a_shell_command_shows_its_name_and_its_exit_code(tmp_path: Any) -> None:
    """`execute` shows the command it runs; one that ends with another exit code than 0 is a failed call."""
    from deepagents.backends import LocalShellBackend

    reply = in_turn(
        said("", ("ok", "execute", {"command": "echo hi"}), ("bad", "execute", {"command": "git nope; exit 3"})),
        said("Done."),
    )
    told = await tell(agent(ScriptedModel(reply=reply), backend=LocalShellBackend(root_dir=tmp_path)), "go")
    assert told.call("ok")["status"] == "TOOL_CALL_COMPLETED"
    assert "hi" in told.call("ok")["result"]
    assert told.call("bad")["status"] == "TOOL_CALL_FAILED"
    assert "exit code 3" in told.call("bad")["error"]
    assert told.call("bad")["component_metadata"]["component_type"] == "terminal"
    assert told.call("bad")["component_metadata"]["metadata"]["display_name"] == "git nope"
