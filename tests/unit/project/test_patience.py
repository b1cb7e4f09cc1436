"""What a machine full of work makes slow is no failure."""

import time

from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=1)
@given(st.just(0.3))
def test_a_slow_example_is_no_failure(pause_s: float) -> None:
    """Longer than Hypothesis allows by default, which is 200 ms."""
    time.sleep(pause_s)
