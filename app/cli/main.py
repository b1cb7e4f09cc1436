"""`agent-runner`: the commands and the module of each."""

import importlib
import os
import sys
from typing import Any

import click

COMMANDS = {
    "run": ("agent_runner.app.cli.commands.run:run", "Run one message and show it live."),
    "dev": ("agent_runner.app.cli.commands.dev:dev", "The whole stack in one terminal."),
    "server": ("agent_runner.app.cli.commands.roles:server", "The server: HTTP, gRPC, the sweeper."),
    "worker": ("agent_runner.app.cli.commands.roles:worker", "A worker that runs agents."),
    "orchestrator": ("agent_runner.app.cli.commands.roles:orchestrator", "A worker for failures and maintenance."),
    "flower": ("agent_runner.app.cli.commands.roles:flower", "Flower, the operators' view of Celery."),
    "apply": ("agent_runner.app.cli.commands.apply:apply", "Create or update resources from a file."),
    "executions": (
        "agent_runner.app.cli.commands.executions:executions",
        "List, get, watch, cancel or redrive executions.",
    ),
    "schedules": (
        "agent_runner.app.cli.commands.schedules:schedules",
        "Executions that begin by the clock: make, list, change, fire.",
    ),
    "keys": ("agent_runner.app.cli.commands.keys:keys", "Make, list or revoke API keys."),
    "retention": (
        "agent_runner.app.cli.commands.retention_now:retention",
        "Remove now what is older than the retention allows.",
    ),
    "doctor": ("agent_runner.app.cli.commands.doctor:doctor", "Check everything that this system needs."),
    "migrate": ("agent_runner.app.cli.commands.roles:migrate", "Bring the database to the newest schema."),
    "redis": ("agent_runner.app.cli.commands.roles:redis", ""),
}
"""Name: the command's module and its line of help. A command without this line is hidden: `dev` calls it."""


class _Commands(click.Group):
    """A group that imports a command when it is called, not when it is listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, (_, line) in COMMANDS.items() if line]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="agent-runner", prog_name="agent-runner")
def cli() -> None:
    """Runs LangGraph agents as Celery tasks; every execution ends, on time, with the true reason."""


def main(arguments: list[str] | None = None) -> Any:
    """The console script. Exit codes: 0, 1 failed, 2 usage or settings, 130 cancelled."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 shows `?`, it does not end the run
    try:
        return cli(args=arguments, prog_name="agent-runner")
    except UnicodeEncodeError:
        given = [os.fsencode(one) for one in (sys.argv[1:] if arguments is None else arguments)]
        if odd := next((one for one in given if one.decode(errors="replace").encode() != one), None):
            click.echo(f"Error: the argument {str(odd)[1:]} is not UTF-8 text", err=True)
            sys.exit(2)
        raise


if __name__ == "__main__":
    main()
