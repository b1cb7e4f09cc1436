"""Messages with pictures that a graph makes, and messages that it was sent."""

import base64
import json
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph

from tests.unit.status_builder.runs import tell
from tests.unit.status_builder.scripted_model import ScriptedModel, in_turn, said

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
ENCODED = base64.b64encode(PNG).decode()
PICTURE = {"type": "image", "base64": ENCODED, "mime_type": "image/png"}
REFERENCE = f"[image image/png, {len(PNG) / 1000:.1f} KB]"


def one_node(node: Any) -> Any:
    return StateGraph(MessagesState).add_node("n", node).add_edge(START, "n").add_edge("n", END).compile()


async def test_a_graphs_own_messages() -> None:
    """The words and a reference, of whatever kind the message is."""

    def draw(state: MessagesState) -> Any:
        blocks: list[Any] = [{"type": "text", "text": "look:"}, PICTURE]
        return {"messages": [SystemMessage(blocks), HumanMessage([PICTURE]), AIMessage(blocks)]}

    told = await tell(one_node(draw), "go")
    assert [m["content"] for m in told.status["messages"]] == [f"look:\n{REFERENCE}", REFERENCE, f"look:\n{REFERENCE}"]
    assert ENCODED[:80] not in json.dumps([d.payload for d in told.deltas])
    assert not [d for d in told.deltas if d.payload.get("metadata", {}).get("note")], "a picture is an answer"


async def test_a_tool_that_gives_a_picture() -> None:
    """Its result is shown as a reference, live and as the graph keeps it."""

    @tool
    def plot(n: int) -> list[dict[str, Any]]:
        """Draw."""
        return [{"type": "text", "text": f"plot {n}"}, PICTURE]

    model = ScriptedModel(reply=in_turn(said("I draw.", ("c", "plot", {"n": 1})), said("There.")))
    told = await tell(create_agent(model, [plot]), "go")
    (call,) = told.status["tool_calls"]
    assert (call["status"], call["result"]) == ("TOOL_CALL_COMPLETED", f"plot 1\n{REFERENCE}")
    assert ENCODED[:80] not in json.dumps([d.payload for d in told.deltas])


SENT = {
    "messages": [
        SystemMessage("Be short."),
        HumanMessage("My card is 4111"),
        AIMessage("", tool_calls=[{"id": "c0", "name": "pay", "args": {}}]),
        ToolMessage("paid", tool_call_id="c0"),
        AIMessage("Done."),
        HumanMessage("Again"),
    ]
}


async def test_what_a_graph_does_to_the_messages_of_an_input() -> None:
    """It is told under the ids that the server gave them, by their places; the last of the user is the user's."""

    def tidy(state: MessagesState) -> Any:
        _, card, _, _, done, again = state["messages"]
        assert done.id is not None
        return {
            "messages": [
                HumanMessage("My card is [redacted]", id=card.id),
                RemoveMessage(id=done.id),
                HumanMessage("Again!", id=again.id),
                AIMessage("ok"),
            ]
        }

    given = {"messages": [message.model_copy() for message in SENT["messages"]]}
    told = await tell(one_node(tidy), given)
    edits = [(d.kind, d.payload["id"]) for d in told.deltas if d.kind in ("message_edit", "message_removed")]
    assert sorted(edits) == [("message_edit", "input-2"), ("message_edit", "user"), ("message_removed", "input-5")]
