"""The checks of `doctor`. Each says up or down, why, and what to do; none of them changes anything."""

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from agent_runner.clients.backend.http_api import ApiError, HttpApi, Rows
from agent_runner.clients.backend.tls import target
from agent_runner.clients.broker.redis_probe import (
    Command,
    RedisFull,
    broker_commands,
    evicts,
    open_client,
    own_commands,
    refused,
)
from agent_runner.clients.sandbox.kinds.registry import NONE, kinds_of
from agent_runner.clients.settings.service_urls import without_password
from agent_runner.clients.settings.settings import Settings, env_names
from agent_runner.status.store.postgres import advice, plain

LIMIT_S = 5
HUNG = "Give the calls that hang a time limit; AGENT_RUNNER_MAX_HUNG_THREADS says when a worker is replaced."
START_SERVER = "agent-runner dev (everything) or agent-runner server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    name: str
    up: bool
    why: str
    fix: str = ""
    required: bool = True

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def check_all(settings: Settings, problems: list[str]) -> list[Check]:
    """Runs all checks at the same time. Each has its own limit of a few seconds."""
    from agent_runner.app.cli.preflight import check_graphs, check_keys, check_names
    from agent_runner.app.cli.secret_key import check_secret_key

    checks: list[Callable[[Settings], Check | list[Check]]] = [
        check_names, check_keys, check_secret_key, check_graphs,
        check_broker, check_redis, check_database, check_checkpoints, check_store, check_backend,
        check_reporting, check_model, check_sandbox, check_server,
    ]  # fmt: skip
    found = [_settings(problems)]
    with ThreadPoolExecutor(len(checks)) as pool:
        for result in pool.map(lambda check: _unread(check, problems) or _safely(check, settings), checks):
            found += result if isinstance(result, list) else [result]
    return found


def check_broker(settings: Settings) -> Check:
    url = settings.broker_url
    if url.startswith(("redis://", "rediss://", "unix://")):
        return _redis("broker", url, "AGENT_RUNNER_BROKER_URL", broker_commands(_queues(settings)))
    from agent_runner.clients.broker import rabbitmq_transport
    from agent_runner.clients.broker.celery_config import celery_config, new_celery

    why = [without_password(url)]
    with new_celery(settings).connection_for_read(connect_timeout=LIMIT_S) as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=LIMIT_S)
            if connection.transport.driver_type == "amqp":
                queues = celery_config(settings)["task_queues"]
                why += rabbitmq_transport.remarks(connection, queues, settings.max_run_s)
        except Exception as error:  # every transport has exceptions of its own
            return _down("broker", url, error, "Start it, or set AGENT_RUNNER_BROKER_URL.")
    return Check(name="broker", up=True, why="; ".join(why))


def check_redis(settings: Settings) -> Check:
    return _redis("redis", settings.redis_url, "AGENT_RUNNER_REDIS_URL", own_commands(_queues(settings)))


def _queues(settings: Settings) -> tuple[str, str]:
    return settings.runner_queue, settings.orchestrator_queue


def check_database(settings: Settings) -> Check:
    from agent_runner.status.store.schema import revision

    url = settings.database_url
    if (missing := _missing_file(url)) is not None:
        fix = "agent-runner migrate (the server does it too when it starts)"
        return Check(name="database", up=False, why=f"{missing} does not exist yet", fix=fix)
    try:
        now, newest = revision(url)
    except Exception as error:  # each driver has exceptions of its own
        return _down("database", url, error, "Start it, or set AGENT_RUNNER_DATABASE_URL.")
    if now != newest:
        why = f"its schema is at {now or 'nothing'}, this version needs {newest}"
        return Check(name="database", up=False, why=why, fix="agent-runner migrate")
    return Check(name="database", up=True, why=f"{without_password(url)}, revision {now}")


def check_checkpoints(settings: Settings) -> Check:
    url, name = settings.checkpoint_url, "checkpoint store"
    if url.startswith("sqlite"):
        folder = os.path.dirname(_file(url)) or "."
        parent = next((p for p in _ancestors(folder) if os.path.isdir(p)), "/")
        up = os.access(parent, os.W_OK)
        fix = "" if up else "Make the directory writable, or set AGENT_RUNNER_CHECKPOINT_URL."
        return Check(name=name, up=up, why=f"{url}{'' if up else f': {parent} cannot be written'}", fix=fix)
    import psycopg

    try:
        psycopg.connect(plain(url), connect_timeout=LIMIT_S).close()
    except psycopg.Error as error:
        return _down(name, url, error, "Start it, or set AGENT_RUNNER_CHECKPOINT_URL.")
    return Check(name=name, up=True, why=without_password(url))


def check_store(settings: Settings) -> Check:
    """Checks the store of the user's graphs. Agents without a graph have none.

    A wrong configuration fails `doctor`. An error of the driver does not: the checkpoint store reports the same error.
    """
    from agent_runner.app.cli.store_check import StoreLack, described

    name, url = "graphs' store", settings.checkpoint_url
    try:
        return Check(name=name, up=True, why=described(settings), required=False)
    except StoreLack as error:
        return Check(name=name, up=False, why=str(error), fix=error.fix)
    except Exception as error:  # an error of the driver; the checkpoint store reports the same
        return replace(_down(name, url, error, "Start it, or set AGENT_RUNNER_CHECKPOINT_URL."), required=False)


def check_backend(settings: Settings) -> Check:
    """The gRPC server that workers report to: its port, TLS or not."""
    host, _, port = target(settings.backend_endpoint).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LIMIT_S).close()
    except OSError as error:
        return _down("backend", settings.backend_endpoint, error, f"{START_SERVER}; or set STIGMER_BACKEND_ENDPOINT.")
    return Check(name="backend", up=True, why=settings.backend_endpoint)


def check_reporting(settings: Settings) -> list[Check]:
    """Names the laws that do not hold when workers report through the contract only (`reporting` is not `native`)."""
    from agent_runner.clients.reporting.compatible import NOT_HELD

    if settings.reporting == "native":
        return []
    return [Check(name="reporting", up=True, why=NOT_HELD, required=False)]


def check_model(settings: Settings) -> Check:
    """Shows the model that the cascade finds. The model is not called, so a wrong key is not detected here."""
    from agent_runner.clients.models.cascade import build_model
    from agent_runner.clients.models.errors import ModelError

    try:
        _, said = build_model(settings)
    except ModelError as error:
        return Check(name="model", up=False, why=str(error), fix=error.advice)
    return Check(name="model", up=True, why=said)


def check_sandbox(settings: Settings) -> list[Check]:
    """One for each kind that workers with these settings offer; the others than the default are not required."""
    found = []
    if NONE in settings.offered_sandboxes:
        why = "none: agents have no files and no commands"
        found.append(Check(name="sandbox", up=True, why=why, required=False))
    for name, kind in kinds_of(settings).items():
        health, default = kind.health(), name == settings.sandbox
        label = "sandbox" if default else f"sandbox {name}"
        found.append(Check(name=label, up=health.up, why=health.said, fix=health.fix, required=default))
    return found


def check_server(settings: Settings) -> list[Check]:
    """Checks the server, and asks it which workers are online on each queue. It does not know compatible workers."""
    found = _server_and_workers(settings)
    return found if settings.reporting == "native" else [replace(check, required=False) for check in found]


def _server_and_workers(settings: Settings) -> list[Check]:
    queues = {"worker": settings.runner_queue, "orchestrator": settings.orchestrator_queue}
    try:
        health, workers = asyncio.run(_ask(settings))
    except ApiError as error:
        down = Check(name="server", up=False, why=str(error), fix=START_SERVER)
        return [down, *(_nobody(role, queue, "the server cannot be asked") for role, queue in queues.items())]
    if isinstance(workers, ApiError):
        return _refused(settings, health, workers)
    return [_server(settings, health), *(_online(role, queue, workers) for role, queue in queues.items())]


async def _ask(settings: Settings) -> tuple[dict[str, Any], Rows | ApiError]:
    """What the server says of itself, and its workers, or why it does not tell this key."""
    async with HttpApi(settings.http_url, settings.api_key.get_secret_value(), settings.tls_ca) as api:
        health = await api.health()
        try:
            return health, await api.workers()
        except ApiError as error:
            if error.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise
            return health, error


def _refused(settings: Settings, health: Mapping[str, Any], error: ApiError) -> list[Check]:
    """The server answers, and not to this key. A key of a worker may do less than list workers: no fault."""
    server = _server(settings, health)
    if error.status == HTTPStatus.FORBIDDEN:
        why = f"good, but it may not list workers ({error})"
        return [server, Check(name="key", up=True, why=why, required=False)]
    why = f"{settings.http_url} refuses STIGMER_API_KEY ({error})"
    fix = "Set STIGMER_API_KEY to the server's own, or to one that it made: agent-runner keys create, on the server."
    return [server, Check(name="key", up=False, why=why, fix=fix)]


def _server(settings: Settings, health: Mapping[str, Any]) -> Check:
    ready = bool(health.get("ready"))
    why = settings.http_url if ready else f"{settings.http_url} is not ready: {_details(health)}"
    return Check(name="server", up=ready, why=why, fix="" if ready else "See its log.")


def _online(role: str, queue: str, workers: Rows) -> Check:
    here = [w for w in workers if w.get("queue") == queue and w.get("state") == "online"]
    if not here:
        return _nobody(role, queue, "nobody is online")
    busy, slots, hung = (sum(int(w.get(name) or 0) for w in here) for name in ("busy", "slots", "hung_threads"))
    why = f"{len(here)} online on queue {queue}, {busy} of {slots} slots busy"
    if hung:
        why += f", {hung} threads of ended runs have not come back"
    idle = [w for w in here if w.get("not_taking")]
    why += "".join(f"; {w.get('name')} takes no work: {w['not_taking']}" for w in idle)
    return Check(
        name=f"{role}s", up=len(idle) < len(here), why=why, fix=HUNG if hung else "", required=role == "worker"
    )


def _nobody(role: str, queue: str, why: str) -> Check:
    # Without an orchestrator the sweeper still ends executions. Without a worker no execution runs.
    return Check(
        name=f"{role}s", up=False, why=f"queue {queue}: {why}", fix=f"agent-runner {role}", required=role == "worker"
    )


def _settings(problems: list[str]) -> Check:
    why = "; ".join(problems) or "all of them are usable"
    return Check(
        name="settings", up=not problems, why=why, fix="agent-runner doctor --settings lists them." if problems else ""
    )


def _redis(name: str, url: str, variable: str, commands: list[Command]) -> Check:
    """Checks each command and key that the clients use, and whether Redis accepts a write."""
    import redis

    fix = f"Start it, or set {variable}; agent-runner dev brings its own."
    try:
        with open_client(url, LIMIT_S) as client:
            client.ping()
            if lacks := refused(client, commands):
                fix = "Permit what docs/guides/surroundings.md lists to this user (ACL SETUSER)."
                why = f"{without_password(url)}: its user may not {'; '.join(lacks[:3])}"
                why += f" (and {len(lacks) - 3} more)" if len(lacks) > 3 else ""
                return Check(name=name, up=False, why=why, fix=fix)
            policy = evicts(client)
            version = _version(client)
    except RedisFull as error:
        fix = "Raise its maxmemory, or remove what fills it."
        return Check(name=name, up=False, why=f"{without_password(url)}: {error}", fix=fix)
    except (redis.RedisError, OSError, ValueError) as error:
        return _down(name, url, error, fix)
    warned = f"; WARNING: {policy} removes queued work when memory is short, use noeviction" if policy else ""
    return Check(name=name, up=True, why=f"{without_password(url)}, Redis{version}{warned}")


def _version(client: Any) -> str:
    """Empty if the Redis user may not call INFO. That is no failure."""
    from redis.exceptions import ResponseError

    try:
        return f" {client.info('server')['redis_version']}"
    except ResponseError:
        return ""


def _down(name: str, url: str, error: BaseException, fix: str) -> Check:
    cause = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    return Check(
        name=name,
        up=False,
        why=f"{without_password(url)}: {cause[0].replace(url, without_password(url))}",
        fix=advice(str(error)) or fix,
    )


_ASKED_AT = {
    "check_broker": ("broker", "broker_url"),
    "check_redis": ("redis", "redis_url"),
    "check_database": ("database", "database_url"),
    "check_checkpoints": ("checkpoint store", "checkpoint_url"),
    "check_backend": ("backend", "backend_endpoint"),
}


def _unread(check: Callable[[Settings], Check | list[Check]], problems: list[str]) -> Check | None:
    """The check's answer if the address that it would ask cannot be read: `settings` holds another one instead."""
    name, field = _ASKED_AT.get(check.__name__, ("", ""))
    if not field or not any(problem.startswith(f"{env_names(field)[0]} ") for problem in problems):
        return None
    return Check(name=name, up=False, why="not asked: its address is refused (see settings)")


def _safely(check: Callable[[Settings], Check | list[Check]], settings: Settings) -> Check | list[Check]:
    try:
        return check(settings)
    except Exception as error:  # one broken check must not hide the others
        name = check.__name__.removeprefix("check_")
        return Check(
            name=name, up=False, why=f"{type(error).__name__}: {error}", fix="Set up again from the lock file."
        )


def _details(health: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in health.items() if name != "ready") or "it does not say why"


def _missing_file(url: str) -> str | None:
    if not url.startswith("sqlite"):
        return None
    path = _file(url)
    return None if path in ("", ":memory:") or os.path.exists(path) else path


def _file(url: str) -> str:
    """The path of `sqlite:///relative` or `sqlite:////absolute`."""
    return urlsplit(url).path.removeprefix("/")


def _ancestors(path: str) -> list[str]:
    path = os.path.abspath(path)
    found = [path]
    while (parent := os.path.dirname(found[-1])) != found[-1]:
        found.append(parent)
    return found
