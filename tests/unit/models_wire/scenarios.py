"""All scenarios, by name. What is told of each, on each wire, stands in the golden files."""

from tests.unit.models_wire.scenes import NOTE, CallWords, Scenario
from tests.unit.models_wire.scenes_answered import ANSWERED
from tests.unit.models_wire.scenes_broken import BROKEN
from tests.unit.models_wire.scenes_called import called
from tests.unit.models_wire.scenes_refused import REFUSED


def scenarios(words: CallWords) -> dict[str, Scenario]:
    """`words`: the tool that the calls are for."""
    return {**ANSWERED, **BROKEN, **REFUSED, **called(words)}


SCENARIOS = scenarios(NOTE)
