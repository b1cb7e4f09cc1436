"""Loads a Python file as a module. Relative imports use the file's package if its folder is one, else its folder."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

PREFIX = "agent_runner_user_graphs"


class _SpecWithin(ModuleSpec):
    """The spec of a module whose name does not begin with the name of its package."""

    package = ""

    @property
    def parent(self) -> str:
        return self.package


def module_of_file(file: Path) -> ModuleType:
    """Execute `file` once per process. Raises what the file raises, FileNotFoundError if it does not exist, and
    ImportError if it is not a Python file."""
    name = f"{PREFIX}.{file.stem}_{abs(hash(str(file))):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    within = _SpecWithin(name, spec.loader, origin=str(file))
    within.package = _package(file.parent)
    within.has_location = True
    module = importlib.util.module_from_spec(within)
    # Postponed annotations of the graph's state are looked up in sys.modules. When pickle sends an object to another
    # process, it first imports the part of the module's name before the dot.
    sys.modules.setdefault(PREFIX, ModuleType(PREFIX))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _package(folder: Path) -> str:
    """The package that `from .` means in a file of this folder."""
    names: list[str] = []
    root = folder
    while (root / "__init__.py").exists() and root.name.isidentifier():
        names.insert(0, root.name)
        root = root.parent
    if names:
        if str(root) not in sys.path:
            sys.path.append(str(root))
        known = sys.modules.get(names[0]) or importlib.util.find_spec(names[0])
        places = getattr(known, "__path__", None) or getattr(known, "submodule_search_locations", None) or ()
        if str(root / names[0]) in map(str, places):
            return ".".join(names)
    # The folder is no package, or another package has its name: make one up for the folder.
    made = f"{PREFIX}_{abs(hash(str(folder))):x}"
    if made not in sys.modules:
        package = ModuleType(made)
        package.__path__ = [str(folder)]
        sys.modules[made] = package
    return made
