"""`doctor` in compatible reporting: it says what does not hold, and misses no server of ours."""

import pytest

from agent_runner.app.cli.checks import check_reporting, check_server
from agent_runner.clients.settings.settings import Settings, load_settings


def test_it_says_what_does_not_hold() -> None:
    """One line that names the laws; nothing in native reporting."""
    (check,) = check_reporting(Settings(reporting="compatible"))
    assert all(law in check.why for law in ("L1", "L5", "L7", "L8", "L11", "no heartbeats", "no cancel"))
    assert check_reporting(Settings(reporting="native")) == []


def test_a_server_of_ours_is_not_required() -> None:
    """Workers report to another one, and nobody is online there as far as we can see."""
    checks = check_server(Settings(reporting="compatible", http_url="http://127.0.0.1:9"))
    assert checks
    assert not any(check.up or check.required for check in checks)


def test_the_setting_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker starts with it."""
    monkeypatch.setenv("AGENT_RUNNER_REPORTING", "compatible")
    monkeypatch.setenv("AGENT_RUNNER_STATUS_UPDATE_INTERVAL", "5")
    settings = load_settings("worker")
    assert (settings.reporting, settings.status_update_interval) == ("compatible", 5)
