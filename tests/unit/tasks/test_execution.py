"""A run in this process with real LangGraph and a real gRPC server: what it reports, and when it says nothing."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agent_runner.status.failures import Code, describe
from agent_runner.status.log.log import Delta
from agent_runner.status.phases import Phase
from agent_runner.tasks.body_errors import ExecutionError
from agent_runner.tasks.ensure_thread import ensure_thread
from agent_runner.tasks.report_failure import judge
from agent_runner.tasks.run import execution
from agent_runner.tasks.run.execution import execute
from agent_runner.tasks.run.run_log import RunLog
from agent_runner.tasks.run.stops import Stop
from agent_runner.tasks.worker.process import RunnerProcess
from agent_runner.v1 import runner_pb2 as pb
from tests.support.waiting import eventually
from tests.unit.tasks.runner_process import Quiet, runner_process, settings_of
from tests.unit.tasks.runner_server import HANDLE, RunnerServer

GRAPH = """
import asyncio
import time
from pathlib import Path
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph

STARTS = []

def silent_socket():
    with Path(__file__).with_name("hanging").open("a") as hanging:
        hanging.write(".")
    while not Path(__file__).with_name("go").exists():
        time.sleep(0.1)

async def first(state):
    what, _, argument = state["messages"][-1].content.partition(" ")
    STARTS.append(what)
    if what == "raise":
        raise ValueError(argument.replace("[half]", "\\udce9"))
    if what == "lost":
        raise ConnectionError(argument)
    if what == "sleep":
        await asyncio.sleep(float(argument))
    if what == "say":
        return {"messages": [AIMessage("word " * int(argument))]}
    if what == "hang":
        await asyncio.gather(*(asyncio.to_thread(silent_socket) for _ in range(int(argument))))
    if what == "stubborn":
        for _ in range(100):
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                pass
    return {"messages": [AIMessage("one")]}

async def second(state):
    return {"messages": [AIMessage("two")]}

builder = StateGraph(MessagesState)
builder.add_node("first", first)
builder.add_node("second", second)
builder.add_edge(START, "first")
builder.add_edge("first", "second")
builder.add_edge("second", END)

CALLS = []

def flaky(config):
    CALLS.append(1)
    if len(CALLS) < 3:
        raise ConnectionError("not yet")
    return builder
"""


@pytest.fixture
async def server() -> AsyncIterator[RunnerServer]:
    server = await RunnerServer().start()
    server.claim_reply.graph = "agent"
    server.claim_reply.thread_id = "thread-1"
    yield server
    await server.stop()


@pytest.fixture
async def process(server: RunnerServer, tmp_path: Path) -> AsyncIterator[RunnerProcess]:
    (tmp_path / "graphs.py").write_text(GRAPH)
    names = {"agent": "./graphs.py:builder", "flaky": "./graphs.py:flaky"}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": names}))
    async with runner_process(settings_of(server.port, tmp_path, graphs=tmp_path / "langgraph.json")) as process:
        yield process


@pytest.fixture
def run(process: RunnerProcess, server: RunnerServer) -> Callable[..., "asyncio.Future[Any]"]:
    """Runs one execution with this message; its result."""

    def start(message: str, **claim: Any) -> "asyncio.Future[Any]":
        server.claim_reply.message = message
        for name, value in claim.items():
            setattr(server.claim_reply, name, value)
        work = process.loop.submit(execute(process, "exec-1", Quiet()))  # type: ignore[arg-type]
        return asyncio.ensure_future(asyncio.to_thread(work.result, 30))

    return start


Run = Callable[..., "asyncio.Future[Any]"]


async def owned(process: RunnerProcess) -> None:
    """The run has started its first step."""
    await asyncio.to_thread(
        eventually, lambda: any(run.open_nodes for run in list(process._runs.values())), what="a run at work"
    )


async def test_a_run_reports_what_it_says_and_its_end(run: Run, server: RunnerServer) -> None:
    """The result of the task is what the server stored; the messages are in the log once."""
    result = await run("hello")
    assert result == {"execution_id": "exec-1", "phase": "EXECUTION_COMPLETED", "code": "", "last_seq": 2}
    assert [p["content"] for k, p in server.stored if k == "message"] == ["one", "two"]
    assert server.settled[0].head_checkpoint_id


@pytest.mark.promise("3.29")
@pytest.mark.promise("0.21")
async def test_an_exception_of_the_agent_is_a_result(run: Run, server: RunnerServer) -> None:
    """FAILED with the original text as a fact; the task itself succeeds."""
    result = await run("raise test error")
    assert (result["phase"], result["code"]) == ("EXECUTION_FAILED", "E301")
    facts = json.loads(server.settled[0].facts_json)
    assert facts["original_error"] == "test error"
    assert facts["worker"] == "worker@here"
    assert (facts["error_class"], facts["error_node"]) == ("ValueError", "first")
    assert re.fullmatch(r"\S+/graphs\.py:\d+ in first", facts["error_at"])
    begins, *_ = lines = [line for line in facts["traceback"].splitlines() if line.startswith("  File ")]
    assert "graphs.py" in begins, "the frames of LangGraph that lead there are left out"
    assert len(lines) == 1
    assert "ValueError: test error" in facts["traceback"]


async def test_an_exception_that_names_a_file_whose_name_is_no_text(run: Run, server: RunnerServer) -> None:
    """Python gives such a name as half characters, which no message can hold: they are replaced, nothing is lost."""
    assert (await run("raise caf[half].csv is empty"))["code"] == "E301"
    facts = json.loads(server.settled[0].facts_json)
    assert facts["original_error"] == "caf\ufffd.csv is empty" in facts["traceback"]


async def test_the_origin_of_an_error_shows_no_secret(run: Run, server: RunnerServer) -> None:
    """A traceback is masked like everything that a run says."""
    server.claim_reply.env["TOKEN"] = "kept-to-itself-17"
    server.claim_reply.secret_names.append("TOKEN")
    await run("raise kept-to-itself-17")
    assert "kept-to-itself-17" not in server.settled[0].facts_json
    assert json.loads(server.settled[0].facts_json)["traceback"]


@pytest.mark.promise("0.22")
async def test_infrastructure_errors_are_tried_again_only_before_the_first_step(run: Run, server: RunnerServer) -> None:
    """A factory that fails to connect is called again; a step that fails to connect is not."""
    assert (await run("hello", graph="flaky"))["phase"] == "EXECUTION_COMPLETED"
    server.stored.clear()
    result = await run("lost connection", graph="agent")
    assert result["code"] == "E301"


@pytest.mark.promise("1.11")
async def test_an_empty_session_is_named(run: Run, server: RunnerServer) -> None:
    """An agent without its session is a failed set-up, in these words."""
    result = await run("hello", graph="")
    assert result["code"] == "E302"
    told = json.loads(server.settled[0].facts_json)["original_error"]
    assert told == "Session ID is required for execution exec-1"


async def test_start_to_close_keeps_what_was_done(run: Run, server: RunnerServer) -> None:
    """The run's own limit: E104, with the step it was in."""
    await run("hello")  # the import of its file is no part of the limited one, however busy the machine is
    server.stored.clear()
    server.settled.clear()
    result = await run("sleep 30", start_to_close_s=0.5)
    assert result["code"] == "E104"
    facts = json.loads(server.settled[0].facts_json)
    assert facts["limit_s"] == 0.5
    assert "first" in facts["open_step"]


async def test_threads_that_never_come_back_are_named_and_cost_no_other_run(
    run: Run, server: RunnerServer, process: RunnerProcess, tmp_path: Path
) -> None:
    """E104 and a cancel count them and say where they are; the next run has threads; they count until they return."""
    share = process.settings.threads_per_run
    await run("hello")  # the import of its file is no part of the limited one, however busy the machine is
    server.stored.clear()
    server.settled.clear()
    try:
        assert (await run(f"hang {share + 5}", start_to_close_s=4.0))["code"] == "E104"
        facts = json.loads(server.settled[0].facts_json)
        # One of them may just be on its way to the line where the others hang.
        assert facts["threads"].startswith(f"; {share} threads of it have not come back: "), facts
        assert "silent_socket (graphs.py:" in facts["threads"]
        assert facts["threads"] in describe(Code.START_TO_CLOSE, facts).error
        cancelled = run("hang 1", start_to_close_s=30.0)
        await owned(process)
        hanging = tmp_path / "hanging"
        await asyncio.to_thread(eventually, lambda: hanging.stat().st_size == share + 1, what="its thread to hang")
        server.push(pb.CANCEL)
        assert (await cancelled)["phase"] == "EXECUTION_CANCELLED"
        facts = json.loads(server.settled[1].facts_json)
        assert f"{share + 1} threads of it have not come back" in describe(Code.CANCELLED, facts).error
        assert share + 1 == process._pulse().hung_threads
        assert process._pulse().not_taking == ""
        assert (await run("hang 0"))["phase"] == "EXECUTION_COMPLETED"
    finally:
        (tmp_path / "go").touch()
    await asyncio.to_thread(eventually, lambda: process._pulse().hung_threads == 0, what="all of them have come back")


async def test_an_agent_that_ignores_its_cancel_is_given_up(run: Run, server: RunnerServer) -> None:
    """The end is reported a moment after the limit, and what it says later is not."""
    result = await run("stubborn", start_to_close_s=0.3)
    assert result["code"] == "E104"
    assert server.stored == []


async def test_a_pushed_cancel_ends_the_run(run: Run, server: RunnerServer, process: RunnerProcess) -> None:
    """Well before its sleep is over: CANCELLED."""
    result = run("sleep 30")
    await owned(process)
    server.push(pb.CANCEL)
    async with asyncio.timeout(25):
        assert (await result)["phase"] == "EXECUTION_CANCELLED"
    assert Phase(server.settled[0].phase) is Phase.CANCELLED


async def test_who_is_fenced_out_writes_nothing(run: Run, server: RunnerServer, process: RunnerProcess) -> None:
    """Stopped at once, no settle, an empty result."""
    result = run("sleep 30")
    await owned(process)
    server.push(pb.FENCED_OUT)
    async with asyncio.timeout(25):
        assert (await result)["phase"] == ""
    assert server.settled == []


async def test_who_is_fenced_out_in_the_moment_of_its_cancel_writes_nothing(
    run: Run, server: RunnerServer, process: RunnerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the verdict comes while its memory is asked where it stands: no settle, and no error of ours."""

    async def asked(graph: object, current: object) -> list[str]:
        server.push(pb.FENCED_OUT)
        (mine,) = process._runs.values()
        while mine.stop_reason is not Stop.FENCED_OUT:
            await asyncio.sleep(0.01)
        return []

    monkeypatch.setattr(execution, "next_nodes", asked)
    monkeypatch.setattr(execution, "STANDS_AT_S", 20.0)
    result = run("sleep 30")
    await owned(process)
    server.push(pb.CANCEL)
    async with asyncio.timeout(25):
        assert (await result)["phase"] == ""
    assert server.settled == []


async def test_a_leaving_worker_hands_back_at_the_boundary(
    run: Run, server: RunnerServer, process: RunnerProcess
) -> None:
    """The step that runs is finished, the next one is left to another worker; the head goes along."""
    result = run("sleep 1")
    await owned(process)
    process.drain("deploy", 10)
    assert (await result)["phase"] == "EXECUTION_IN_PROGRESS"
    assert server.settled == []
    assert server.handed_back[0].handle == HANDLE
    assert server.handed_back[0].head_checkpoint_id
    assert [p["content"] for k, p in server.stored if k == "message"] == ["one"]


async def test_a_step_that_outlasts_the_drain_time_ends_the_run(
    run: Run, server: RunnerServer, process: RunnerProcess
) -> None:
    """E106, with the step it was in."""
    result = run("sleep 30")
    await owned(process)
    process.drain("deploy", 0.3)
    assert (await result)["code"] == "E106"
    assert "first" in json.loads(server.settled[0].facts_json)["open_step"]


async def test_lost_answers_change_nothing(run: Run, server: RunnerServer) -> None:
    """Claim, append and settle are answered only the second time: one end, each message once."""
    server.drop_answers = 3
    result = await run("hello")
    assert result["phase"] == "EXECUTION_COMPLETED"
    assert [p["content"] for k, p in server.stored if k == "message"] == ["one", "two"]


async def test_a_run_that_nobody_answers_starts_nothing(process: RunnerProcess, server: RunnerServer, run: Run) -> None:
    """Its gate is closed until a beat is answered."""
    server.answer_beats = False
    result = run("sleep 5", heartbeat_s=0.4)
    await owned(process)
    owner = next(iter(process._runs.values()))
    await asyncio.to_thread(eventually, lambda: owner.unheard, what="nobody answers")

    async def pass_gate() -> None:
        await owner.current.gate()

    passed = process.loop.submit(pass_gate())
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(passed.result, 0.5)
    server.answer_beats = True
    await asyncio.to_thread(passed.result, 5)
    server.push(pb.CANCEL)
    await result


async def test_a_refused_claim_is_left_alone(process: RunnerProcess, server: RunnerServer, run: Run) -> None:
    """The message is acked and nothing is written."""
    server.claim_reply.granted = False
    assert (await run("hello"))["phase"] == ""
    assert server.appends == server.settled == []


async def test_ensure_thread_gives_the_session_its_thread(process: RunnerProcess, server: RunnerServer) -> None:
    """Named after the session, so that every execution of it has the same; asked for again when the answer is lost."""
    server.drop_answers = 1
    work = process.loop.submit(ensure_thread(process, "exec-1"))
    result = await asyncio.to_thread(work.result, 20)
    assert result == {"execution_id": "exec-1", "thread_id": "thread-ses-1"}


async def test_an_empty_execution_id_is_refused(process: RunnerProcess) -> None:
    """Before anything is asked of the server."""
    work = process.loop.submit(execute(process, "", Quiet()))  # type: ignore[arg-type]
    with pytest.raises(ExecutionError, match="Execution ID is required"):
        await asyncio.to_thread(work.result, 5)


@pytest.mark.parametrize(
    ("name", "text", "code", "cause"),
    [
        ("ExecutionError", "[E103] the end could not be reported", "E103", "the end could not be reported"),
        ("WorkerLostError", "Worker exited prematurely: signal 9 (SIGKILL) Job: 0.", "E103", "signal 9: usually"),
        ("TimeLimitExceeded", "TimeLimitExceeded(610.0,)", "E104", ""),
        ("NotRegistered", "'Nope'", "E201", ""),
        ("TypeError", "run() missing 1 required positional argument", "E202", "missing 1 required"),
        ("EncodeError", "cannot encode", "E302", "EncodeError: cannot encode"),
    ],
)
def test_the_error_callback_says_what_the_task_left(name: str, text: str, code: str, cause: str) -> None:
    """Each kind of failed task has its code; the original text is kept."""
    found = judge(name, text)
    assert found.code.value == code
    assert cause in str(found.facts)


async def test_who_is_fenced_out_while_it_drains_ends_at_once(
    run: Run, server: RunnerServer, process: RunnerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither handed back nor settled, and nothing is said again: somebody else has it."""
    flushed = process.flusher.flushed

    async def too_late(log: RunLog, **options: Any) -> None:
        await flushed(log, **options)  # the word is the answer to what is said now
        server.verdict = pb.FENCED_OUT
        log.add([Delta(kind="note", payload={"text": "the last word"})])
        await flushed(log, **options)

    monkeypatch.setattr(process.flusher, "flushed", too_late)
    result = run("sleep 0.5")
    await owned(process)
    process.drain("deploy", 20)
    async with asyncio.timeout(30):
        assert (await result)["phase"] == ""
    assert (server.handed_back, server.settled) == ([], [])
    assert process.busy == 0
    refused = [one for one in server.appends if any(d.kind == "note" for r in one.runs for d in r.deltas)]
    assert len(refused) == 1


async def test_an_answer_that_the_server_can_never_take_is_cut(run: Run, server: RunnerServer) -> None:
    """The run completes, with the head of it and a note of its size; it was refused once, not for ever."""
    assert (await run("say 1000000"))["phase"] == "EXECUTION_COMPLETED"
    said = [payload["content"] for kind, payload in server.stored if kind == "message"]
    assert said[0].endswith("[cut here: 16384 of 5000000 bytes are shown]")
    assert said[1] == "two"
    assert len(server.appends) < 10
