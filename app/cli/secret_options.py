"""`--env NAME`, `--env-file FILE`: the secrets that a command gives to an execution.

A value on the command line (`--env NAME=VALUE`) works, with a warning: it is in the shell's history, and everybody on
the machine can see it while the command runs.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from dotenv import dotenv_values

F = TypeVar("F", bound=Callable[..., Any])
WARNING = (
    "Warning: the value of --env {name} is in your shell's history and in the list of processes. Set {name} in the"
    " environment and give --env {name}, or write it into a file and give --env-file FILE."
)


def env_option(command: F) -> F:
    """Adds both options. The command gets `env` and `env_file`."""
    one = click.option(
        "--env", "-e", multiple=True, metavar="NAME", help="A secret for the agent's tools, from this environment."
    )
    file = click.option(
        "--env-file", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Secrets from a file with lines NAME=VALUE.",
    )  # fmt: skip
    return one(file(command))


def secrets_of(given: Iterable[str], files: Iterable[Path] = ()) -> dict[str, str]:
    """The secrets by name. `--env` overrides `--env-file`. Raises UsageError for a name without a value."""
    found = {name: value for file in files for name, value in dotenv_values(file, interpolate=False).items() if value}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals and name not in os.environ:
            raise click.UsageError(f"--env {name}: set {name} in the environment, or put it into a file for --env-file")
        if equals:
            click.echo(WARNING.format(name=name), err=True)
        found[name] = value if equals else os.environ[name]
    return found
