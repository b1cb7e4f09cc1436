"""The offline demo model: what it calls, what it answers, how it streams."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage

from agent_runner.clients.models.demo import DemoModel

TASK = "Launch an agent.\n- general-purpose: anything\n- researcher: finds out\n- reviewer: checks"
TOOLS: list[dict[str, Any]] = [
    {"name": "write_todos", "description": ""},
    {"name": "execute", "description": ""},
    {"name": "read_file", "description": ""},
    {"name": "write_file", "description": ""},
    {"name": "task", "description": TASK},
]


def ask(messages: list[BaseMessage], tools: list[dict[str, Any]] | None = None) -> AIMessage:
    model = DemoModel(token_delay_s=0).bind_tools(TOOLS if tools is None else tools)
    return model.invoke(messages)


def play(text: str, results: dict[str, str], before: list[BaseMessage] | None = None) -> list[AIMessage]:
    """All AI messages of a turn; each tool answers with `results` by tool name."""
    messages: list[BaseMessage] = [*(before or []), HumanMessage(text)]
    said = []
    while True:
        answer = ask(messages)
        said.append(answer)
        messages.append(answer)
        if not answer.tool_calls:
            return said
        messages += [ToolMessage(results.get(c["name"], "ok"), tool_call_id=c["id"]) for c in answer.tool_calls]


def calls(message: AIMessage, *, without: str = "write_todos") -> list[tuple[str, dict[str, Any]]]:
    return [(call["name"], call["args"]) for call in message.tool_calls if call["name"] != without]


def test_work_is_planned_first_and_every_todo_is_completed_at_the_end() -> None:
    """The first call is write_todos with at least two todos; the last one completes all of them."""
    said = play("$ echo 1", {})
    plans = [c["args"]["todos"] for m in said for c in m.tool_calls if c["name"] == "write_todos"]
    assert [call["name"] for call in said[0].tool_calls] == ["write_todos"]
    assert len(plans[0]) >= 2
    assert plans[0][0]["status"] == "in_progress"
    assert {todo["status"] for todo in plans[-1]} == {"completed"}


def test_command_lines_run_one_after_the_other_and_repeats_are_kept() -> None:
    """Each `$` line is one call in a message of its own, also when it is the same as the one before."""
    said = play("please\n$ date\n$ date", {})
    assert [calls(m) for m in said if calls(m)] == [[("execute", {"command": "date"})]] * 2
    ids = [c["id"] for m in said for c in m.tool_calls]
    assert len(set(ids)) == len(ids)


def test_delegations_are_parallel_and_their_commands_become_lines() -> None:
    """Neighbouring `@` lines are one message; ` $ ` inside starts a command line; unknown names are general."""
    said = play("@Researcher count them $ ls | wc -l\n\n@nobody look $ pwd $ id", {})
    (delegation,) = [m for m in said if calls(m)]
    assert calls(delegation) == [
        ("task", {"description": "count them\n$ ls | wc -l", "subagent_type": "researcher"}),
        ("task", {"description": "look\n$ pwd\n$ id", "subagent_type": "general-purpose"}),
    ]


def test_file_lines_become_file_calls() -> None:
    """`> write PATH: TEXT` and `> read PATH` call the file tools, with line breaks in TEXT."""
    said = play("> write a/b.txt: one\\ntwo: 2\n> read a/b.txt", {})
    assert [call for m in said for call in calls(m)] == [
        ("write_file", {"file_path": "a/b.txt", "content": "one\ntwo: 2"}),
        ("read_file", {"file_path": "a/b.txt"}),
    ]


def test_the_answer_quotes_what_the_tools_returned() -> None:
    """Output and exit code of a command are in the answer, which says that it comes from the demo model."""
    answer = play("$ make it", {"execute": "boom\n[Command failed with exit code 3]"})[-1].text
    assert "`make it` exited 3" in answer
    assert "> boom" in answer
    assert "offline demo model" in answer


def test_without_work_it_says_what_it_is_and_what_it_can_do() -> None:
    """A message without a line of work gets a plain answer and no tool call."""
    (answer,) = play("hello there", {})
    assert "offline demo model" in answer.text
    assert "$ COMMAND" in answer.text


def test_it_recalls_the_earlier_messages_of_the_conversation() -> None:
    """Asked what was said, it lists earlier human messages; with none it says so."""
    before = [HumanMessage("my name is Ada"), AIMessage("hello")]
    assert "1. my name is Ada" in play("What did I say?", {}, list(before))[-1].text
    assert "nothing before" in play("what did I say?", {})[-1].text


def test_tools_that_are_not_bound_are_not_called() -> None:
    """A line that needs a tool which is not there is named in the answer."""
    answer = ask([HumanMessage("$ ls")], [])
    assert not answer.tool_calls
    assert "no `execute` tool" in answer.text


def test_the_same_conversation_gives_the_same_next_step() -> None:
    """No state: another instance goes on where this one was."""
    messages: list[BaseMessage] = [HumanMessage("$ a\n$ b")]
    first, again = ask(messages), ask(messages)
    assert (first.content, calls(first, without="")) == (again.content, calls(again, without=""))


def test_long_work_is_planned_in_few_todos_and_answered_in_bounds() -> None:
    """300 commands make at most 9 todos and an answer of bounded size: status updates must not grow with the square."""
    said = play("\n".join(f"$ echo {n}" for n in range(300)), {"execute": "x" * 5000})
    plans = [c["args"]["todos"] for m in said for c in m.tool_calls if c["name"] == "write_todos"]
    assert len(plans) <= 10
    assert max(map(len, plans)) <= 9
    assert sum(len(calls(m)) for m in said) == 300
    assert len(said[-1].text) < 40_000


async def test_it_streams_one_message_with_one_end() -> None:
    """All chunks have one id, the last one says so and carries usage, and together they are the message."""
    model = DemoModel(token_delay_s=0).bind_tools(TOOLS)
    chunks = [c async for c in model.astream([HumanMessage("@reviewer one\n@researcher two")])]
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) > 3
    assert isinstance(chunks[-1], AIMessageChunk)
    assert [c.chunk_position for c in chunks if isinstance(c, AIMessageChunk)][-1] == "last"
    usage = chunks[-1].usage_metadata
    assert usage is not None
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_the_token_delay_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """AGENT_RUNNER_DEMO_TOKEN_DELAY_MS is in milliseconds; nonsense is the default."""
    monkeypatch.setenv("AGENT_RUNNER_DEMO_TOKEN_DELAY_MS", "250")
    assert DemoModel().token_delay_s == 0.25
    monkeypatch.setenv("AGENT_RUNNER_DEMO_TOKEN_DELAY_MS", "fast")
    assert DemoModel().token_delay_s == 0.015
