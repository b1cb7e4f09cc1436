"""Why a model stopped: which finish reasons of providers mean a complete answer, and a text for the others."""

from collections.abc import Sequence

from agent_runner.status.log.events import WrongTurn
from agent_runner.status.log.log import Delta
from agent_runner.status.log.plain import plain_text

WHOLE = frozenset(
    {
        *("stop", "end_turn", "stop_sequence", "tool_calls", "tool_use", "function_call", "tool_call"),
        *("completed", "complete", "eos", "eos_token", "finish", "finished", "done"),
    }
)
"""Finish reasons of a complete answer, in lower case: some providers write them in capitals."""
CALLS_END = WHOLE - {"stop_sequence", "eos", "eos_token"}
"""With these reasons the tool calls of a message are complete. A stop sequence may cut an argument."""
CUT_OFF = "cut_off"
"""Our own reason for an answer that broke off before the provider gave one."""
EMPTY = "empty"
EMPTY_ANSWER = "The agent ended without an answer."
REFUSAL = "refusal"
MAX_TARGET_CHARS = 200
"""Of a name: a model that picks the route may have written a whole answer in place of one."""
MOST_NAMED = 10

OUT_OF_ROOM = frozenset({"length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"})
"""Limits that a shorter answer would not have reached."""

_SAYS = {
    "length": "the model ran out of tokens",
    "max_tokens": "the model ran out of tokens",
    "max_output_tokens": "the model ran out of tokens",
    "content_filter": "the provider's content filter stopped the answer",
    "safety": "the provider's content filter stopped the answer",
    REFUSAL: "the model refused to answer",
    "model_context_window_exceeded": "the conversation has filled the model's context window",
    "pause_turn": "the provider paused the turn and it was not taken up again",
    CUT_OFF: "the answer broke off before its end",
    EMPTY: "the model gave an empty answer",
    "error": "the provider failed in the middle of the answer",
}


def is_whole(word: str) -> bool:
    """Whether this finish reason means a complete answer. An empty one does: some providers give none."""
    return not word or word.lower() in WHOLE


def is_out_of_room(word: str) -> bool:
    return word.lower() in OUT_OF_ROOM


def says(reason: str) -> str:
    """The reason as a clause of a sentence."""
    return _SAYS.get(reason.lower()) or f"the model stopped for the reason '{reason}'"


def not_whole(reason: str, refusal: str, *, answered: bool) -> list[Delta]:
    """The deltas at the end of a run whose last answer is missing (not `answered`), cut or refused."""
    if not reason and answered:
        return []
    text = says(reason or EMPTY) + (f": {refusal.rstrip('. ')}" if refusal else "")
    told = Delta(kind="incomplete", payload={"reason": reason or EMPTY, "text": text})
    return [told] if answered else [told, *empty_answer_note(text if reason else "")]


def empty_answer_note(why: str = "") -> list[Delta]:
    text = f"{EMPTY_ANSWER[:-1]}: {why}." if why else EMPTY_ANSWER
    note = {"id": "empty-answer", "type": "MESSAGE_SYSTEM", "content": text, "metadata": {"note": "empty_answer"}}
    return [Delta(kind="message", payload=note)]


def wrong_turn_note(turn: WrongTurn) -> Delta:
    """A note, because LangGraph itself lets the run end as if the node that is not there had done its work."""
    target = _name(turn.target)
    place = f" within {_listed(turn.place)}" if turn.place else ""
    who = f"The node {_name(turn.node)}{place}" if turn.node else f"The caller's command{place}"
    has = f" It has: {_listed(turn.nodes)}." if turn.nodes else ""
    sent = f"{who} sent the run on to {target}, a node that its graph does not have"
    text = f"{sent}: nothing ran there.{has}"
    metadata = {
        "note": "wrong_turn",
        "node": plain_text(turn.node),
        "target": plain_text(turn.target[:MAX_TARGET_CHARS]),
    }
    return Delta(
        kind="message",
        payload={"id": turn.message_id, "type": "MESSAGE_SYSTEM", "content": text, "metadata": metadata},
    )


def _name(name: str) -> str:
    cut = f"{name[:MAX_TARGET_CHARS]} ..." if len(name) > MAX_TARGET_CHARS else name
    return f"'{plain_text(cut)}'"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(_name(name) for name in names[:MOST_NAMED]) + more
