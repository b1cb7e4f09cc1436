"""`os.environ` for the code of a user's graph: the variables of the process, overridden by those of the execution.

A graph that reads `os.environ["CRM_TOKEN"]` gets the value of its own execution, whatever other executions in the same
process were given. The value is found through the context variable of the run. So it is visible in tasks and threads
that were started inside the run, and never outside. Nothing is written into the process environment, and programs that
are started without an `env` do not inherit the value.
"""

import os
from collections.abc import Iterator, Mapping

from agent_runner.clients.engine.current import current_run

_hidden: dict[str, str] = {}
"""Variables removed from the process environment (`hidden_environment.py`). Only code in this process can read them."""


class _RunEnviron(os._Environ[str]):
    """Replaces the class of the object `os.environ`, because other modules have imported the object itself."""

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
    """Make `os.environ` show each run its own variables. Idempotent; for a process that runs agents. `hidden`: the
    variables that were removed from the process environment."""
    _hidden.update(hidden or {})
    if type(os.environ) is os._Environ:
        os.environ.__class__ = _RunEnviron
