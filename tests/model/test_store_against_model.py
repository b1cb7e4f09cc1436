"""The store does what the model says, under any order of calls, stale fences, lost replies and time (L1-L6, L8)."""

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.store_machine import machine
from tests.model.world import world
from tests.store.conftest import POSTGRES


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_the_store_does_what_the_model_says(backend: str) -> None:
    """No sequence of calls makes the two differ, and every verdict of every verb was met."""
    postgres = os.environ.get(POSTGRES, "") if backend == "postgres" else ""
    if backend == "postgres" and not postgres:
        pytest.skip(f"needs a Postgres server: set {POSTGRES}")
    examples = int(os.environ.get("AGENT_RUNNER_TEST_EXAMPLES", "40"))
    with tempfile.TemporaryDirectory() as folder, world(postgres, Path(folder)) as the_world:
        run_state_machine_as_test(
            machine(the_world),
            settings=settings(
                max_examples=examples,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        for (verb, verdict), n in sorted(the_world.seen.items()):
            print(f"{verb:20} {verdict:16} {n}")
