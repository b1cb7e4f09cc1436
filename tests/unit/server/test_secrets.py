"""Several keys at a time, and values that no process could be given."""

from typing import Any

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.resources.sealing import REDACTED, SealBroken, Sealing
from agent_runner.status.log.bounds import MAX_SECRETS, MAX_SECRETS_BYTES
from agent_runner.status.store.records import ResourceKind
from tests.unit.server.test_create import assert_problem
from tests.unit.server.test_resources import agent, environment

SHARES_A_SERVER = True


def sealed(sealing: Sealing) -> dict[str, Any]:
    return sealing.seal_data({"S": {"value": "hunter2", "is_secret": True}}, {})


def opened(sealing: Sealing, data: dict[str, Any]) -> str:
    return sealing.open_data(data)["S"].value


def test_the_first_key_seals_and_all_open() -> None:
    """A new key in front or behind: old values open; what is sealed now needs the first key."""
    old, both, new = Sealing("old"), Sealing(" new , old,"), Sealing("new")
    assert opened(both, sealed(old)) == opened(Sealing("old,new"), sealed(new)) == "hunter2"
    assert opened(new, sealed(both)) == "hunter2"
    with pytest.raises(SealBroken, match="AGENT_RUNNER_SECRET_KEY"):
        opened(old, sealed(both))


def test_writing_back_the_redaction_seals_again() -> None:
    """Afterwards the old key is not needed. What no key opens stays as it is: the key may come back."""
    before = sealed(Sealing("old"))
    shown = {"S": {"value": REDACTED, "is_secret": True}}
    assert opened(Sealing("new"), Sealing("new,old").seal_data(shown, before)) == "hunter2"
    assert Sealing("new").seal_data(shown, before) == before


def test_a_key_with_a_comma_from_before_still_opens() -> None:
    """A comma was a part of the key once: what was sealed then can be read."""
    from cryptography.fernet import Fernet

    from agent_runner.app.server.resources.sealing import SEALED, _derived

    token = Fernet(_derived("one, two")).encrypt(b"hunter2").decode()
    data = {"S": {"value": SEALED + token, "is_secret": True}}
    assert opened(Sealing("one, two"), data) == "hunter2"


@pytest.mark.parametrize("key", ["", " ", ","])
def test_no_key_is_no_key(key: str) -> None:
    """Nothing but commas and blanks seals nothing."""
    with pytest.raises(Exception, match="AGENT_RUNNER_SECRET_KEY"):
        sealed(Sealing(key))


async def test_an_agent_that_is_written_back_keeps_its_values(http: httpx.AsyncClient, server: RunningServer) -> None:
    """What replacing a key does to every resource: GET, then PUT of what was shown."""
    data = {"KEY": {"value": "hunter2", "is_secret": True}, "PLAIN": {"value": "p"}}
    spec: dict[str, Any] = {"env_spec": {"data": data}}
    made = (await http.post("/v1/agents", json=agent(**spec))).json()
    id = made["metadata"]["id"]
    shown = (await http.get(f"/v1/agents/{id}")).json()
    written = await http.put(f"/v1/agents/{id}", json=shown)
    assert written.status_code == 200, written.text
    assert written.json()["spec"] == made["spec"]
    stored = await server.ctx.store.get_resource(ResourceKind.AGENT, id)
    assert stored is not None
    values = server.ctx.sealing.open_data(stored.body["spec"]["env_spec"]["data"])
    assert {name: value.value for name, value in values.items()} == {"KEY": "hunter2", "PLAIN": "p"}


@pytest.mark.parametrize(
    ("name", "value", "says"), [("A=B", "x", "not a name"), ("", "x", "not a name"), ("A", "x\0y", "NUL")]
)
async def test_what_no_process_can_be_given(http: httpx.AsyncClient, name: str, value: str, says: str) -> None:
    """Refused when it is written, wherever it is written; the text shows no value."""
    entry = {name: {"value": value, "is_secret": True}}
    for route, body in (
        ("environments", environment(**entry)),
        ("agents", agent(env_spec={"data": entry})),
        ("executions", {"message": "hello", "env": {name: value}}),
    ):
        detail = assert_problem(await http.post(f"/v1/{route}", json=body), 400, "INVALID_ARGUMENT")["detail"]
        assert says in detail
        assert value not in detail


MANY = {f"S{n}": "hunter2" for n in range(MAX_SECRETS)}
LARGE = {"S": "h" * MAX_SECRETS_BYTES}


@pytest.mark.parametrize("most", [MANY, LARGE], ids=["many", "large"])
async def test_a_run_has_so_many_secrets_and_no_more(http: httpx.AsyncClient, most: dict[str, str]) -> None:
    """What a run may have is accepted; one value more, or one byte, is refused before anything is stored."""
    assert (await http.post("/v1/executions", json={"message": "m", "env": most})).status_code == 201
    answer = await http.post("/v1/executions", json={"message": "m", "env": {**most, "MORE": "x"}})
    problem = assert_problem(answer, 400, "INVALID_ARGUMENT")
    assert f"{MAX_SECRETS} secrets and {MAX_SECRETS_BYTES} bytes" in problem["detail"]
    assert (await http.get("/v1/executions")).json()["total"] == 1


async def test_an_environment_holds_no_more_than_a_run_may_have(http: httpx.AsyncClient) -> None:
    """Refused when it is written; values that are no secrets do not count."""
    data = {name: {"value": value, "is_secret": True} for name, value in MANY.items()}
    plain = {f"P{n}": {"value": "x" * 1000} for n in range(MAX_SECRETS)}
    assert (await http.post("/v1/environments", json=environment(**data, **plain))).status_code == 201
    too_many = environment(**data, MORE={"value": "x", "is_secret": True})
    assert_problem(await http.post("/v1/environments", json=too_many), 400, "INVALID_ARGUMENT")
