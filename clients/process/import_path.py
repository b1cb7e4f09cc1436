"""Where a process of ours looks for modules: the folder it was started in comes last.

That folder is a user's project. A `redis.py` or `logging.py` there must not replace the modules that we and our
dependencies import.
"""

import os
import sys

PYTHON = (sys.executable, "-P")
"""How our programs are started: without `-P` Python puts the current folder first."""


def current_folder_last() -> None:
    """Put the current folder at the end of the path. Call it before Celery is imported.

    Celery puts the current folder before everything else whenever it imports something by name, unless the folder is on
    the path already (`celery.utils.imports.cwd_in_path`, 5.7).
    """
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
