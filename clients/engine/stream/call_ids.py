"""Gives each tool call that a model asked for one id for the whole run, and knows which result was reported of it.

The id is the one that the model gave. If it gave none, the id is made of the message's id and the call's position. If
another call already has the id (two sub-agents that both say `call_1`), it gets a suffix, so that no two calls share a
place in the status.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage

from agent_runner.clients.engine.stream import messages as read
from agent_runner.clients.models.endings import refused_in
from agent_runner.status.log.events import ToolEdited, ToolRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A call that waits for its tool to start."""

    raw_id: str
    name: str
    args: Any


@dataclass(slots=True, kw_only=True)
class Asked:
    """A call that a model asked for. `id`: its id in the status."""

    id: str
    name: str
    args: Any
    started: bool = False
    ended: bool = False
    untold: bool = False
    """Its tool was started without a message that asked for it in this run: that one is of an earlier turn."""


class Calls:
    """The calls of one run, by the scope they were asked in and the id the model gave them."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], Asked] = {}
        self._taken: set[str] = set()
        self._by_scope: dict[str, list[Asked]] = {}

    def request(
        self, scope: str, message_id: str, message: AIMessage, before: Sequence[str] = ()
    ) -> tuple[ToolRequest, ...]:
        """Register the calls of a finished AI message, in order; refused calls come last.

        `before`: the ids of the calls that the message had before it was rewritten.
        """
        refused = refused_in(message)
        ids = {one.id for one in refused}
        valid = [call for call in message.tool_calls if not call.get("id") or call["id"] not in ids]
        told: list[tuple[str | None, str, Any, str]] = [(c.get("id"), c["name"], c["args"], "") for c in valid]
        told += [(one.id, one.name, one.args, one.why) for one in refused]
        self._by_scope[scope] = []
        requests = []
        for index, (raw_id, name, args, why) in enumerate(told):
            raw_id = raw_id or f"{message_id}:{index}"
            asked = self._again(scope, raw_id, name, args, before) or self._ask(scope, raw_id, name, args)
            asked.ended = asked.ended or bool(why)
            requests.append(ToolRequest(tool_call_id=asked.id, name=name, args=args, invalid=why))
        return tuple(requests)

    def _again(self, scope: str, raw_id: str, name: str, args: Any, before: Sequence[str]) -> Asked | None:
        """The call of a rewritten message, if the message had this call before."""
        asked = self._asked.get((scope, raw_id))
        if asked is None or asked.id not in before:
            return None
        asked.name, asked.args, asked.untold = name, args, False
        self._by_scope[scope].append(asked)
        return asked

    def untold(self, scope: str, message: AIMessage) -> tuple[str, ...]:
        """The ids of those calls of the message that were told before it."""
        asked = [self._asked.get((scope, call.get("id") or "")) for call in message.tool_calls]
        return tuple(one.id for one in asked if one is not None and one.untold)

    def known(self, scope: str, raw_id: str) -> Asked | None:
        """The call that was asked for under this id, ended or not."""
        return self._asked.get((scope, raw_id))

    def start(self, scope: str, name: str, args: Any, offers: Sequence[Offer], *, otherwise: str) -> str:
        """The id of the call whose tool starts now. `offers`: the calls that its node was given.

        If no call fits, the graph's own code started the tool, and the id is `otherwise`.
        """
        given = [self._offered(scope, offer) for offer in offers if offer.name == name]
        fitting = [a for a in given or self._by_scope.get(scope, []) if a.name == name and not a.started]
        asked = next((a for a in fitting if a.args == args), fitting[0] if fitting else None)
        if asked is None and given:  # the tool is retried
            asked = next((a for a in given if a.args == args), given[0])
        if asked is None:
            return otherwise
        asked.started, asked.ended = True, False
        return asked.id

    def end(self, scope: str, raw_id: str) -> Asked | None:
        """Mark the call as ended. None if no model asked for it in this run, or if it had ended before."""
        asked = self._asked.get((scope, raw_id))
        if asked is None or asked.ended:
            return None
        asked.ended = True
        return asked

    def _offered(self, scope: str, offer: Offer) -> Asked:
        """The call of an offer. A call from before a hand-back is not registered here yet; it keeps its id."""
        asked = self._asked.get((scope, offer.raw_id))
        if asked is None:
            asked = self._ask(scope, offer.raw_id, offer.name, offer.args)
            asked.untold = True
        return asked

    def _ask(self, scope: str, raw_id: str, name: str, args: Any) -> Asked:
        id_, number = raw_id, 1
        while id_ in self._taken:
            number += 1
            id_ = f"{raw_id}~{number}"
        self._taken.add(id_)
        asked = self._asked[(scope, raw_id)] = Asked(id=id_, name=name, args=args)
        self._by_scope.setdefault(scope, []).append(asked)
        return asked


class Results:
    """What was reported of the calls that have ended, by their ids: a result, or an exception of the tool."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, bool]] = {}
        self._words: dict[str, str] = {}

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._kept or call_id in self._words

    def told(self, call_id: str, content: Any, *, failed: bool) -> None:
        self._kept[call_id] = (content, failed)
        self._words.pop(call_id, None)

    def raised(self, call_id: str, words: str) -> None:
        """The call was reported as failed by an exception that says `words`."""
        self._words[call_id] = words

    def forget(self, call_id: str) -> bool:
        """Whether there was one."""
        had = call_id in self
        self._kept.pop(call_id, None)
        self._words.pop(call_id, None)
        return had

    def kept(self, call_id: str, message: ToolMessage) -> Iterator[ToolEdited]:
        """The graph keeps this as the call's result; an edit if something else was reported. Where its tool raised, the
        exception stays reported, unless an error handler hides its words or makes the call a success."""
        reported = call_id in self
        now, words = (message.content, read.tool_failed(message)), self._words.pop(call_id, None)
        before, self._kept[call_id] = self._kept.get(call_id), now
        same = before == now if words is None else now[1] and words in read.text_of(message)
        if reported and not same:
            yield ToolEdited(tool_call_id=call_id, result=now[0], failed=now[1])


def offers_in(node_input: Any, last: AIMessage | None) -> tuple[Offer, ...]:
    """The tool calls that a node was given: as `Send` of calls, or as a state whose last message (`last`) has some."""
    calls: Iterable[Any] = ()
    if isinstance(node_input, list):
        calls = node_input
    elif isinstance(node_input, Mapping) and isinstance(node_input.get("tool_call"), Mapping):
        calls = [node_input["tool_call"]]
    elif last is not None:
        calls = last.tool_calls
    return tuple(
        Offer(raw_id=str(call.get("id") or ""), name=str(call["name"]), args=call.get("args"))
        for call in calls
        if isinstance(call, Mapping) and "name" in call and call.get("id")
    )
