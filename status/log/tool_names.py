"""How a tool call is shown: which component, in which group, under which name.

The component types are those of the system that this one replaces: existing pages know them.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any

TODO_TOOL = "write_todos"
SUB_AGENT_TOOL = "task"

MAIN_GROUP = "main-agent-tools"
SUB_AGENT_GROUP = "sub-agent-tools"

_TYPE_BY_NAME = {
    "shell": "terminal",
    "bash": "terminal",
    "sh": "terminal",
    "read": "preview",
    "read_file": "preview",
    "view_file": "preview",
    "cat": "preview",
    "write": "editor",
    "write_file": "editor",
    "edit": "editor",
    "edit_file": "editor",
    "strreplace": "editor",
    "editnotebook": "editor",
    "grep": "search",
    "glob": "search",
    "find": "search",
    "search": "search",
    "semanticsearch": "search",
    "ls": "filesystem",
    "delete": "filesystem",
    "task": "subagent",
    "write_todos": "todo",
    "todowrite": "todo",
}
_TYPE_BY_PATTERN = (
    (re.compile(r"^execute"), "terminal"),
    (re.compile(r"kubectl|^k8s"), "kubernetes"),
    (re.compile(r"browser"), "browser"),
    (re.compile(r"^git"), "git"),
    (re.compile(r"web.*search|search.*web"), "web-search"),
)
_LAYOUT = {"terminal": "wide", "kubernetes": "wide", "editor": "wide", "preview": "folded", "subagent": "nested"}

_CLOUD_TOOLS = ("kubectl", "docker", "helm", "terraform")
_BUILD_TOOLS = ("npm", "yarn", "pnpm", "bun", "pip", "uv", "cargo", "go", "make", "git", "gh")
_SYSTEM_TOOLS = ("systemctl", "apt", "apt-get", "brew")
_INTERPRETERS = ("python", "python3", "node", "deno", "bash", "sh", "ruby")
_WITH_VERB = frozenset((*_CLOUD_TOOLS, *_BUILD_TOOLS, *_SYSTEM_TOOLS, *_INTERPRETERS))
_WRAPPERS = frozenset(("sudo", "env", "time", "nohup", "exec"))
_PREPARATIONS = frozenset(("cd", "export", "set", "source"))
MAX_SHOWN = 60


def component_type(tool_name: str) -> str:
    """The UI component for a tool, from its name; `tool` where nothing better is known."""
    name = tool_name.lower()
    if known := _TYPE_BY_NAME.get(name):
        return known
    return next((kind for pattern, kind in _TYPE_BY_PATTERN if pattern.search(name)), "tool")


def display_name(tool_name: str, args: Any) -> str:
    """The name that says most: for a shell tool the command it runs (`kubectl get`), else the tool's own name."""
    command = args.get("command") if isinstance(args, Mapping) else None
    if component_type(tool_name) != "terminal" or not isinstance(command, str):
        return tool_name
    return command_name(command) or tool_name


def command_name(command: str) -> str:
    """The program of a shell command, with its verb if it has one; empty if there is no program.

    Commands and words that only prepare it are skipped: `cd app && FOO=1 npm test` is `npm test`.
    """
    fallback = ""
    for part in re.split(r"&&|\|\||[;|\n]", command):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:  # a quote that is not closed in this part
            words = part.split()
        while words and (re.fullmatch(r"\w+=.*", words[0], re.DOTALL) or words[0] in _WRAPPERS):
            words = words[1:]
        if not words:
            continue
        shown = _program(words)
        if words[0] not in _PREPARATIONS:
            return shown
        fallback = fallback or shown
    return fallback


def _program(words: list[str]) -> str:
    program = words[0].rsplit("/", 1)[-1]
    rest = next((word for word in words[1:2] if not word.startswith("-")), "")
    if rest and program in _WITH_VERB:
        return f"{program} {rest}"[:MAX_SHOWN]
    return program[:MAX_SHOWN]


def component(tool_name: str, args: Any, *, scope: str) -> dict[str, Any]:
    """The `component` of a tool call in the log."""
    kind = component_type(tool_name)
    shown = display_name(tool_name, args)
    made: dict[str, Any] = {
        "component_type": kind,
        "component_group": SUB_AGENT_GROUP if scope else MAIN_GROUP,
        "layout_hint": _LAYOUT.get(kind, "inline"),
    }
    if shown != tool_name:
        made["metadata"] = {"display_name": shown}
    return made
