"""Which AI messages of a run are known: reported already, or part of the history that the run started with."""

from langchain_core.messages import AIMessage

from agent_runner.clients.engine.stream import messages as read
from agent_runner.clients.engine.stream.call_ids import Calls
from agent_runner.status.log.events import MessageFinished


class KnownMessages:
    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._nameless: dict[int, AIMessage] = {}
        """Messages that had no id when they were seen. LangGraph gives them one later, in place."""
        self._given: set[str] = set()

    def add(self, message: AIMessage) -> bool:
        """Note a message. Returns whether it was new."""
        if message.id is None:
            new = id(message) not in self._nameless
            self._nameless[id(message)] = message
            return new
        new = message.id not in self._ids and id(message) not in self._nameless
        self._ids.add(message.id)
        return new

    def fresh_id(self, id_: str) -> str:
        """An id for a message of the status: the model's, with a suffix if another message has it."""
        fresh, number = id_, 1
        while fresh in self._given:
            number += 1
            fresh = f"{id_}~{number}"
        self._given.add(fresh)
        return fresh


def finished(message: AIMessage, *, scope: str, message_id: str, calls: Calls, late: bool = False) -> MessageFinished:
    """`late`: calls of it that were told before it are its own."""
    return MessageFinished(
        scope=scope,
        message_id=message_id,
        text=read.shown_text(message),
        requests=calls.request(scope, message_id, message, calls.untold(scope, message) if late else ()),
        usage=read.usage_of(message),
        model=read.model_of(message),
        finish_reason=read.finish_reason_of(message),
        reasoning=read.reasoning_of(message),
        incomplete=read.incomplete_of(message),
        refusal=read.refusal_of(message),
        fell_back_from=read.fell_back_from(message),
    )
