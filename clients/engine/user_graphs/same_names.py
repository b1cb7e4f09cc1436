"""Refuses a graph whose file got another folder's module in place of the one beside it, and says why an import failed
that a library answered.

Python knows one module of a name in a process. Of two agents that each have a `state.py` in a folder that can be
imported from, the second one would run with the first one's, and only its answers would show it.
"""

import ast
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


def refuse_same_names(file: Path, project: Path) -> None:
    """Call it when `file` of the folder `project` has been executed. Raises ImportError with both places and what to
    write instead."""
    folder = file.resolve().parent
    if folder not in {Path(one).resolve() for one in sys.path if one}:
        return  # a module of this name is not meant to be found beside the file
    for name in sorted(set(_imported(file))):
        beside, taken = _beside(folder, name), _place(sys.modules.get(name))
        if beside is None or taken is None or taken.is_relative_to(folder):
            continue
        if taken.is_relative_to(project.resolve()) and not any(taken.is_relative_to(library) for library in _LIBRARIES):
            raise ImportError(
                f"its module '{name}' is {taken}, not {beside}: Python knows one module of a name. Import it relatively"
                f" (`from .{name} import ...`), or give one of them another name"
            )


def shadowed(error: Exception, folder: Path) -> str:
    """What to write instead, if an import failed because a library has the name of a module in `folder`; else empty."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    beside, taken = _beside(folder, name), _place(sys.modules.get(name))
    if not name or beside is None or taken is None or taken.is_relative_to(folder.resolve()):
        return ""
    return (
        f". Its module '{name}' is {taken}, not {beside}: what is installed comes first. Import it relatively"
        f" (`from .{name} import ...`), or give it another name"
    )


def _beside(folder: Path, name: str) -> Path | None:
    return next((one for one in (folder / f"{name}.py", folder / name) if one.exists()), None)


def _imported(file: Path) -> Iterator[str]:
    """The first parts of the names that the file imports absolutely."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _place(module: ModuleType | None) -> Path | None:
    """The file of a module, or the folder of a package without one."""
    place = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return Path(place).resolve() if place else None
