"""Makes the events of `astream_events` (schema v2) that we read, and no others, out of LangChain's callbacks.

`astream_events` makes an event of everything, hands each to a task of its own, and starts an event loop for each that
comes from a thread. This handler is called inline.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, LLMResult

from agent_runner.clients.engine.stream.event_queue import EventQueue, Raw

GIVES_WAY_AFTER_S = 0.002
BLOCKED_S = 1.0
"""How long nobody gives way after it was seen that this helps nobody."""
WRONG_TURN = "on_wrong_turn"
CHAIN, TOOL, CHAT_MODEL, RETRIEVER = "chain", "tool", "chat_model", "retriever"


def is_node(name: str, tags: Sequence[str], metadata: Mapping[str, Any]) -> bool:
    """Whether a run is a node of a graph, and not something inside of one."""
    return name == metadata.get("langgraph_node") and "langsmith:hidden" not in tags


def wrong_turn_event(run_id: UUID, path: list[str], told: Mapping[str, Any]) -> Raw:
    return {"event": WRONG_TURN, "run_id": str(run_id), "parent_ids": path, "data": told}


@dataclass(slots=True)
class _Run:
    """A run in LangChain's sense. `facts`: what each of its events repeats; `told`: its start and its end are events;
    `tooled`: it is a tool or runs within one."""

    kind: str
    facts: dict[str, Any]
    told: bool
    tooled: bool
    call_id: Any

    @property
    def path(self) -> list[str]:
        """The `parent_ids` of the runs within."""
        return [*self.facts["parent_ids"], self.facts["run_id"]]

    def event(self, what: str, data: Mapping[str, Any]) -> Raw:
        return {"event": f"on_{self.kind}_{what}", **self.facts, "data": data}


class EventHandler(BaseCallbackHandler):
    """`put` gets the events, on the thread of the callback. `root`: the id of the graph's own run."""

    run_inline = True
    ignore_retry = True

    def __init__(self, put: Callable[[Raw], None], root: UUID) -> None:
        self._put, self._root = put, root
        self._runs: dict[UUID, _Run] = {}
        self._paths: dict[UUID, list[str]] = {}
        """Of tools that have ended and of what ran within them: what they started may outlive them, and is theirs."""

    # A chat model that is asked for a whole answer streams it nevertheless if a handler has these two methods. Not by
    # inheritance: LangGraph would then run nodes by `astream`, which costs more and which no other caller has.
    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[Any]) -> Iterator[Any]:
        return output

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self

    @property
    def open(self) -> int:
        """How many runs have not ended."""
        return len(self._runs)

    def streamed(self, chunk: Any) -> None:
        """Takes what the graph's own stream gives."""
        root = self._runs.get(self._root) or self._begin(CHAIN, None, self._root, {})
        self._put(root.event("stream", {"chunk": chunk}))

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **rest: Any) -> None:
        run = self._begin(rest.get("run_type") or CHAIN, serialized, run_id, rest)
        if run.told:
            self._put(run.event("start", {"input": inputs}))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **rest: Any) -> None:
        if (run := self._end(run_id)) and run.told:
            self._put(run.event("end", {"output": outputs}))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **rest: Any) -> None:
        self._end(run_id)

    def on_retriever_start(self, serialized: Any, query: str, *, run_id: UUID, **rest: Any) -> None:
        self._begin(RETRIEVER, serialized, run_id, rest)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **rest: Any) -> None:
        self._end(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **rest: Any) -> None:
        self._end(run_id)

    def on_tool_start(self, serialized: Any, input_str: str, *, run_id: UUID, inputs: Any = None, **rest: Any) -> None:
        run = self._begin(TOOL, serialized, run_id, rest)
        self._put(run.event("start", {"input": inputs or {}}))

    def on_tool_end(self, output: Any, *, run_id: UUID, **rest: Any) -> None:
        if run := self._end(run_id):
            self._put(run.event("end", {"output": output}))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **rest: Any) -> None:
        if run := self._end(run_id):
            call_id = rest.get("tool_call_id")
            told = {"error": error, "tool_call_id": run.call_id if call_id is None else call_id}
            self._put(run.event("error", told))

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **rest: Any) -> None:
        run = self._begin(CHAT_MODEL, serialized, run_id, rest)
        self._put(run.event("start", {"input": {"messages": messages}}))

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **rest: Any) -> None:
        if run := self._runs.get(run_id):  # a model that is no chat model has no run here
            said = chunk.message if isinstance(chunk, ChatGenerationChunk) else AIMessageChunk(content=token)
            self._put(run.event("stream", {"chunk": said}))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **rest: Any) -> None:
        if run := self._end(run_id):
            said = next((one for several in response.generations for one in several), None)
            self._put(run.event("end", {"output": getattr(said, "message", {})}))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **rest: Any) -> None:
        self._end(run_id)  # schema v2 has no event for it

    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **rest: Any) -> None:
        facts = {"tags": rest.get("tags") or [], "metadata": rest.get("metadata") or {}}
        place = {"run_id": str(run_id), "name": name, "parent_ids": self._path(run_id)[:-1]}
        self._put({"event": "on_custom_event", **place, **facts, "data": data})

    def wrong_turn(self, run_id: UUID, told: Mapping[str, Any]) -> None:
        """Takes what `wrong_turns.py` notices in the graph `run_id`. LangGraph has no event for it."""
        self._put(wrong_turn_event(run_id, self._path(run_id), told))

    def _begin(self, kind: str, serialized: Any, run_id: UUID, rest: Mapping[str, Any]) -> _Run:
        name, tags, metadata = _name(serialized, rest), rest.get("tags") or [], rest.get("metadata") or {}
        parent_id = None if run_id == self._root else rest.get("parent_run_id")
        around = self._runs.get(parent_id) if parent_id else None
        parents = around.path if around else self._path(parent_id) if parent_id else []
        facts = {"run_id": str(run_id), "name": name, "tags": tags, "metadata": metadata, "parent_ids": parents}
        told = kind == CHAIN and (not parents or is_node(name, tags, metadata))
        tooled = kind == TOOL or (around.tooled if around else parent_id in self._paths)
        run = self._runs[run_id] = _Run(kind, facts, told, tooled, rest.get("tool_call_id"))
        return run

    def _path(self, run_id: UUID) -> list[str]:
        run = self._runs.get(run_id)
        return run.path if run else self._paths.get(run_id) or [str(self._root)]

    def _end(self, run_id: UUID) -> _Run | None:
        run = self._runs.pop(run_id, None)
        if run is not None and run.tooled:
            self._paths[run_id] = run.path
        return run


class GiveWay(BaseCallbackHandler):
    """Lets a model that never waits wait, so that its text is read while it speaks and the loop goes on."""

    run_inline = True
    ignore_chain = ignore_agent = ignore_retriever = ignore_chat_model = ignore_custom_event = ignore_retry = True

    def __init__(self, queue: EventQueue) -> None:
        self._queue = queue
        self._not_before = 0.0

    @property
    def ignore_llm(self) -> bool:
        waits_s = self._queue.waits_s
        return waits_s < GIVES_WAY_AFTER_S or not self._queue.on_its_loop or time.monotonic() < self._not_before

    async def on_llm_new_token(self, *args: Any, **rest: Any) -> None:
        if not self._queue.on_its_loop:  # a blocking call of a model on the loop: LangChain runs this in a thread
            self._not_before = time.monotonic() + BLOCKED_S
        await asyncio.sleep(0)


class WrongTurns(BaseCallbackHandler):
    """Collects the wrong turns where no `EventHandler` is. Their `parent_ids` are not known."""

    run_inline = True
    ignore_chain = ignore_agent = ignore_retriever = ignore_chat_model = ignore_custom_event = ignore_retry = True
    ignore_llm = True

    def __init__(self) -> None:
        self.told: deque[Raw] = deque()

    def wrong_turn(self, run_id: UUID, told: Mapping[str, Any]) -> None:
        self.told.append(wrong_turn_event(run_id, [], told))


def _name(serialized: Mapping[str, Any] | None, rest: Mapping[str, Any]) -> str:
    if rest.get("name") is not None:
        return str(rest["name"])
    told = serialized or {}
    return str(told.get("name") or (told.get("id") or ["Unnamed"])[-1])
