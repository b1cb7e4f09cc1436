"""The graph of the picture of Agent Chat UI: it looks an order up, and asks a person before it pays money back.

In place of a model it has a script, so that the picture is the same each time and needs no key.
"""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult


def find_order(order: str) -> str:
    """Look an order up."""
    return f"order {order}: one kettle, 42.00 EUR, delivered, reported broken"


def refund(order: str, amount: str) -> str:
    """Pay the money of an order back."""
    return f"{amount} for order {order} are on their way"


SCRIPT = (
    AIMessage("I look the order up.", tool_calls=[{"id": "call-1", "name": "find_order", "args": {"order": "7"}}]),
    AIMessage(
        "The kettle came broken, so the money should go back.",
        tool_calls=[{"id": "call-2", "name": "refund", "args": {"order": "7", "amount": "42.00 EUR"}}],
    ),
    AIMessage("Done: 42.00 EUR are on their way to you."),
)


class Scripted(BaseChatModel):
    """Says the next line of the script; a new message of the user begins it again."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> "Scripted":
        return self

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        asked = max(number for number, message in enumerate(messages) if isinstance(message, HumanMessage))
        said = sum(isinstance(message, AIMessage) for message in messages[asked:])
        return ChatResult(generations=[ChatGeneration(message=SCRIPT[min(said, 2)].model_copy())])


approval = HumanInTheLoopMiddleware(interrupt_on={"refund": {"allowed_decisions": ["approve", "edit", "reject"]}})
graph: Any = create_agent(Scripted(), [find_order, refund], middleware=[approval])
