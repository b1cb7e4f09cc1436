"""A session's sandbox at Daytona, by the real SDK: found by every worker, started in each state, ended by itself."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from agent_runner.clients.process.threads import apart
from agent_runner.clients.sandbox.daytona.kind import DaytonaKind, KeptAwake
from agent_runner.clients.sandbox.daytona.sandbox import DaytonaSandbox
from agent_runner.clients.sandbox.kinds.port import SandboxError
from tests.support.daytona.service import DaytonaService
from tests.unit.sandbox.daytona.conftest import SECRET, asked

Kinds = Callable[..., DaytonaKind]
DAY_MIN = 24 * 60


async def opened(kind: DaytonaKind, name: str = "ses-1") -> DaytonaSandbox:
    return await apart(kind.open, asked(name), name="open")


async def refusal(kind: DaytonaKind) -> str:
    with pytest.raises(SandboxError) as told:
        await opened(kind)
    return str(told.value)


async def with_a_file(kind: DaytonaKind) -> None:
    box = await opened(kind)
    await box.execute("echo kept > note")
    await box.close()


async def note(box: DaytonaSandbox) -> str:
    said = await box.execute("cat note 2> /dev/null")
    await box.close()
    return said.output


@pytest.mark.promise("6.08")
async def test_every_worker_finds_the_sessions_sandbox(fresh: DaytonaService, kind_of: Kinds) -> None:
    """By its name, which holds install and session, as its labels do. Daytona is told no variable of the run."""
    await with_a_file(kind_of())
    assert await note(await opened(kind_of())) == "kept\n"
    told = fresh.only().asked
    assert told["name"] == "agent-runner-ses-1"
    assert told["labels"].items() >= {"agent-runner.install": "agent-runner", "agent-runner.session": "ses-1"}.items()
    assert SECRET not in str(told)
    await with_a_file(kind_of(daytona_install="another"))
    assert len(fresh.boxes) == 2


async def test_two_workers_at_once_make_one(fresh: DaytonaService, kind_of: Kinds) -> None:
    """The slower one gets what the faster one made."""
    kinds = [kind_of() for _ in range(2)]
    await asyncio.gather(*(apart(kind.health, name="import") for kind in kinds))
    boxes = await asyncio.gather(*(apart(kind._lifecycle.ready, "ses-1", name="ready") for kind in kinds))
    assert {box.id for box, _ in boxes} == {fresh.only().id}


@pytest.mark.parametrize("state", ["stopped", "archived", "paused"])
async def test_one_that_sleeps_is_started_with_its_files(fresh: DaytonaService, kind_of: Kinds, state: str) -> None:
    """Whoever stopped it."""
    await with_a_file(kind_of())
    fresh.stop(fresh.only(), state)
    assert await note(await opened(kind_of())) == "kept\n"


async def test_one_in_error_is_recovered_or_replaced(fresh: DaytonaService, kind_of: Kinds) -> None:
    """What Daytona can recover keeps its files; what it cannot is replaced by an empty one."""
    kind = kind_of()
    await with_a_file(kind)
    first = fresh.only()
    fresh.stop(first, "error")
    first.recoverable = True
    assert await note(await opened(kind)) == "kept\n"
    fresh.stop(first, "error")
    first.recoverable = False
    assert await note(await opened(kind)) == ""
    assert fresh.only().id != first.id


async def test_one_that_does_not_answer_is_started_again(
    fresh: DaytonaService, kind_of: Kinds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and it keeps its files; a second time is the end, with the sandbox's id."""
    monkeypatch.setattr("agent_runner.clients.sandbox.daytona.sandbox.ANSWERS_S", 0.2)
    kind = kind_of()
    await with_a_file(kind)
    fresh._end(fresh.only())  # Daytona has not noticed
    assert await note(await opened(kind)) == "kept\n"
    fresh._end(fresh.only())
    fresh.refuse["POST", "/stop$"] = (500, "no runner answers")
    said = await refusal(kind)
    assert fresh.only().id in said
    assert "no runner answers" in said


async def test_one_that_does_not_start_in_time(fresh: DaytonaService, kind_of: Kinds) -> None:
    """The text has the limit; what was half made is not left behind."""
    fresh.settles_in = "creating"
    said = await refusal(kind_of(daytona_start_s=1.0))
    assert "could not be created" in said
    assert not fresh.boxes


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"daytona_api_key": "dtn_wrong-key-of-mine"},
            ("Invalid credentials", "set DAYTONA_API_KEY of the worker anew"),
        ),
        ({"daytona_api_key": ""}, ("needs a key: set DAYTONA_API_KEY",)),
        (
            {"daytona_api_url": "http://127.0.0.1:9/api"},
            ("this worker can reach http://127.0.0.1:9/api (DAYTONA_API_URL)",),
        ),
    ],
)
async def test_what_cannot_be_asked_says_what_to_do(
    fresh: DaytonaService, kind_of: Kinds, given: dict[str, Any], words: tuple[str, ...]
) -> None:
    """Of a run and of the worker's health alike; the key is in neither."""
    kind = kind_of(**given)
    health = await apart(kind.health, name="health")
    for said in (await refusal(kind), health.said):
        assert all(word in said for word in words), said
        assert "dtn_" not in said
    assert (health.up, fresh.boxes) == (False, {})


@pytest.mark.promise("6.08")
async def test_what_nobody_uses_ends_by_itself(fresh: DaytonaService, kind_of: Kinds) -> None:
    """Daytona stops it, and deletes it when retention is over; the session then begins anew."""
    kind = kind_of(retention_days=3)
    await with_a_file(kind)
    fresh.pass_minutes(15)
    assert fresh.only().state == "stopped"
    fresh.pass_minutes(3 * DAY_MIN - 1)
    assert fresh.only().state == "stopped"
    fresh.pass_minutes(1)
    assert not fresh.boxes
    assert await note(await opened(kind)) == ""


async def test_one_in_use_is_kept_awake(fresh: DaytonaService, kind_of: Kinds) -> None:
    """Daytona hears of it while the run is open, and no more afterwards."""
    kind = kind_of()
    kind._awake = KeptAwake(kind._service, 0.05)
    box = await opened(kind)
    box._on_close = kind._awake.remove
    fresh.requests.clear()
    until = time.monotonic() + 20
    while not (told := [path for _, path in fresh.requests if path.endswith("/last-activity")]):
        assert time.monotonic() < until
        await asyncio.sleep(0.02)
    assert fresh.only().id in told[0]
    await box.close()
    until = time.monotonic() + 20
    while any(thread.name == "daytona-awake" for thread in threading.enumerate()):
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


async def test_the_session_and_the_sweep_remove(fresh: DaytonaService, kind_of: Kinds) -> None:
    """A removed session leaves nothing; a sweep takes what is broken for good, of this install only, and gives each of
    the others an end."""
    kind, other = kind_of(), kind_of(daytona_install="another")
    for name in ("ses-1", "ses-2", "ses-3"):
        await apart(kind._lifecycle.ready, name, name="ready")
    await apart(other._lifecycle.ready, "ses-1", name="ready")
    assert await apart(kind.remove, "ses-1", name="remove")
    assert not await apart(kind.remove, "ses-1", name="remove")
    by_name = {box.asked["name"]: box for box in fresh.boxes.values()}
    assert set(by_name) == {"agent-runner-ses-2", "agent-runner-ses-3", "another-ses-1"}
    fresh.stop(by_name["agent-runner-ses-2"], "error")
    fresh.stop(by_name["another-ses-1"], "error")
    by_name["agent-runner-ses-3"].asked["autoDeleteInterval"] = -1
    assert await apart(kind.sweep, name="sweep") == 1
    assert {box.asked["name"] for box in fresh.boxes.values()} == {"agent-runner-ses-3", "another-ses-1"}
    assert by_name["agent-runner-ses-3"].asked["autoDeleteInterval"] == 30 * DAY_MIN


async def test_limits_and_network_as_the_settings_say(fresh: DaytonaService, kind_of: Kinds) -> None:
    """Sizes go with an image; the network is off, on, or open to what is listed."""
    sized = {"daytona_image": "debian:13", "daytona_cpu": 2, "daytona_memory_gib": 4, "daytona_disk_gib": 8}
    listed = {"sandbox_network": "listed", "sandbox_allowed_hosts": "packages.example.org,10.1.0.0/16"}
    kinds = [kind_of(daytona_target="eu"), kind_of(**sized, sandbox_network="on"), kind_of(**listed)]
    for number, kind in enumerate(kinds):
        await apart(kind._lifecycle.ready, f"ses-{number}", name="ready")
    plain, image, narrow = (box.asked for box in fresh.boxes.values())
    assert (plain["target"], plain["networkBlockAll"], plain.get("cpu")) == ("eu", True, None)
    assert (image["cpu"], image["memory"], image["disk"], image.get("networkBlockAll")) == (2, 4, 8, None)
    assert image["buildInfo"]["dockerfileContent"].startswith("FROM debian:13")
    assert (narrow["domainAllowList"], narrow["networkAllowList"]) == ("packages.example.org", "10.1.0.0/16")


async def test_output_survives_a_broken_connection(fresh: DaytonaService, kind_of: Kinds) -> None:
    """It is followed again from where it broke: nothing is lost, nothing comes twice."""
    box = await opened(kind_of())
    task = asyncio.create_task(box.execute("for n in $(seq 200); do echo line $n; sleep 0.01; done"))
    cut = 0
    while not task.done() and cut < 2:
        await asyncio.sleep(0.3)
        cut += fresh.cut_streams()
    result = await task
    assert cut == 2
    assert result.output == "".join(f"line {n}\n" for n in range(1, 201))
    await box.close()


async def test_a_timeout_ends_its_own_command_only(fresh: DaytonaService, kind_of: Kinds) -> None:
    """One beside it, and a server of an earlier command, live on. Commands run at the same time."""
    box = await opened(kind_of())
    await box.execute("sleep 100 > /dev/null 2>&1 & echo $! > pid")
    beside = asyncio.create_task(box.execute("touch begun; while [ ! -e over ]; do sleep 0.05; done; echo done", 60))
    ended = await box.execute("while [ ! -e begun ]; do sleep 0.05; done; sleep 100", 1.5)
    assert ended.exit_code == 124
    assert (await box.execute("kill -0 $(cat pid) && echo there; touch over")).output == "there\n"
    assert (await beside).output == "done\n"
    await box.close()


async def test_a_command_that_kills_everything_it_may(fresh: DaytonaService, kind_of: Kinds) -> None:
    """It kills Daytona's own daemon too: the command says so, the next one works, and the files are there."""
    kind = kind_of()
    box = await opened(kind)
    result = await box.execute("echo kept > note; kill -9 -1", 30)
    assert result.exit_code == 137
    assert "the command's output was lost" in result.output
    assert await note(box) == "kept\n"
