"""Puts the pieces of streamed tool calls together, also those of providers and gateways that break the protocol.

The protocol says that `index` tells the calls of one message apart. Some servers leave it out, or send 0 for every
call. Some repeat or omit the id. Some give the same id to two calls, or give it again in a later turn.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, kw_only=True)
class CallPieces:
    """One call. `raw`: the text of its arguments so far."""

    id: str = ""
    name: str = ""
    raw: str = ""

    @property
    def whole(self) -> bool:
        try:
            return isinstance(json.loads(self.raw, strict=False), dict)
        except (ValueError, RecursionError):
            return False


class CallAssembly:
    """The calls of one message, in the order in which they began."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """`taken`: the ids of the conversation so far."""
        self.calls: list[CallPieces] = []
        self._at: dict[Any, CallPieces] = {}
        self._taken = set(taken)

    def add(self, piece: Mapping[str, Any]) -> None:
        index, id_ = piece.get("index"), piece.get("id") or ""
        name, args = piece.get("name") or "", piece.get("args") or ""
        call = self._at.get(index)
        if call is None or (id_ and call.id and id_ != call.id) or (name and args and call.whole):
            call = self._at[index] = CallPieces()
            self.calls.append(call)
        call.id = call.id or id_
        call.name = call.name or name
        call.raw += args

    def name_all(self) -> None:
        """Give every call an id that no other call of the conversation has."""
        for call in self.calls:
            id_ = call.id or f"call_{uuid.uuid4().hex[:24]}"
            number = 1
            call.id = id_
            while call.id in self._taken:
                number += 1
                call.id = f"{id_}-{number}"
            self._taken.add(call.id)
