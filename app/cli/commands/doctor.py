"""`agent-runner doctor`: each thing that the system needs, up or down, why, and the fix."""

import json
import sys
from collections.abc import Mapping
from typing import Any

import click

from agent_runner.app.cli.exits import EXIT_FAILED, EXIT_USAGE


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--settings", "show_settings", is_flag=True, help="All settings: names, defaults, values.")
def doctor(as_json: bool, show_settings: bool) -> None:
    """Check everything that this system needs. Exit code 1 if something required is down."""
    from agent_runner.clients.settings.settings import SettingsError, load_settings

    problems: list[str] = []
    try:
        settings = load_settings("doctor")
    except SettingsError as error:
        settings, problems = error.settings, error.problems
    if show_settings:
        from agent_runner.clients.settings.settings_table import describe_settings

        _show_settings(describe_settings(settings), problems, as_json=as_json)
        sys.exit(EXIT_USAGE if problems else 0)

    from agent_runner.app.cli.checks import check_all

    checks = check_all(settings, problems)
    if as_json:
        click.echo(
            json.dumps(
                {"ok": all(c.up or not c.required for c in checks), "checks": [c.as_json() for c in checks]}, indent=2
            )
        )
    else:
        for check in checks:
            click.echo(f"{'up  ' if check.up else 'down' if check.required else 'off '}  {check.name:<16} {check.why}")
            if not check.up and check.fix:
                click.echo(f"{'':<23}fix: {check.fix}")
    sys.exit(0 if all(c.up or not c.required for c in checks) else EXIT_FAILED)


def _show_settings(rows: list[dict[str, str]], problems: list[str], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"settings": rows, "problems": problems}, indent=2))
        return
    for row in rows:
        click.echo(f"{row['name']}={row['value']}")
        click.echo(f"    {row['about']} [default: {row['default'] or 'none'}]{_also(row)}")
    for problem in problems:
        click.echo(f"WRONG: {problem}", err=True)


def _also(row: Mapping[str, Any]) -> str:
    return f" (also {row['also']})" if row["also"] else ""
