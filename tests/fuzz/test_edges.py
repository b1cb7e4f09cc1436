"""A small budget of `make fuzz` in every test run, always the same one."""

import asyncio
from collections.abc import Iterator

import pytest

from agent_runner.app.server.access.scopes import SCOPES
from tests.fuzz.bodies import fuzz_bodies
from tests.fuzz.rpc import fuzz_grpc
from tests.fuzz.stacks import QUICK_ENDS, fuzzed
from tests.fuzz.web import fuzz_http
from tests.integration.stack import Stack

SEED = 20261120


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with fuzzed(worker=True, **QUICK_ENDS) as opened:
        yield opened


@pytest.mark.timeout(900)  # a hundred operations, some of which wait for a worker that is not there
def test_http_keeps_its_own_description(stack: Stack) -> None:
    """Every operation of /openapi.json, with good and bad data: what comes is described, and no 5xx. Each is told, so
    that a run that is cut says what it reached, and all of it is a bounded number of requests."""
    told: list[str] = []
    report = fuzz_http(stack, requests=100, seed=SEED, phases="fuzzing", tell=told.append)
    assert report.failures == []
    assert report.operations > 40
    reached = {line.partition(": ")[0].partition(" ")[2].strip() for line in told}
    described = stack.http.get("/openapi.json").json()["paths"]
    operations = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    missed = sorted(operations - reached)  # schemathesis gives some up where it is given two examples only
    assert len(missed) <= len(operations) / 20, missed
    assert report.requests.total() < 20 * len(operations)


def test_bodies_that_are_no_json_are_refused(stack: Stack) -> None:
    """NaN, half surrogates, numbers beyond floats, any depth, damaged text: a documented answer, a problem if bad."""
    report = fuzz_bodies(stack, requests=600, seed=SEED)
    assert report.failures == []
    assert report.requests["400"] + report.requests["422"] > 300


@pytest.mark.timeout(180)
def test_grpc_takes_anything() -> None:
    """Every method of every service, with odd, damaged and unexpected requests: no UNKNOWN, no INTERNAL, still up."""
    with fuzzed() as stack:
        report = asyncio.run(fuzz_grpc(stack, calls=1200, seed=SEED))
    assert report.failures == []
    ours = [call for call in SCOPES if call.startswith(("/ai.stigmer.", "/agent_runner."))]
    assert set(ours) <= set(report.methods)
    assert {method for method in report.methods if "/agent_runner.v1.Runner/" in method}
    assert {sort for sort, _ in report.calls} == {"odd", "damaged", "metadata", "cancelled"}
