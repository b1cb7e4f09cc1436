"""`make faults`: runs the catalogue on real processes and prints what came out.

    python -m tests.faults.run [--only F07,F10/thread] [--rounds 3] [--parallel 3] [--pool async|prefork]
                                [--broker redis|rabbitmq]

Every case has a stack of its own and waits most of the time, so several run at once. Nothing that fails is tried
again. The exit status is 1 if a row fails. Logs of failed rows are kept under build/faults/.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

from tests.faults.catalogue import BROKERS, POOLS, Catalogue, Row, load
from tests.faults.registry import CASES, load_cases
from tests.faults.report import Result, line, table, write
from tests.faults.scene import Judgement, Scene, Vacuous, opened

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
KEPT_LOGS = BUILD / "faults"


class Play(NamedTuple):
    """A row in one of its pools with one of its brokers."""

    row: Row
    pool: str
    broker: str


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    catalogue = load()
    load_cases()
    chosen = list(_chosen(catalogue, options))
    if not chosen:
        print(f"nothing of the catalogue is chosen by {' '.join(arguments)}", file=sys.stderr)
        return 2
    shutil.rmtree(KEPT_LOGS, ignore_errors=True)
    began = time.monotonic()
    results: list[Result] = []
    for number in range(1, options.rounds + 1):
        print(f"round {number} of {options.rounds}: {len(chosen)} rows, {options.parallel} at a time", flush=True)
        of_round = _round(chosen, catalogue, number, options.parallel)
        results += of_round
        write(BUILD / "faults.json", results)
        print(f"\n{table(of_round)}\n", flush=True)
    failed = [result for result in results if not result.passed]
    minutes = (time.monotonic() - began) / 60
    print(f"{len(results) - len(failed)} of {len(results)} rows passed in {minutes:.1f} minutes; build/faults.json")
    return 1 if failed else 0


def _chosen(catalogue: Catalogue, options: argparse.Namespace) -> Iterator[Play]:
    """What is left out for want of a service is said."""
    for row in catalogue.rows:
        if not _is_named(row, options.only):
            continue
        for broker in row.brokers:
            if options.broker not in ("", broker):
                continue
            if missing := row.missing(broker, os.environ):
                print(f"{row.id} with {broker} as broker is left out: {missing} is not set")
                continue
            yield from (Play(row, pool, broker) for pool in row.pools if options.pool in ("", pool))


def _round(chosen: Sequence[Play], catalogue: Catalogue, number: int, parallel: int) -> list[Result]:
    with ThreadPoolExecutor(parallel, thread_name_prefix="case") as threads:
        begun = [threads.submit(provoke, play, catalogue, number) for play in chosen]
        for ended in as_completed(begun):
            print(line(ended.result()), flush=True)
    return [ended.result() for ended in begun]


def provoke(play: Play, catalogue: Catalogue, number: int = 1) -> Result:
    """Play it and judge it. Never raises: what goes wrong is the row's verdict."""
    row, pool, broker = play
    folder = Path(tempfile.mkdtemp(prefix=f"faults-{row.fault}-"))
    judged = None
    problems: list[str] = []
    began = time.monotonic()
    try:
        with opened(row, pool, broker, catalogue, folder) as scene:
            judged = _play(scene, problems)
    except AssertionError as error:
        problems.append(f"{error}"[:1500])
    except Exception as error:
        problems.append(f"the harness failed: {type(error).__name__}: {error}"[:1500])
        (folder / "traceback.log").write_text(traceback.format_exc())
    problems += judged.problems if judged else ()
    result = Result(
        fault=row.fault,
        part=row.part,
        title=row.title,
        pool=pool,
        broker=broker,
        round=number,
        expected=row.expected,
        got=judged.got if judged else "nothing",
        seconds=judged.seconds if judged else 0.0,
        bound=judged.bound if judged else 0.0,
        passed=not problems,
        detail="; ".join([*problems, *([judged.detail] if judged and judged.detail else [])]),
        lasted=round(time.monotonic() - began, 1),
    )
    if problems:
        _keep_logs(folder, KEPT_LOGS / f"{row.fault}-{row.part or 'only'}-{pool}-{broker}-{number}")
    shutil.rmtree(folder, ignore_errors=True)
    return result


def _play(scene: Scene, problems: list[str]) -> Judgement:
    case = CASES.get((scene.row.id, scene.pool))
    if case is None:
        raise AssertionError(f"{scene.row.id} has no case for {scene.pool}")
    try:
        case(scene)
    except Vacuous as error:
        problems.append(f"vacuous: {error}")
    except AssertionError as error:
        problems.append(f"{error}"[:1500])
    return scene.judge()


def _keep_logs(folder: Path, kept: Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*.log"):
        shutil.copy(log, kept)


def _is_named(row: Row, only: str) -> bool:
    names = [name.strip() for name in only.split(",") if name.strip()]
    return not names or row.fault in names or row.id in names


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make faults", description="provoke the catalogue's faults for real")
    parser.add_argument("--only", default="", help="ids, comma-separated: F07 or F07/child")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=3)
    parser.add_argument("--pool", default="", choices=("", *POOLS))
    parser.add_argument("--broker", default="", choices=("", *BROKERS))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main(sys.argv[1:]))
