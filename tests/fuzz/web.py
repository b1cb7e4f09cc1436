"""HTTP fuzz: schemathesis over the description that the server serves. It is a program of its own: ours counts."""

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.rpc import left_behind
from tests.integration.stack import KEY, Stack

HERE = Path(__file__).parent
PROGRAM = "from schemathesis.cli import schemathesis; schemathesis()"
ROUND_S = 1800
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


def fuzz_http(stack: Stack, *, requests: int, seed: int, examples: int, phases: str = "", paths: str = "") -> WebReport:
    """Rounds with other random numbers each, until the server has answered so many requests. `paths`: a regular
    expression of the paths that are sent to; all of the description when it is empty."""
    report = WebReport()
    while not report.failures:
        found = _round(stack, seed, examples, phases, paths)
        report.failures += [found] if found else []
        report.requests, report.routes = answered(stack)
        if report.requests.total() >= requests:
            break
        # Examples and coverage are the same every time: once is enough.
        seed, phases = seed + 1, "fuzzing,stateful"
    described = stack.http.get("/openapi.json").json()["paths"]
    operations = {
        f"{method.upper()} {path}"
        for path, methods in described.items()
        if re.search(paths, path)
        for method in methods
    }
    report.operations = len(operations)
    report.failures += [
        f"{operation} was never called" for operation in sorted(operations - BY_A_TOKEN - set(report.routes))
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


def _round(stack: Stack, seed: int, examples: int, phases: str, paths: str) -> str:
    """What it printed about failures; empty when there were none."""
    command = [sys.executable, "-c", PROGRAM, "--config-file", str(HERE / "schemathesis.toml"), "run"]
    options = {
        "--header": f"Authorization: Bearer {KEY}",
        "--seed": str(seed),
        "--max-examples": str(examples),
        "--generation-database": "none",
        "--output-truncate": "false",
        **({"--phases": phases} if phases else {}),
        **({"--include-path-regex": paths} if paths else {}),
    }
    given = [part for option in options.items() for part in option]
    url = f"http://127.0.0.1:{stack.http_port}/openapi.json"
    done = subprocess.run(
        [*command, url, *given, "--continue-on-failure", "--no-shrink"],
        cwd=stack.folder,  # it leaves a cache where it runs
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
        capture_output=True,
        text=True,
        timeout=ROUND_S,
    )
    if done.returncode == 0:
        return ""
    said = done.stdout[max(0, done.stdout.find("= ERRORS =")) :]
    return (said if "= ERRORS =" in said else done.stdout[max(0, done.stdout.find("= FAILURES =")) :]) + done.stderr
