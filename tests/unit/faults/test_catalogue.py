"""The fault catalogue agrees with itself, with the failure table and with the document about failures."""

import json
import re
from pathlib import Path

import pytest

from agent_runner.clients.settings.settings import Settings, env_names
from agent_runner.status.failures import FAILURES, Code
from agent_runner.status.timeouts import Timeouts, ensure_thread_total_s
from checks.tree import ROOT
from tests.faults.catalogue import BROKERS, POOLS, RABBITMQ_URL, Row, load, seconds, settings_of
from tests.faults.registry import load_cases
from tests.faults.report import Result, table, write

CATALOGUE = load()
CODES = {code.value: code for code in Code}
PREFORK = {"F06", "F07", "F10", "F11", "F20", "F21", "F23", "F31", "F32", "F41", "F45"}
RABBITMQ = {"F06", "F07", "F22", "F23", "F28", "F40"}
DOCUMENT = (ROOT / "docs" / "architecture" / "error-propagation.md").read_text("utf-8")


def expected_codes() -> set[str]:
    return {end.code for row in CATALOGUE.rows for end in row.ends.values()}


def environment(row: Row) -> dict[str, str]:
    return {**CATALOGUE.settings, **row.settings}


def test_every_row_has_a_case_and_every_case_a_row() -> None:
    """Nothing is expected that nobody provokes, and nothing is provoked without an expectation."""
    assert set(load_cases()) == {(row.id, pool) for row in CATALOGUE.rows for pool in row.pools}
    assert len({row.id for row in CATALOGUE.rows}) == len(CATALOGUE.rows)


def test_the_whole_list_is_there() -> None:
    """F01 to F45; on prefork those that concern its pool, with RabbitMQ those that concern the broker."""
    assert sorted({row.fault for row in CATALOGUE.rows}) == [f"F{number:02}" for number in range(1, 46)]
    assert {row.fault for row in CATALOGUE.rows if "prefork" in row.pools} >= PREFORK
    assert {row.fault for row in CATALOGUE.rows if "rabbitmq" in row.brokers} >= RABBITMQ
    for row in CATALOGUE.rows:
        assert set(row.brokers) <= set(BROKERS)
        assert set(row.pools) <= set(POOLS)


def test_what_needs_a_service_is_left_out_without_it() -> None:
    """A row with RabbitMQ as broker needs it, with Redis it does not; what a row names itself it needs with each."""
    (killed,) = [row for row in CATALOGUE.rows if row.id == "F07/child"]
    (unreachable,) = [row for row in CATALOGUE.rows if row.id == "F27/unreachable"]
    assert [killed.missing(broker, {}) for broker in BROKERS] == ["", RABBITMQ_URL]
    assert killed.missing("rabbitmq", {RABBITMQ_URL: "amqp://h"}) == ""
    assert unreachable.missing("redis", {}) == "AGENT_RUNNER_TEST_POSTGRES_URL"


def test_every_code_is_in_the_failure_table() -> None:
    """A row expects a code of the table, or an end that is no failure."""
    assert expected_codes() <= set(CODES) | {"COMPLETED", "CANCELLED"}


@pytest.mark.parametrize("code", sorted(CATALOGUE.phrases))
def test_the_quoted_phrases_are_those_of_the_table(code: str) -> None:
    """What users search for is what the failure table says."""
    failure = FAILURES[CODES.get(code, Code.CANCELLED)]
    assert CATALOGUE.phrases[code] in failure.says


def test_every_expected_failure_has_its_phrase() -> None:
    """No failure is accepted by its number alone."""
    assert expected_codes() - {"COMPLETED", "E501"} <= set(CATALOGUE.phrases)


def test_the_document_names_every_code() -> None:
    """docs/architecture/error-propagation.md has a chapter for each code of the table."""
    chapters = set(re.findall(r"^### (E\d{3}) ", DOCUMENT, re.MULTILINE))
    assert chapters == set(CODES)
    assert expected_codes() - {"COMPLETED", "CANCELLED"} <= chapters


@pytest.mark.parametrize("row", CATALOGUE.rows, ids=lambda row: row.id)
def test_the_bounds_follow_from_settings_that_a_server_accepts(row: Row) -> None:
    """Each formula has a value, no end is due before it may come, and the timeouts agree with each other."""
    known = {name for field in Settings.model_fields for name in env_names(field)}
    unknown = {name for name in environment(row) if name.startswith("AGENT_RUNNER_")} - known
    assert unknown <= {"AGENT_RUNNER_DEMO_TOKEN_DELAY_MS"}
    for end in row.ends.values():
        bound = seconds(end.within or "schedule_to_close_timeout_s", environment(row), slack_s=CATALOGUE.slack_s)
        least = seconds(end.not_before or "0.0", environment(row), slack_s=CATALOGUE.slack_s)
        assert 0 <= least < bound
    of = settings_of(environment(row))
    timeouts = Timeouts(
        schedule_to_start_s=of["schedule_to_start_timeout_s"],
        heartbeat_s=of["heartbeat_timeout_s"],
        start_to_close_s=of["start_to_close_timeout_s"],
        schedule_to_close_s=of["schedule_to_close_timeout_s"],
        settle_grace_s=of["settle_grace_s"],
        ensure_thread_s=ensure_thread_total_s(of["ensure_thread_timeout_s"], of["ensure_thread_backoff_s"]),
    )
    assert timeouts.problems() == []


def test_a_bound_is_arithmetic_over_settings() -> None:
    """Formulas take names of settings and nothing else; they follow the environment of the stack."""
    assert seconds("heartbeat_timeout_s * 2 + slack_s", {"AGENT_RUNNER_HEARTBEAT_TIMEOUT_S": "3"}, slack_s=0.5) == 6.5
    assert seconds("heartbeat_timeout_s", {}, slack_s=0) == 30
    for formula in ("__import__('os')", "unknown_s", "heartbeat_timeout_s ** 2"):
        with pytest.raises(ValueError):
            seconds(formula, {}, slack_s=0)


def result(verdict: bool) -> Result:
    return Result(
        fault="F07", part="child", title="killed", pool="async", broker="redis", round=1, expected="E103", got="E103",
        seconds=0.5, bound=1.2, passed=verdict, detail="" if verdict else "vacuous: nobody was hit", lasted=9.0,
    )  # fmt: skip


def test_what_is_written_and_printed(tmp_path: Path) -> None:
    """The file has the agreed names; the table says what is wrong under a row that failed."""
    write(tmp_path / "faults.json", [result(True), result(False)])
    rows = json.loads((tmp_path / "faults.json").read_text())
    assert {"fault", "pool", "broker", "expected", "got", "seconds", "bound", "verdict", "detail"} <= set(rows[0])
    assert [row["verdict"] for row in rows] == ["PASS", "FAIL"]
    shown = table([result(True), result(False)])
    assert "F07/child" in shown
    assert shown.splitlines()[-1].strip() == "vacuous: nobody was hit"


def test_what_was_measured_agrees() -> None:
    """Where `make faults` has run here: what passed got the expected code, in its bound, and the document has it."""
    measured = ROOT / "build" / "faults.json"
    if not measured.exists():
        pytest.skip("make faults has not run here")
    for row in json.loads(measured.read_text("utf-8")):
        if row["verdict"] == "PASS":
            assert row["got"] == row["expected"]
            assert row["seconds"] <= row["bound"]
            for code in re.findall(r"E\d{3}", row["got"]):
                assert f"### {code} " in DOCUMENT
