"""`dependencies` and `env` of `langgraph.json`, as LangGraph's tools read them.

A dependency that is a folder can be imported from as after an install: from the folder, from its `src`, or, if it is a
package, by its name. Any other dependency is a requirement, which must be installed where the worker runs.
`env` is a file of `KEY=value` lines, or an object. It overrides nothing: variables that the worker already has win.
"""

import importlib.metadata
import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextvars import Context
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from packaging.requirements import InvalidRequirement, Requirement

from agent_runner.status.event_logger import event_logger

log = event_logger(__name__)


class SurroundingsError(Exception):
    """An entry that cannot be used; the text names it."""


def make_importable(folder: Path, dependencies: object) -> None:
    """Make `folder` and the folders in `dependencies` importable. Raises SurroundingsError."""
    if not isinstance(dependencies, list | None) or not all(isinstance(one, str) for one in dependencies or ()):
        raise SurroundingsError('dependencies must be a list of folders and packages such as [".", "httpx"]')
    places = [folder]
    for given in dependencies or ():
        place = Path(os.path.normpath(folder / given))
        if place.is_dir():
            places += _ways_in(place)
        elif given.startswith("."):
            raise SurroundingsError(f"dependencies: {given} is no folder beside langgraph.json")
    for place in places:
        if str(place) not in sys.path:
            sys.path.append(str(place))


def _ways_in(folder: Path) -> Iterable[Path]:
    yield folder
    if any((folder / name).is_file() for name in ("pyproject.toml", "setup.py")) and (folder / "src").is_dir():
        yield folder / "src"
    if (folder / "__init__.py").is_file():
        yield folder.parent


def not_installed(folder: Path, dependencies: object) -> list[str]:
    """The dependencies that are packages and are not installed here: the likely cause of a failed import."""
    found = []
    for given in dependencies if isinstance(dependencies, list) else ():
        if not isinstance(given, str) or (folder / given).is_dir():
            continue
        try:
            importlib.metadata.distribution(Requirement(given).name)
        except importlib.metadata.PackageNotFoundError:
            found.append(given)
        except InvalidRequirement:  # a URL, or an option of pip's
            continue
    return found


def set_environment(folder: Path, env: object) -> None:
    """Put `env` into the process environment. Raises SurroundingsError.

    It runs in an empty context, outside of the current run. Otherwise `os.environ` would show the run's own variables,
    and a value with `${NAME}` in it would copy them into every other run."""
    Context().run(_set_environment, folder, env)


def _set_environment(folder: Path, env: object) -> None:
    for key, value in _values(folder, env).items():
        if value is not None:
            os.environ.setdefault(str(key), value if isinstance(value, str) else json.dumps(value))


def _values(folder: Path, env: object) -> Mapping[str, Any]:
    if env is None or isinstance(env, dict):
        return env or {}
    if not isinstance(env, str):
        raise SurroundingsError('env must be a file such as ".env", or an object of variables')
    file = folder / env
    if not file.is_file():
        log.warning("graph.env_missing", file=file)
        return {}
    return dotenv_values(file)
