"""Every setting of every process: names, defaults and ranges, read from the environment and `.env`.

    SettingsError     all problems at once, in the names that the operator typed

Processes call `load_settings(role)`. `Settings(...)` with field names is for tests: fields that are not given are read
from the process environment, not from `.env`.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import SecretStr, ValidationError, field_validator

from agent_runner.clients.engine.engines.installed import engine_problem
from agent_runner.clients.process.local_stack import running_stack
from agent_runner.clients.settings.access_settings import DUMMY_LOCAL_KEY
from agent_runner.clients.settings.environment import in_environment, load_env_file, names_of, setting, shown
from agent_runner.clients.settings.server_of_graphs import graphs_problem
from agent_runner.clients.settings.service_urls import check_postgres, normal_redis, problem
from agent_runner.clients.settings.trace_settings import TraceSettings
from agent_runner.status.timeouts import (
    ENSURE_THREAD_BACKOFF_S,
    ENSURE_THREAD_TIMEOUT_S,
    Timeouts,
    ensure_thread_total_s,
)

DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
Role = Literal["server", "worker", "orchestrator", "flower", "redis", "dev", "run", "client", "doctor", "migrate"]
ROLES_WITH_BROKER = frozenset({"server", "worker", "orchestrator", "flower"})
ROLES_WITH_BACKEND = frozenset({"worker", "orchestrator"})
ROLES_THAT_RUN = frozenset({"worker", "dev", "run"})
ROLES_THAT_SERVE = frozenset({"server", "dev"})
ROLES_OF_A_STACK = frozenset({"dev", "redis"})
"""They make the stack of a data directory; all others use the one that runs there."""


class SettingsError(ValueError):
    """Settings are wrong or missing; `problems` lists all of them, each with the name of its variable.

    `settings` has defaults in place of the wrong values: good enough to report the problems to the server.
    """

    def __init__(self, problems: list[str], settings: "Settings") -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.settings = settings


def _own(name: str, **rest: Any) -> Any:
    return setting(f"AGENT_RUNNER_{name}", **rest)


def _queue(name: str, default: str, about: str) -> Any:
    return setting(name, f"TEMPORAL_{name}", default=default, about=about, pattern=r"^[A-Za-z0-9_.:\-]{1,200}$")


class Settings(TraceSettings):
    """Frozen. Seconds are floats, paths are absolute, secrets are `SecretStr`; `repr` shows no secret."""

    mode: str = setting("MODE", default="local", about="local: one machine, defaults for everything; else production")
    data_dir: Path = _own(
        "DATA_DIR",
        default=Path(".agent-runner"),
        about="SQLite files, the embedded Redis, sandboxes",
        shown="./.agent-runner",
    )
    broker_url: str = _own(
        "BROKER_URL",
        derived=lambda _: DEFAULT_REDIS_URL,
        about="Celery's broker: redis://, rediss:// or amqp://",
        shown="embedded Redis",
    )
    redis_url: str = _own(
        "REDIS_URL",
        derived=lambda data: _redis_of(data["broker_url"]),
        about="Redis for wake-ups and task results",
        shown="embedded Redis",
    )
    database_url: str = _own(
        "DATABASE_URL",
        derived=lambda data: _sqlite(data["data_dir"], "agent-runner.db"),
        shown="SQLite in the data directory",
        about="the store: sqlite:///FILE or postgresql://...",
    )
    checkpoint_url: str = _own(
        "CHECKPOINT_URL",
        derived=lambda data: _sqlite(data["data_dir"], "checkpoints.db"),
        shown="SQLite in the data directory",
        about="the agents' memory: sqlite:///FILE or postgresql://...",
    )
    api_key: SecretStr = setting(
        "STIGMER_API_KEY",
        derived=lambda data: SecretStr(DUMMY_LOCAL_KEY if data["mode"] == "local" else ""),
        about="the key of every call; required outside MODE=local; dev and run make a random one",
        shown=DUMMY_LOCAL_KEY,
    )
    secret_key: SecretStr = _own(
        "SECRET_KEY",
        default=SecretStr(""),
        about="seals stored secrets, a server without it stores none; with commas between: the first seals, all open",
        shown="generated in dev",
    )
    runner_queue: str = _queue("AGENT_EXECUTION_RUNNER_TASK_QUEUE", "agent_execution_runner", "the workers' queue")
    orchestrator_queue: str = _queue(
        "AGENT_EXECUTION_STIGMER_TASK_QUEUE", "agent_execution_stigmer", "the orchestrators' queue"
    )

    schedule_to_start_timeout_s: float = _own("SCHEDULE_TO_START_TIMEOUT_S", default=60.0, gt=0, about="to the claim")
    busy_to_start_timeout_s: float = _own(
        "BUSY_TO_START_TIMEOUT_S", default=0.0, ge=0, about="the same while the queue's workers are busy; 0: no longer"
    )
    heartbeat_timeout_s: float = _own("HEARTBEAT_TIMEOUT_S", default=30.0, gt=0, about="longest silence of a worker")
    start_to_close_timeout_s: float = _own("START_TO_CLOSE_TIMEOUT_S", default=600.0, gt=0, about="claim to end")
    schedule_to_close_timeout_s: float = _own("SCHEDULE_TO_CLOSE_TIMEOUT_S", default=900.0, gt=0, about="all of it")
    ensure_thread_timeout_s: float = _own(
        "ENSURE_THREAD_TIMEOUT_S", default=ENSURE_THREAD_TIMEOUT_S, gt=0, about="one attempt of EnsureThread, of three"
    )
    ensure_thread_backoff_s: float = _own(
        "ENSURE_THREAD_BACKOFF_S", default=ENSURE_THREAD_BACKOFF_S, gt=0, about="before its second attempt, then twice"
    )
    sweep_interval_s: float = _own(
        "SWEEP_INTERVAL_S", default=1.0, gt=0, le=60, about="how often deadlines are looked at"
    )
    worker_lost_grace_s: float = _own("WORKER_LOST_GRACE_S", default=3.0, gt=0, about="time for a worker to reconnect")
    settle_grace_s: float = _own(
        "SETTLE_GRACE_S", default=5.0, gt=0, about="time for a run to report its own time limit"
    )
    cancel_timeout_s: float = _own("CANCEL_TIMEOUT_S", default=10.0, gt=0, about="cancel request to end")
    drain_timeout_s: float = _own("DRAIN_TIMEOUT_S", default=60.0, gt=0, about="time for a leaving worker's runs")
    thread_wait_s: float = _own("THREAD_WAIT_S", default=3600.0, gt=0, about="longest wait for the session's turn")
    max_run_s: float = _own("MAX_RUN_S", default=3600.0, gt=0, about="the most that an execution may ask for")
    status_update_interval: int = _own(
        "STATUS_UPDATE_INTERVAL", default=10, ge=1, about="events per update, compatible only"
    )
    max_queued: int = _own(
        "MAX_QUEUED", default=10_000, ge=0, about="more waiting executions of a queue get 429; 0: any"
    )
    reporting: Literal["native", "compatible"] = _own(
        "REPORTING", default="native", about="native or compatible; a server with it takes updateStatus"
    )
    retention_days: float = _own("RETENTION_DAYS", default=30.0, gt=0, about="executions, logs, checkpoints, sandboxes")

    pool: Literal["async", "prefork"] = _own("POOL", default="async", about="async or prefork")
    concurrency: int = _own("CONCURRENCY", default=50, ge=1, le=10_000, about="runs at a time in one worker")
    threads_per_run: int = _own(
        "THREADS_PER_RUN", default=32, ge=1, le=1000, about="blocking nodes and tools of one run at a time"
    )
    max_hung_threads: int = _own(
        "MAX_HUNG_THREADS", default=128, ge=1, about="left behind by ended runs: more, and the worker is replaced"
    )
    engine: Literal["deepagents", "graphton"] = _own(
        "ENGINE", default="deepagents", about="deepagents, or graphton in an environment of its own"
    )
    durability: Literal["sync", "async", "exit"] = _own(
        "DURABILITY", default="async", about="a step is in memory: sync (before the next), async, exit (at the end)"
    )
    sandbox: str = _own("SANDBOX", default="local", about="local, docker, daytona, none, or a kind that a package adds")
    workspace: Path | None = _own(
        "WORKSPACE", about="a directory whose entries agents see in the local sandbox", shown="none"
    )

    llm_provider: str = setting(
        "STIGMER_LLM_PROVIDER", default="", about="anthropic, openai, ollama or demo", shown="first found"
    )
    llm_model: str = setting("STIGMER_LLM_MODEL", default="", about="the model's name", shown="the provider's default")
    llm_api_key: SecretStr = setting("STIGMER_LLM_API_KEY", default=SecretStr(""), about="key for that provider")
    llm_max_tokens: int | None = setting("STIGMER_LLM_MAX_TOKENS", ge=1, about="limit of one answer")
    llm_temperature: float | None = setting("STIGMER_LLM_TEMPERATURE", ge=0, le=2, about="0 to 2")
    anthropic_api_key: SecretStr = setting("ANTHROPIC_API_KEY", default=SecretStr(""), about="first in the cascade")
    openai_api_key: SecretStr = setting("OPENAI_API_KEY", default=SecretStr(""), about="second in the cascade")
    openai_base_url: str = setting("OPENAI_BASE_URL", default="", about="any server that speaks OpenAI's API")
    ollama_base_url: str = setting(
        "OLLAMA_BASE_URL", default="", about="third: used when it answers", shown="http://localhost:11434"
    )

    log_level: str = setting(
        "LOG_LEVEL", default="INFO", about="DEBUG, INFO, WARNING, ERROR; INFO if it is none of them"
    )
    log_format: Literal["text", "json"] = _own("LOG_FORMAT", default="text", about="text or json")

    @field_validator("log_level", mode="after")
    @classmethod
    def _known_level(cls, value: str) -> str:
        level = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(value.strip().upper(), value.strip().upper())
        return level if level in LOG_LEVELS else "INFO"

    @field_validator("mode", "llm_provider", mode="after")
    @classmethod
    def _lower(cls, value: str) -> str:
        return value.strip().lower()

    @field_validator("data_dir", "graphs", "workspace", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else Path(os.path.abspath(value.expanduser()))

    @field_validator("broker_url", "redis_url", "database_url", "checkpoint_url", mode="after")
    @classmethod
    def _known_scheme(cls, value: str, info: Any) -> str:
        scheme = value.partition("://")[0].partition("+")[0]
        if "://" not in value or scheme not in _SCHEMES[info.field_name]:
            raise ValueError(f"must begin with one of {', '.join(f'{s}://' for s in _SCHEMES[info.field_name])}")
        if wrong := problem(value):
            raise ValueError(wrong)
        check_postgres(value)
        return normal_redis(value)

    def __repr_args__(self) -> Any:
        return [(name, shown(getattr(self, name))) for name in type(self).model_fields]

    @property
    def is_local(self) -> bool:
        return self.mode == "local"

    @property
    def timeouts(self) -> Timeouts:
        """The default timeouts of an execution."""
        given = {ours: getattr(self, name) for name, ours in _TIMEOUT_FIELDS.items()}
        ensure_thread_s = ensure_thread_total_s(self.ensure_thread_timeout_s, self.ensure_thread_backoff_s)
        return Timeouts(**given, ensure_thread_s=ensure_thread_s)

    def given(self, field: str) -> bool:
        """Whether this field was set: by the environment, `.env`, a running stack or the caller."""
        return field in self.model_fields_set

    def problems(self, role: Role) -> list[tuple[frozenset[str], str]]:
        """The rules over several settings that these values break: the fields concerned and what is wrong."""
        found = []
        if not self.is_local:
            found += [
                (frozenset({name}), f"{env_names(name)[0]} is required outside MODE=local")
                for name in _required(role)
                if not self.given(name)
            ]
        if role in ROLES_THAT_RUN and (text := engine_problem(self.engine)):
            found.append((frozenset({"engine"}), f"AGENT_RUNNER_ENGINE={self.engine}: {text}"))
        paths = frozenset({"sandbox_read_only", "data_dir"})
        found += [(paths, text) for text in self.read_only_problems(self.data_dir)]
        found += self.kind_problems() + self.daytona_problems()
        found += self.tls_problems(serves=role == "server")
        if role in ROLES_THAT_SERVE:
            found += [(frozenset({"graphs"}), text) for text in self.server_of_graphs.problems]
        elif role == "worker" and (text := graphs_problem(self.graphs)):
            found.append((frozenset({"graphs"}), text))
        makes_its_key = role == "dev" and not self.given("api_key")
        if role in ROLES_THAT_SERVE and self.api_key.get_secret_value() and not makes_its_key:
            found += self.key_problems(self.api_key)
        for text in self.timeouts.problems(max_run_s=self.max_run_s):
            concerned = {name for name, ours in _TIMEOUT_FIELDS.items() if re.search(rf"\b{ours}\b", text)}
            for name in concerned:
                text = re.sub(rf"\b{_TIMEOUT_FIELDS[name]}\b", env_names(name)[0], text)
            found.append((frozenset(concerned), text))
        return found


_TIMEOUT_FIELDS = {
    "schedule_to_start_timeout_s": "schedule_to_start_s",
    "busy_to_start_timeout_s": "busy_to_start_s",
    "heartbeat_timeout_s": "heartbeat_s",
    "start_to_close_timeout_s": "start_to_close_s",
    "schedule_to_close_timeout_s": "schedule_to_close_s",
    "thread_wait_s": "thread_wait_s",
    "cancel_timeout_s": "cancel_s",
    "settle_grace_s": "settle_grace_s",
    "worker_lost_grace_s": "worker_lost_grace_s",
}
_DATABASES = ("sqlite", "postgresql", "postgres")
_SCHEMES = {
    "broker_url": ("redis", "rediss", "unix", "sentinel", "amqp", "amqps", "pyamqp"),
    "redis_url": ("redis", "rediss", "unix", "sentinel"),
    "database_url": _DATABASES,
    "checkpoint_url": _DATABASES,
}
_FROM_STACK = {
    "broker_url": ("broker_url", ()),
    "redis_url": ("redis_url", ("broker_url",)),
    "database_url": ("database_url", ()),
    "checkpoint_url": ("checkpoint_url", ()),
    "http_url": ("http_url", ("http_port",)),
    "backend_endpoint": ("grpc_endpoint", ("grpc_port",)),
    "api_key": ("api_key", ("http_url",)),
}
"""Setting: its name in `dev.json`, and the settings that are a reason not to take it from there."""


def env_names(field: str) -> list[str]:
    """The variables that a setting is read from; the first is its name, others are accepted too."""
    return names_of(Settings.model_fields[field])


def load_settings(role: Role, *, env_file: Path | None = None) -> Settings:
    """Read `.env` (which never overrides the process), then the environment; raise `SettingsError` with all problems.

    Other variables of `.env` are ignored, except those that `environment.OTHERS` names (proxies, certificates).
    """
    load_env_file(Settings.model_fields.values(), env_file)
    values = in_environment(Settings.model_fields)
    settings, bad, problems = _validated(values)
    if role not in ROLES_OF_A_STACK and settings.is_local and not problems:
        settings = _with_running_stack(settings, values)
    problems += [text for fields, text in settings.problems(role) if not fields & bad]
    if problems:
        raise SettingsError(problems, settings)
    return settings


def _validated(values: Mapping[str, Any]) -> tuple[Settings, frozenset[str], list[str]]:
    """Settings (with defaults in place of bad values), the bad fields, and what is wrong with them."""
    bad: frozenset[str] = frozenset()
    problems: list[str] = []
    while True:
        try:
            return (Settings(**{k: v for k, v in values.items() if k not in bad}, **_defaults(bad)), bad, problems)
        except ValidationError as error:
            errors = [e for e in error.errors() if e["type"] != "default_factory_not_called"]
            problems += [f"{env_names(str(e['loc'][0]))[0]} {_words(e['msg'])}" for e in errors]
            bad |= {str(e["loc"][0]) for e in errors}


def _defaults(fields: frozenset[str]) -> dict[str, Any]:
    """A valid value for each field, so that bad ones of the environment are not read again during the next check."""
    data: dict[str, Any] = {
        "mode": "local",
        "data_dir": Path("/"),
        "http_port": 1,
        "grpc_port": 1,
        "broker_url": "redis://h",
    }
    return {
        name: Settings.model_fields[name].get_default(call_default_factory=True, validated_data=data) for name in fields
    }


def _with_running_stack(settings: Settings, values: Mapping[str, Any]) -> Settings:
    stack = running_stack(settings.data_dir)
    taken = {
        field: stack[key]
        for field, (key, unless) in _FROM_STACK.items()
        if stack.get(key) and field not in values and not any(name in values for name in unless)
    }
    return Settings(**values, **taken) if taken else settings


def _required(role: Role) -> list[str]:
    names = []
    if role in ROLES_WITH_BROKER:
        names += ["api_key", "broker_url"]
    if role in ROLES_WITH_BACKEND:
        names += ["backend_endpoint"]
    return names


def _words(message: str) -> str:
    text = message.removeprefix("Value error, ")
    return (
        text if text.startswith(("must", "cannot", "is for", "prepared")) else f"is wrong: {text[:1].lower()}{text[1:]}"
    )


def _redis_of(broker_url: str) -> str:
    return broker_url if broker_url.startswith(("redis://", "rediss://")) else DEFAULT_REDIS_URL


def _sqlite(data_dir: Path, name: str) -> str:
    return f"sqlite:///{data_dir / name}"
