"""HTTP fuzz: schemathesis over the description that the server serves. It is a program of its own: ours counts."""

import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.pace import SENT
from tests.fuzz.rpc import left_behind
from tests.integration.stack import KEY, Stack

HERE = Path(__file__).parent
PROGRAM = "from schemathesis.cli import schemathesis; schemathesis()"
ROUND_S = 1800
EXAMPLES_SHARE, LEAST_EXAMPLES, SHARE_OF_A_KIND = 0.6, 2, 36
"""Of the requests for an operation: random examples of schemathesis; one of each kind of its enumerated cases
(`pace.py`) for so many."""
ENOUGH = 0.05
"""A round is not worth its while for a smaller part of the requests."""
BY_A_TOKEN = {"GET /v1/answer", "POST /v1/answer"}
"""Refused before their route without the token of a question, which no random text is."""
_COUNTED = re.compile(r'^agent_runner_http_requests_total\{method="(\w+)",route="([^"]*)",status="(\d+)"\} ([\d.e+]+)$')


@dataclass(slots=True)
class WebReport:
    """`failures`: what schemathesis printed of each, with the request as a curl command."""

    requests: Counter[str] = field(default_factory=Counter)
    """By status code, as the server counted them."""
    routes: Counter[str] = field(default_factory=Counter)
    operations: int = 0
    """Of the description; one that was never called is a failure."""
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """`share`: about so many requests for each operation."""

    seed: int
    phases: str
    paths: str
    share: int

    def options(self) -> list[str]:
        options = {
            "--header": f"Authorization: Bearer {KEY}",
            "--seed": str(self.seed),
            "--max-examples": str(max(LEAST_EXAMPLES, round(self.share * EXAMPLES_SHARE))),
            "--generation-database": "none",
            "--output-truncate": "false",
            **({"--phases": self.phases} if self.phases else {}),
            **({"--include-path-regex": self.paths} if self.paths else {}),
        }
        return [part for option in options.items() for part in option]

    def environment(self) -> dict[str, str]:
        """What `hooks.py` reads."""
        return {"FUZZ_SEED": str(self.seed), "FUZZ_OF_A_KIND": str(max(1, self.share // SHARE_OF_A_KIND))}


def fuzz_http(
    stack: Stack,
    *,
    requests: int,
    seed: int,
    phases: str = "",
    paths: str = "",
    tell: Callable[[str], None] = lambda line: None,
) -> WebReport:
    """Rounds with other random numbers each, until the server has answered about so many requests; each round sends to
    every operation. `paths`: a regular expression of the paths that are sent to; all of the description when it is
    empty. `tell` is given a line for each operation of each phase."""
    report = WebReport()
    described = stack.http.get("/openapi.json").json()["paths"]
    operations = {
        f"{method.upper()} {path}"
        for path, methods in described.items()
        if re.search(paths, path)
        for method in methods
    }
    report.operations = len(operations)
    _, before = answered(stack)
    round_ = Round(seed=seed, phases=phases, paths=paths, share=requests // max(1, len(operations)))
    while not report.failures:
        found = _sent(stack, round_, tell)
        report.failures += [found] if found else []
        report.requests, report.routes = answered(stack)
        if (left := requests - report.requests.total()) <= requests * ENOUGH:
            break
        # What is the same every time is sent once.
        round_ = Round(
            seed=round_.seed + 1, phases="fuzzing,stateful", paths=paths, share=left // max(1, len(operations))
        )
    report.failures += [
        f"{operation} was never called" for operation in sorted(operations - BY_A_TOKEN - set(report.routes - before))
    ]
    report.failures += left_behind(stack)
    return report


def answered(stack: Stack) -> tuple[Counter[str], Counter[str]]:
    """How many requests the server has answered, by status and by route. Asking for it is not counted."""
    by_status: Counter[str] = Counter()
    by_route: Counter[str] = Counter()
    for line in stack.http.get("/metrics").text.splitlines():
        if (found := _COUNTED.match(line)) and found[2] != "/metrics":
            number = int(float(found[4]))
            by_status[found[3]] += number
            by_route[f"{found[1]} {found[2]}"] += number
    return by_status, by_route


def _sent(stack: Stack, round_: Round, tell: Callable[[str], None]) -> str:
    """What it printed about failures; empty when there were none."""
    command = [sys.executable, "-c", PROGRAM, "--config-file", str(HERE / "schemathesis.toml"), "run"]
    url = f"http://127.0.0.1:{stack.http_port}/openapi.json"
    errors = ""
    with (
        tempfile.TemporaryFile("w+") as printed,
        subprocess.Popen(
            [*command, url, *round_.options(), "--continue-on-failure", "--no-shrink"],
            cwd=stack.folder,  # it leaves a cache where it runs
            env={**os.environ, "PYTHONPATH": str(HERE.parent.parent), **round_.environment()},
            stdout=printed,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        watch = threading.Timer(ROUND_S, process.kill)
        watch.start()
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith(SENT):
                    tell(line.removeprefix(SENT).rstrip())
                else:
                    errors += line
            status = process.wait()
        finally:
            watch.cancel()
            process.kill()
        if status == 0:
            return ""
        printed.seek(0)
        said = printed.read()
    begins = next((at for title in ("= ERRORS =", "= FAILURES =") if (at := said.find(title)) >= 0), 0)
    return f"{said[begins:]}{errors}" + (f"\nstatus {status}, after at most {ROUND_S} s" if status < 0 else "")
