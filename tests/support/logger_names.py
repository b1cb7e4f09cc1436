"""The loggers of the process, for a pytest that looks through them while other threads make new ones.

Before each part of a test pytest (9.2.0, `_pytest/logging.py`, `catching_logs`) goes through all loggers without
logging's lock. A worker's loop in the test's process imports modules meanwhile, and a module that makes its logger then
ends the test with "dictionary changed size during iteration".
"""

import logging
from typing import Any


class LoggerNames(dict[str, Any]):
    """Of it one goes through a copy."""

    def values(self) -> Any:
        return list(super().values())


def install() -> None:
    manager = logging.root.manager
    manager.loggerDict = LoggerNames(manager.loggerDict)
