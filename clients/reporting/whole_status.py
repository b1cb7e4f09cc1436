"""One run's status in the form of the published contract: folded here from deltas, and always sent whole.

An update is due every N events. Updates are sent one at a time in the background, so the run never waits for them. A
failed update is logged with the number of its event; the next update is whole again and includes it. Updates that
waited too long are merged into one.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf import json_format

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution, AgentExecutionStatus
from agent_runner.clients.backend.channel import Patience
from agent_runner.clients.contract.channel import ContractError
from agent_runner.clients.contract.executions import ExecutionClient
from agent_runner.status.event_logger import event_logger
from agent_runner.status.failures import Code, describe
from agent_runner.status.log.log import LogRow, State, render
from agent_runner.status.phases import TERMINAL_PHASES, Phase
from agent_runner.v1 import runner_pb2 as pb

log = event_logger(__name__)

UPDATE = Patience(call_s=10.0, total_s=0.0, waits=False)
"""One try: the next update says more."""
MERGE_AFTER_S = 0.5
MOST_WAITING = 20
LAST_UPDATES_S = 1.0
"""How long a run that has ended waits for the updates before its last one."""
MAY_MEAN_OVER = frozenset({grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Update:
    event: int
    due_at: float
    status: AgentExecutionStatus


class WholeStatus:
    """Use it on the event loop only. Times are from this machine's clock, because the contract has no other."""

    def __init__(self, execution: AgentExecution, executions: ExecutionClient, *, every: int) -> None:
        self.execution_id = execution.metadata.id
        self.over = False
        """The execution has ended, or is gone, without this run having said so."""
        self.events = 0
        self.next = 0
        """The number of the delta that is expected."""
        self.sent = self.failed = 0
        self.spent_s = 0.0
        """All updates together, in seconds of calls."""
        self._executions = executions
        self._every = every
        self._state = _state_of(execution)
        self._waiting: deque[_Update] = deque()
        self._sender: asyncio.Task[None] | None = None

    @property
    def rows(self) -> int:
        return self._state.seq

    def status(self) -> AgentExecutionStatus:
        return json_format.ParseDict(render(self._state), AgentExecutionStatus(), ignore_unknown_fields=True)

    def start(self) -> None:
        """Set the phase to IN_PROGRESS."""
        self._apply("phase", {"phase": Phase.IN_PROGRESS.wire_name})

    def take(self, first: int, deltas: Sequence[pb.Delta]) -> bool:
        """Fold deltas numbered from `first` and skip those already known. False: deltas before `first` are missing."""
        if first > self.next:
            return False
        for delta in deltas[self.next - first :]:
            self._apply(delta.kind, json.loads(delta.payload))
            self.next += 1
            self.events += 1
            if self.events % self._every == 0:
                self._due()
        return True

    def end(self, phase: Phase, code: Code | None, facts: Mapping[str, Any]) -> None:
        """Add the last rows: the failure as a SYSTEM message, if there is one, and the terminal phase."""
        last: dict[str, Any] = {"phase": phase.wire_name}
        if code is not None:
            failure = describe(code, facts)
            message = {"id": "failure", "type": "MESSAGE_SYSTEM", "content": failure.text, "metadata": failure.metadata}
            self._apply("message", message)
            last |= {"error": failure.error, "error_code": code.value}
        self._apply("phase", last)

    def short(self) -> AgentExecutionStatus:
        """The end without content, for a server that refuses it as too large. The server keeps its stored content."""
        whole = self.status()
        return AgentExecutionStatus(
            phase=whole.phase, error=whole.error, started_at=whole.started_at, completed_at=whole.completed_at
        )

    async def quiet(self) -> None:
        """Wait until no update is under way. Updates that still wait after `LAST_UPDATES_S` are dropped."""
        if self._sender is None:
            return
        await asyncio.wait({self._sender}, timeout=LAST_UPDATES_S)
        self._waiting.clear()
        await asyncio.wait({self._sender})

    def _apply(self, kind: str, payload: dict[str, Any]) -> None:
        self._state.apply(LogRow(seq=self._state.seq + 1, at=time.time(), fence=1, kind=kind, payload=payload))

    def _due(self) -> None:
        now = time.monotonic()
        if self._waiting and (len(self._waiting) >= MOST_WAITING or now - self._waiting[0].due_at > MERGE_AFTER_S):
            self._waiting.clear()
        self._waiting.append(_Update(event=self.events, due_at=now, status=self.status()))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all(), name=f"updates of {self.execution_id}")

    async def _send_all(self) -> None:
        while self._waiting and not self.over:
            update = self._waiting.popleft()
            if self._waiting and time.monotonic() - update.due_at > MERGE_AFTER_S:
                update = self._waiting.pop()
                self._waiting.clear()
            await self._send(update)

    async def _send(self, update: _Update) -> None:
        began_at = time.monotonic()
        try:
            shown = await self._executions.update_status(self.execution_id, update.status, patience=UPDATE)
        except ContractError as error:
            self.failed += 1
            self.over = await self._has_ended(error)
            log.warning(
                "update.refused",
                execution_id=self.execution_id,
                update=update.event,
                then="it has ended" if self.over else "the next one has it too",
                error=error,
            )
        except Exception:  # a failed update must not end the run
            self.failed += 1
            log.exception("update.failed", execution_id=self.execution_id, update=update.event)
        else:
            self.sent += 1
            self.over = has_ended(shown)
        finally:
            self.spent_s += time.monotonic() - began_at

    async def _has_ended(self, error: ContractError) -> bool:
        """Whether this refusal means that the execution has ended or is gone. In doubt the run goes on."""
        if error.code not in MAY_MEAN_OVER:
            return False
        try:
            return has_ended(await self._executions.get(self.execution_id, patience=UPDATE))
        except ContractError as again:
            return again.code is grpc.StatusCode.NOT_FOUND


def phase_of(execution: AgentExecution) -> Phase | None:
    """None if the server left the phase out, or if we do not know it."""
    return Phase.known(execution.status.phase)


def has_ended(execution: AgentExecution) -> bool:
    return phase_of(execution) in TERMINAL_PHASES


def _state_of(execution: AgentExecution) -> State:
    """The state from the status that the server shows, with at least the user's message."""
    state = State.empty()
    now = time.time()
    shown = json_format.MessageToDict(execution.status, preserving_proto_field_name=True)
    known = {name: value for name, value in shown.items() if name not in ("phase", "audit", "callback_token")}
    if known:
        state.apply(LogRow(seq=1, at=now, fence=0, kind="merge", payload={"status": known}))
    if not state.messages and execution.spec.message:
        said = {"id": "user", "type": "MESSAGE_HUMAN", "content": execution.spec.message}
        state.apply(LogRow(seq=state.seq + 1, at=now, fence=0, kind="message", payload=said))
    return state
