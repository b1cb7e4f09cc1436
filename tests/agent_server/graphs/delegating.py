"""Deep agents of which one gives tasks to the other, over the Agent Server API of the server at `configurable.url`,
with the key `configurable.key`.

A message `call TOOL JSON` is answered with that call, any other one with its text.
"""

import json
from typing import Any

from deepagents import create_deep_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableConfig


class Obedient(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "obedient"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        # Between them deepagents puts a message of its own, that a task has ended.
        last, calls = [one for one in messages if "deepagents_notification" not in one.additional_kwargs][-1], []
        if isinstance(last, HumanMessage) and last.text.startswith("call "):
            words = str(last.text).split(" ", 2)
            calls = [{"name": words[1], "args": json.loads(words[2]), "id": f"call-{len(messages)}"}]
        said = AIMessage("" if calls else f"I heard: {last.text}", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=said)])


helper = create_deep_agent(model=Obedient(), name="helper")


def boss(config: RunnableConfig) -> Any:
    given = config.get("configurable") or {}
    far = {
        "name": "far",
        "description": "Does tasks elsewhere.",
        "graph_id": "helper",
        "url": given.get("url", "http://127.0.0.1:1"),
        "headers": {"Authorization": f"Bearer {given.get('key', '')}"},
    }
    return create_deep_agent(model=Obedient(), name="boss", subagents=[far])  # type: ignore[list-item]
