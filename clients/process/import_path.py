"""Where a process of ours looks for modules: the folder it was started in comes last.

That folder is a user's project. A `redis.py` or `logging.py` there must not replace the modules that we and our
dependencies import.
"""

import importlib
import os
import sys
from contextlib import suppress

PYTHON = (sys.executable, "-P")
"""How our programs are started: without `-P` Python puts the current folder first."""


NAMESPACES = ("google", "langgraph", "opentelemetry")
"""Packages of ours without an `__init__.py`: any module of that name, anywhere on the path, would be taken for them."""


def current_folder_last() -> None:
    """Put the current folder at the end of the path. Call it before Celery is imported.

    Celery puts the current folder before everything else whenever it imports something by name, unless the folder is on
    the path already (`celery.utils.imports.cwd_in_path`, 5.7).
    """
    for name in NAMESPACES:  # what has been found once is not looked for again
        with suppress(ImportError):
            importlib.import_module(name)
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
