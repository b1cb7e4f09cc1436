"""`--env K=V`: the secrets that a command gives to an execution."""

import os
from collections.abc import Iterable

import click

env_option = click.option(
    "--env", "-e", multiple=True, metavar="K=V", help="A secret for the agent's tools. K alone: from here."
)


def secrets_of(pairs: Iterable[str]) -> dict[str, str]:
    """By name. Raises UsageError for a name without a value that is not set in this environment either."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals and name not in os.environ:
            raise click.UsageError(f"--env {name}: give {name}=VALUE, or set {name} in the environment")
        found[name] = value if equals else os.environ[name]
    return found
