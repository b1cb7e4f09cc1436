"""`os.environ` in the code of a user's graph: the process's variables, with those of its execution over them.

A graph that reads `os.environ["CRM_TOKEN"]` gets its own execution's, whatever its neighbours in the same process were
given: found through the context variable of the run, so it holds in tasks and threads that were started inside it, and
never outside. Nothing is written into the process, and programs that are started without an `env` do not inherit it.
"""

import os
from collections.abc import Iterator, Mapping

from agent_runner.clients.engine.current import current_run

_hidden: dict[str, str] = {}
"""Taken out of the process's environment (`hidden_environment.py`); for readers in this process only."""


class _RunEnviron(os._Environ[str]):
    """In place of the class of `os.environ`: others have imported the object itself."""

    def __getitem__(self, key: str) -> str:
        own = _own()
        if isinstance(key, str) and key in own:
            return own[key]
        try:
            return super().__getitem__(key)
        except KeyError:
            if key in _hidden:
                return _hidden[key]
            raise

    def __setitem__(self, key: str, value: str) -> None:
        own = _own()
        if key in own:
            own[key] = value
        else:
            super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        own = _own()
        if key in own:
            del own[key]
        elif key in _hidden:
            del _hidden[key]
        else:
            super().__delitem__(key)

    def __iter__(self) -> Iterator[str]:
        names = list(super().__iter__())
        yield from dict.fromkeys([*names, *_hidden, *_own()])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _own() -> dict[str, str]:
    run = current_run()
    return run.env if run is not None else {}


def install(hidden: Mapping[str, str] | None = None) -> None:
    """Idempotent; for a process that runs agents. `hidden`: variables that the process itself has no longer."""
    _hidden.update(hidden or {})
    if type(os.environ) is os._Environ:
        os.environ.__class__ = _RunEnviron
