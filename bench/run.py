"""`make bench`: measures, prints a table, and writes build/bench.json.

    python -m bench.run [--only S1,S3] [--rounds 3]

A goal that is missed is a finding, not a failure: the exit status is 1 only if something could not be measured.
"""

import argparse
import json
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench import (
    burst,
    bytes_written,
    cold_start,
    compatible_updates,
    cpu_per_event,
    cpu_per_run,
    expiries,
    hung_threads,
    idle_memory,
    many_readers,
    many_slow_runs,
    memory_per_run,
    sdk_stream,
    throughput,
    time_to_end,
    time_to_first_token,
)
from bench.arithmetic import Row

BUILD = Path(__file__).resolve().parent.parent / "build"
MEASUREMENTS: dict[str, Callable[[int], list[Row]]] = {
    "S1": time_to_end.measure,
    "S2": time_to_first_token.measure,
    "S3": throughput.measure,
    "S4": many_slow_runs.measure,
    "S5": cpu_per_event.measure,
    "S6": memory_per_run.measure,
    "S7": bytes_written.measure,
    "S9": many_readers.measure,
    "S11": cold_start.measure,
    "S12": compatible_updates.measure,
    "S13": expiries.measure,
    "S14": hung_threads.measure,
    "S15": cpu_per_run.measure,
    "S16": burst.measure,
    "S17": idle_memory.measure,
    "S18": sdk_stream.measure,
}
HEAD = ("id", "value", "baseline", "unit", "ratio", "goal", "verdict", "rounds", "spread", "measure")


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    chosen = [name.strip().upper() for name in options.only.split(",") if name.strip()] or list(MEASUREMENTS)
    if unknown := [name for name in chosen if name not in MEASUREMENTS]:
        print(f"no measurement is called {', '.join(unknown)}; there are {', '.join(MEASUREMENTS)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    broken = []
    for name in chosen:
        began = time.monotonic()
        try:
            rows += MEASUREMENTS[name](options.rounds)
        except Exception:
            broken.append(name)
            traceback.print_exc()
        print(f"{name} took {time.monotonic() - began:.0f} s", flush=True)
    write(BUILD / "bench.json", rows)
    print(f"\n{table(rows)}\n")
    met = sum(row.verdict == "MET" for row in rows)
    print(f"{met} of {len(rows)} goals met; build/bench.json")
    if broken:
        print(f"could not be measured: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def write(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n")


def table(rows: Iterable[Row]) -> str:
    """Aligned columns; the detail of a row stands under it."""
    shown = [(_cells(row), row.detail) for row in rows]
    widths = [max(len(cells[n]) for cells in (HEAD, *(cells for cells, _ in shown))) for n in range(len(HEAD))]
    lines = [_joined(HEAD, widths), _joined(["-" * width for width in widths], widths)]
    for cells, detail in shown:
        lines.append(_joined(cells, widths))
        if detail:
            lines.append(f"     {detail}")
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    numbers = f"{row.value:g}", f"{row.baseline:g}", row.unit, f"{row.ratio:.2f}"
    return (row.id, *numbers, row.goal, row.verdict, str(row.rounds), f"{row.spread:.0%}", row.measure)


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="ratios against baselines of the same run")
    parser.add_argument("--only", default="", help="ids, comma-separated: S1,S3")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main(sys.argv[1:]))
