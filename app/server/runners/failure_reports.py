"""Reports of supervisors and workers about runs that cannot report themselves: exits, failed starts, failed tasks."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from signal import Signals, strsignal
from typing import Annotated, Any

from pydantic import BaseModel, Field

from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.contract.json_text import WHOLE
from agent_runner.app.server.contract.texts import MAX_INDEXED
from agent_runner.app.server.executions.after_end import after_end, follow_up
from agent_runner.app.server.problems import Problem, invalid, known, not_found
from agent_runner.app.server.runners.task_ends import tell_task_end
from agent_runner.status.failures import Code
from agent_runner.status.log.plain import plain_text
from agent_runner.status.phases import FAIL, Step
from agent_runner.status.store.run_records import Settled

MAX_TEXT = 4096
STEPS_OF_MESSAGE = {
    Step.ENSURE_THREAD.value: frozenset({Step.ENSURE_THREAD, Step.THREAD_STARTED}),
    Step.EXECUTE.value: frozenset({Step.EXECUTE, Step.RUNNING}),
}
"""A message's header `step` names its task; a failed copy of one task's message says nothing about the other's run."""
TO_START = frozenset({Step.ENSURE_THREAD, Step.EXECUTE})
NOT_STARTED_CODES = frozenset({Code.NOT_REGISTERED, Code.BAD_MESSAGE})
"""Codes about a message that started nothing: a bad copy must not end a run that another copy started."""


EXITS = {
    70: "a run blocked its event loop beyond its time",
    71: "threads of ended runs did not come back; its other runs had ended",
}
"""Codes that a worker ends with on purpose."""

Name = Annotated[str, Field(max_length=MAX_INDEXED, pattern=r"^[^\x00]*$")]


class ExitReport(BaseModel):
    """From a supervisor: its child ended, or could not start (`startup`, with the banner's text). Else `text` says why
    the supervisor ended it."""

    incarnation: Name = ""
    role: Name = ""
    queue: Name = ""
    signal: Annotated[int, Field(ge=0, le=64), WHOLE] | None = None
    exit_code: Annotated[int, Field(ge=-(2**31), lt=2**31), WHOLE] | None = None
    text: str = Field(default="", max_length=65536)
    startup: bool = False


class Reports:
    def __init__(self, ctx: ServerContext) -> None:
        self._ctx = ctx

    async def exit(self, report: ExitReport, *, late: bool = False) -> list[str]:
        """Ends the runs of that process now (E103). Returns their ids. `late`: it came by detour, so a worker may have
        started since.
        """
        if report.startup and report.queue and not (late and await self._online(report.queue)):
            await self._ctx.store.startup_failed(report.queue, report.role, plain_text(report.text[-MAX_TEXT:]))
        if not report.incarnation:
            return []
        why = "" if report.startup else plain_text(report.text[:MAX_TEXT])
        ended = await self._ctx.store.exited(report.incarnation, why or how(report.signal, report.exit_code))
        for execution in ended:
            after_end(self._ctx, execution)
            await tell_task_end(self._ctx.store, self._ctx.task_ends, execution)
        return [execution.id for execution in ended]

    async def _online(self, queue: str) -> bool:
        workers = await self._ctx.store.workers(queue)
        return any(w.gone_at is None and w.disconnected_at is None for w in workers)

    async def failure(
        self,
        id: str,
        code: str,
        facts: Mapping[str, Any],
        *,
        step: str = "",
        after_grace: bool = False,
        attempt: int = 1,
    ) -> Settled | None:
        """Ends an execution that its task could not end, unless it has gone on to a later attempt than this. With
        `after_grace` it returns None and does so later, because a truer reason may arrive.
        """
        failed = known("code", Code.of, code)
        if step and step not in STEPS_OF_MESSAGE:
            raise invalid(f"step: {step!r} is not the step of a message")
        steps = STEPS_OF_MESSAGE[step] if step else FAIL.sources
        if failed in NOT_STARTED_CODES:
            steps &= TO_START
        if not after_grace:
            return await self._fail(id, failed, facts, steps, attempt)
        if await self._ctx.store.get(id) is None:
            raise not_found("AgentExecution", id)
        self._ctx.soon(self._fail_later(id, failed, facts, steps, attempt))
        return None

    async def _fail_later(
        self, id: str, code: Code, facts: Mapping[str, Any], steps: frozenset[Step], attempt: int
    ) -> None:
        await asyncio.sleep(self._ctx.settings.worker_lost_grace_s)
        with suppress(Problem):  # it was removed meanwhile
            await self._fail(id, code, facts, steps, attempt)

    async def _fail(
        self, id: str, code: Code, facts: Mapping[str, Any], steps: frozenset[Step], attempt: int
    ) -> Settled:
        settled = await self._ctx.store.fail(id, code, facts, only_steps=steps, attempt=attempt)
        if settled.execution is None:
            raise not_found("AgentExecution", id)
        if settled.accepted:
            follow_up(self._ctx, settled)
            await tell_task_end(self._ctx.store, self._ctx.task_ends, settled.execution)
        return settled


def how(signal: int | None, exit_code: int | None) -> str:
    """`signal 9: usually out of memory`, `exit code 3`: only what the supervisor saw."""
    if signal == Signals.SIGKILL:
        return "signal 9: usually out of memory"
    if signal:
        return f"signal {signal}: {strsignal(signal) or 'unknown'}"
    if exit_code in EXITS:
        return f"exit code {exit_code}: {EXITS[exit_code]}"
    return "the cause of its end is not known" if exit_code is None else f"exit code {exit_code}"
