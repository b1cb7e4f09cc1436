"""`/v1/schedules`: executions that begin by the clock, with the orgs, scopes and secrets of all others."""

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from agent_runner.clients.settings.settings import Settings
from tests.unit.server.conftest import http_client
from tests.unit.server.identity import agent, key
from tests.unit.server.identity import made as created
from tests.unit.server.test_create import assert_problem
from tests.unit.server.test_keys import soon

SHARES_A_SERVER = True

DAILY = {"name": "nightly", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "execution": {"message": "report"}}
HOUR = 3600.0


class Ahead:
    """Moves the database's clock of the server."""

    def __init__(self, server: RunningServer) -> None:
        self._store, self._ahead_s = server.ctx.store, 0.0

    def __call__(self) -> float:
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds
        self._store._now = self

    def to(self, moment: str) -> None:
        self.advance(datetime.fromisoformat(moment).timestamp() - self())


@pytest.fixture
def ahead(server: RunningServer) -> Iterator[Ahead]:
    real = server.ctx.store._now
    yield Ahead(server)
    server.ctx.store._now = real


async def made(http: httpx.AsyncClient, **given: Any) -> dict[str, Any]:
    answer = await http.post("/v1/schedules", json={**DAILY, **given})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def one_of(http: httpx.AsyncClient, id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get(f"/v1/schedules/{id}")).json()
    return found


async def history(http: httpx.AsyncClient, id: str, count: int = 1) -> list[dict[str, Any]]:
    """Once it has so many entries; the newest first."""
    found: list[dict[str, Any]] = []

    async def there() -> bool:
        found[:] = (await http.get(f"/v1/schedules/{id}/firings")).json()["firings"]
        return len(found) >= count

    await soon(there)
    return found


async def test_it_fires_at_its_time_and_is_an_ordinary_execution(
    own_http: httpx.AsyncClient, own_server: RunningServer
) -> None:
    """Its execution names the schedule and the time; lists find it by its tag; the history shows its phase."""
    one = await made(own_http)
    assert (one["state"], one["paused"], one["fired"], one["catch_up"]) == ("active", False, 0, "once")
    assert "firings" in (await own_http.get(f"/v1/schedules/{one['id']}/firings")).json()
    Ahead(own_server).to(one["next_at"])
    (firing,) = await history(own_http, one["id"])
    assert (firing["outcome"], firing["kind"], firing["due_at"]) == ("fired", "clock", one["next_at"])
    fired = (await own_http.get(f"/v1/executions/{firing['execution_id']}")).json()
    metadata, spec = fired["metadata"], fired["spec"]
    assert (spec["message"], metadata["name"]) == ("report", "nightly")
    assert metadata["annotations"]["agent-runner/schedule"] == metadata["labels"]["agent-runner/schedule"] == one["id"]
    assert metadata["annotations"]["agent-runner/due-at"] == one["next_at"]
    listed = (await own_http.get("/v1/executions", params={"tag": f"schedule:{one['id']}"})).json()["entries"]
    assert [entry["metadata"]["id"] for entry in listed] == [firing["execution_id"]]
    now = await one_of(own_http, one["id"])
    assert now["fired"] == 1
    assert now["next_at"] > one["next_at"]
    worked = (await own_http.get("/metrics")).text
    assert 'agent_runner_schedule_firings_total{outcome="fired"} 1.0' in worked
    assert 'agent_runner_schedules{state="active"} 1.0' in worked


async def test_a_time_fires_by_the_real_clock(http: httpx.AsyncClient) -> None:
    """An at-time a few seconds from now; afterwards the schedule is over and says why."""
    at = datetime.fromtimestamp(time.time() + 5, UTC).isoformat()
    one = await made(http, cron=None, at=[at])
    (firing,) = await history(http, one["id"])
    assert firing["outcome"] == "fired"
    assert firing["at"] >= firing["due_at"]
    now = await one_of(http, one["id"])
    assert (now["state"], now["ended"]) == ("ended", "no_more_times")
    assert "next_at" not in now


async def test_after_an_outage_the_rule_decides(http: httpx.AsyncClient, ahead: Ahead) -> None:
    """Five hours are missed: none, the last one, or the last two fire, and the history says what was passed over."""
    hourly = {"cron": "0 * * * *", "timezone": None}
    rules = {"skip": {"grace_s": 0}, "once": {}, "all": {"catch_up_limit": 2}}
    ones = {rule: await made(http, **hourly, catch_up=rule, **more) for rule, more in rules.items()}
    ahead.to(ones["once"]["next_at"])
    ahead.advance(4 * HOUR + 1)
    told = {rule: await history(http, one["id"], 2 if rule == "all" else 1) for rule, one in ones.items()}
    shown = {rule: [(f["outcome"], f["passed_over"]) for f in found] for rule, found in told.items()}
    assert shown == {"skip": [("skipped", 5)], "once": [("fired", 4)], "all": [("fired", 0), ("fired", 3)]}
    assert told["skip"][0]["code"] == "LATE"
    assert "5 times" in told["skip"][0]["reason"]
    assert told["once"][0]["due_at"] == told["all"][0]["due_at"]
    assert {(await one_of(http, one["id"]))["next_at"] > told["once"][0]["at"] for one in ones.values()} == {True}


async def test_what_is_paused_fires_only_when_it_goes_on(http: httpx.AsyncClient, ahead: Ahead) -> None:
    """The times that came meanwhile are gone; by hand it fires also while it is paused."""
    one = await made(http, paused=True)
    path = f"/v1/schedules/{one['id']}"
    by_hand = await http.post(f"{path}/fire")
    assert by_hand.status_code == 201
    assert by_hand.json()["metadata"]["annotations"]["agent-runner/fired-by"]
    ahead.to(one["next_at"])
    ahead.advance(2 * HOUR)
    witness = await made(http, cron=None, at=[datetime.fromtimestamp(ahead() + 5, UTC).isoformat()])
    await history(http, witness["id"])
    assert [f["kind"] for f in await history(http, one["id"])] == ["hand"]
    resumed = (await http.post(f"{path}/resume")).json()
    assert (resumed["state"], resumed["fired"]) == ("active", 0)
    assert resumed["next_at"] > datetime.fromtimestamp(ahead(), UTC).isoformat()
    assert (await http.post(f"{path}/pause")).json()["state"] == "paused"


async def test_its_number_of_firings_ends_it(http: httpx.AsyncClient, ahead: Ahead) -> None:
    """More are allowed by a change; then it goes on."""
    one = await made(http, max_firings=1)
    ahead.to(one["next_at"])
    await history(http, one["id"])
    assert (await one_of(http, one["id"]))["ended"] == "max_firings"
    more = (await http.patch(f"/v1/schedules/{one['id']}", json={"max_firings": 2})).json()
    assert (more["state"], more["fired"]) == ("active", 1)
    assert len((await http.get(f"/v1/schedules/{one['id']}/preview")).json()["times"]) == 1


async def test_a_refused_firing_says_why(http: httpx.AsyncClient, ahead: Ahead) -> None:
    """The agent is deleted after the schedule was made: the history has the reason, and it fires again tomorrow."""
    await created(http, "/v1/agents", agent("Writer"))
    one = await made(http, execution={"message": "report", "agent": "writer"})
    await http.delete("/v1/agents/writer")
    ahead.to(one["next_at"])
    (firing,) = await history(http, one["id"])
    assert (firing["outcome"], firing["code"]) == ("refused", "NOT_FOUND")
    assert "writer" in firing["reason"]
    assert "execution_id" not in firing
    by_hand = await http.post(f"/v1/schedules/{one['id']}/fire")
    assert_problem(by_hand, 404, "NOT_FOUND")
    assert (await http.post(f"/v1/schedules/{one['id']}/pause")).json()["state"] == "paused"
    assert (await http.post(f"/v1/schedules/{one['id']}/resume")).status_code == 200
    assert [f["kind"] for f in await history(http, one["id"], 2)] == ["hand", "clock"]
    assert (await one_of(http, one["id"]))["state"] == "active"


async def test_firings_share_a_session_if_they_are_told_to(http: httpx.AsyncClient) -> None:
    """`reject` refuses the second while the first is open, and says so; `interrupt` cancels the first; `fresh` has a
    session for each."""
    shared = await made(http, overlap="reject")
    first = await http.post(f"/v1/schedules/{shared['id']}/fire")
    session = (await one_of(http, shared["id"]))["session_id"]
    assert session == first.json()["spec"]["session_id"]
    busy = await http.post(f"/v1/schedules/{shared['id']}/fire")
    assert_problem(busy, 409, "FAILED_PRECONDITION")
    assert "busy" in (await history(http, shared["id"], 2))[0]["reason"]
    await http.patch(f"/v1/schedules/{shared['id']}", json={"overlap": "interrupt"})
    third = (await http.post(f"/v1/schedules/{shared['id']}/fire")).json()
    assert third["spec"]["session_id"] == session
    ended = (await http.get(f"/v1/executions/{first.json()['metadata']['id']}")).json()
    assert ended["status"]["phase"] == "EXECUTION_CANCELLED"
    fresh = await made(http)
    sessions = {(await http.post(f"/v1/schedules/{fresh['id']}/fire")).json()["spec"]["session_id"] for _ in range(2)}
    assert len(sessions) == 2
    assert (await one_of(http, fresh["id"]))["session_id"] == ""


async def test_secrets_are_sealed_and_never_shown(
    http: httpx.AsyncClient, server: RunningServer, settings: Settings
) -> None:
    """Not in an answer, a column, a log; a change that sends `***` keeps them, and the run gets them."""
    secret = "hunter2-of-the-schedule"
    one = await made(http, execution={"message": "report", "env": {"TOKEN": secret}})
    assert one["execution"]["env"] == {"TOKEN": "***"}
    path = f"/v1/schedules/{one['id']}"
    changed = await http.patch(path, json={"execution": {"message": "new", "env": {"TOKEN": "***"}}})
    assert changed.json()["execution"] == {"message": "new", "env": {"TOKEN": "***"}}
    unknown = await http.patch(path, json={"execution": {"message": "new", "env": {"OTHER": "***"}}})
    assert_problem(unknown, 400, "INVALID_ARGUMENT")
    fired = (await http.post(f"{path}/fire")).json()
    stored = await server.ctx.store.get(fired["metadata"]["id"])
    assert stored is not None
    assert server.ctx.sealing.open_env(stored.sealed_env)["TOKEN"].value == secret
    assert secret not in f"{fired}{(await http.get('/v1/schedules')).text}{await history(http, one['id'])}"
    dumped = "\n".join(sqlite3.connect(settings.database_url.removeprefix("sqlite:///")).iterdump())
    assert one["id"] in dumped
    assert secret not in dumped


async def test_a_schedule_belongs_to_its_org(server: RunningServer) -> None:
    """Others neither see nor touch it; its firings act for its org, also by a key that may do more."""
    mine, others, reader = await key(server, "execute", org="a"), await key(server, "execute", org="b"), ""
    reader = await key(server, "read", org="a")
    async with http_client(server, mine) as http:
        one = await made(http)
        assert one["org"] == "a"
        assert_problem(await http.post("/v1/schedules", json={**DAILY, "org": "b"}), 403, "PERMISSION_DENIED")
        named = {"message": "report", "model": "gpt-5"}
        assert_problem(await http.post("/v1/schedules", json={**DAILY, "execution": named}), 403, "PERMISSION_DENIED")
    path = f"/v1/schedules/{one['id']}"
    calls = [("GET", path), ("PATCH", path), ("DELETE", path), ("GET", f"{path}/firings"), ("GET", f"{path}/preview")]
    calls += [("POST", f"{path}/{verb}") for verb in ("pause", "resume", "fire")]
    async with http_client(server, others) as http:
        for method, address in calls:
            body = {"name": "x"} if method == "PATCH" else None
            assert_problem(await http.request(method, address, json=body), 404, "NOT_FOUND")
        assert (await http.get("/v1/schedules")).json()["schedules"] == []
    async with http_client(server, reader) as http:
        for method, address in calls:
            answer = await http.request(method, address, json={"name": "x"} if method == "PATCH" else None)
            assert answer.status_code == (200 if method == "GET" else 403), address
    async with http_client(server) as http:
        assert (await http.post(f"{path}/fire")).json()["metadata"]["org"] == "a"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"cron": "nope"}, "five fields"),
        ({"cron": "* * * * * *"}, "five fields"),
        ({"timezone": "Mars/One"}, "Invalid timezone"),
        ({"cron": None}, "cron or at"),
        ({"at": ["2100-01-01T00:00Z"]}, "one of the two"),
        ({"cron": None, "at": ["2001-01-01T00:00Z"]}, "no time to come"),
        ({"cron": None, "at": ["soon"]}, "is not a time"),
        ({"end_time": "2001-01-01T00:00Z"}, "no time to come"),
        ({"session_id": "ses-x"}, "not found"),
        ({"session_id": "ses-x", "overlap": "fresh"}, "session of its own"),
        ({"execution": {}}, "message"),
        ({"execution": {"message": "x", "org": "b"}}, "beside `execution`"),
        ({"execution": {"message": "x", "agent": "nobody"}}, "not found"),
        ({"execution": {"message": "x", "timeouts": {"start_to_close_s": -1}}}, "timeouts"),
        ({"catch_up": "maybe"}, "catch_up"),
        ({"catch_up_limit": 0}, "catch_up_limit"),
        ({"surprise": 1}, "surprise"),
        ({"name": ""}, "name"),
    ],
)
async def test_what_could_not_fire_is_refused_when_it_is_made(
    http: httpx.AsyncClient, given: dict[str, Any], words: str
) -> None:
    """In words that say what to change; nothing is kept."""
    answer = await http.post("/v1/schedules", json={**DAILY, **given})
    assert answer.status_code in (400, 404), answer.text
    assert words in answer.json()["detail"]
    assert (await http.get("/v1/schedules")).json()["schedules"] == []


async def test_a_preview_shows_the_clocks_that_change(http: httpx.AsyncClient) -> None:
    """Without a schedule; the local times show their offset. What is missing on one day comes right after the gap."""
    asked = {"cron": "30 2 27-29 3 *", "timezone": "Europe/Berlin", "count": 3}
    times = (await http.post("/v1/schedules/preview", json=asked)).json()["times"]
    assert [one["local"][5:] for one in times][:1] == ["03-27T02:30:00+01:00"]
    assert len(times) == 3
    wrong = await http.post("/v1/schedules/preview", json={"cron": "61 * * * *"})
    assert_problem(wrong, 400, "INVALID_ARGUMENT")


async def test_the_same_key_fires_once(http: httpx.AsyncClient) -> None:
    """A call that is sent again gives the execution of the first."""
    one = await made(http)
    twice = [await http.post(f"/v1/schedules/{one['id']}/fire", headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert len({answer.json()["metadata"]["id"] for answer in twice}) == 1
    assert len(await history(http, one["id"])) == 1


async def test_at_the_orgs_limit_no_more_are_made(
    http: httpx.AsyncClient, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer names the setting. Deleting makes room."""
    monkeypatch.setitem(server.ctx.settings.__dict__, "max_schedules", 1)
    one = await made(http)
    full = await http.post("/v1/schedules", json=DAILY)
    assert_problem(full, 429, "RESOURCE_EXHAUSTED")
    assert "AGENT_RUNNER_MAX_SCHEDULES" in full.json()["detail"]
    assert (await http.delete(f"/v1/schedules/{one['id']}")).status_code == 204
    assert_problem(await http.delete(f"/v1/schedules/{one['id']}"), 404, "NOT_FOUND")
    await made(http)
