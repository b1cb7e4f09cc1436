"""What the dashboard, the alert rules and their page name is what a running server and a worker tell."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest

from agent_runner.tasks.worker.measures import Measures

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy" / "grafana" / "agent-runner.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
PAGE = ROOT / "docs" / "guides" / "metrics.md"
PROMTOOL = shutil.which("promtool")
SUFFIXES = re.compile(r"_(bucket|sum|count)$")


async def told(http: httpx.AsyncClient) -> dict[str, str]:
    """The type of each metric, by its name as it is asked for."""
    worker = generate_latest(Measures(busy=lambda: 0, lag_s=lambda: 0.0, slots=1).registry).decode()
    text = (await http.get("/metrics")).text + worker
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def named(text: str) -> set[str]:
    return set(re.findall(r"\bagent_runner_[a-z0-9_]+", text))


def expressions() -> list[str]:
    board = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


async def test_every_name_is_told(http: httpx.AsyncClient) -> None:
    """A histogram is asked for by its buckets, a counter by its total; nothing is asked for that nobody tells."""
    types = await told(http)
    asked = named(" ".join(expressions())) | named(ALERTS.read_text())
    assert len(asked) > 15
    for name in asked:
        base = SUFFIXES.sub("", name)
        if types.get(name) in ("counter", "gauge"):
            continue
        assert types.get(base) == "histogram", name
        assert name != base, f"{name} is a histogram: its buckets are asked for"


async def test_the_page_of_metrics(http: httpx.AsyncClient) -> None:
    """It has a row for each panel and each alert, and names nothing else than what is told."""
    page, types = PAGE.read_text(), await told(http)
    titles = [panel["title"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    assert len(titles) == len(set(titles))
    for title in [*titles, *re.findall(r"alert: (\w+)", ALERTS.read_text())]:
        assert f"| {title} |" in page
    missing = {name for name in named(page) if name not in types and not any(one.startswith(name) for one in types)}
    assert not missing


def test_the_panels_stand_beside_each_other() -> None:
    """No two at the same place, each with an expression and the data source of the dashboard."""
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["targets"] and panel["datasource"]["uid"] == "${datasource}" for panel in panels)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_the_alert_rules() -> None:
    """promtool accepts every rule, and every expression of the dashboard as a rule."""
    assert PROMTOOL is not None
    checked = subprocess.run([PROMTOOL, "check", "rules", ALERTS], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    """promtool accepts each of them as a rule."""
    assert PROMTOOL is not None
    made = [
        {"record": f"panel:expression{n}:x", "expr": one.replace("$__rate_interval", "5m")}
        for n, one in enumerate(expressions())
    ]
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": made}]}))
    checked = subprocess.run([PROMTOOL, "check", "rules", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
