"""Logging of every process: one format, or JSON lines; other people's noise lowered."""

import json
import logging
import sys
from datetime import UTC, datetime

from agent_runner.clients.settings.environment import told_of_env_file
from agent_runner.status.visible_text import visible

FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
QUIET = {
    "grpc": logging.WARNING,
    "asyncio": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "anthropic": logging.INFO,
    "openai": logging.INFO,
    "aiosqlite": logging.INFO,
    "alembic": logging.WARNING,
    "sqlalchemy": logging.WARNING,
    "kombu": logging.INFO,
    "amqp": logging.INFO,
    "urllib3": logging.INFO,
}


def set_up_logging(level: str, log_format: str) -> None:
    """`level` and `log_format` ("text" or "json") as in the settings. To stderr: stdout is for results."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines(FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, lowest in QUIET.items():
        logging.getLogger(name).setLevel(max(lowest, root.level))
    for line in told_of_env_file():
        logging.getLogger(__name__).info(line)


class TextLines(logging.Formatter):
    """One line a record; what tools and models say cannot move the cursor of whoever reads it."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class JsonLines(logging.Formatter):
    """One object a line: at, level, logger, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
