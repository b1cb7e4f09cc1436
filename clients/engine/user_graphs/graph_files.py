"""A Python file as a module, with relative imports: from its package where its folder is one, else from its folder."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

PREFIX = "agent_runner_user_graphs"


class _SpecWithin(ModuleSpec):
    """Of a module whose package is not the beginning of its name."""

    package = ""

    @property
    def parent(self) -> str:
        return self.package


def module_of_file(file: Path) -> ModuleType:
    """Execute `file` once per process. Raises what it raises; FileNotFoundError and ImportError of our own."""
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
    # Postponed annotations of its state are looked up here; and pickle, on the way to another process, imports what
    # stands before the dot first.
    sys.modules.setdefault(PREFIX, ModuleType(PREFIX))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _package(folder: Path) -> str:
    """What `from .` means in a file of this folder."""
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
    # No package, or another one has its name: one that is made up for the folder.
    made = f"{PREFIX}_{abs(hash(str(folder))):x}"
    if made not in sys.modules:
        package = ModuleType(made)
        package.__path__ = [str(folder)]
        sys.modules[made] = package
    return made
