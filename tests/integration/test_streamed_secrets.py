"""Law L9 for what a model says: a secret in the middle of its answer, over several tokens."""

from pathlib import Path

import pytest

from tests.integration import model_wire
from tests.integration.model_wire import model_name
from tests.integration.stack import Stack
from tests.integration.surfaces import Events, of_files
from tests.unit.models_wire.scenes import PROTOCOLS, Scene, one

SECRET = "canary-0123456789-abcdef"
SAYS = f"Your token is {SECRET}, and {SECRET[:9]} is not."


@pytest.mark.parametrize("size", [1, 5])
def test_a_secret_that_is_said_in_pieces_is_seen_nowhere(tmp_path: Path, size: int) -> None:
    """Neither in the stream, nor in the log's rows, the status or a file of the server or a worker; what only begins
    like it is shown. The row of each piece holds no part of it."""
    pieces = tuple(SAYS[at : at + size] for at in range(0, len(SAYS), size))
    scenarios = {model_name(wire, "secret"): one(Scene(tokens=pieces)) for wire in PROTOCOLS}
    shown = SAYS.replace(SECRET, "********")
    with model_wire.served(scenarios) as server:
        with Stack.open(tmp_path, **model_wire.settings(server)) as stack:
            stack.start_worker()
            for wire in PROTOCOLS:
                model = f"{wire}:{model_name(wire, 'secret')}"
                id_ = stack.create("what is it?", model=model, env={"TOKEN": SECRET})["metadata"]["id"]
                live = Events(stack, id_)
                ended = stack.wait_for(id_)
                assert ended["status"]["messages"][-1]["content"] == shown
                rows = [data for _, kind, data in stack.events(id_, 0) if kind == "update"]
                streamed = "".join(row["payload"]["text"] for row in rows if row["kind"] == "text")
                assert streamed == shown
                assert not any("content" in row["payload"] for row in rows if row["kind"] == "message_end")
                for text in (live.whole(), stack.http.get(f"/v1/executions/{id_}").content):
                    assert b"0123456789" not in text
        # what the model itself remembers of its own words is no part of what is shown
        mine = [(name, held) for name, held in of_files(tmp_path) if "checkpoints" not in name]
        assert any("agent-runner.db" in name for name, _ in mine)
        assert [name for name, held in mine if b"0123456789" in held] == []
