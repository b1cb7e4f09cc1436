"""Runs through LangGraph's own SDK: every form of them, every part of their streams, and the executions behind them."""

import asyncio
import json
import uuid
from typing import Any, get_args

import httpx
import pytest
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError, UnprocessableEntityError

from agent_runner.app.server.agent_server.runs.run_view import RunField
from agent_runner.app.server.agent_server.uuids import execution_of, run_uuid, session_of, thread_uuid
from tests.integration.stack import KEY, Stack
from tests.support.waiting import eventually

SLOW = {"left": 4, "seconds": 0.4, "tag": "a"}
QUICK = {"left": 1, "seconds": 0.01, "tag": "b"}
COUNTED = {"n": 4, "ran": ["add", "double"]}


async def new_thread(client: Any) -> str:
    return str((await client.threads.create())["thread_id"])


async def parts_of(client: Any, graph: str, given: Any, **how: Any) -> list[Any]:
    thread = how.pop("thread", None) or await new_thread(client)
    return [part async for part in client.runs.stream(thread, graph, input=given, **how)]


async def ended(client: Any, thread: str, run: str, within_s: float = 40.0) -> str:
    """The status of the run at its end; empty if it is gone."""
    async with asyncio.timeout(within_s):
        while True:
            try:
                status = (await client.runs.get(thread, run))["status"]
            except NotFoundError:
                return ""
            if status not in ("pending", "running"):
                return str(status)
            await asyncio.sleep(0.05)


async def stepped(client: Any, thread: str, **how: Any) -> str:
    """A run that has made its first step, whose stream this leaves."""
    async for part in client.runs.stream(thread, "steps", input=SLOW, stream_mode="values", **how):
        if part.event == "metadata":
            run = str(part.data["run_id"])
        elif part.data.get("ran"):
            return run
    raise AssertionError("it made no step")


@pytest.mark.promise("5.07")
async def test_a_run_is_an_execution(client: Any, served: Stack) -> None:
    """What the SDK starts stands in our list with its input and its end; what we start, the SDK finds by its UUID."""
    thread = await new_thread(client)
    assert await client.runs.wait(thread, "count", input={"n": 1}, metadata={"why": "a test"}) == COUNTED
    (run,) = await client.runs.list(thread)
    assert (run["status"], run["kwargs"]["input"], run["metadata"]["why"]) == ("success", {"n": 1}, "a test")
    shown = served.get(execution_of(run["run_id"]))
    assert shown["status"]["phase"] == "EXECUTION_COMPLETED"
    assert shown["spec"]["session_id"] == session_of(thread)
    ours = served.create("hello", graph="talk")
    served.wait_for(ours["metadata"]["id"])
    theirs = thread_uuid(ours["spec"]["session_id"])
    found = await client.runs.get(theirs, run_uuid(ours["metadata"]["id"]))
    assert (found["status"], found["thread_id"]) == ("success", theirs)


async def test_the_parts_of_a_stream(client: Any) -> None:
    """Each mode as LangGraph gives it, in LangGraph's order; sub-graphs only if they are asked for."""
    parts = await parts_of(client, "count", {"n": 1}, stream_mode=["values", "updates", "custom"])
    assert [(part.event, part.data) for part in parts[1:]] == [
        ("values", {"n": 1, "ran": []}),
        ("custom", {"adding": 1}),
        ("updates", {"add": {"n": 2, "ran": ["add"]}}),
        ("values", {"n": 2, "ran": ["add"]}),
        ("updates", {"double": {"n": 4, "ran": ["double"]}}),
        ("values", COUNTED),
    ]
    assert parts[0].event == "metadata"
    ids = [part.id for part in parts]
    assert ids == sorted(set(ids))
    inner = await parts_of(client, "outer", {"n": 1}, stream_mode="updates", stream_subgraphs=True)
    assert [part.event.split(":")[0] for part in inner[1:]] == ["updates|inner", "updates|inner", "updates"]
    told = await parts_of(client, "count", {"n": 1}, stream_mode=["tasks", "checkpoints", "debug", "events"])
    kinds = {part.event for part in told}
    assert kinds == {"metadata", "tasks", "checkpoints", "debug", "events"}
    points = [part.data for part in told if part.event == "checkpoints"]
    assert [point["next"] for point in points] == [["__start__"], ["add"], ["double"], []]
    assert {part.data["event"] for part in told if part.event == "events"} >= {"on_chain_start", "on_chain_end"}


async def test_messages_in_both_forms(client: Any) -> None:
    """Chunk by chunk with their place, or as they are so far."""
    said = {"messages": [{"role": "user", "content": "go"}]}
    chunks = [
        p.data for p in await parts_of(client, "talk", said, stream_mode="messages-tuple") if p.event == "messages"
    ]
    assert "".join(chunk["content"] for chunk, _ in chunks) == "one two three"
    assert {place["langgraph_node"] for _, place in chunks} == {"say"}
    grown = [p for p in await parts_of(client, "talk", said, stream_mode="messages") if p.event == "messages/partial"]
    assert grown[-1].data[0]["content"] == "one two three"
    assert [len(p.data[0]["content"]) for p in grown] == sorted(len(p.data[0]["content"]) for p in grown)


@pytest.mark.promise("5.08")
@pytest.mark.parametrize("mode", [["values", "updates", "custom"], "messages"])
async def test_a_stream_goes_on_from_every_event(client: Any, served: Stack, mode: Any) -> None:
    """Whoever comes back with the id of an event gets exactly the rest, in either form, also after the end."""
    thread = await new_thread(client)
    graph, given = ("talk", {"messages": "go"}) if mode == "messages" else ("count", {"n": 1})
    whole = await parts_of(client, graph, given, thread=thread, stream_mode=mode)
    run = whole[0].data["run_id"]
    for place, part in enumerate(whole):
        rest = [p async for p in client.runs.join_stream(thread, run, last_event_id=part.id)]
        assert rest == whole[place + 1 :]
    assert [p async for p in client.runs.join_stream(thread, run, last_event_id="-1")] == whole
    assert [p async for p in client.runs.join_stream(thread, run)] == []


async def test_a_question_and_its_answer(client: Any) -> None:
    """The run succeeds with the interrupt in its values; a command answers, and goes on from there."""
    thread = await new_thread(client)
    asked = await client.runs.wait(thread, "ask", input={"n": 1})
    assert [one["value"] for one in asked["__interrupt__"]] == [{"question": "go on?", "n": 2}]
    assert asked["ran"] == ["add"]
    nothing = await client.runs.wait(thread, "ask", command={"resume": None}, raise_error=False)
    assert nothing["__error__"]["error"] == "EmptyInputError"
    assert "a question cannot be answered with null" in nothing["__error__"]["message"]
    answered = await client.runs.wait(thread, "ask", command={"resume": "yes"})
    assert answered == {"n": 2, "answer": "yes", "ran": ["add", "question"]}
    stopped = await client.runs.wait(thread, "count", input={"n": 5}, interrupt_before=["double"])
    assert stopped["n"] == 6
    assert (await client.runs.wait(thread, "count", input=None))["n"] == 12
    await client.runs.wait(thread, "count", input={"n": 5}, interrupt_after=["add"])
    assert (await client.runs.wait(thread, "count", command={"update": {"n": 50}}))["n"] == 100


async def test_a_failure_is_told_with_our_code(client: Any) -> None:
    """In the stream and by wait. The text of an error that is not of the usual kinds is only ours to show."""
    error = (await parts_of(client, "fails", {"n": 1, "kind": "value"}, stream_mode="values"))[-1]
    assert (error.event, error.data["error"], error.data["message"]) == ("error", "ValueError", "no value")
    assert error.data["code"] == "E301"
    assert error.data["next_step"]
    hidden = (await parts_of(client, "fails", {"n": 1, "kind": "other"}, stream_mode="values"))[-1]
    assert (hidden.data["error"], hidden.data["message"]) == ("Secretive", "An internal error occurred")
    assert "the text of it" not in str(hidden.data)
    said = {"messages": [{"role": "nobody", "content": "hi"}]}
    refused = (await parts_of(client, "talk", said, stream_mode="values"))[-1]
    assert "input.messages: Unexpected message type: 'nobody'" in refused.data["message"]
    given = {"configurable": {"unheard": 1}}
    refused = (await parts_of(client, "count", {"n": 1}, config=given, stream_mode="values"))[-1]
    assert "config.configurable.unheard: graph 'count' does not take this name" in refused.data["message"]
    with pytest.raises(Exception, match="ValueError: no value"):
        await client.runs.wait(await new_thread(client), "fails", input={"n": 1, "kind": "value"})


async def test_a_second_run_is_refused_or_waits(client: Any) -> None:
    """As it asks; the first goes on as if nothing had been."""
    thread = await new_thread(client)
    first = (await client.runs.create(thread, "steps", input=SLOW))["run_id"]
    with pytest.raises(ConflictError):
        await client.runs.create(thread, "steps", input=QUICK, multitask_strategy="reject")
    second = await client.runs.create(thread, "steps", input=QUICK)
    assert (second["status"], second["multitask_strategy"]) == ("pending", "enqueue")
    assert (await client.runs.join(thread, second["run_id"]))["ran"] == ["a0", "a1", "a2", "a3", "b4"]
    assert await ended(client, thread, first) == "success"


async def test_a_second_run_interrupts_the_first(client: Any) -> None:
    """What the first had done stays, and the second goes on from there."""
    thread = await new_thread(client)
    first = await stepped(client, thread)
    second = await client.runs.create(thread, "steps", input=QUICK, multitask_strategy="interrupt")
    ran = (await client.runs.join(thread, second["run_id"]))["ran"]
    assert await ended(client, thread, first) == "interrupted"
    assert ran[0] == "a0"
    assert ran[-1].startswith("b")
    assert len(ran) < 5


async def test_a_second_run_rolls_back_the_first(client: Any, served: Stack) -> None:
    """Neither the first nor what it had done is there any more."""
    thread = await new_thread(client)
    await client.runs.wait(thread, "steps", input=QUICK)
    first = await stepped(client, thread)
    second = await client.runs.create(thread, "steps", input={**QUICK, "tag": "c"}, multitask_strategy="rollback")
    assert (await client.runs.join(thread, second["run_id"]))["ran"] == ["b0", "c1"]
    assert await ended(client, thread, first) == ""
    assert (await client.runs.list(thread))[0]["run_id"] == second["run_id"]
    assert len(await client.runs.list(thread)) == 2


async def test_cancel_and_delete(client: Any) -> None:
    """A cancelled run keeps its steps; a rolled-back or deleted one takes them with it; what has ended is not open."""
    thread = await new_thread(client)
    run = await stepped(client, thread)
    await client.runs.cancel(thread, run, wait=True)
    assert await ended(client, thread, run) == "interrupted"
    with pytest.raises(NotFoundError, match=r"has ended \(interrupted\)"):
        await client.runs.cancel(thread, run)
    after = await client.runs.wait(thread, "steps", input=QUICK)
    assert after["ran"][0] == "a0"
    kept = len(after["ran"])
    gone = await stepped(client, thread)
    await client.runs.cancel(thread, gone, action="rollback", wait=True)
    assert await ended(client, thread, gone) == ""
    last = await client.runs.create(thread, "steps", input=QUICK)
    assert len((await client.runs.join(thread, last["run_id"]))["ran"]) == kept + 1
    await client.runs.delete(thread, last["run_id"])
    assert await ended(client, thread, last["run_id"]) == ""
    assert len((await client.runs.wait(thread, "steps", input=QUICK))["ran"]) == kept + 1


async def test_a_reader_that_leaves(client: Any) -> None:
    """Ends the run if the run was asked so, and else does not."""
    for how, status in (({"on_disconnect": "cancel"}, "interrupted"), ({}, "success")):
        thread = await new_thread(client)
        assert await ended(client, thread, await stepped(client, thread, **how)) == status


async def test_without_a_thread(client: Any, served: Stack) -> None:
    """The run has a thread of its own, which goes at its end; a batch makes one run each."""
    seen: list[Any] = []
    assert await client.runs.wait(None, "count", input={"n": 1}, on_run_created=seen.append) == COUNTED
    session = served.get(execution_of(seen[0]["run_id"]))["spec"]["session_id"]
    eventually(lambda: served.http.get(f"/v1/sessions/{session}").status_code == 404, what="the thread to be gone")
    assert [p.event for p in await parts_of_none(client)] == ["metadata", "values", "values", "values"]
    made = await client.runs.create_batch([{"assistant_id": "count", "input": {"n": n}} for n in range(3)])
    assert len({run["run_id"] for run in made}) == 3


async def parts_of_none(client: Any) -> list[Any]:
    return [part async for part in client.runs.stream(None, "count", input={"n": 1})]


async def test_a_run_that_begins_later(client: Any) -> None:
    """It holds up nobody meanwhile."""
    thread = await new_thread(client)
    later = await client.runs.create(thread, "steps", input={**QUICK, "tag": "l"}, after_seconds=2)
    assert (await client.runs.wait(thread, "steps", input=QUICK))["ran"] == ["b0"]
    assert (await client.runs.join(thread, later["run_id"]))["ran"] == ["b0", "l1"]


async def test_what_cannot_be_done_is_refused(client: Any, served: Stack) -> None:
    """With a text that says why, before anything is made."""
    thread = await new_thread(client)
    headers = {"x-api-key": KEY}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{served.http_port}", headers=headers) as http:

        async def status(path: str, **body: Any) -> int:
            answer = await http.post(path, json={"assistant_id": "count", **body})
            assert isinstance(answer.json()["detail"], str)
            return answer.status_code

        runs = f"/threads/{thread}/runs"
        assert await status(runs, multitask_strategy="maybe") == 422
        assert await status(f"{runs}/stream", stream_mode="tools") == 422
        assert await status(runs, assistant_id="nobody") == 422
        assert await status(runs, assistant_id=str(uuid.uuid4())) == 404
        assert await status(f"/threads/{uuid.uuid4()}/runs/wait") == 404
        assert await status("/threads/no-uuid/runs") == 400
        assert await status(runs, context={"a": 1}, config={"configurable": {"b": 2}}) == 400
        assert await status(runs, webhook="ftp://example.com/file") == 422
        assert await status("/runs/wait", command={"resume": 1}) == 400
        assert await status(runs, command={"goto": 5}) == 422
        assert await status(runs, command={"goto": [{"input": 1}]}) == 422
        before = await client.threads.count()
        batch = [{"assistant_id": name, "input": {"n": 1}} for name in ("count", "nobody")]
        assert (await http.post("/runs/batch", json=batch)).status_code == 422
        assert await client.threads.count() == before, "all of a batch, or none"
        large = await http.post(runs, json={"assistant_id": "count", "input": {"n": "x" * (2 << 20)}})
        assert (large.status_code, large.json()["detail"][:12]) == (413, "input has 20")
        http.headers["x-api-key"] = "wrong"
        assert "x-api-key" in (await http.get(runs)).json()["detail"]
    assert await client.runs.list(thread) == []
    assert await client.runs.wait(str(uuid.uuid4()), "count", input={"n": 1}, if_not_exists="create") == COUNTED


async def test_a_list_of_runs_is_cut_down_to_known_fields(client: Any, served: Stack) -> None:
    """`select` names fields of a run, one in each parameter; a name that none has is refused, as in searches. `status`
    finds what has it, and nothing for one that there is not."""
    thread = await new_thread(client)
    await client.runs.wait(thread, "count", input={"n": 1})
    (whole,) = await client.runs.list(thread)
    fields = get_args(RunField)
    assert set(fields) == set(whole)
    assert await client.runs.list(thread, select=list(fields)) == [whole]
    assert await client.runs.list(thread, select=["status", "kwargs"]) == [
        {"status": "success", "kwargs": whole["kwargs"]}
    ]
    assert await client.runs.list(thread, status="success") == [whole]
    for status in ("pending", "error", "timeout", "interrupted", "no such status"):
        assert await client.runs.list(thread, status=status) == []
    for wrong in (["state"], ["run_id", "nothing"], ['["run_id"]'], ["run_id,status"], [""]):
        with pytest.raises(UnprocessableEntityError, match="select"):
            await client.runs.list(thread, select=wrong)
    for search in (client.threads.search, client.assistants.search, client.crons.search):
        with pytest.raises(UnprocessableEntityError, match="select"):
            await search(select=["nothing"])


async def test_where_a_client_goes_on(client: Any, served: Stack) -> None:
    """`Location` of an answer that was cut is what gives the same: the join of a wait, the stream of a stream."""
    thread = await new_thread(client)
    body = {"assistant_id": "count", "input": {"n": 1}}
    waited = served.http.post(f"/threads/{thread}/runs/wait", json=body)
    assert waited.headers["location"] == waited.headers["content-location"] + "/join"
    assert served.http.get(waited.headers["location"]).json() == waited.json() == COUNTED
    streamed = served.http.post(f"/threads/{thread}/runs/stream", json=body)
    assert streamed.headers["location"] == streamed.headers["content-location"] + "/stream"


async def test_a_run_cancelled_while_it_waited_says_nothing_of_its_thread(client: Any) -> None:
    """The thread is what the run before it left: interrupted, as that was cancelled between two steps."""
    thread = await new_thread(client)
    first = await stepped(client, thread)
    second = await client.runs.create(thread, "count", input={"n": 1})
    await client.runs.cancel(thread, second["run_id"])
    assert await ended(client, thread, second["run_id"]) == "interrupted"
    await client.runs.cancel(thread, first, wait=True)
    assert (await client.threads.get(thread))["status"] == "interrupted"


async def test_the_stream_of_a_thread(client: Any, served: Stack) -> None:
    """Each run with its beginning and its end, and states that are written by hand."""
    thread = await new_thread(client)
    address = f"/threads/{thread}/stream?stream_modes=lifecycle,state_update"
    told: list[tuple[str, Any]] = []
    async with (
        httpx.AsyncClient(base_url=str(served.http.base_url), headers=served.http.headers) as http,
        http.stream("GET", address, timeout=40) as answer,
    ):
        await client.runs.wait(thread, "count", input={"n": 1})
        event = ""
        async for line in answer.aiter_lines():
            name, _, said = line.partition(": ")
            event = said if name == "event" else event
            if name != "data":
                continue
            told.append((event, json.loads(said)))
            if len(told) == 2:
                await client.threads.update_state(thread, {"n": 9}, as_node="double")
            if len(told) == 3:
                break
    assert [event for event, _ in told] == ["metadata", "metadata", "state_update"]
    assert (told[0][1]["attempt"], told[1][1]["status"]) == (1, "run_done")
    assert (told[2][1]["thread_id"], told[2][1]["state"]["values"]["n"]) == (thread, 9)


async def test_the_priority_of_a_run(client: Any, served: Stack) -> None:
    """It stands in the metadata of the run, or of its assistant, under the name of the annotation."""
    urgent = await client.assistants.create("count", metadata={"agent-runner/priority": 5})
    thread = await new_thread(client)
    run = await client.runs.create(thread, urgent["assistant_id"], input={"n": 1})
    assert served.get(execution_of(run["run_id"]))["metadata"]["annotations"]["agent-runner/priority"] == "5"
    with pytest.raises(BadRequestError, match="priority"):
        await client.runs.create(thread, "count", input={"n": 1}, metadata={"agent-runner/priority": 11})
