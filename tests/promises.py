"""`make promises`: runs the tests that prove a row of promises.md beside this file, and prints what holds.

A test says which rows it proves: `@pytest.mark.promise("1.44")`, several ids if need be. A row is `failing` if one of
its tests fails, `passing` if all of them pass, `skipped` if none of them ran here, and `no test` if there is none.
Arguments are given to pytest. The exit status is 1 if a row fails or a test names a row that does not exist.
"""

import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

LIST = Path(__file__).with_suffix(".md")
ROW = re.compile(r"^\| (\d+\.\d+) \| (.+) \| (current|superseded|later) \| (?:`([^`]+)`)? ?\|$", re.MULTILINE)

Verdict = Literal["passing", "failing", "skipped", "no test"]
SHOWN: dict[Verdict, str] = {"passing": "passing", "failing": "FAILING", "skipped": "skipped", "no test": "no test"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A row of the list. `place`: the file that keeps it, relative to the root; empty for what comes later."""

    id: str
    text: str
    state: str
    place: str


def promises() -> list[Promise]:
    """The rows in the order of the list."""
    return [Promise(id=i, text=t, state=s, place=p) for i, t, s, p in ROW.findall(LIST.read_text())]


class Outcomes:
    """A pytest plugin: runs only what is marked, and remembers how each test of each row ended."""

    def __init__(self) -> None:
        self.of_row: dict[str, set[str]] = {}
        self._rows: dict[str, list[str]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        kept = []
        for item in items:
            rows = [str(id_) for mark in item.iter_markers("promise") for id_ in mark.args]
            if rows:
                self._rows[item.nodeid] = rows
                kept.append(item)
                for row in rows:
                    self.of_row.setdefault(row, set())
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Set-up and tear-down count when they fail or skip; a call counts always.
        if report.when == "call" or report.outcome != "passed":
            for row in self._rows.get(report.nodeid, ()):
                self.of_row[row].add(report.outcome)

    def verdict(self, row: str) -> Verdict:
        outcomes = self.of_row.get(row)
        if outcomes is None:
            return "no test"
        if "failed" in outcomes:
            return "failing"
        return "passing" if "passed" in outcomes else "skipped"


def main(arguments: Sequence[str]) -> int:
    """Run, print one line per row and the sums; the exit status."""
    outcomes = Outcomes()
    status = pytest.main(["-q", "--no-header", *arguments], plugins=[outcomes])
    rows = promises()
    sums: Counter[str] = Counter()
    print(f"\n{'row':<6} {'state':<11} {'verdict':<8} promise")
    for row in rows:
        verdict = outcomes.verdict(row.id)
        sums[verdict] += 1
        print(f"{row.id:<6} {row.state:<11} {SHOWN[verdict]:<8} {row.text}")
    print(f"\n{len(rows)} promises: " + ", ".join(f"{n} {verdict}" for verdict, n in sums.most_common()))
    unknown = sorted(set(outcomes.of_row) - {row.id for row in rows})
    if unknown:
        print(f"tests name rows that are not in {LIST.name}: {', '.join(unknown)}")
    ran = status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
    return int(not ran or bool(unknown) or bool(sums["failing"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
