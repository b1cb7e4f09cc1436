"""What `langgraph.json` asks of the server beside graphs: `auth` and `http`, as LangGraph's own server names them.

Pages of which origins may call (`http.cors`) and groups of routes that are left out (`http.disable_*`) are kept to.
What would run the user's code in the server, which imports nothing of it, or would protect less here than its author
believes, is refused at start with the reason. Whoever knows better names it in AGENT_RUNNER_GRAPHS_WITHOUT. A file that
cannot be read is refused, too: nobody knows what it asks for.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GROUPS = ("assistants", "threads", "runs", "store", "webhooks")
"""What `http.disable_NAME` leaves out. The file's `mcp`, `a2a` and `ui` are not served here in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`asks`: whether the value of the entry asks for it."""

    asks: Callable[[Any], bool]
    why: str
    instead: str


REFUSED: Mapping[str, Refusal] = {
    "auth": Refusal(
        asks=lambda entry: bool(entry.get("path")) if isinstance(entry, dict) else entry is not None,
        why="handlers of your own cannot decide here who may call: this server imports nothing of yours",
        instead="make keys with scopes and orgs (agent-runner keys create), or check callers in a proxy in front",
    ),
    "http.app": Refusal(
        asks=bool,
        why="routes and middleware of your own cannot run in this server: it imports nothing of yours",
        instead="serve them by a process of their own, behind the same proxy",
    ),
    "http.mount_prefix": Refusal(
        asks=lambda prefix: prefix not in (None, "", "/"),
        why="this server's addresses have no prefix",
        instead="take the prefix off in the proxy in front",
    ),
    "http.configurable_headers": Refusal(
        asks=lambda entry: bool(entry.get("includes")) if isinstance(entry, dict) else entry is not None,
        why="headers of a request do not reach a run here",
        instead="send what the graph needs in `context` or `config.configurable`",
    ),
    "http.disable_meta": Refusal(
        asks=bool,
        why="/info, /docs, /openapi.json and /metrics are this server's own and stay",
        instead="close these addresses in the proxy in front",
    ),
    "http.cors.allow_credentials": Refusal(
        asks=bool,
        why="cookies are never read here",
        instead="let pages send a key (x-api-key)",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOfGraphs:
    """`origins` None: the file says nothing of origins. `max_age_s`: how long a browser may keep a preflight's answer.
    `hidden`: names of GROUPS. `problems`: why the server must not start."""

    origins: tuple[str, ...] | None = None
    origin_regex: str | None = None
    shown_headers: tuple[str, ...] = ()
    max_age_s: int = 600
    hidden: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()


class GraphsFileError(ValueError):
    """`langgraph.json` cannot be read. `why` names the file and what is wrong, `fix` says what to do."""

    def __init__(self, why: str) -> None:
        self.why = why
        self.fix = (
            'Mend the file: {"graphs": {"NAME": "./file.py:graph"}}. If it is not meant for Agent Runner, let'
            " AGENT_RUNNER_GRAPHS name another one."
        )
        super().__init__(f"{why}. {self.fix}")


def read_graphs_file(file: Path) -> dict[str, Any]:
    """The object in `langgraph.json`. Raises FileNotFoundError, and GraphsFileError for all else."""
    try:
        text = file.read_text("utf-8-sig")
        document = json.loads(text) if text.strip() else None
    except FileNotFoundError:
        raise
    except json.JSONDecodeError as error:
        raise GraphsFileError(f"{file} cannot be read: it is not JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise GraphsFileError(f"{file} cannot be read: it is not UTF-8 text") from error
    except RecursionError as error:
        raise GraphsFileError(f"{file} cannot be read: it is nested too deeply") from error
    except OSError as error:
        raise GraphsFileError(f"{file} cannot be read: {error.strerror or error}") from error
    if not isinstance(document, dict):
        is_ = "empty" if not text.strip() else f"a JSON {_KINDS.get(type(document), 'value')}, not an object"
        raise GraphsFileError(f"{file} cannot be read: it is {is_}")
    return document


_KINDS: Mapping[type, str] = {
    list: "list",
    str: "text",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def graphs_problem(file: Path) -> str:
    """Why `langgraph.json` cannot be read, and what to do; empty where it can, or is missing."""
    try:
        read_graphs_file(file)
    except FileNotFoundError:
        return ""
    except GraphsFileError as error:
        return str(error)
    return ""


def graphs_document(file: Path) -> Mapping[str, Any]:
    """What stands in `langgraph.json`; nothing where it is missing or cannot be read."""
    try:
        return read_graphs_file(file)
    except (FileNotFoundError, GraphsFileError):
        return {}


def server_of_graphs(file: Path, *, without: Iterable[str] = ()) -> ServerOfGraphs:
    """What `file` asks. A missing one asks nothing."""
    try:
        document = read_graphs_file(file)
    except FileNotFoundError:
        document = {}
    except GraphsFileError as error:
        return ServerOfGraphs(problems=(str(error),))
    left_out = frozenset(without)
    problems = [
        f"{file.name} has `{name}`, which is not available: {refusal.why}. Instead {refusal.instead}; "
        f"AGENT_RUNNER_GRAPHS_WITHOUT={name} starts without it"
        for name, refusal in REFUSED.items()
        if name not in left_out and refusal.asks(_entry(document, name))
    ]
    http, cors = _entry(document, "http"), _entry(document, "http.cors")
    for name, entry in (("http", http), ("http.cors", cors)):
        if entry is not None and not isinstance(entry, dict):
            problems.append(f"{file.name}: `{name}` must be an object")
    cors = cors if isinstance(cors, dict) else {}
    origins, regex, shown = cors.get("allow_origins"), cors.get("allow_origin_regex"), cors.get("expose_headers")
    problems += [
        f"{file.name}: `http.cors.{name}` must be a list of texts"
        for name, given in (("allow_origins", origins), ("expose_headers", shown))
        if given is not None and not _texts(given)
    ]
    if regex is not None and not _is_pattern(regex):
        problems.append(f"{file.name}: `http.cors.allow_origin_regex` is no regular expression")
    age = cors.get("max_age", 600)
    if isinstance(age, bool) or not isinstance(age, int) or age < 0:
        problems.append(f"{file.name}: `http.cors.max_age` must be a number of seconds")
    if problems:
        return ServerOfGraphs(problems=tuple(problems))
    http = http if isinstance(http, dict) else {}
    return ServerOfGraphs(
        origins=None if origins is None and regex is None else tuple(origins or ()),
        origin_regex=regex,
        shown_headers=tuple(shown or ()),
        max_age_s=age,
        hidden=frozenset(name for name in GROUPS if http.get(f"disable_{name}") is True),
    )


def _entry(document: Mapping[str, Any], name: str) -> Any:
    """The value at `a.b.c`; None where there is none."""
    value: Any = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_pattern(value: object) -> bool:
    try:
        return isinstance(value, str) and re.compile(value) is not None
    except re.error:
        return False
