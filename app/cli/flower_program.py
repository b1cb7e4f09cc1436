"""Flower's process: `python -P -m agent_runner.app.cli.flower_program --as "agent-runner flower" MODE flower ...`.

MODE is `controls` or `only-shows`.

It does what `celery flower ...` does, without Celery's other commands. With `only-shows` Flower cannot change anything;
Flower itself has no such option. Every change in Flower is a POST request. One POST only reads: it fills the table of
tasks.
"""

import os
import sys
from base64 import b64encode
from typing import Any

from agent_runner.clients.process.import_path import current_folder_last

READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
READING_POST = "/tasks/datatable"
REFUSAL = "This Flower only shows. AGENT_RUNNER_FLOWER_CONTROL=true lets it revoke tasks and stop workers."


def main() -> int:
    current_folder_last()
    # By default Celery reads `celeryconfig.py` of the current folder, which may belong to another application.
    os.environ["CELERY_LOADER"] = "app"
    # Flower does the same with `flowerconfig.py`.
    os.environ.setdefault("FLOWER_CONF", os.devnull)
    mode, *arguments = sys.argv[3:]
    only_shows = mode == "only-shows"
    from agent_runner.clients.process.lean_imports import import_celery_commands, import_redis

    import_redis()
    import_celery_commands()
    from agent_runner.app.flower import buttons, true_events
    from agent_runner.app.flower.flower_plan import FlowerPlan
    from agent_runner.clients.process.env_file_lines import tell_of_env_file
    from agent_runner.clients.process.logs import set_up_logging

    plan = FlowerPlan.taken()
    if plan.env_file:
        tell_of_env_file(plan.env_file)
    # Flower and Tornado add no log handler if there is one. So their lines have the format of ours.
    set_up_logging(plan.log_level, plan.log_format)
    true_events.install()
    if only_shows:
        _take_levers_away()
    else:
        buttons.install(plan)
    if plan.known_key:
        _take_the_known_key(plan.known_key, plan.password)
    _run(arguments[1:])
    return 0


def _run(arguments: list[str]) -> None:
    """Flower's command, with what the command `celery` around it would give it: an application and a parent.

    That command would import all its other commands and a shell, 8 MiB for as long as Flower lives.
    """
    import click
    import flower.command
    from celery.bin.base import CLIContext

    sys.argv[0] = "celery"
    parent = click.Context(click.Command("celery"))
    given = CLIContext(app=None, no_color=True, workdir=None)  # type: ignore[arg-type]  # its default application
    flower.command.flower.main(arguments, prog_name="celery flower", parent=parent, obj=given)


def _take_the_known_key(known_key: str, password: str) -> None:
    """It counts as the password for programs of the stack's own user, as it does for the server."""
    import flower.command

    from agent_runner.clients.process.own_user import FORWARDED, is_own_user

    known, own = (f"Basic {b64encode(f'admin:{word}'.encode()).decode()}" for word in (known_key, password))

    class LocalFlower(flower.command.Flower):  # type: ignore[misc]
        def find_handler(self, request: Any, **rest: Any) -> Any:
            forwarded = any(name in request.headers for name in FORWARDED)
            if request.headers.get("Authorization") == known and not forwarded:
                connection = request.connection.stream.socket
                if is_own_user(connection.getpeername()[:2], connection.getsockname()[:2]):
                    request.headers["Authorization"] = own
            return super().find_handler(request, **rest)

    flower.command.Flower = LocalFlower


def _take_levers_away() -> None:
    import flower.command
    from tornado.web import RequestHandler

    class Refused(RequestHandler):
        def prepare(self) -> None:
            self.set_status(403)
            self.finish(REFUSAL)

        def check_xsrf_cookie(self) -> None:
            """Not needed: a refused request changes nothing."""

    class ReadOnlyFlower(flower.command.Flower):  # type: ignore[misc]
        def find_handler(self, request: Any, **rest: Any) -> Any:
            if request.method in READING_METHODS or request.path.endswith(READING_POST):
                return super().find_handler(request, **rest)
            return self.get_handler_delegate(request, Refused)

    flower.command.Flower = ReadOnlyFlower


if __name__ == "__main__":
    sys.exit(main())
