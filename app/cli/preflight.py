"""Checks of `doctor` that need no service: names of variables, keys, the user's graphs. No code of the user runs."""

import ast
import difflib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from agent_runner.app.cli.checks import Check
from agent_runner.clients.settings.access_settings import MAKE_A_KEY
from agent_runner.clients.settings.server_of_graphs import GraphsFileError, read_graphs_file
from agent_runner.clients.settings.settings import Settings, env_names

PREFIXES = ("AGENT_RUNNER_", "STIGMER_")
NO_SETTINGS = frozenset(
    {
        "AGENT_RUNNER_DEMO_TOKEN_DELAY_MS",
        "AGENT_RUNNER_INCARNATION",
        "AGENT_RUNNER_PARENT_FD",
        "AGENT_RUNNER_SUPERVISOR_FD",
        "AGENT_RUNNER_WORKER_KEY",  # of docker-compose.yml
    }
)
"""Variables with our prefix that processes of ours read, and which no operator sets."""
OF_TESTS = "AGENT_RUNNER_TEST_"
ALIKE = 0.8
"""How alike two names are, from 0 to 1, for one to be taken for the other: two letters of a usual name."""
KEYS = "servers: " + MAKE_A_KEY + "; workers: agent-runner keys create --name workers --scope runner"


def check_names(_: Settings) -> list[Check]:
    """Variables with our prefix that nothing reads. One that is almost a setting's name fails `doctor`."""
    known = {name for field in Settings.model_fields for name in env_names(field)}
    found = []
    for name in sorted(os.environ):
        if name in known | NO_SETTINGS or not name.startswith(PREFIXES) or name.startswith(OF_TESTS):
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)
        meant, fix = (
            f"; did you mean {near[0]}?" if near else "",
            f"Rename it to {near[0]}." if near else "Take it away.",
        )
        why = f"{name} is set, and no setting is called that{meant}"
        found.append(Check(name="variable", up=False, why=why, fix=fix, required=bool(near)))
    return found


def check_keys(settings: Settings) -> list[Check]:
    """Keys that production needs and that are missing or weak here."""
    found = []
    if not settings.is_local and not settings.api_key.get_secret_value():
        why = "STIGMER_API_KEY is not set; every process needs it outside MODE=local"
        found.append(Check(name="key", up=False, why=why, fix=f"Set STIGMER_API_KEY ({KEYS})."))
    else:
        found += [
            Check(name="key", up=False, why=text, fix=f"Set STIGMER_API_KEY ({KEYS}).", required=not settings.is_local)
            for _, text in settings.key_problems(settings.api_key)
        ]
    return found


def check_graphs(settings: Settings) -> list[Check]:
    """The graphs of `langgraph.json`: their files, and the names in them as far as they can be read without running."""
    file = Path(settings.graphs)
    if not file.exists():
        if not settings.given("graphs"):
            return []
        fix = "Set AGENT_RUNNER_GRAPHS to your langgraph.json, or take the setting away."
        return [Check(name="graphs", up=False, why=f"{file} does not exist", fix=fix)]
    try:
        document = read_graphs_file(file)
    except GraphsFileError as error:
        return [_lack(error.why, error.fix)]
    graphs = document.get("graphs")
    if not isinstance(graphs, dict) or not graphs:
        return [_lack(f"{file} names no graphs", 'Add {"graphs": {"NAME": "./file.py:graph"}} to it.')]
    lacks = [*_dependencies(file.parent, document), *_environment(file.parent, document)]
    for name, given in graphs.items():
        place = str(given.get("path", "")) if isinstance(given, dict) else str(given)
        lacks += _graph(file.parent, f"graph '{name}'", place, document.get("dependencies"))
    return lacks or [Check(name="graphs", up=True, why=f"{file}: {', '.join(sorted(graphs))}", required=False)]


def _graph(folder: Path, which: str, spec: str, dependencies: object) -> Iterable[Check]:
    place, _, attribute = spec.rpartition(":")
    if not place or not attribute.isidentifier():
        return [_lack(f"{which} is '{spec}'", "Write it as ./file.py:graph, or package.module:graph.")]
    if not (place.endswith(".py") or "/" in place):
        first = place.partition(".")[0]
        if _found(first, [folder, *(folder / one for one in dependencies or () if isinstance(one, str))]
                  if isinstance(dependencies, list) else [folder]):  # fmt: skip
            return []
        fix = f"Install {first} here, or name its folder in `dependencies`."
        return [_lack(f"{which}: there is no package '{first}'", fix)]
    file = Path(os.path.normpath(folder / place))
    if not file.is_file():
        return [_lack(f"{which}: {file} does not exist", f"Mend the path; it is relative to {folder.resolve()}.")]
    try:
        names, open_end = _names_in(ast.parse(file.read_bytes()))
    except (SyntaxError, ValueError) as error:
        return [_lack(f"{which}: {file} is not Python: {error}", "Mend the file.")]
    if attribute in names or open_end:
        return []
    near = difflib.get_close_matches(attribute, names, n=1, cutoff=ALIKE / 2)
    fix = f"Write {place}:{near[0]}, or define '{attribute}'." if near else f"Define '{attribute}' in it."
    return [_lack(f"{which}: {file} defines no '{attribute}'", fix)]


def _names_in(module: ast.Module) -> tuple[set[str], bool]:
    """The names that a module binds at its top, in branches too. True: it may bind others (a star, `globals()`)."""
    names: set[str] = set()
    open_end = False
    waiting: list[ast.AST] = list(module.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)  # what is inside binds nothing outside
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            open_end = open_end or any(one.name == "*" for one in node.names)
            names |= {one.asname or one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.Name):
            open_end = open_end or node.id in ("globals", "vars", "exec")
            if isinstance(node.ctx, ast.Store):
                names.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return names, open_end


def _found(package: str, folders: Iterable[Path]) -> bool:
    """Whether an import would find it; nothing is imported."""
    if package in sys.modules or any(
        (place / package).is_dir() or (place / f"{package}.py").is_file()
        for folder in folders
        for place in (folder, folder / "src")
    ):
        return True
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _dependencies(folder: Path, document: Mapping[str, Any]) -> Iterable[Check]:
    from agent_runner.clients.engine.user_graphs.graph_surroundings import not_installed

    given = document.get("dependencies")
    if given is not None and not (isinstance(given, list) and all(isinstance(one, str) for one in given)):
        return [_lack("`dependencies` of langgraph.json is no list of texts", 'Write it as [".", "httpx"].')]
    gone = [one for one in given or () if one.startswith(".") and not (folder / one).is_dir()]
    if gone:
        return [_lack(f"`dependencies` names folders that are not there: {', '.join(gone)}", "Mend their paths.")]
    lacking = [one for one in not_installed(folder, given) if not one.startswith(".")]
    if lacking:
        wanted = " ".join(f"'{one}'" if re.search(r"[^\w.-]", one) else one for one in lacking)
        return [_lack(f"not installed here: {', '.join(lacking)}", f"{sys.executable} -m pip install {wanted}")]
    return []


def _environment(folder: Path, document: Mapping[str, Any]) -> Iterable[Check]:
    given = document.get("env")
    if isinstance(given, str) and not (folder / given).is_file():
        return [
            _lack(f"`env` names {folder / given}, which does not exist", "Make the file, or take `env` away.", False)
        ]
    if given is not None and not isinstance(given, str | dict):
        return [
            _lack("`env` of langgraph.json is neither a file nor an object", 'Write it as ".env" or {"NAME": "x"}.')
        ]
    return []


def _lack(why: str, fix: str, required: bool = True) -> Check:
    return Check(name="graphs", up=False, why=why, fix=fix, required=required)
