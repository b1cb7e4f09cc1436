"""Compares the messages in a graph's state with the messages reported so far, and reports the differences as events.

A graph may rewrite a message under its id (a guard, redaction of private data, an edited tool call), remove one
(`RemoveMessage`, `REMOVE_ALL_MESSAGES`, `Overwrite`, a summary in place of the history), or add one that no model said.
The `messages` of its state after each step show this, whatever the reducer is.

A message that was reported as part of the main conversation and is not in that state belongs to a nested graph, or to a
node that used it itself. It gets a scope of its own: the names of the nodes around it. If it comes into the state
later, it is part of the main conversation again. Of nested graphs only the output of their nodes is seen: edits by id,
removals, and a sub-agent's results that come again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command

from agent_runner.clients.engine.stream import messages as read
from agent_runner.clients.engine.stream.call_ids import Asked, Calls, Results
from agent_runner.clients.engine.stream.known_messages import KnownMessages, finished
from agent_runner.clients.engine.stream.settled_messages import SettledMessages, calls_of, view
from agent_runner.status.log import events
from agent_runner.status.log.events import USER_MESSAGE, Event, input_message

Key = str | tuple[Any, ...]


@dataclass(slots=True)
class _Entry:
    """A message as last reported. `place`: the nodes around it. `inside`: it is (or was) in the graph's state."""

    id: str
    message: BaseMessage
    scope: str = ""
    place: str = ""
    inside: bool = False
    aside: bool = False
    """It was reported that this message is not part of the main conversation."""
    calls: tuple[str, ...] = ()
    shown: tuple[Any, ...] = field(default=())

    def __post_init__(self) -> None:
        self.shown = view(self.message)


class Conversation:
    """The messages of one run. `told` and `result_told` note the reported messages and results. `state` and `node`
    compare them with what the graph keeps."""

    def __init__(self, calls: Calls, known: KnownMessages, graph_input: Any = None) -> None:
        self._calls, self._known = calls, known
        self._input = graph_input
        self._entries: dict[Key, _Entry] = {}
        self._objects: dict[int, _Entry] = {}
        self._nameless: list[_Entry] = []
        self._results = Results()
        self._result_keys: dict[Key, str] = {}
        self._result_calls: dict[Key, Asked | None] = {}
        """None: of a call of an earlier turn."""
        self._gone_calls: set[str] = set()
        """Calls that were removed, alone or with their message. Results of them in the state are not reported."""
        self._history: dict[Key, BaseMessage] = {}
        self._order: list[str] = []
        self._wanted: list[str] = []
        """The order at the last state, of the messages that were in it."""
        self._loose: list[_Entry] = []
        """Told since the last state: those that it does not show are put aside."""
        self._begun = False
        self._present: dict[Key, BaseMessage] = {}
        self._settled = SettledMessages()
        self._last: BaseMessage | None = None

    def told(self, message: AIMessage, event: events.MessageFinished, *, place: str = "") -> None:
        """Note that an AI message was reported as `event`."""
        calls = tuple(request.tool_call_id for request in event.requests)
        entry = _Entry(event.message_id, message, scope=event.scope, place=place, calls=calls)
        if message.id:
            if message.id in self._entries:
                self._settled.forget()
            self._entries[message.id] = entry
        self._objects[id(message)] = entry
        self._loose.append(entry)
        self._nameless += [entry] if message.id is None else []
        if not event.scope:
            self._order.append(entry.id)

    def result_told(self, call_id: str, content: Any, *, failed: bool) -> None:
        if call_id in self._results:
            self._settled.forget()
        self._results.told(call_id, content, failed=failed)

    def error_told(self, call_id: str, words: str) -> None:
        """Note that the call was reported as failed by an exception that says `words`."""
        self._results.raised(call_id, words)

    def state(self, values: Any) -> Iterator[Event]:
        """Takes the graph's state after a step. Yields the events after which the status shows its messages."""
        held = read.conversation_of(values)
        if held is None:
            return
        added = self._added(held)
        now = self._keyed(held) if added is None else added
        if not self._begun:
            self._begin(now)
        if added is None:
            self._present, self._wanted = now, []
            yield from self._gone(now)
        else:
            self._present |= now
        self._last = next(reversed(self._present.values()), None)
        for key, message in now.items():
            if key in self._history:
                continue
            if isinstance(message, ToolMessage):
                yield from self._result(key, message)
            else:
                yield from self._message(key, message)
        yield from self._moved(now)
        yield from self._put_aside()
        self._settle(held, now, anew=added is None)

    def _added(self, held: Sequence[Any]) -> dict[Key, BaseMessage] | None:
        """The messages that came behind those of the last state. None: something else is new too."""
        fresh = self._settled.fresh(held)
        if fresh is None:
            return None
        added = self._keyed(fresh)
        return None if len(added) < len(fresh) or not self._present.keys().isdisjoint(added) else added

    def _settle(self, held: Sequence[Any], now: Mapping[Key, BaseMessage], *, anew: bool) -> None:
        if len(self._present) < len(held):  # two messages with one id
            self._settled.forget()
            return
        counts = [key not in self._history for key in now]
        if anew:
            self._settled.settle(held, counts)
        else:
            self._settled.add(held[len(held) - len(now) :], counts)

    def node(self, output: Any, scope: str = "", place: str = "") -> Iterator[Event]:
        """Takes the output of a nested graph's node. Yields edits and removals of messages and results that no state
        here shows. `scope`: the sub-agent whose graph it is. `place`: of the node."""
        listed = list(read.messages_in(output))
        kept = {m.id for m in listed if m.id and not isinstance(m, RemoveMessage)}
        for message in listed:
            if isinstance(message, ToolMessage):
                yield from self._nested_result(scope, message)
                continue
            if isinstance(message, RemoveMessage) and message.id == REMOVE_ALL_MESSAGES:
                yield from self._cleared(scope, place, kept)
                continue
            entry = self._entries.get(message.id or "") or self._named_later(message.id)
            if entry is None or entry.inside or entry.id == USER_MESSAGE:
                continue
            if isinstance(message, RemoveMessage):
                if message.id not in kept:
                    yield from self._remove(entry)
            elif isinstance(message, AIMessage) and view(message) != entry.shown:
                yield from self._edit(entry, message)

    def _named_later(self, id_: str | None) -> _Entry | None:
        """The message that had no id when it was told, and was given this one by LangGraph, in place."""
        return next((entry for entry in self._objects.values() if id_ and entry.message.id == id_), None)

    def _cleared(self, scope: str, place: str, kept: set[str]) -> Iterator[Event]:
        """A sub-agent took all of its messages away, but for those that are listed again. Where no sub-agent is around,
        messages of other graphs may be meant."""
        graph = place.rpartition("/")[0]
        for entry in list(self._entries.values()) if scope else ():
            mine = entry.scope == scope and entry.place.rpartition("/")[0] == graph and not entry.inside
            if mine and entry.message.id not in kept:
                yield from self._remove(entry)

    def _nested_result(self, scope: str, message: ToolMessage) -> Iterator[Event]:
        """A sub-agent's result that came before under its id was rewritten: redacted, for one."""
        key: Key = message.id or ("object", id(message))
        asked = self._result_calls.setdefault(key, self._calls.known(scope, message.tool_call_id)) if scope else None
        if asked is None or asked.id in self._gone_calls:
            return
        yield from self._results.kept(asked.id, message)

    def end(self, *, interrupted: bool) -> Iterator[Event]:
        """The graph has ended, or waits for a person (`interrupted`). Then calls in its nested graphs may wait too."""
        if self._begun and not interrupted:
            yield from self._put_aside()
        kept = sum(key in self._present for key in self._history)
        if kept < len(self._history):
            yield events.HistoryCut(kept=kept)
        entries = {id(e): e for e in [*self._entries.values(), *self._objects.values()]}.values()
        taken = [e for e in entries if not e.inside and not (interrupted and (e.scope or "/" in e.place))]
        if calls := tuple(call_id for entry in taken for call_id in entry.calls):
            yield events.CallsTaken(tool_call_ids=calls)
        if not interrupted and isinstance(self._last, ToolMessage) and read.text_of(self._last).strip():
            yield events.ToolAnswered()  # as with `return_direct`

    def _begin(self, now: Mapping[Key, BaseMessage]) -> None:
        """Takes the first state, and separates the messages of earlier turns from those of the input."""
        self._begun = True
        self._history = {k: m for k, m in now.items() if self._entry(k, m) is None and not isinstance(m, ToolMessage)}
        resumed = self._input is None
        if isinstance(self._input, Command) or (not resumed and read.conversation_of(self._input) is None):
            return
        humans = [key for key, message in now.items() if isinstance(message, HumanMessage)]
        if not humans:
            return
        keys, numbers = list(self._history), dict[Key, int]()
        first = keys.index(humans[-1]) if humans[-1] in self._history else len(keys)
        if not resumed:
            given = self._keyed(read.conversation_of(self._input) or ())
            came = sum(not isinstance(message, ToolMessage) for message in given.values())
            first = min(first, max(0, len(keys) - came))
            # the server has reported all messages of an input, with ids made from their positions
            numbers = {key: number for number, key in enumerate(given, 1)}
        for key in keys[first:]:
            message = self._history.pop(key)
            id_ = USER_MESSAGE if key == humans[-1] else message.id or ""
            if key in numbers and id_ != USER_MESSAGE:
                id_ = input_message(numbers[key])
            # a message reported before a hand-back has its calls, under the ids that the model gave them
            calls = (
                [call_id for call_id, _, _ in calls_of(message) if call_id] if isinstance(message, AIMessage) else []
            )
            self._entries[key] = _Entry(id_, message, inside=True, calls=tuple(calls))
            if id_:
                self._order.append(id_)

    def _entry(self, key: Key, message: BaseMessage) -> _Entry | None:
        entry = self._entries.get(key) or self._objects.get(id(message)) or self._copied(message)
        if entry is not None:
            self._entries[key] = entry  # a message without an id gets one from LangGraph, in place
        return entry

    def _copied(self, message: BaseMessage) -> _Entry | None:
        """The message without an id of which the state has a copy with one: LangGraph makes a message of a chunk."""
        if not self._nameless or not isinstance(message, AIMessage):
            return None
        self._nameless = [one for one in self._nameless if one.message.id is None and not one.inside]
        entry = next((one for one in self._nameless if one.shown[1:] == view(message)[1:]), None)
        if entry is not None:
            self._objects.pop(id(entry.message), None)
            self._objects[id(message)] = entry
            entry.message, entry.shown = message, view(message)
        return entry

    def _keyed(self, held: Sequence[Any]) -> dict[Key, BaseMessage]:
        keyed: dict[Key, BaseMessage] = {}
        for item in held:
            if isinstance(item, BaseMessage):
                keyed[item.id or ("object", id(item))] = item
                continue
            message = read.as_message(item)
            if message is None:
                continue
            number = 0
            shown = (type(message).__name__, repr(view(message)))
            while (*shown, number) in keyed:
                number += 1
            keyed[*shown, number] = message
        return keyed

    def _gone(self, now: Mapping[Key, BaseMessage]) -> Iterator[Event]:
        ids = {id(entry) for key, message in now.items() if (entry := self._entry(key, message))}
        for entry in list(self._entries.values()):
            if entry.inside and id(entry) not in ids:
                yield from self._remove(entry)
        for key, call_id in list(self._result_keys.items()):
            if key not in now:
                del self._result_keys[key]
                if self._results.forget(call_id):
                    yield events.ToolEdited(tool_call_id=call_id)

    def _remove(self, entry: _Entry) -> Iterator[Event]:
        """Remove the message, its calls, and the messages said inside of these calls."""
        paths = tuple(f"{entry.scope}/{call}" if entry.scope else call for call in entry.calls)
        within = [e for e in self._objects.values() if any(e.scope == p or e.scope.startswith(f"{p}/") for p in paths)]
        for one in {id(e): e for e in [entry, *within]}.values():
            yield self._forget(one)

    def _forget(self, entry: _Entry) -> Event:
        for held in [key for key, known in self._entries.items() if known is entry]:
            del self._entries[held]
        for object_ in [key for key, known in self._objects.items() if known is entry]:
            del self._objects[object_]
        if entry.id in self._order:
            self._order.remove(entry.id)
        self._gone_calls.update(entry.calls)
        for call_id in entry.calls:
            self._results.forget(call_id)
        return events.MessageRemoved(message_id=entry.id, tool_call_ids=entry.calls)

    def _message(self, key: Key, message: BaseMessage) -> Iterator[Event]:
        entry = self._entry(key, message)
        if entry is None:
            yield self._new(key, message)
            return
        entry.inside = True
        if entry.scope or entry.aside:
            entry.scope, entry.aside = "", False
            yield events.MessageScoped(message_id=entry.id, scope="")
        if entry.id not in self._order:
            self._order.append(entry.id)
        if view(message) != entry.shown:
            yield from self._edit(entry, message)

    def _new(self, key: Key, message: BaseMessage) -> Event:
        id_ = self._known.fresh_id(message.id or f"message-{id(message):x}")
        event: Event
        if isinstance(message, AIMessage):
            self._known.add(message)
            event = finished(message, scope="", message_id=id_, calls=self._calls, late=True)
            self.told(message, event)
        else:
            kind = "MESSAGE_SYSTEM" if isinstance(message, SystemMessage) else "MESSAGE_HUMAN"
            event = events.MessageAdded(message_id=id_, type=kind, text=read.shown_text(message))
            self._order.append(id_)
        entry = self._objects.get(id(message)) or _Entry(id_, message)
        entry.inside = True
        self._entries[key] = entry
        return event

    def _edit(self, entry: _Entry, message: BaseMessage) -> Iterator[Event]:
        old = entry.message
        entry.message, entry.shown = message, view(message)
        self._objects.pop(id(old), None)  # it may be freed, and another message may get its address
        self._objects[id(message)] = entry
        requests: tuple[events.ToolRequest, ...] = ()
        changed: tuple[events.ToolRequest, ...] = ()
        if isinstance(message, AIMessage) and isinstance(old, AIMessage):
            requests = self._calls.request(entry.scope, entry.id, message, entry.calls)
            before = calls_of(old)
            pairs = zip(requests, calls_of(message), strict=True)
            changed = tuple(request for request, call in pairs if call not in before)
        kept = {request.tool_call_id for request in requests}
        gone = tuple(call_id for call_id in entry.calls if call_id not in kept)
        entry.calls = tuple(request.tool_call_id for request in requests)
        self._gone_calls.update(gone)
        reasoning = read.reasoning_of(message) if isinstance(message, AIMessage) else ""
        yield events.MessageEdited(
            scope=entry.scope,
            message_id=entry.id,
            text=read.shown_text(message),
            reasoning=reasoning,
            requests=changed,
            removed_calls=gone,
        )

    def _result(self, key: Key, message: ToolMessage) -> Iterator[Event]:
        """A result is of the call that had the id when it came: models use one id again."""
        asked = self._result_calls.setdefault(key, self._calls.known("", message.tool_call_id))
        if asked is None or asked.id in self._gone_calls:
            return
        self._result_keys[key] = asked.id
        if asked.id in self._results:
            yield from self._results.kept(asked.id, message)
            return
        failed, asked.ended = read.tool_failed(message), True
        self._results.told(asked.id, message.content, failed=failed)
        yield events.ToolFinished(
            scope="", tool_call_id=asked.id, name=asked.name, result=message.content, failed=failed
        )

    def _moved(self, now: Mapping[Key, BaseMessage]) -> Iterator[Event]:
        """Bring the messages into the order of the state. The user's message stays the first."""
        self._wanted += [e.id for k in now if (e := self._entries.get(k)) and e.id != USER_MESSAGE and e.id]
        wanted = self._wanted
        if self._order == wanted:
            return
        known = set(wanted)
        order = [id_ for id_ in self._order if id_ in known]
        for index, id_ in enumerate(wanted):
            if order[index] != id_:
                order.remove(id_)
                order.insert(index, id_)
                yield events.MessageMoved(message_id=id_, after=wanted[index - 1] if index else "")
        rest = [id_ for id_ in self._order if id_ not in known and id_ != USER_MESSAGE]
        self._order = order + rest

    def _put_aside(self) -> Iterator[Event]:
        loose, self._loose = self._loose, []
        for entry in loose:
            if entry.inside or entry.scope or entry.aside or not self._holds(entry):
                continue
            entry.aside = True
            if entry.id in self._order:
                self._order.remove(entry.id)
            yield events.MessageScoped(message_id=entry.id, scope=entry.place or "graph")

    def _holds(self, entry: _Entry) -> bool:
        """Whether it was neither removed nor told again as another one."""
        return self._objects.get(id(entry.message)) is entry or any(one is entry for one in self._entries.values())


def place_of(namespace: str | Iterable[str]) -> str:
    """The names of the nodes in a checkpoint namespace: `agent:<uuid>|model:<uuid>` is `agent/model`."""
    segments = namespace.split("|") if isinstance(namespace, str) else namespace
    return "/".join(segment.split(":")[0] for segment in segments if segment)
