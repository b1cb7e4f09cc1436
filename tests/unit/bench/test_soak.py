"""What the soak makes of the ends that it saw."""

import pytest

from bench.soak import Ended, Soak, judged
from bench.stream_client import COMPLETED


def lost(began: float, ended: float, code: str = "E103") -> Ended:
    return Ended(began=began, ended=ended, phase="EXECUTION_FAILED", code=code)


@pytest.mark.parametrize(
    ("one", "true"),
    [
        (Ended(began=0, ended=1, phase=COMPLETED, code=""), True),
        (lost(9, 11), True),
        (lost(11, 12), False),
        (lost(9, 11, "E102"), False),
    ],
    ids=["completed", "killed", "not killed", "by another reason"],
)
def test_only_a_kill_excuses_a_lost_run(one: Ended, *, true: bool) -> None:
    """A run ends completed, or as lost with a worker that was killed while it was there."""
    assert one.is_true([10.0]) is true


@pytest.mark.parametrize(("files", "holds"), [((40, 40, 40), True), ((40, 50, 60), False)], ids=["flat", "rising"])
def test_a_server_that_grows_does_not_hold(files: tuple[float, ...], *, holds: bool) -> None:
    """Whatever the ends were."""
    seen = Soak(ended=[Ended(began=0, ended=1, phase=COMPLETED, code="")])
    for name in seen.samples:
        seen.samples[name] = [(600.0 * n, value) for n, value in enumerate((1.0, *files))]
    assert judged(seen) is holds
    seen.broken["no end"] += 1
    assert not judged(seen)
