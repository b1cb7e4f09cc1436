"""The store does what the model says, under any order of calls, stale fences, lost replies and time (L1-L6, L8).

AGENT_RUNNER_TEST_EXAMPLES: how many examples, drawn anew each time; without it always the same 60.
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
from tests.support import databases

EXAMPLES, STEPS = 60, 36
BATCH = 10
"""Hypothesis makes most examples after the tenth by copying parts of earlier ones, which meets less."""
VERDICTS = {
    "create": "admitted queued known session_busy queue_full id_taken",
    "dispatched": "stamped resent too_late",
    "due_for_dispatch": "some none",
    "begin": "granted again late refused",
    "done": "stored again refused",
    "claim": "granted resumed again late not_yet taken too_early over",
    "append": "ok again cancel gap fenced_out",
    "beat": "ok cancel fenced_out",
    "settle": "accepted retried yielded again gap fenced_out",
    "hand_back": "accepted again cancel gap fenced_out",
    "lost reply": "append beat settle hand_back cancel",
    "cancel": "asked asked_again at_once over",
    "fail": "ended retried other_step other_attempt over",
    "withdraw": "removed refused",
    "delete": "removed refused",
    "hello": "came saved",
    "goodbye": "left",
    "disconnected": "counts noted ignored proves_nothing",
    "exited": "ended retried nothing",
    "beat of a worker": "at_work idle unknown",
    "sweep": "E101 E102 E103 E104 E105 E107 E401 retried waits_on amnesty nothing",
    "snapshot": "written not_due",
    "server": "restarted",
}
"""What the model may say to each verb. All of it is met, or the test is about less than it says."""
USUAL = {("claim", "granted"): 80, ("append", "ok"): 100, ("settle", "accepted"): 30, ("claim", "resumed"): 20}
"""How often, in the usual examples, what the test is mostly about; 3 times for everything else."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("backend", databases.SORTS)
def test_the_store_does_what_the_model_says(backend: str) -> None:
    """No sequence of calls makes the two differ, and every verdict of every verb was met."""
    examples = int(os.environ.get("AGENT_RUNNER_TEST_EXAMPLES", "0"))
    shrink = [Phase.shrink] if os.environ.get("AGENT_RUNNER_TEST_SHRINK", "1") != "0" else []
    with tempfile.TemporaryDirectory() as folder, world(backend, Path(folder)) as the_world:
        for batch in range(-(-(examples or EXAMPLES) // BATCH)):
            run_state_machine_as_test(
                machine(the_world, f"StoreAndModel{batch}"),
                settings=settings(
                    max_examples=BATCH,
                    stateful_step_count=STEPS,
                    derandomize=not examples,  # each batch by its name
                    database=None,
                    phases=[Phase.generate, *shrink],
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        seen = the_world.seen
    known = {(verb, word) for verb, words in VERDICTS.items() for word in words.split()}
    assert known >= seen.keys()
    least = {key: examples // 100 if examples else USUAL.get(key, 3) for key in known}
    assert {key: seen[key] for key in known if seen[key] < least[key]} == {}
