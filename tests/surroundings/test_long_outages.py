"""Postgres is away for longer than every short patience, with runs under way, in the queue and asked to end (L1 to L7).

The long ones take minutes: `AGENT_RUNNER_TEST_LONG_OUTAGES=1` runs them.
"""

import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.stack import Stack
from tests.support.waiting import eventually
from tests.surroundings.postgres import Cluster

LONG = pytest.mark.skipif(
    not os.environ.get("AGENT_RUNNER_TEST_LONG_OUTAGES"), reason="takes minutes: AGENT_RUNNER_TEST_LONG_OUTAGES=1"
)
COMPLETED, CANCELLED = "EXECUTION_COMPLETED", "EXECUTION_CANCELLED"


def once(stack: Stack, name: str, before_s: float) -> str:
    """A run that leaves one line behind in a file when its wait is over."""
    return f"$ sleep {before_s}\n$ echo {name} >> {stack.witnesses / name}\n$ echo {name} went on"


def asked(stack: Stack, path: str, **body: Any) -> int:
    """The status of a POST while the database is away, or 0 for no answer in time."""
    try:
        return stack.http.post(path, json=body, timeout=10).status_code
    except httpx.HTTPError:
        return 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("away_s", [12, pytest.param(60, marks=LONG), pytest.param(200, marks=LONG)])
def test_runs_outlive_their_database(cluster: Cluster, tmp_path: Path, away_s: int) -> None:
    """Whoever was under way goes on where it was, once; what is asked meanwhile is refused; all end truly and soon."""
    urls = dict.fromkeys(("AGENT_RUNNER_DATABASE_URL", "AGENT_RUNNER_CHECKPOINT_URL"), cluster.url)
    with Stack.open(tmp_path, **urls) as stack:
        worker = stack.start_worker()
        child = worker.child().pid
        lasts = {"over-it": away_s + 8.0, "in-it": away_s / 2, "at-once": 1.5, "to-cancel": away_s + 120.0}
        ids = {name: str(stack.create(once(stack, name, s))["metadata"]["id"]) for name, s in lasts.items()}
        for id in ids.values():
            stack.wait_text(id, "sleep")
        ids["queued"] = str(stack.create(once(stack, "queued", 0.1))["metadata"]["id"])
        cluster.stop()
        gone = time.monotonic()
        assert asked(stack, "/v1/executions", message="$ echo refused") in (0, 503)
        assert asked(stack, f"/v1/executions/{ids['to-cancel']}/cancel") in (0, 503)
        eventually(lambda: time.monotonic() - gone > away_s, within_s=away_s + 5, what="the outage")
        cluster.start()
        eventually(lambda: asked(stack, f"/v1/executions/{ids['to-cancel']}/cancel") == 202, what="a cancel")
        fresh = stack.create("$ echo fresh")["metadata"]["id"]
        assert stack.wait_for(fresh, within_s=30)["status"]["phase"] == COMPLETED
        for name, id in ids.items():
            ended = stack.wait_for(id, within_s=90)
            said = f"{name}: {ended['status'].get('error')}"
            assert ended["status"]["phase"] == (CANCELLED if name == "to-cancel" else COMPLETED), said
            rows = list(stack.events(id, last_event_id=0))
            updates = [seq for seq, kind, _ in rows if kind == "update"]
            assert updates == list(range(updates[0], updates[0] + len(updates))), name
            assert [kind for _, kind, _ in rows].count("end") == 1, name
            lines = (stack.witnesses / name).read_text().split() if (stack.witnesses / name).exists() else []
            assert lines == ([] if name == "to-cancel" else [name])
            assert stack.get(id)["status"] == ended["status"]
        session = stack.get(ids["in-it"])["spec"]["session_id"]
        following = stack.create("$ echo remembers", session_id=session)["metadata"]["id"]
        assert stack.wait_for(following, within_s=30)["status"]["phase"] == COMPLETED
        assert worker.child().pid == child, worker.output()[-2000:]
