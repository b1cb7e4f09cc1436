"""The parts of a graph's own stream as rows: joined, bounded, masked, and whole again for every reader."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runner.app.server.agent_server.streams.content_blocks import ContentBlocks
from agent_runner.app.server.agent_server.streams.frames import Position, position_of
from agent_runner.clients.masking.mask import Mask
from agent_runner.status.log.events import StreamPart
from agent_runner.status.log.log import PARTS_AT_ONCE, Delta, coalesce
from agent_runner.status.log.stream.message_pieces import parts_in
from agent_runner.status.log.stream.stream_parts import OVER, StreamLimits, StreamRows
from agent_runner.tasks.run.masked_texts import MaskedChunks

PLACES = [{"langgraph_node": "a", "langgraph_step": 1}, {"langgraph_node": "b"}]
ONE: Any = st.one_of(
    st.tuples(st.just("messages"), st.just([]), st.tuples(st.integers(), st.sampled_from(PLACES)).map(list)),
    st.tuples(st.sampled_from(["values", "updates"]), st.sampled_from([[], ["inner:1"]]), st.integers()),
)


def row(*parts: Any) -> Delta:
    return Delta(kind="stream", payload={"parts": [list(part) for part in parts]})


@given(st.lists(st.lists(ONE, min_size=1, max_size=3), max_size=80))
def test_joined_rows_have_the_same_parts(given: list[list[Any]]) -> None:
    """In the same order, however many come together, also if they are joined twice."""
    told = [part for parts in given for part in parts]
    joined = coalesce(coalesce([row(*parts) for parts in given]))
    assert [list(part) for one in joined for part in parts_in(one.payload)] == [list(part) for part in told]
    assert all(len(one.payload["parts"]) < PARTS_AT_ONCE + 3 for one in joined)


def test_text_and_parts_stay_apart() -> None:
    """Rows of other kinds keep their place between parts."""
    text, note = Delta(kind="text", payload={"id": "a", "text": "x"}), Delta(kind="note", payload={})
    kinds = [one.kind for one in coalesce([text, row(("values", [], 1)), text, note, row(("values", [], 2))])]
    assert kinds == ["text", "stream", "note", "stream"]


@pytest.mark.promise("5.11")
def test_a_run_has_a_limit() -> None:
    """One part says so; the end of the run is told all the same."""
    rows = StreamRows(StreamLimits(part_bytes=1000, run_bytes=100))
    part = StreamPart(part="values", namespace=(), data={"text": "x" * 60})
    told = [rows.row(part) for _ in range(4)]
    assert [one and one.payload["parts"][0][0] for one in told] == ["values", OVER, None, None]
    assert rows.end({"n": 1}, [], None).payload == {"values": {"n": 1}}
    large = StreamRows(StreamLimits(part_bytes=50)).row(part)
    assert large is not None
    assert len(str(large.payload)) < 200


@given(st.lists(st.integers(min_value=1, max_value=6), min_size=1, max_size=9))
def test_a_secret_over_several_chunks_is_masked(cuts: list[int]) -> None:
    """Neither in the content nor in the arguments of a call, wherever it is cut."""
    secret, whole = "hunter2-secret", "say hunter2-secret now"
    chunks, masked = [], MaskedChunks(Mask([secret]))
    left = whole
    for cut in [*cuts, len(whole)]:
        piece, left = left[:cut], left[cut:]
        call = {"index": 0, "args": piece}
        chunks.append({"type": "AIMessageChunk", "id": "m", "content": piece, "tool_call_chunks": [call]})
    chunks.append({"type": "AIMessageChunk", "id": "m", "content": "", "chunk_position": "last"})
    shown = [masked.through([chunk, {}])[0] for chunk in chunks]
    text = "".join(one["content"] for one in shown)
    assert secret not in text
    assert text.endswith("now")
    assert secret not in "".join(c["args"] for one in shown for c in one.get("tool_call_chunks", ()))


@given(st.integers(0, 10**9), st.integers(0, 9999), st.integers(0, 10**9), st.integers(0, 9999))
def test_ids_of_events_grow_as_texts(seq: int, place: int, other: int, another: int) -> None:
    """A client that compares ids as texts sees the order of the stream."""
    one, two = Position(seq=seq, place=place), Position(seq=other, place=another)
    assert (one < two) == (str(one) < str(two))
    assert position_of(str(one)) == one


def test_a_message_as_content_blocks() -> None:
    """Text and calls are blocks of their own, each with its beginning, its pieces and its end."""
    blocks = ContentBlocks()
    told = [
        event
        for chunk in (
            {"content": "a "},
            {"content": "b", "tool_call_chunks": [{"index": 0, "id": "c1", "name": "add", "args": ""}]},
            {"content": "", "tool_call_chunks": [{"index": 0, "args": '{"x": 1}'}]},
            {"content": "", "chunk_position": "last"},
        )
        for event in blocks.feed({"type": "AIMessageChunk", "id": "m", **chunk})
    ]
    kinds = [event["event"].removeprefix("content-block-") for event in told]
    assert kinds == ["message-start", "start", "delta", "delta", "start", "delta", "finish", "finish", "message-finish"]
    assert [event["content"] for event in told if event["event"] == "content-block-finish"] == [
        {"type": "text", "text": "a b"},
        {"type": "tool_call", "id": "c1", "name": "add", "args": {"x": 1}},
    ]
    assert list(blocks.feed({"type": "tool", "id": "t", "content": "x"})) == []
