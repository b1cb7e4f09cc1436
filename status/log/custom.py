"""Custom events of a graph about its own progress, as rows of the log. Their size is limited, whatever a node writes.

A row is `{"data", "name"?, "node"?, "scope"?}`. Data that is too large for one row is cut to the beginning of its
JSON, with a note. When a run has reached its limit, one last row says so and later events are dropped. These rows are
no part of the status, so dropped events do not change it.
"""

import json
from dataclasses import dataclass
from typing import Any

from agent_runner.status.log.events import CustomData
from agent_runner.status.log.plain import cut, plain, plain_text

MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomLimits:
    """The limits for one row (bytes of JSON) and for a whole run (rows, bytes)."""

    row_bytes: int = 32 << 10
    rows: int = 2000
    run_bytes: int = 4 << 20


class CustomRows:
    """The custom rows of one run. `row(event)` is the payload to append, or None after the limit was reached."""

    def __init__(self, limits: CustomLimits | None = None) -> None:
        self._limits = limits or CustomLimits()
        self._rows = self._bytes = 0
        self._full = False

    def row(self, event: CustomData) -> dict[str, Any] | None:
        if self._full:
            return None
        told = {"name": plain_text(event.name)[:MAX_NAME_CHARS], "node": plain_text(event.node), "scope": event.scope}
        data, weight = self._fitted(event.data)
        self._rows += 1
        self._bytes += weight
        if self._rows > self._limits.rows or self._bytes > self._limits.run_bytes:
            self._full = True
            note = f"at most {self._limits.rows} events and {self._limits.run_bytes} bytes of a run are kept"
            return {"data": None, "note": f"custom events are not kept from here on: {note}"}
        return {name: value for name, value in told.items() if value} | {"data": data}

    def _fitted(self, data: Any) -> tuple[Any, int]:
        shown = plain(data, max_bytes=self._limits.row_bytes)
        text = json.dumps(shown, ensure_ascii=False)
        weight = len(text.encode())
        if weight <= self._limits.row_bytes:
            return shown, weight
        return cut(text, self._limits.row_bytes), self._limits.row_bytes
