"""The look of pytest through the loggers of the process."""

import logging

from tests.support.logger_names import LoggerNames


def test_a_logger_that_is_made_meanwhile_ends_no_test() -> None:
    """Law: one may go through all loggers while another thread makes one. The new one is there for the next look."""
    names = logging.root.manager.loggerDict
    assert isinstance(names, LoggerNames)
    for number, _ in enumerate(names.values()):
        if number == 0:
            made = logging.getLogger("a logger that is made meanwhile")
    assert made in names.values()
