"""What an error of the database says in a log."""

import traceback

import pytest

from agent_runner.status.api_keys import Scope
from agent_runner.status.store.schema import _engine
from agent_runner.status.store.store import Store

SAID = "what somebody said"


async def test_an_error_does_not_show_values(store: Store) -> None:
    """The statement, and why it failed; none of its parameters."""
    given = {"id": "k", "name": SAID, "scopes": [Scope.READ], "org": "", "digest": "d"}
    await store.add_key(**given)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="api_keys") as caught:
        await store.add_key(**given)  # type: ignore[arg-type]
    shown = "".join(traceback.format_exception(caught.value))
    assert "INSERT INTO api_keys" in shown
    assert SAID not in shown


def test_a_migration_does_not_either() -> None:
    """It has an engine of its own."""
    assert _engine("sqlite://").hide_parameters
