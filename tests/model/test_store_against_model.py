"""The store does what the model says, under any order of calls, stale fences, lost replies and time (L1-L6, L8).

AGENT_RUNNER_TEST_EXAMPLES: how many examples, drawn anew each time; without it always the same 40.
AGENT_RUNNER_TEST_SHRINK=0: stop at the first difference instead of looking for a shorter way to it.
"""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.store_machine import machine
from tests.model.world import world
from tests.store.conftest import POSTGRES

EXAMPLES, STEPS = 40, 40
LEAST = {}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_the_store_does_what_the_model_says(backend: str) -> None:
    """No sequence of calls makes the two differ, and every verdict of every verb was met."""
    postgres = os.environ.get(POSTGRES, "") if backend == "postgres" else ""
    if backend == "postgres" and not postgres:
        pytest.skip(f"needs a Postgres server: set {POSTGRES}")
    examples = int(os.environ.get("AGENT_RUNNER_TEST_EXAMPLES", "0"))
    shrink = [Phase.shrink] if os.environ.get("AGENT_RUNNER_TEST_SHRINK", "1") != "0" else []
    with tempfile.TemporaryDirectory() as folder, world(postgres, Path(folder)) as the_world:
        run_state_machine_as_test(
            machine(the_world),
            settings=settings(
                max_examples=examples or EXAMPLES,
                stateful_step_count=STEPS,
                derandomize=False,
                database=None,
                phases=[Phase.generate, *shrink],
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        for (verb, verdict), n in sorted(the_world.seen.items()):
            print(f"{verb:20} {verdict:16} {n}")
