"""One way from a name to an enum, with one error for what names nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.app.server.problems import Kind, Problem, known
from agent_runner.status.failures import FAILURES, Code
from agent_runner.status.phases import PHASE_FORMS, Phase, UnknownName

anything = st.one_of(st.text(max_size=60), st.integers(), st.none(), st.sampled_from(["EXECUTION_", "E", "E10", "6"]))


@pytest.mark.parametrize("phase", Phase)
def test_a_phase_is_found_by_each_of_its_names(phase: Phase) -> None:
    """The short one, the contract's, its number as text and as a number, in any case."""
    for name in (
        phase.name,
        phase.wire_name,
        phase.value,
        str(phase.value),
        phase.name.lower(),
        phase.wire_name.lower(),
    ):
        assert Phase.named(name) is Phase.known(name) is phase
    assert {phase.name, phase.wire_name, str(phase.value)} <= set(PHASE_FORMS)


@pytest.mark.parametrize("code", Code)
def test_a_code_is_found_by_its_number(code: Code) -> None:
    """And no code is without its row in the table of failures."""
    assert Code.of(code.value) is Code.known(code.value) is code
    assert code in FAILURES


@given(anything)
def test_what_names_no_phase_is_told_what_there_is(name: Any) -> None:
    """Either it is one of the forms, or the error lists all phases and shows at most the beginning of what was sent."""
    if str(name).upper() in PHASE_FORMS:
        assert isinstance(Phase.named(name), Phase)
        return
    assert Phase.known(name) is None
    with pytest.raises(UnknownName) as told:
        Phase.named(name)
    assert all(phase.name in str(told.value) for phase in Phase)
    assert len(str(told.value)) < 400


@given(st.text(max_size=200))
def test_what_is_no_code_is_told_so(value: str) -> None:
    """No code is found by a part of its number, nor by its name."""
    if Code.known(value) is None:
        with pytest.raises(UnknownName, match="is not a failure code"):
            Code.of(value)


@pytest.mark.parametrize(("field", "look_up"), [("phase", Phase.named), ("code", Code.of)])
def test_a_caller_is_told_the_field(field: str, look_up: Callable[[Any], Any]) -> None:
    """An edge answers INVALID_ARGUMENT that begins with the field's name."""
    with pytest.raises(Problem, match=f"^{field}: 'nonsense'") as told:
        known(field, look_up, "nonsense")
    assert told.value.kind is Kind.INVALID_ARGUMENT
