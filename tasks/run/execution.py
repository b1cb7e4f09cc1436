"""A run, from the claim to its end: claim, prepare, stream, decide, report. This is the work of `ExecuteGraphton`.

Whatever happens inside, exactly one end is reported. Only if another worker owns the run by then, nothing is reported.
The agent runs in an asyncio task of its own, which this one watches. An agent that ignores its cancel is given up.
"""

import asyncio
import contextlib
import secrets
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.errors import GraphDrained

from agent_runner.clients.broker.task_names import EXECUTE_GRAPHTON
from agent_runner.clients.engine.current import running
from agent_runner.clients.engine.questions import told_in_full
from agent_runner.clients.engine.stream.event_stream import run_events
from agent_runner.clients.engine.stream.graph_parts import GraphParts
from agent_runner.clients.engine.turn import next_nodes
from agent_runner.clients.engine.user_graphs.graph_functions import close
from agent_runner.clients.models.order.model_call import bounded_by
from agent_runner.clients.models.prices import prices_of
from agent_runner.clients.reporting.native import BackendError, BackendUnavailable
from agent_runner.clients.sandbox.kinds.port import Sandbox, SandboxError
from agent_runner.status.event_logger import bind, bound, event_logger, masked_by
from agent_runner.status.failures import Code
from agent_runner.status.log.custom import CustomLimits
from agent_runner.status.log.stream.stream_parts import StreamLimits
from agent_runner.status.phases import Phase
from agent_runner.tasks.body_errors import AlreadyEnded, ExecutionError
from agent_runner.tasks.run.outcome import COMPLETED, WAITING, HandBack, Outcome, broke, stopped
from agent_runner.tasks.run.progress import Progress
from agent_runner.tasks.run.report import hand_back, settle
from agent_runner.tasks.run.run import Claim, Run
from agent_runner.tasks.run.setup import PAUSE_FIRST_S, TRIES, Prepared, is_infrastructure, prepare
from agent_runner.tasks.run.stops import Stop
from agent_runner.tasks.run.tidy import tidy, undo
from agent_runner.tasks.worker.loop import OWNER
from agent_runner.tasks.worker.run_spans import agent_span, task_span, tell_claim, tell_end
from agent_runner.v1 import runner_pb2 as pb

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess

log = event_logger(__name__)
TOKEN_BYTES = 16

STOP_WAIT_S = 2.0
"""How long a run may take to end after its cancel. Below the cancel timeout and the settle grace."""
CLOSE_S, CLOSE_STOPPED_S = 10.0, 1.5
"""How long the resources of a graph function may take to close; less than `STOP_WAIT_S` after a cancel."""
STANDS_AT_S = 1.0
YIELD_EVERY_S = 0.02
"""Without this pause, a model that never really waits would keep the flusher from sending."""

T = TypeVar("T")


async def execute(
    process: "RunnerProcess", execution_id: str, progress: Progress, carried: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The result of the task: `{execution_id, phase, code, last_seq}`. Raises only ExecutionError and AlreadyEnded."""
    if not execution_id:
        raise ExecutionError.of(Code.BAD_MESSAGE, "Execution ID is required")
    OWNER.set(execution_id)
    spanned = task_span(process, EXECUTE_GRAPHTON, execution_id, carried)
    with bound(execution_id=execution_id, worker=process.name), spanned as span:
        with process.tracing.span("claim", "client"):
            claim = await take(process, execution_id)
        if claim is None:
            return {"execution_id": execution_id, "phase": "", "code": "", "last_seq": 0}
        bind(session_id=claim.reply.session.metadata.id, attempt=claim.reply.attempt, fence=claim.reply.fence)
        tell_claim(span, claim)
        result = await _execute(process, claim, progress)
        tell_end(span, result)
        return result


async def _execute(process: "RunnerProcess", claim: Claim, progress: Progress) -> dict[str, Any]:
    run = Run(
        claim,
        log=lambda run: process.flusher.open(
            claim.reply, head=lambda: run.current.head_checkpoint_id, on_verdict=run.on_verdict, token=claim.token
        ),
        silent_s=process.silent_s,
        operators=process.mask,
        custom=CustomLimits(
            row_bytes=process.settings.max_custom_event_bytes,
            rows=process.settings.max_custom_events,
            run_bytes=process.settings.max_custom_bytes,
        ),
        priced=prices_of(process.settings.prices),
        stream=StreamLimits(part_bytes=process.settings.max_output_bytes, run_bytes=process.settings.max_stream_bytes),
    )
    if process.measures:
        run.current.on_failed_model = process.measures.model_failed
    with masked_by(run.mask):
        return await _owned(process, run, progress)


async def _owned(process: "RunnerProcess", run: Run, progress: Progress) -> dict[str, Any]:
    """Execute the run, report its end, and release everything that it used."""
    process.own(run)
    progress.watch(run)
    try:
        outcome = await _outcome(process, run)
        # A cancel that comes now must not prevent the report of the end.
        return await _undisturbed(_ended(process, run, outcome, progress))
    finally:
        await _undisturbed(_released(process, run, progress))


async def _ended(
    process: "RunnerProcess", run: Run, outcome: Outcome | HandBack | None, progress: Progress
) -> dict[str, Any]:
    await progress.stop()
    result = await report(process, run, outcome)
    progress.error = run.error
    await tidy(process, run, result["phase"])
    return result


async def _released(process: "RunnerProcess", run: Run, progress: Progress) -> None:
    await progress.stop()
    process.disown(run)
    process.flusher.close(run.log)
    if run.current.tool_servers is not None:
        await run.current.tool_servers.close()
    if run.current.sandbox is not None:
        await _close(run.current.sandbox)


async def take(process: "RunnerProcess", execution_id: str) -> Claim | None:
    """Claim the run; None when another worker has it or no server answers. Raises AlreadyEnded when it has ended."""
    who = {"claim_id": uuid.uuid4().hex, "incarnation": process.incarnation, "sandbox": process.sandbox}
    token = secrets.token_bytes(TOKEN_BYTES)
    request = pb.ClaimRequest(execution_id=execution_id, **who, takes_attachments=True, run_token=token)
    try:
        reply = await process.backend.claim(request)
    except BackendUnavailable as exc:
        # Not a failure of the execution: the server sends the message again, until its sweeper ends the execution.
        log.warning("claim.unanswered", execution_id=execution_id, error=exc)
        return None
    except BackendError as exc:
        raise ExecutionError.of(Code.SYSTEM, f"the claim was not accepted: {exc}") from None
    if not reply.granted:
        log.info("claim.refused", execution_id=execution_id, refusal=reply.refusal)
        if reply.phase:
            raise AlreadyEnded(reply.phase, reply.error)
        return None
    log.info(
        "run.begins",
        execution_id=execution_id,
        attempt=reply.attempt,
        fence=reply.fence,
        session_id=reply.session.metadata.id,
        session_empty=not reply.session.metadata.id,
        thread_id=reply.thread_id,
        model=reply.model_name or "default",
        graph=reply.graph,
        resume=reply.resume,
    )
    return Claim(execution_id=execution_id, reply=reply, at=time.monotonic(), token=token)


async def _outcome(process: "RunnerProcess", run: Run) -> Outcome | HandBack | None:
    """Execute the run until it ends or is stopped. None: another worker owns it, so nothing is reported."""
    work = asyncio.create_task(_work(process, run))
    open_step = ""
    try:
        await asyncio.wait({work, run.stop_asked}, timeout=run.left_s, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            run.stop(Stop.TIMED_OUT)
            open_step = run.open_step()
            await _end(run, work)
    except asyncio.CancelledError:
        run.stop(Stop.REVOKED)
        open_step = open_step or run.open_step()
        await _undisturbed(_end(run, work))
    run.give_up()
    process.loop.threads.end(run.id)
    run.left_threads = process.loop.threads.left_by(run.id)
    broke_off = not work.done() or work.cancelled() or work.exception() is not None
    asks = broke_off and run.stop_reason is not Stop.FENCED_OUT
    stands_at = await _undisturbed(_stands_at(run)) if asks else []
    # Checked last: during the waits above, the server may say that another worker owns the run.
    if run.stop_reason is Stop.FENCED_OUT:
        return None
    return _decide(process, run, work, open_step, stands_at)


async def _stands_at(run: Run) -> list[str]:
    """The next nodes of a run that broke off; empty if they are not known or the answer takes too long."""
    if run.stands_at is None:
        return []
    try:
        return await asyncio.wait_for(run.stands_at(), STANDS_AT_S)
    except Exception as exc:
        log.debug("run.position_unknown", execution_id=run.id, error=repr(exc))
        return []


async def _end(run: Run, work: "asyncio.Task[Any]") -> None:
    """Cancel the run's task with its tools, and wait a little. An agent that ignores the cancel is left behind."""
    work.cancel()
    if run.stop_reason is Stop.FENCED_OUT and run.current.sandbox is not None:
        await _close(run.current.sandbox)
    await asyncio.wait({work}, timeout=STOP_WAIT_S)
    if not work.done():
        log.error("run.cancel_ignored", execution_id=run.id, open_step=run.open_step())
        if run.current.sandbox is not None:
            await _close(run.current.sandbox)


def _decide(
    process: "RunnerProcess", run: Run, work: "asyncio.Task[Any]", open_step: str, stands_at: list[str]
) -> Outcome | HandBack:
    facts: dict[str, Any] = {"worker": process.name, "attempt": run.claim.reply.attempt}
    facts |= {"threads": run.left_threads or None, "next": stands_at or None}
    error = None if not work.done() or work.cancelled() else work.exception()
    if not isinstance(error, GraphDrained):
        run.tell_stream_end(error)
    if work.done() and not work.cancelled() and error is None:
        run.say(run.builder.finish())
        return WAITING if run.builder.interrupted else COMPLETED
    if isinstance(error, GraphDrained) and run.stop_reason is None:
        run.say(run.builder.break_off())
        return HandBack(reason=str(error) or "shutdown")
    open_step = open_step or run.open_step()
    run.say(run.builder.break_off())
    if run.stop_reason is not None:
        return stopped(run.stop_reason, limit_s=run.claim.reply.start_to_close_s, open_step=open_step, **facts)
    if error is None:
        error = RuntimeError("the agent cancelled itself")
    stack = run.mask("".join(traceback.format_exception(error)))
    log.warning("run.failed", error=run.mask(f"{type(error).__name__}: {error}"), stack=stack)
    outcome = broke(error, began=run.began, sandbox=process.settings.sandbox, **facts)
    if not run.began and outcome.code is Code.SYSTEM and is_infrastructure(error):
        outcome.facts["transient"] = True
    head = run.claim.reply.head_checkpoint_id
    if run.expected and head and run.current.head_checkpoint_id == head:
        outcome.facts.setdefault(
            "advice",
            f"The question is still open, and this answer does not count: answer it again. Expected: {run.expected}.",
        )
    if run.lacks and outcome.code is Code.APPLICATION:
        outcome.facts.setdefault("advice", run.lacks)
    masked = {name: run.mask(value) if isinstance(value, str) else value for name, value in outcome.facts.items()}
    return Outcome(phase=outcome.phase, code=outcome.code, facts=masked)


async def _work(process: "RunnerProcess", run: Run) -> None:
    """Prepare and stream. A failure is tried again only before the agent's first step starts (law L4)."""
    with running(run.current), bounded_by(lambda: run.left_s):
        for left in reversed(range(TRIES)):
            try:
                if run.claim.reply.rolled_back:
                    await undo(process, run, run.claim.reply.rolled_back)
                async with _resources(run):
                    with process.tracing.span("prepare"):
                        prepared = await prepare(process.settings, process.engine, run, process.backend.skill)
                    with agent_span(process, run):
                        await _stream(run, prepared, process.tracing.calls_of(run.current))
            except Exception as exc:
                if run.began or not left or not is_infrastructure(exc):
                    raise
                pause_s = PAUSE_FIRST_S * 2 ** (TRIES - 1 - left)
                said = run.mask(f"{type(exc).__name__}: {exc}")
                log.warning("run.setup_retry", execution_id=run.id, pause_s=pause_s, error=said)
                await asyncio.sleep(pause_s)
            else:
                return


@contextlib.asynccontextmanager
async def _resources(run: Run) -> AsyncIterator[None]:
    """Resources that a graph function opens for the run are closed in the same task, however the run ends."""
    run.current.resources = contextlib.AsyncExitStack()
    failed: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failed = error
        raise
    finally:
        within_s = CLOSE_STOPPED_S if run.stop_reason is not None else CLOSE_S
        await close(run.current.resources, failed, within_s, run.id)


async def _stream(run: Run, prepared: Prepared, watching: Iterable[BaseCallbackHandler]) -> None:
    yielded_at = time.monotonic()
    # A graph without memory accepts no `durability`.
    memory: dict[str, Any] = {"durability": prepared.durability} if prepared.graph.checkpointer else {}
    run.stands_at = lambda: next_nodes(prepared.graph, run.current)
    turn, options = prepared.turn, {**memory, **prepared.stops, "context": prepared.context, "control": run.control}
    turn.config["callbacks"] = [*(turn.config.get("callbacks") or ()), *watching]  # type: ignore[misc]
    if run.asked is not None:
        run.parts = GraphParts(run.asked)
    events_of = run_events(prepared.graph, turn.input, turn.config, run.parts, **options)
    stops = bool(prepared.stops)
    stream: Any = told_in_full(events_of, prepared.graph, run.current, turn.config, stops=stops)
    async with contextlib.aclosing(stream) as events:
        async for event in events:
            await run.feed(event)
            if run.log.full:
                await run.log.room()
            if time.monotonic() - yielded_at > YIELD_EVERY_S:
                await asyncio.sleep(0)
                yielded_at = time.monotonic()


async def report(process: "RunnerProcess", run: Run, outcome: Outcome | HandBack | None) -> dict[str, Any]:
    """Report the end to the server, and make the task's result from the answer."""
    result = {"execution_id": run.id, "phase": "", "code": "", "last_seq": 0}
    if isinstance(outcome, HandBack):
        if await hand_back(process, run, outcome):
            log.info("run.handed_back", execution_id=run.id, reason=outcome.reason)
            return {**result, "phase": Phase.IN_PROGRESS.wire_name}
        if run.stop_reason is Stop.FENCED_OUT:
            outcome = None
    if outcome is None:
        log.warning("run.not_ours", execution_id=run.id)
        return result
    if isinstance(outcome, HandBack):
        outcome = stopped(run.stop_reason or Stop.SHUTDOWN, limit_s=0, open_step="", worker=process.name)
    with process.tracing.span("settle", "client"):
        answer = await settle(process, run, outcome)
    run.rolled_back, run.error = answer.rolled_back, answer.error
    phase = Phase(answer.phase).wire_name if answer.phase else ""
    # An attempt that another one follows ends with its own code, in a phase that is no end.
    code = outcome.code.value if answer.retried and outcome.code else answer.code
    log.info("run.ends", execution_id=run.id, phase=phase, code=code, last_seq=answer.last_seq)
    return {**result, "phase": phase, "code": code, "last_seq": answer.last_seq}


async def _close(sandbox: Sandbox) -> None:
    try:
        await sandbox.close()
    except (OSError, SandboxError) as exc:
        log.warning("sandbox.close_failed", sandbox=sandbox.name, error=exc)


async def _undisturbed(work: Awaitable[T]) -> T:
    """Finish `work` even if this task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()
