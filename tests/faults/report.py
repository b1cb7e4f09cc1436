"""What `make faults` prints and writes: the table, and build/faults.json."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HEAD = ("fault", "pool", "broker", "expected", "got", "seconds", "bound", "verdict", "what was done")
WIDEST = 44


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One row in one pool with one broker in one round.

    `seconds`: from the fault to the terminal event at the subscriber. `lasted`: the whole case.
    """

    fault: str
    part: str
    title: str
    pool: str
    broker: str
    round: int
    expected: str
    got: str
    seconds: float
    bound: float
    passed: bool
    detail: str
    lasted: float

    @property
    def verdict(self) -> str:
        return "PASS" if self.passed else "FAIL"

    @property
    def name(self) -> str:
        return f"{self.fault}/{self.part}" if self.part else self.fault

    def as_json(self) -> dict[str, Any]:
        facts = asdict(self)
        del facts["passed"]
        return {**facts, "verdict": self.verdict}


def write(path: Path, results: Sequence[Result]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([result.as_json() for result in results], indent=1, ensure_ascii=False) + "\n")


def line(result: Result) -> str:
    """One result as it comes."""
    where = f"{result.name:<18} {result.pool:<8} {result.broker:<9}"
    shown = f"  {result.verdict}  {where} {result.got:<12} {result.lasted:5.1f} s"
    return shown if result.passed else f"{shown}\n        {result.detail}"


def table(results: Iterable[Result]) -> str:
    """All of a round, with what is wrong under each row that failed."""
    rows = [(_cells(result), result) for result in results]
    widths = [max(len(cells[n]) for cells in (HEAD, *(c for c, _ in rows))) for n in range(len(HEAD))]
    lines = [_joined(HEAD, widths), _joined(["-" * width for width in widths], widths)]
    for cells, result in rows:
        lines.append(_joined(cells, widths))
        if not result.passed:
            lines += textwrap.wrap(result.detail, 110, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _cells(result: Result) -> tuple[str, ...]:
    return (
        result.name,
        result.pool,
        result.broker,
        _short(result.expected),
        _short(result.got),
        f"{result.seconds:.2f}",
        f"{result.bound:.2f}",
        result.verdict,
        result.title,
    )


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
