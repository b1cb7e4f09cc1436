"""The commands that start one process each, as the Procfile does. Each supervises one child, except `migrate`."""

import os
from collections.abc import Sequence

import click

from agent_runner.app.cli.exits import EXIT_USAGE, Failed, settings_or_exit
from agent_runner.app.dev.tied import become as become_tied
from agent_runner.app.dev.tied import tied
from agent_runner.app.flower.flower_plan import FlowerPlan
from agent_runner.app.supervisor_program import Supervised, become
from agent_runner.clients.process.env_file_lines import told_of_env_file
from agent_runner.clients.process.import_path import PYTHON
from agent_runner.clients.process.private_files import UMASK, keep_private
from agent_runner.clients.sandbox.programs.kernel import not_dumpable
from agent_runner.clients.settings.access_settings import DUMMY_LOCAL_KEY, MAKE_A_KEY, is_loopback, weakness
from agent_runner.clients.settings.settings import Role, SettingsError, load_settings

WORKER_MODULE, SERVER_MODULE = "agent_runner.tasks.worker", "agent_runner.app.server"
FLOWER_MODULE = "agent_runner.app.cli.flower_program"
FLOWER_PORT = 5555
RUNTIME_BUCKETS = "0.1,0.5,1,2.5,5,10,30,60,120,300,600,1800,3600"
"""Flower's own buckets stop at 10 s; agents run for minutes."""


@click.command()
@click.option("--http-port", type=click.IntRange(0, 65535), help="AGENT_RUNNER_HTTP_PORT")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="AGENT_RUNNER_GRPC_PORT")
def server(http_port: int | None, grpc_port: int | None) -> None:
    """The server: HTTP API and page, gRPC API, the sweeper. Any number of them on one database."""
    _set("AGENT_RUNNER_HTTP_PORT", http_port)
    _set("AGENT_RUNNER_GRPC_PORT", grpc_port)
    _supervise("server", _program(SERVER_MODULE), queue="")


@click.command()
@click.option("--concurrency", "-c", type=click.IntRange(1, 10_000), help="AGENT_RUNNER_CONCURRENCY")
@click.option("--pool", type=click.Choice(["async", "prefork"]), help="AGENT_RUNNER_POOL")
@click.option("--queue", "-q", help="AGENT_EXECUTION_RUNNER_TASK_QUEUE")
def worker(concurrency: int | None, pool: str | None, queue: str | None) -> None:
    """A worker that runs agents."""
    _set("AGENT_RUNNER_CONCURRENCY", concurrency)
    _set("AGENT_RUNNER_POOL", pool)
    _set("AGENT_EXECUTION_RUNNER_TASK_QUEUE", queue)
    _supervise("worker", _program(WORKER_MODULE, "--as", "agent-runner worker"), queue="runner_queue")


@click.command()
@click.option("--queue", "-q", help="AGENT_EXECUTION_STIGMER_TASK_QUEUE")
def orchestrator(queue: str | None) -> None:
    """A worker for the error callbacks and the maintenance."""
    _set("AGENT_EXECUTION_STIGMER_TASK_QUEUE", queue)
    argv = _program(WORKER_MODULE, "--as", "agent-runner orchestrator")
    _supervise("orchestrator", argv, queue="orchestrator_queue")


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=FLOWER_PORT, envvar="FLOWER_PORT", show_default=True)
@click.option("--address", default="127.0.0.1", envvar="FLOWER_ADDRESS", show_default=True, help="0.0.0.0: everybody")
@click.option("--alone", is_flag=True, hidden=True)
def flower(*, port: int, address: str, alone: bool) -> None:
    """Flower, the operators' view. The login is `admin` and AGENT_RUNNER_FLOWER_PASSWORD, else the API key."""
    settings = settings_or_exit("flower")
    given = settings.flower_password.get_secret_value()
    password = given or settings.api_key.get_secret_value()
    if "FLOWER_BASIC_AUTH" not in os.environ and not is_loopback(address) and (wrong := weakness(password)):
        name = "AGENT_RUNNER_FLOWER_PASSWORD" if given else "STIGMER_API_KEY, which is Flower's password too,"
        raise Failed(f"{name} {wrong}, and Flower can be reached from other machines; {MAKE_A_KEY}", exit_code=2)
    # In the environment: everybody on the machine can read a command line.
    os.environ |= {
        "CELERY_BROKER_URL": settings.broker_url,
        "CELERY_RESULT_BACKEND": settings.redis_url,
        "FLOWER_PORT": str(port),
        "FLOWER_ADDRESS": address,
        "FLOWER_TASK_RUNTIME_METRIC_BUCKETS": RUNTIME_BUCKETS,
    }
    os.environ.setdefault("FLOWER_BASIC_AUTH", f"admin:{password}")
    FlowerPlan(
        env_file=" ".join(told_of_env_file()),
        http_url=settings.http_url,
        api_key=settings.api_key.get_secret_value(),
        tls_ca=str(settings.tls_ca or ""),
        log_level=settings.log_level,
        log_format=settings.log_format,
        password=given,
        known_key=DUMMY_LOCAL_KEY if settings.known_key_for_own_user else "",
    ).put()
    control = settings.is_local if settings.flower_control is None else settings.flower_control
    mode = "controls" if control else "only-shows"
    _tied("flower", _program(FLOWER_MODULE, "--as", "agent-runner flower", mode, "flower"), alone=alone)


@click.command(hidden=True)
@click.argument("executable")
@click.argument("folder")
@click.option("--alone", is_flag=True)
def redis(*, executable: str, folder: str, alone: bool) -> None:
    """The embedded Redis of a stack, from a folder that `dev` has prepared."""
    from agent_runner.app.dev.redis import CONFIG_NAME

    _tied("redis", [executable, os.path.join(folder, CONFIG_NAME)], alone=alone)


@click.command()
@click.option("--new-secret-key", is_flag=True, help="Take AGENT_RUNNER_SECRET_KEY, where the old one is lost.")
def migrate(*, new_secret_key: bool) -> None:
    """Bring the database to the newest schema. Safe to run again, and from several machines at once."""
    settings = settings_or_exit("migrate")
    if new_secret_key and not settings.secret_key.get_secret_value():
        raise Failed("AGENT_RUNNER_SECRET_KEY is not set", next_step=f"Set it: {MAKE_A_KEY}.", exit_code=EXIT_USAGE)
    from sqlalchemy.exc import SQLAlchemyError

    from agent_runner.status.store.schema import migrate as bring_up
    from agent_runner.status.store.schema import revision

    if settings.database_url.startswith("sqlite"):
        keep_private(settings.data_dir)
    try:
        bring_up(settings.database_url)
        now, _ = revision(settings.database_url)
    except (SQLAlchemyError, OSError) as error:
        raise Failed(
            f"the database cannot be migrated: {getattr(error, 'orig', None) or error}",
            next_step="Check AGENT_RUNNER_DATABASE_URL and that the database runs.",
        ) from None
    click.echo(f"database is at revision {now}")
    if new_secret_key:
        from agent_runner.app.cli.secret_key import take

        click.echo(take(settings))


def _set(name: str, value: object) -> None:
    if value is not None:
        os.environ[name] = str(value)


def _program(module: str, *arguments: str) -> list[str]:
    return [*PYTHON, "-m", module, *arguments]


def _tied(role: Role, argv: Sequence[str], *, alone: bool) -> None:
    """A foreign program. `alone`: without a supervisor, because who started this process starts it again."""
    if alone:
        os.umask(UMASK)
        become_tied(argv)
    _supervise(role, tied(argv), queue="")


def _supervise(role: Role, argv: Sequence[str], *, queue: str) -> None:
    """Runs until a signal ends it, also with wrong settings: the child prints the errors, the server gets a report."""
    # This process has the keys of its children in its environment. Commands of agents must not read them there.
    not_dumpable()
    os.umask(UMASK)
    try:
        settings = load_settings(role)
    except SettingsError as error:
        settings = error.settings
    become(
        Supervised(
            role=role,
            argv=list(argv),
            queue=str(getattr(settings, queue)) if queue else "",
            http_url=settings.http_url,
            api_key=settings.api_key.get_secret_value() or DUMMY_LOCAL_KEY,
            tls_ca=str(settings.tls_ca or ""),
            redis_url=settings.redis_url,
            log_level=settings.log_level,
            log_format=settings.log_format,
        )
    )
