"""The table of log events and the code are about the same lines."""

import ast
import functools
from pathlib import Path

from agent_runner.status.log_events import LOG_EVENTS, RESERVED

ROOT = Path(__file__).resolve().parents[3]
OURS = ("app", "tasks", "clients", "status")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
LOGGERS = {"event_logger.py", "logs.py"}
"""The only files that know the standard library's loggers."""


@functools.cache
def modules() -> list[tuple[Path, ast.Module]]:
    """Read once: to parse all of it takes a second."""
    paths = (path for folder in OURS for path in sorted((ROOT / folder).rglob("*.py")))
    return [(path, ast.parse(path.read_text())) for path in paths]


@functools.cache
def calls() -> list[tuple[str, ast.Call]]:
    """Every call of a method of a logger, with where it is."""
    found = []
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
                of = ast.unparse(node.func.value)
                if of.split(".")[-1].lstrip("_") in ("log", "logger") or of == "logging":
                    found.append((f"{path.relative_to(ROOT)}:{node.lineno}", node))
    return found


def test_every_line_is_an_event_of_the_table() -> None:
    """A log call names an event of the table, at its level and with exactly its fields; a loose text is found here."""
    wrong = []
    for where, call in calls():
        name = str(call.args[0].value) if len(call.args) == 1 and isinstance(call.args[0], ast.Constant) else ""
        event = LOG_EVENTS.get(name)
        if event is None:
            wrong.append(f"{where}: {ast.unparse(call)} is no event of status/log_events.py")
            continue
        assert isinstance(call.func, ast.Attribute)
        level = {"exception": "error"}.get(call.func.attr, call.func.attr)
        fields = {str(given.arg) for given in call.keywords} - {"exc_info"}
        if level != event.level_name.lower() or fields != set(event.fields):
            wrong.append(f"{where}: {name} is {event.level_name} with {event.fields}, not {level}, {sorted(fields)}")
    assert not wrong, "\n".join(wrong)


def test_every_event_of_the_table_is_used() -> None:
    """An event that no line can be is no event."""
    used = {call.args[0].value for _, call in calls() if call.args and isinstance(call.args[0], ast.Constant)}
    assert set(LOG_EVENTS) - used == set()


def test_nobody_goes_around_the_table() -> None:
    """Only the two files that make the loggers use the standard library's `logging`."""
    around = []
    for path, tree in modules():
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
        if path.name not in LOGGERS and any(name.name == "logging" for node in imports for name in node.names):
            around.append(str(path.relative_to(ROOT)))
    names = ", ".join(around)
    assert set(around) <= {"status/log_events.py"}, f"these log beside the table: {names}"


def test_the_table_is_sound() -> None:
    """Names are `noun.what`, fields do not hide what each line has, the text shows only fields, each has a meaning."""
    for event in LOG_EVENTS.values():
        thing, _, what = event.name.partition(".")
        assert all(part.isidentifier() for part in (thing, what)), event.name
        assert not set(event.fields) & {*RESERVED, "exc_info"}, event.name
        assert event.in_text <= set(event.fields), event.name
        assert event.meaning.endswith((".", "`")), event.name
