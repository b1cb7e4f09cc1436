"""The phase that a row of a log sets, and the end that the last row writes."""

from dataclasses import dataclass
from typing import Any

from agent_runner.status.log.log import LogRow
from agent_runner.status.phases import TERMINAL_PHASES, Phase
from agent_runner.status.store.records import Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How an execution ended. `seq`: the number of the terminal row, which is always the last row of a log."""

    seq: int
    phase: Phase
    error_code: str


def phase_of(row: LogRow) -> Phase | None:
    """The phase that this row sets, if it sets one."""
    said: dict[str, Any] = row.payload.get("status") or {} if row.kind == "merge" else row.payload
    return Phase.known(said.get("phase", "")) if row.kind in ("phase", "merge") else None


def end_row(row: LogRow) -> End | None:
    """The end that this row writes; None if it is not the terminal row."""
    phase = phase_of(row)
    if phase not in TERMINAL_PHASES or phase is None:
        return None
    return End(seq=row.seq, phase=phase, error_code=str(row.payload.get("error_code", "")))


def end_of(execution: Execution) -> End | None:
    """The end of an execution, by its row in the store; None if it has not ended."""
    if execution.phase not in TERMINAL_PHASES:
        return None
    return End(seq=execution.last_seq, phase=execution.phase, error_code=execution.error_code)
