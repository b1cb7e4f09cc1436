"""`updateStatus` of the published contract: whole states from a runner that does not use the runner service."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, select

from agent_runner.status.phases import REPORT, REPORT_END, REPORT_FIRST, TERMINAL_PHASES, Phase, Step
from agent_runner.status.store.clock import FOREVER, NOW
from agent_runner.status.store.driver.transaction import Connection
from agent_runner.status.store.edges import take
from agent_runner.status.store.errors import ClaimedNatively, NotItsTurn, StoreError, Terminal
from agent_runner.status.store.executions.ending import E, End, Ending
from agent_runner.status.store.records import Execution
from agent_runner.status.store.rows import dumps, to_execution
from agent_runner.status.store.run_records import NewDelta
from agent_runner.status.store.schema import executions
from agent_runner.status.store.verbs import Orgs, writes


class StatusUpdates(Ending):
    @writes(orgs=Orgs.EXECUTION)
    def merge_status(self, connection: Connection, id: str, partial: Mapping[str, Any]) -> tuple[Execution, str] | None:
        """Merge a partial status (protobuf JSON). Returns the updated execution, and its session's next one or ''.

        Updates of one execution come one after the other: each locks the row until its log row is written. The phase
        changes if the update names one, and never goes back. None when there is no such execution; raises `Terminal`,
        `NotItsTurn` and `ClaimedNatively`.
        """
        phase = Phase.known(partial.get("phase", ""))
        over = phase is not None and phase in TERMINAL_PHASES
        if over:
            self.hold_sessions(connection, E.id == id)
        row = self._taken(connection, id, Phase.IN_PROGRESS if phase is Phase.IN_PROGRESS else None)
        if row is None:
            row = connection.execute(select(executions).where(E.id == id)).one_or_none()
            if row is None:
                return None
            raise _refusal(row)
        # The execution and its log must agree (L6): the end has a log row of its own, and PENDING changes nothing.
        merged = {k: v for k, v in partial.items() if k != "phase" or phase is Phase.IN_PROGRESS}
        delta = NewDelta(kind="merge", payload=dumps({"status": merged}))
        self.write_log(connection, row, row.last_seq - 1, [(row.fence, delta)])
        promoted = ""
        if over and phase is not None:
            end = End(phase=phase, code=None, facts={})
            result = self.end_row(connection, end, E.id == id, edge=REPORT_END)
            promoted = result[1] if result else ""
        stored = connection.execute(select(executions).where(E.id == id)).one()
        return to_execution(stored), promoted

    def _taken(self, connection: Connection, id: str, phase: Phase | None) -> Row[Any] | None:
        """The row, with the next number of its log reserved; None when the reporter may not report on this run."""
        # If two reports come at once, the first one takes the run and the second one finds it running.
        for edge in (REPORT, REPORT_FIRST, REPORT):
            statement = take(
                edge,
                E.id == id,
                E.claim_id == "",
                phase=phase,
                last_seq=E.last_seq + 1,
                owner_name="a runner that reports by updateStatus",
                due_schedule_to_start=FOREVER,
                due_ensure_thread=FOREVER,
                due_worker_lost=FOREVER,
                next_dispatch_at=FOREVER,
                last_beat_at=NOW,
            )
            if row := connection.execute(statement, self.params()).one_or_none():
                return row
        return None


def _refusal(row: Row[Any]) -> StoreError:
    """Why a report is refused."""
    if row.phase >= min(TERMINAL_PHASES):
        return Terminal(f"execution {row.id} has ended ({Phase(row.phase).name}); its status is final")
    if row.step == Step.WAITING.value:
        return NotItsTurn(
            f"execution {row.id} waits for the one in front of it in session {row.session_id}; its run has not begun"
        )
    return ClaimedNatively(f"execution {row.id} is run by {row.owner_name}, which reports through the runner service")
