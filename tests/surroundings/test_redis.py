"""Redis as it is met: by TLS, full, with a user that may not do everything."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from agent_runner.app.cli.checks import check_broker, check_redis
from agent_runner.clients.broker.redis_probe import RedisFull, broker_commands, refused
from agent_runner.clients.settings.service_urls import normal_redis, without_password
from agent_runner.clients.settings.settings import Settings
from tests.integration.stack import Stack
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

COMPLETED = "EXECUTION_COMPLETED"


def urls(url: str) -> dict[str, str]:
    return {"AGENT_RUNNER_BROKER_URL": url, "AGENT_RUNNER_REDIS_URL": url}


@pytest.mark.parametrize("asked", ["", "&ssl_cert_reqs=CERT_REQUIRED"])
def test_runs_over_tls(tmp_path: Path, asked: str) -> None:
    """A rediss:// URL works for broker, results and wake-ups, and nothing is left unacknowledged."""
    folder = tmp_path / "tls"
    folder.mkdir()
    with RedisServer.running(folder, tls=True) as server, Stack.open(tmp_path, **urls(server.url + asked)) as stack:
        stack.start_worker()
        id = stack.create("$ echo hello")["metadata"]["id"]
        assert stack.wait_for(id)["status"]["phase"] == COMPLETED
        with server.client() as admin:
            eventually(lambda: not admin.hlen("unacked"), what="every ack")
            assert admin.exists(f"celery-task-meta-{id}:execute")


def test_a_certificate_of_nobody_is_refused(tmp_path: Path) -> None:
    """Without its authority the broker's certificate is not accepted, and doctor says so."""
    with RedisServer.running(tmp_path, tls=True) as server:
        url = server.url.partition("?")[0]
        settings = Settings(broker_url=url, redis_url=url)
        assert [c.up for c in (check_broker(settings), check_redis(settings))] == [False, False]
        assert "certificate" in check_broker(settings).why.lower()


def test_a_full_redis(tmp_path: Path) -> None:
    """What was queued before it was full still runs and is acknowledged; doctor and readiness say `full`."""
    with (
        RedisServer.running(tmp_path) as server,
        Stack.open(tmp_path, **urls(server.url)) as stack,
        server.client() as admin,
    ):
        id = stack.create("$ echo hello")["metadata"]["id"]
        eventually(lambda: admin.llen(stack.runner_queue), what="the message")
        stack.start_worker()
        assert stack.wait_for(id)["status"]["phase"] == COMPLETED
        admin.config_set("maxmemory", 1)
        with pytest.raises(RedisFull):
            refused(admin, broker_commands(["q"]))
        assert "full" in check_broker(Settings(broker_url=server.url)).why
        ready = stack.http.get("/readyz")
        assert ready.status_code == 503
        assert "full" in ready.json()["checks"]["broker"]


def test_an_eviction_policy_is_warned_of(tmp_path: Path) -> None:
    """A Redis that throws away queued work is up, with a warning."""
    with RedisServer.running(tmp_path) as server, server.client() as admin:
        admin.config_set("maxmemory", "100mb")
        admin.config_set("maxmemory-policy", "allkeys-lru")
        found = check_broker(Settings(broker_url=server.url))
        assert (found.up, "allkeys-lru" in found.why) == (True, True)


ROLES = ["server", "worker", "orchestrator"]


@pytest.fixture(scope="module")
def evicting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """On a Redis that throws away queued work."""
    with RedisServer.running(tmp_path_factory.mktemp("own")) as server, server.client() as admin:
        admin.config_set("maxmemory", "100mb")
        admin.config_set("maxmemory-policy", "allkeys-lru")
        with Stack.open(tmp_path_factory.mktemp("evicting"), **urls(server.url)) as stack:
            yield stack


@pytest.mark.parametrize("role", ROLES)
def test_every_process_warns_of_eviction_when_it_starts(evicting: Stack, role: str) -> None:
    """In its log, with what to set; it starts all the same."""
    process = evicting.server if role == "server" else evicting.start(role)
    eventually(lambda: "maxmemory-policy allkeys-lru" in process.output(), within_s=60, what="the warning")
    assert "noeviction" in process.output()


def limited(server: RedisServer, *rules: str) -> str:
    with server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", *rules)
    return server.url.replace("://", "://limited:secret@")


@pytest.mark.parametrize(
    ("rules", "up"),
    [
        (("~*", "&*", "+@all"), (True, True)),
        (("~*", "&*", "+@all", "-info"), (True, True)),
        (("~*", "resetchannels", "+@all"), (False, False)),
        (("~other:*", "&*", "+@all"), (False, False)),
        (("~*", "&*", "+@all", "-brpop"), (False, True)),
    ],
)
def test_doctor_judges_a_user_by_what_is_needed(tmp_path: Path, rules: Any, up: tuple[bool, bool]) -> None:
    """Up where all that is used is permitted, INFO or not; down with Redis' own words where something is missing."""
    with RedisServer.running(tmp_path) as server:
        settings = Settings(broker_url=(url := limited(server, *rules)), redis_url=url)
        found = check_broker(settings), check_redis(settings)
        assert tuple(check.up for check in found) == up, found
        assert not [check for check in found if "secret" in check.why]
        with server.client() as admin:
            assert admin.keys("*") == []


def said_at_start(folder: Path, command: str, awaited: str, **env: str) -> str:
    """All that `agent-runner COMMAND` prints until it says what is awaited, or ends. A supervisor would try on."""
    log = folder / "log"
    base = {"AGENT_RUNNER_DATA_DIR": str(folder / "data"), "AGENT_RUNNER_SECRET_KEY": "tests", "STIGMER_API_KEY": "k"}
    with log.open("wb") as output:
        argv = [sys.executable, str(Path(sys.executable).parent / "agent-runner"), command]
        popen = subprocess.Popen(argv, env=os.environ | base | env, stdout=output, stderr=output, cwd=folder)
    try:
        eventually(lambda: awaited in log.read_text() or popen.poll() is not None, within_s=60, what=log.read_text())
    finally:
        end(popen)
    return log.read_text()


def end(popen: "subprocess.Popen[bytes]") -> None:
    """With what it has started. Asked to stop, a supervisor would try for 2 s to tell a server that is not there."""
    started = []
    with contextlib.suppress(psutil.Error):
        started = psutil.Process(popen.pid).children(recursive=True)
    popen.kill()
    popen.wait(20)
    _, alive = psutil.wait_procs(started, 20)
    assert not alive


@pytest.mark.parametrize("role", ROLES)
def test_a_user_of_a_prefix_is_refused_at_start(tmp_path: Path, role: str) -> None:
    """A user who may only use keys of a prefix: no process starts, each says why and what to give it."""
    with RedisServer.running(tmp_path) as server:
        url, wanted = limited(server, "~mine:*", "&*", "+@all"), "a prefix of keys is not supported"
        database = f"sqlite:///{tmp_path}/own.db"
        said = said_at_start(tmp_path, role, wanted, **urls(url), AGENT_RUNNER_DATABASE_URL=database)
        assert wanted in said
        assert "STARTUP FAILURE" in said
        assert "secret" not in said
        with server.client() as admin:
            assert admin.keys("*") == []


@pytest.mark.parametrize("raw", ["/", "#", "?"])
@pytest.mark.parametrize("name", ["AGENT_RUNNER_BROKER_URL", "AGENT_RUNNER_DATABASE_URL"])
def test_a_raw_password_is_refused_and_never_shown(raw: str, name: str) -> None:
    """Doctor says which setting to percent-encode, and prints no part of the password."""
    scheme = "redis" if "BROKER" in name else "postgresql"
    env = {**os.environ, name: f"{scheme}://user:hush{raw}quiet@127.0.0.1:1/0"}
    script = str(Path(sys.executable).parent / "agent-runner")
    done = subprocess.run([script, "doctor", "--settings"], env=env, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert "percent-encode" in said
    assert name in said
    assert not [word for word in ("hush", "quiet") if word in said]


@pytest.mark.parametrize(
    ("name", "check"), [("AGENT_RUNNER_REDIS_URL", "redis"), ("AGENT_RUNNER_BROKER_URL", "broker")]
)
def test_doctor_asks_no_other_address_than_the_one_that_is_set(name: str, check: str) -> None:
    """Where an address is refused, its check says that, and reports on no other server in its place."""
    env = {**os.environ, name: "sentinel://127.0.0.1:1/0"}
    script = str(Path(sys.executable).parent / "agent-runner")
    done = subprocess.run([script, "doctor", "--json"], env=env, capture_output=True, text=True, timeout=60)
    (found,) = [row for row in json.loads(done.stdout)["checks"] if row["name"] == check]
    assert not found["up"]
    assert found["why"] == "not asked: its address is refused (see settings)"


SENTINELS = "sentinel://:hush@127.0.0.1:26379/0;sentinel://:hush@127.0.0.1:26380/0"


@pytest.mark.parametrize("name", ["AGENT_RUNNER_BROKER_URL", "AGENT_RUNNER_REDIS_URL"])
@pytest.mark.parametrize("command", [*ROLES, "flower", "dev", "doctor"])
def test_every_process_refuses_sentinel(tmp_path: Path, command: str, name: str) -> None:
    """It would connect and then find no master: each says at once which setting it is and what to name instead."""
    wanted = f"{name} is for Redis Sentinel, which is not supported: name the master's own address"
    said = said_at_start(tmp_path, command, wanted, **{name: SENTINELS})
    assert wanted in said
    assert ("hush" in said, "Traceback" in said, "READY" in said) == (False, False, False), said


def test_a_prefix_in_a_url_is_refused_with_the_reason() -> None:
    """Not every key would have it: the settings say what to name instead."""
    with pytest.raises(ValueError, match="name a database number"):
        Settings(broker_url="redis://127.0.0.1:1/0?global_keyprefix=mine:")


@pytest.mark.parametrize("spelled", ["required", "CERT_REQUIRED", "REQUIRED", ""])
def test_certificates_are_verified_in_every_spelling(spelled: str) -> None:
    """Broker, results and wake-ups read the same normal form."""
    url = "rediss://h/0" + (f"?ssl_cert_reqs={spelled}" if spelled else "")
    assert normal_redis(url) == "rediss://h/0?ssl_cert_reqs=required"
    assert redis.Redis.from_url(normal_redis(url)).connection_pool.connection_kwargs["ssl_cert_reqs"] == "required"


@pytest.mark.parametrize(
    "url", ["redis://:a/b@h", "redis://:a#b@h", "redis://:a?b@h", "redis://:a@b@h", "amqp://u:a@h"]
)
def test_no_part_of_a_password_is_shown(url: str) -> None:
    """Up to the last @, whatever stands before it."""
    assert without_password(url).partition("://")[2] in (":***@h", "u:***@h")
