"""`updateStatus` of the published contract: whole states from a runner that does not use the runner service."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import case, select, update

from status.phases import TERMINAL_PHASES, Phase, Step
from status.store.clock import FOREVER, NOW
from status.store.ending import OPEN, E, End, Ending, dumps
from status.store.errors import ClaimedNatively, Terminal
from status.store.records import Execution, NewDelta
from status.store.rows import to_execution
from status.store.schema import executions


class Reported(Ending):
    async def merge_status(self, id: str, partial: Mapping[str, Any]) -> tuple[Execution, str] | None:
        """Merge a partial status (protobuf JSON). The execution after it, and its session's next one or ''.

        Updates of one execution come one after the other: each holds the row until its place in the log is written.
        The phase changes where the update names one, and never goes back. None when there is no such execution;
        raises `Terminal` and `ClaimedNatively`.
        """
        named = str(partial.get("phase", ""))
        phase = next((p for p in Phase if p.wire_name == named), None)
        over = phase is not None and phase in TERMINAL_PHASES
        async with self.write() as connection:
            if over:
                await self.hold_sessions(connection, E.id == id)
            row = (
                await connection.execute(
                    update(executions)
                    .where(E.id == id, OPEN, E.claim_id == "")
                    .values(
                        last_seq=E.last_seq + 1,
                        step=Step.RUNNING.value,
                        phase=Phase.IN_PROGRESS if phase is Phase.IN_PROGRESS else E.phase,
                        owner_name="a runner that reports by updateStatus",
                        due_schedule_to_start=FOREVER,
                        due_ensure_thread=FOREVER,
                        due_worker_lost=FOREVER,
                        due_thread_wait=FOREVER,
                        # A row that waited for its session has no other deadline yet (L1).
                        due_schedule_to_close=case(
                            (E.due_schedule_to_close >= FOREVER, NOW + E.limit_schedule_to_close),
                            else_=E.due_schedule_to_close,
                        ),
                        next_dispatch_at=FOREVER,
                        last_beat_at=NOW,
                    )
                    .returning(executions),
                    self.params(),
                )
            ).one_or_none()
            if row is None:
                row = (await connection.execute(select(executions).where(E.id == id))).one_or_none()
                if row is None:
                    return None
                if row.phase >= min(TERMINAL_PHASES):
                    raise Terminal(f"execution {id} has ended ({Phase(row.phase).name}); its status is final")
                raise ClaimedNatively(
                    f"execution {id} is run by {row.owner_name}, which reports through the runner service"
                )
            # The row and its log say the same (L6): the end has a row of its own, and PENDING changes nothing.
            merged = {k: v for k, v in partial.items() if k != "phase" or phase is Phase.IN_PROGRESS}
            delta = NewDelta(kind="merge", payload=dumps({"status": merged}))
            await self.write_log(connection, row.handle, row.last_seq - 1, row.fence, [delta])
            promoted = ""
            if over and phase is not None:
                result = await self.end_row(connection, End(phase=phase, code=None, facts={}), E.id == id)
                promoted = result[1] if result else ""
            stored = (await connection.execute(select(executions).where(E.id == id))).one()
        return to_execution(stored), promoted
