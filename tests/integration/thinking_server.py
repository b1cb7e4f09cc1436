"""A server that speaks the chat protocols of OpenAI (both), Anthropic and Ollama, and thinks as the demo model does.

What it says next is a function of the conversation that was sent, so that one message of a user makes the client of
every provider do the same work, also in sub-agents that run at the same time.
"""

import json
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agent_runner.clients.models.demo_plan import bound_tools, next_action
from tests.unit.models_wire.scenes import Piece, Scene
from tests.unit.models_wire.server import WireServer

Json = dict[str, Any]


class ThinkingServer(WireServer):
    def scene(self, name: str, asked: Json) -> Scene:
        self.asked[name] += 1
        messages = conversation_of(asked.get("messages") or asked["input"])
        action = next_action(messages, bound_tools(asked.get("tools", [])))
        before = 1 if action.text else 0  # Anthropic numbers texts and calls together
        first = before if "max_tokens" in asked and "anthropic" in name else 0
        pieces = tuple(
            Piece(index=first + at, id=f"call_{self.asked[name]}_{at}", name=tool, args=json.dumps(args))
            for at, (tool, args) in enumerate(action.calls)
        )
        return Scene(words=action.text, pieces=pieces)


def conversation_of(items: list[Json]) -> list[BaseMessage]:
    """The messages, from the form of any of the four."""
    made: list[BaseMessage] = []
    for item in items:
        if item.get("type") == "function_call":
            _speaks(made, "", [(item["call_id"], item["name"], item["arguments"])])
        elif item.get("type") == "function_call_output":
            made.append(ToolMessage(_text(item["output"]), tool_call_id=item["call_id"]))
        elif item.get("role") == "tool":
            made.append(ToolMessage(_text(item["content"]), tool_call_id=item.get("tool_call_id") or _waiting(made)))
        elif item.get("role") == "assistant":
            _speaks(made, _text(item.get("content")), _calls(item))
        elif item.get("role") == "user":
            results = [block for block in _blocks(item["content"]) if block.get("type") == "tool_result"]
            made += [ToolMessage(_text(one.get("content")), tool_call_id=one["tool_use_id"]) for one in results]
            if text := _text(item["content"]):
                made.append(HumanMessage(text))
    return made


def _speaks(made: list[BaseMessage], text: str, calls: list[tuple[str, str, Any]]) -> None:
    """What the model said; Responses tells one message in several items."""
    read = [
        {
            "id": id_ or f"own_{len(made)}_{at}",
            "name": name,
            "args": json.loads(args) if isinstance(args, str) else args,
        }
        for at, (id_, name, args) in enumerate(calls)
    ]
    if made and isinstance(last := made[-1], AIMessage):
        made[-1] = AIMessage(f"{last.text}{text}", tool_calls=[*last.tool_calls, *read])
    else:
        made.append(AIMessage(text, tool_calls=read))


def _calls(item: Json) -> list[tuple[str, str, Any]]:
    told = [
        (call.get("id", ""), call["function"]["name"], call["function"]["arguments"])
        for call in item.get("tool_calls") or ()
    ]
    used = [block for block in _blocks(item.get("content")) if block.get("type") == "tool_use"]
    return [*told, *((block["id"], block["name"], block["input"]) for block in used)]


def _waiting(made: list[BaseMessage]) -> str:
    """The first call without a result: Ollama's results have no id."""
    had = {message.tool_call_id for message in made if isinstance(message, ToolMessage)}
    calls = [call["id"] for message in made if isinstance(message, AIMessage) for call in message.tool_calls]
    return next(str(id_) for id_ in calls if id_ not in had)


def _blocks(content: Any) -> list[Json]:
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in _blocks(content))
