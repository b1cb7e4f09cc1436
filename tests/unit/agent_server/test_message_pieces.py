"""Pieces of streamed messages: whatever a row leaves out, every reader gets what the graph told."""

import json
from copy import deepcopy
from functools import reduce
from operator import add
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, ToolMessage, message_chunk_to_message

from agent_runner.app.server.agent_server.streams.frames import json_of
from agent_runner.app.server.agent_server.streams.message_parts import MessageParts
from agent_runner.app.server.agent_server.streams.message_texts import MessageTexts
from agent_runner.clients.engine.stream.message_dumps import MessageDumps
from agent_runner.clients.engine.stream.plain_parts import plain_part
from agent_runner.clients.masking.mask import Mask
from agent_runner.status.log.events import StreamPart
from agent_runner.status.log.log import coalesce
from agent_runner.status.log.stream.message_pieces import packed, parts_in, pieces_in
from agent_runner.status.log.stream.stream_parts import StreamRows
from agent_runner.tasks.run.masked_texts import MaskedChunks

PLACES = [{"langgraph_node": "a", "langgraph_step": 1}, {"langgraph_node": "a", "langgraph_step": True}, {}]
FACTS: Any = [{}, {"model": "m"}, {"n": 1}, {"n": True}, {"n": 1.0}, {"a": 1, "b": [0.0]}, {"b": [-0.0], "a": 1}]
USED = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
CALLS = [{"name": "add", "args": '{"a"', "id": "c", "index": 0, "type": "tool_call_chunk"}]
MORE = [{"name": None, "args": "11", "id": None, "index": 0, "type": "tool_call_chunk"}]
TEXTS = st.text(max_size=3) | st.sampled_from(['"', "\\", "\n", "\x00", "\ud800", "é", "a1", "b2", "11"])


def chunks(contents: Any, facts: Any) -> Any:
    return st.builds(
        AIMessageChunk,
        id=st.sampled_from(["m1", "m2", "m3"]),
        content=contents,
        response_metadata=st.sampled_from(facts),
        additional_kwargs=st.sampled_from(facts[:2]),
        usage_metadata=st.sampled_from([None, None, None, USED]),
        tool_call_chunks=st.sampled_from([[], [], [], CALLS, MORE]),
        chunk_position=st.sampled_from([None, None, None, "last"]),
    )


CHUNKS = chunks(TEXTS | TEXTS.map(lambda text: [{"type": "text", "text": text, "index": 0}]), FACTS)
ALIKE = TEXTS.map(lambda text: AIMessageChunk(id="m1", content=text))
MESSAGES: Any = st.lists(
    st.tuples(
        st.one_of(ALIKE, CHUNKS, st.just(ToolMessage("done", tool_call_id="c", id="t"))),
        st.sampled_from([(), ("inner:1",)]),
        st.sampled_from(PLACES),
    ),
    max_size=90,
)


def told(messages: Any) -> list[StreamPart]:
    dumps = MessageDumps()
    return [StreamPart(part="messages", namespace=ns, data=[dumps.of(message), of]) for message, ns, of in messages]


@given(MESSAGES)
@example(
    [
        (AIMessageChunk.model_validate({"id": "m1", "content": "a", "more": 1}), (), {}),
        (AIMessageChunk(id="m1", content="b"), (), {}),
    ]
)
def test_a_dump_is_that_of_the_whole_message(messages: Any) -> None:
    """The same JSON in the same order, whether it was dumped or made from the one before."""
    made = [event.data for event in told(messages)]
    assert json_of(made) == json_of([[plain_part(message), of] for message, _, of in messages])


@given(MESSAGES, st.booleans())
def test_rows_give_the_pieces_back(messages: Any, twice: bool) -> None:
    """Each part with its place and its bytes, after the row was JSON; so does the text that readers are sent."""
    events, rows = told(messages), StreamRows()
    given = [row for event in events if (row := rows.row(event))]
    joined = coalesce(coalesce(given)) if twice else coalesce(given)
    read = [json.loads(json.dumps(row.payload)) for row in joined]
    expected = [["messages", list(event.namespace), event.data] for event in events]
    assert json_of([list(part) for payload in read for part in parts_in(payload)]) == json_of(expected)
    texts = MessageTexts()
    shown = [texts.of(data) for payload in read for _, _, data in pieces_in(payload)]
    assert shown == [json_of(event.data) for event in events]


@given(MESSAGES)
def test_masked_pieces_are_masked_as_whole_ones(messages: Any) -> None:
    """What is known of the chunk before changes nothing: as if each came with values of its own."""
    mask = Mask(["a1b2", "1111"])
    known, unknown = MaskedChunks(mask), MaskedChunks(mask)
    for event in told(messages):
        alone = deepcopy(event.data)
        alone[0]["tool_calls"] = [object()]  # like no other, and left as it is
        shown, expected = known.through(event.data), unknown.through(alone)
        if expected is not None:
            expected[0]["tool_calls"] = event.data[0]["tool_calls"]
        assert json_of(shown) == json_of(expected)


def test_a_piece_of_text_costs_its_text() -> None:
    """A row has one chunk and one metadata of pieces that differ in their text, also while two messages stream."""
    said = [(AIMessageChunk(id=f"m{n % 2}", content=f"w{n}"), (), PLACES[0]) for n in range(8)]
    parts = packed([event.part, list(event.namespace), event.data] for event in told(said))
    assert [data for _, _, data in parts[2:]] == [[n % 2, f"w{n}"] for n in range(2, 8)]
    assert parts[1][2][1] is None


def test_a_row_that_was_cut_is_read() -> None:
    """The whole piece may have been cut away: its text is left."""
    (part,) = parts_in({"parts": [["messages", [], [3, "text"]]]})
    assert part == ("messages", [], [{"content": "text"}, None])


@given(st.lists(st.one_of(ALIKE, ALIKE, chunks(TEXTS, FACTS[:2])), max_size=12))
def test_messages_so_far_are_the_sum_of_their_chunks(said: list[AIMessageChunk]) -> None:
    """As LangChain adds them up, one by one."""
    parts = MessageParts()
    sums: dict[Any, list[AIMessageChunk]] = {}
    for chunk in said:
        sums[chunk.id] = [*sums.get(chunk.id, ()), AIMessageChunk.model_validate(plain_part(chunk))]
        *_, (event, (shown,)) = parts.feed([plain_part(chunk), {}])
        whole = message_chunk_to_message(reduce(add, sums[chunk.id]))
        assert (event, shown) == ("messages/partial", whole.model_dump(mode="json"))
