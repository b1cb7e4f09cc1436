"""AG-UI: what a run tells a front end, what a front end may send, and what happens when its connection breaks."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.front_ends.front_end import FrontEnd, Told
from tests.integration.stack import Stack

Json = dict[str, Any]
PAINT = {"name": "paint", "description": "Paint the page", "parameters": {"type": "object"}}


def again(front_end: FrontEnd, told: Told, agent: str, **given: Any) -> Told:
    return front_end.run(agent, thread=told.sent["threadId"], **given)


def answered(front_end: FrontEnd, agent: str, *answers: Any, **given: Any) -> Told:
    """The run that asks, and then the one that goes on with these answers."""
    asked = front_end.run(agent, **given)
    interrupts = asked.last["outcome"]["interrupts"]
    resume = [
        {"interruptId": one["id"], "status": "resolved", "payload": answer}
        for one, answer in zip(interrupts, answers, strict=True)
    ]
    return again(front_end, asked, agent, resume=resume)


RUNS: dict[str, Callable[[FrontEnd], Told]] = {
    "words": lambda f: f.run("talk", "hello"),
    "a tool": lambda f: f.run("agent-runner", "$ echo hi"),
    "tools that fail": lambda f: f.run("agent-runner", "$ exit 3\n> read nothing.txt"),
    "several tools": lambda f: f.run("agent-runner", "$ echo 1\n$ echo 2\n$ echo 3"),
    "a sub-agent": lambda f: f.run("agent-runner", "@researcher look at it"),
    "a sub-agent with tools": lambda f: f.run("agent-runner", "@researcher $ echo hi"),
    "two sub-agents": lambda f: f.run("agent-runner", "@researcher one\n@researcher two"),
    "steps and state": lambda f: f.run("add_up", state={"n": 3}),
    "steps at the same time": lambda f: f.run("fan", state={"n": 1}),
    "events of its own": lambda f: f.run("progress", state={"n": 1}),
    "thoughts": lambda f: f.run("thinks", "hello"),
    "a message that is edited": lambda f: f.run("edits", "hello"),
    "a failure": lambda f: f.run("fails", state={"n": 1}),
    "a question": lambda f: f.run("ask", state={"n": 1}),
    "an answer": lambda f: answered(f, "ask", "left", state={"n": 1}),
    "two questions, one after the other": lambda f: answered(f, "twice", "first", state={"n": 1}),
    "an approval": lambda f: f.run("approve", "hello"),
    "an approved call": lambda f: answered(f, "approve", {"decisions": [{"type": "approve"}]}, said="hello"),
    "a refused call": lambda f: answered(f, "approve", {"decisions": [{"type": "reject"}]}, said="hello"),
    "a tool of the page": lambda f: f.run("offers", "hello", tools=[PAINT]),
    "a second message": lambda f: again(f, f.run("agent-runner", "one"), "agent-runner", said="two"),
}


@pytest.mark.parametrize("name", RUNS)
def test_the_validator_accepts_every_run(name: str, front_end: FrontEnd) -> None:
    """AG-UI's validator has nothing to say about the stream of any kind of run, not even a warning."""
    told = RUNS[name](front_end)
    report = told.judged()
    assert not report.diagnostics, report.diagnostics
    assert not report.internal_errors
    assert told.types[0] == "RUN_STARTED"
    assert told.last["type"] in ("RUN_FINISHED", "RUN_ERROR")
    assert told.text.endswith(": end\n\n")


@pytest.mark.parametrize("agent", ["agent-runner", "add_up", "fails"])
def test_from_every_position_exactly_the_rest(agent: str, front_end: FrontEnd) -> None:
    """A reader that comes back with the id of any frame gets every later one, byte for byte, by GET and by POST."""
    body = front_end.sent("$ echo hi") if agent == "agent-runner" else front_end.sent(state={"n": 1})
    whole = front_end.post(agent, body)
    assert len({id_ for id_, _ in whole.frames}) == len(whole.frames)
    for place, (id_, _) in enumerate(whole.frames):
        assert front_end.get(whole.headers["location"], id_).frames == whole.frames[place + 1 :]
    middle = whole.frames[len(whole.frames) // 2][0]
    assert front_end.post(agent, body, middle).frames == front_end.get(whole.headers["location"], middle).frames


def test_the_same_run_id_is_the_same_run(front_end: FrontEnd) -> None:
    """Sent again, also after its end and with the state that it left, a request begins nothing new."""
    body = front_end.sent(state={"n": 3})
    first = front_end.post("add_up", body)
    second = front_end.post("add_up", body | {"state": first.of("STATE_SNAPSHOT")[-1]["snapshot"]})
    assert first.frames == second.frames
    assert first.execution == second.execution


def test_what_a_front_end_is_told_of_a_tool(front_end: FrontEnd) -> None:
    """A call has its arguments and its message, then its result; a failed one says so in the result's metadata."""
    told = front_end.run("agent-runner", "$ exit 3")
    (call,), (args,), (result,) = told.of("TOOL_CALL_START"), told.of("TOOL_CALL_ARGS"), told.of("TOOL_CALL_RESULT")
    assert (call["toolCallName"], args["delta"]) == ("execute", '{"command": "exit 3"}')
    assert call["parentMessageId"] in {one["messageId"] for one in told.of("TEXT_MESSAGE_START")}
    assert result["toolCallId"] == call["toolCallId"]
    assert "exit code 3" in result["content"]
    assert "exit code 3" in result["metadata"]["error"]


def test_what_a_sub_agent_says_is_its_own(front_end: FrontEnd) -> None:
    """A sub-agent begins and ends around its messages, which carry its id; the main agent's carry none."""
    told = front_end.run("agent-runner", "@researcher look at it")
    (began,), (ended,) = told.of("SUBAGENT_STARTED"), told.of("SUBAGENT_FINISHED")
    assert began["name"] == "researcher"
    assert began["subagentRunId"] == ended["subagentRunId"] == began["parentToolCallId"]
    own = [one for one in told.of("TEXT_MESSAGE_START") if one.get("subagentRunId") == began["subagentRunId"]]
    assert len(own) == 1
    assert told.types.index("SUBAGENT_STARTED") < told.events.index(own[0]) < told.types.index("SUBAGENT_FINISHED")


def test_a_failure_has_our_code_and_the_next_step(front_end: FrontEnd, served: Stack) -> None:
    """RUN_ERROR has the code, the text of the execution and what to do about it."""
    told = front_end.run("fails", state={"n": 1})
    status = served.get(told.execution)["status"]
    assert (told.last["type"], told.last["code"]) == ("RUN_ERROR", "E301")
    assert "the sum is not right" in told.last["message"]
    assert told.last["message"] == status["error"]
    assert told.last["metadata"]["next_step"] == status["messages"][-1]["metadata"]["next_step"]


def test_a_question_and_its_answer(front_end: FrontEnd) -> None:
    """The run ends with the question and the form of its answer; the next one goes on with the answer."""
    asked = front_end.run("ask", state={"n": 1})
    (interrupt,) = asked.last["outcome"]["interrupts"]
    assert interrupt["responseSchema"] == {"enum": ["left", "right"]}
    assert interrupt["metadata"]["value"]["question"] == "which one?"
    resume = [{"interruptId": interrupt["id"], "status": "resolved", "payload": "left"}]
    done = again(front_end, asked, "ask", resume=resume)
    assert done.last["result"]["answer"] == "left"
    assert done.last["outcome"]["type"] == "success"


def test_a_message_answers_the_only_question(front_end: FrontEnd) -> None:
    """A front end without a form for questions answers with words."""
    asked = front_end.run("ask", state={"n": 1})
    assert again(front_end, asked, "ask", said="right").last["result"]["answer"] == "right"


def test_a_refused_question(front_end: FrontEnd) -> None:
    """`cancelled` rejects a call that waits for approval; the call does not run."""
    asked = front_end.run("approve", "hello")
    (one,) = asked.last["outcome"]["interrupts"]
    done = again(front_end, asked, "approve", resume=[{"interruptId": one["id"], "status": "cancelled"}])
    assert "sent to bob" not in done.text
    assert done.last["outcome"]["type"] == "success"


def test_an_answer_to_no_question(front_end: FrontEnd) -> None:
    """An unknown id is refused before anything runs, and the refusal names those that are open."""
    asked = front_end.run("ask", state={"n": 1})
    body = front_end.sent(thread=asked.sent["threadId"])
    body["resume"] = [{"interruptId": "no-such", "status": "resolved", "payload": 1}]
    refused = front_end.http.post("/v1/agui/ask", json=body)
    assert refused.status_code == 400
    assert asked.last["outcome"]["interrupts"][0]["id"] in refused.json()["detail"]


def test_only_what_the_front_end_changed_is_input(front_end: FrontEnd) -> None:
    """A front end sends the whole state back; fields that it did not touch are not added a second time."""
    first = front_end.run("add_up", state={"n": 1})
    state = first.of("STATE_SNAPSHOT")[-1]["snapshot"]
    assert state == {"n": 4, "ran": ["add", "double"]}
    second = again(front_end, first, "add_up", state=state | {"n": 10})
    assert second.last["result"] == {"n": 22, "ran": ["add", "double", "add", "double"]}


def test_only_new_messages_are_input(front_end: FrontEnd, served: Stack) -> None:
    """A front end sends the whole conversation every time; the run gets the new message."""
    first = front_end.run("agent-runner", "one")
    history = [*first.sent["messages"], {"id": "a-1", "role": "assistant", "content": first.text_of()}]
    more = {"id": str(uuid.uuid4()), "role": "user", "content": "what did I say?"}
    second = again(front_end, first, "agent-runner", messages=[*history, more])
    assert served.get(second.execution)["status"]["messages"][0]["content"] == "what did I say?"
    assert "one" in second.text_of()


def test_a_conversation_that_began_elsewhere(front_end: FrontEnd) -> None:
    """In a new thread all messages that the front end has are the agent's."""
    told = front_end.run(
        "agent-runner",
        messages=[
            {"id": "1", "role": "user", "content": "my name is Ada"},
            {"id": "2", "role": "assistant", "content": "hello Ada"},
            {"id": "3", "role": "user", "content": "what did I say?"},
        ],
    )
    assert "my name is Ada" in told.text_of()


def test_a_tool_of_the_page(front_end: FrontEnd) -> None:
    """A call of the page's own tool stays open; its result in the next request's messages goes to the model."""
    asked = front_end.run("offers", "hello", tools=[PAINT])
    (call,) = asked.of("TOOL_CALL_START")
    assert asked.last["outcome"]["pendingToolCallIds"] == [call["toolCallId"]]
    assert not asked.of("TOOL_CALL_RESULT")
    made = {"id": call["toolCallId"], "type": "function", "function": {"name": "paint", "arguments": "{}"}}
    messages = [
        *asked.sent["messages"],
        {"id": call["parentMessageId"], "role": "assistant", "toolCalls": [made]},
        {"id": "result", "role": "tool", "toolCallId": call["toolCallId"], "content": "it is red now"},
    ]
    assert again(front_end, asked, "offers", messages=messages, tools=[PAINT]).text_of() == (
        "the page said: it is red now"
    )


def test_an_edited_message_is_told(front_end: FrontEnd) -> None:
    """A message that the graph took back is not in the conversation that a front end is told at the end."""
    told = front_end.run("edits", "hello")
    (shown,) = told.of("MESSAGES_SNAPSHOT")
    assert [(one["role"], one["content"]) for one in shown["messages"]] == [
        ("user", "hello"),
        ("assistant", "something better"),
    ]
    assert shown["messages"][0]["id"] == told.sent["messages"][0]["id"]


def test_a_page_that_was_loaded_again(front_end: FrontEnd) -> None:
    """GET of a thread tells the messages so far and the newest run, with the ids that the front end gave."""
    first = front_end.run("agent-runner", "$ echo hi")
    second = again(front_end, first, "agent-runner", said="and now?")
    told = front_end.get(f"/v1/agui/agent-runner/{first.sent['threadId']}/stream")
    (shown,) = told.of("MESSAGES_SNAPSHOT")
    roles = [one["role"] for one in shown["messages"]]
    assert (roles[0], roles[-1], "tool" in roles) == ("user", "user", True)
    assert shown["messages"][0]["id"] == first.sent["messages"][0]["id"]
    assert [one for one in told.events if one["type"] != "MESSAGES_SNAPSHOT"] == second.events
    assert not told.judged().diagnostics


def test_cancel(front_end: FrontEnd, served: Stack) -> None:
    """A cancel ends the stream with the outcome `cancelled`; a reader that only goes away ends nothing."""
    body = front_end.sent(state={"n": 1, "seconds": 60.0})
    with front_end.http.stream("POST", "/v1/agui/slow", json=body) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if "STEP_STARTED" in line)
        location, execution = answer.headers["location"], answer.headers["content-location"].rpartition("/")[2]
    assert served.phase(execution) == "EXECUTION_IN_PROGRESS"
    cancelled = front_end.http.post(f"/v1/agui/slow/{body['threadId']}/cancel")
    assert (cancelled.status_code, cancelled.json()) == (202, {"cancelled": [execution]})
    told = front_end.get(location)
    assert told.last["outcome"] == {"type": "cancelled"}
    assert not told.judged().diagnostics


def test_a_run_that_ends_with_its_reader(front_end: FrontEnd, served: Stack) -> None:
    """With `on_disconnect: cancel` a reader that goes away takes the run with it."""
    props = {"agent_runner": {"on_disconnect": "cancel"}}
    body = front_end.sent(state={"seconds": 60.0}, forwardedProps=props)
    with front_end.http.stream("POST", "/v1/agui/slow", json=body) as answer:
        next(line for line in answer.iter_lines() if "STEP_STARTED" in line)
        execution = answer.headers["content-location"].rpartition("/")[2]
    assert served.wait_for(execution)["status"]["phase"] == "EXECUTION_CANCELLED"


def test_a_killed_worker(front_end: FrontEnd, served: Stack) -> None:
    """The stream of a run whose worker was killed ends with RUN_ERROR and the code of a lost worker."""
    body = front_end.sent(state={"seconds": 60.0})
    with front_end.http.stream("POST", "/v1/agui/slow", json=body) as answer:
        lines = answer.iter_lines()
        next(line for line in lines if "STEP_STARTED" in line)
        worker = next(one for one in reversed(served.processes) if one.name == "worker")
        worker.child().kill()
        text = "\n".join(lines)
    told = front_end.get(answer.headers["location"])
    assert (told.last["type"], told.last["code"]) == ("RUN_ERROR", "E103")
    assert '"code":"E103"' in text
    assert not told.judged().diagnostics


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"messages": "no list"}, "messages"),
        ({"threadId": 7}, "threadId"),
        ({"runId": "x" * 201}, "runId"),
        ({"forwardedProps": {"agent_runner": {"modle": "x"}}}, "modle"),
        ({"forwardedProps": {"agent_runner": {"on_disconnect": "x"}}}, "on_disconnect"),
    ],
)
def test_requests_that_are_refused(change: Json, said: str, front_end: FrontEnd) -> None:
    """What cannot be run is a 400 that names the field, and makes no execution."""
    refused = front_end.http.post("/v1/agui/talk", json=front_end.sent("hello") | change)
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")
    assert said in refused.json()["detail"]


def test_options_of_a_run_that_is_shown_again(front_end: FrontEnd) -> None:
    """They are read, though the run began long ago."""
    sent = front_end.sent("hello") | {"runId": "once"}
    assert front_end.http.post("/v1/agui/talk", json=sent).status_code == 200
    sent["forwardedProps"] = {"agent_runner": {"timeouts": {"heartbeat_s": -1}}}
    refused = front_end.http.post("/v1/agui/talk", json=sent)
    assert (refused.status_code, "heartbeat_s" in refused.json()["detail"]) == (400, True)


def test_an_agent_that_is_not_there(front_end: FrontEnd) -> None:
    """The refusal names those that are."""
    refused = front_end.http.post("/v1/agui/nobody", json=front_end.sent("hello"))
    assert refused.status_code == 404
    assert "talk" in refused.json()["detail"]
    assert front_end.http.get("/v1/agui/talk/no-such-thread/stream").status_code == 404


def test_keys_and_pages_of_other_origins(front_end: FrontEnd, served: Stack) -> None:
    """A key that may only read begins nothing, another org's sees nothing, and a page of another origin may call."""
    told = front_end.run("talk", "hello", thread="chat 7")
    path = "/v1/agui/talk/chat%207/stream"

    def key(scope: str, org: str = "") -> dict[str, str]:
        made = front_end.http.post("/v1/keys", json={"name": scope, "scopes": [scope], "org": org}).json()
        return {"Authorization": f"Bearer {made['key']}"}

    reader, stranger = key("read"), key("execute", "acme")
    assert front_end.http.get(path, headers=reader).status_code == 200
    refused = front_end.http.post("/v1/agui/talk", json=front_end.sent("hello"), headers=reader)
    assert refused.status_code == 403
    assert front_end.http.get(path, headers=stranger).status_code == 404
    session = f"/v1/agui/talk/{told.events[0]['metadata']['session_id']}/stream"
    assert front_end.http.get(session, headers=stranger).status_code == 404
    assert front_end.http.get(session).status_code == 200
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    allowed = front_end.http.options("/v1/agui/talk", headers=asked)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "*")
