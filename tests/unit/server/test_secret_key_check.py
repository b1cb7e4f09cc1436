"""A secret key that is not the database's does not go unnoticed: at the start, and by `doctor`."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from agent_runner.app.cli.secret_key import check_secret_key, take
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.app.server.resources.sealing import Sealing
from agent_runner.app.server.resources.secret_key_check import (
    OtherSecretKey,
    SecretKeyState,
    look_at_secret_key,
    settle_secret_key,
)
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.store.store import Store
from tests.support import databases
from tests.unit.server.test_resources import environment

OURS = "a secret of the operator"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    databases.copied(tmp_path / "agent-runner.db")
    opened = Store.open(f"sqlite:///{tmp_path}/agent-runner.db")
    yield opened
    await opened.close()


async def starts(store: Store, *keys: str, local: bool = False) -> None:
    for key in keys:
        await settle_secret_key(store, Sealing(key), may_differ=local)


async def test_a_server_with_another_key_does_not_start(store: Store) -> None:
    """The first one makes the key the database's. The refusal says what to do, and shows neither key."""
    await starts(store, OURS, OURS)
    with pytest.raises(OtherSecretKey, match="to the key of the other servers") as refused:
        await starts(store, "another")
    assert OURS not in str(refused.value)
    assert "another" not in str(refused.value).replace("another secret key", "")
    assert await look_at_secret_key(store, Sealing(OURS)) == SecretKeyState()


async def test_a_key_is_replaced_as_the_guide_says(store: Store) -> None:
    """Both orders of old and new start; once the new one seals, a server that has only the old one does not."""
    await starts(store, "old", "old,new", "new,old", "new")
    with pytest.raises(OtherSecretKey):
        await starts(store, "old")


async def test_where_it_is_taken_away_too_early(store: Store) -> None:
    """Nobody has sealed with the new key yet."""
    await starts(store, "old", "old,new")
    with pytest.raises(OtherSecretKey):
        await starts(store, "new")


async def test_on_one_machine_it_is_said_and_no_more(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The sample stays that of the key in use. A server without a key seals nothing, so it starts anywhere."""
    await starts(store, OURS)
    await starts(store, "another", local=True)
    await starts(store, "")
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "is not the key that the secrets in this database" in caplog.messages[0]
    assert "is not set, and this database holds secrets" in caplog.messages[1]
    assert (await look_at_secret_key(store, Sealing(OURS))).wrong == ""


async def test_stored_values_that_no_key_opens_are_named(
    http: httpx.AsyncClient, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where a key was taken away before anybody looked: the start goes on, and the log names what holds them."""
    made = await http.post("/v1/environments", json=environment(TOKEN={"value": "hunter2", "is_secret": True}))
    id = made.json()["metadata"]["id"]
    store = server.ctx.store
    await store.keep_sample(Sealing("new").seal(b"x"), if_first=False)
    await starts(store, "new")
    assert f"does not open what is stored in Environment {id}. Add the key" in caplog.text
    assert "hunter2" not in caplog.text


async def test_the_start_and_doctor_say_it(
    settings: Settings, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In production the whole server refuses; `doctor` fails with the same words, until the new key is taken."""
    other = settings.model_copy(update={"secret_key": SecretStr("another"), "mode": "production"})
    with pytest.raises(OtherSecretKey):
        async with running_server(other):
            pass
    (said,) = await asyncio.to_thread(check_secret_key, other)
    assert (said.up, said.required, said.name) == (False, True, "secret key")
    assert "migrate --new-secret-key" in said.fix
    assert await asyncio.to_thread(check_secret_key, settings) == []
    assert "from now on" in await asyncio.to_thread(take, other)
    assert await asyncio.to_thread(check_secret_key, other) == []
    async with running_server(other):
        pass


def test_without_a_database_there_is_nothing_to_compare(tmp_path: Path) -> None:
    """A worker's machine: only a missing key is worth a word, and it fails nothing."""
    away = Settings(data_dir=tmp_path / "none", mode="production", api_key=SecretStr("k" * 40))
    (said,) = check_secret_key(away)
    assert (said.up, said.required) == (False, False)
    assert check_secret_key(away.model_copy(update={"secret_key": SecretStr(OURS)})) == []
