"""Whoever runs a release of ours goes on with what we have now: nothing of its wire is gone or means something else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from tests.contract.wires import RELEASED, broken, of_now, of_release

RELEASES = sorted(RELEASED.glob("*.binpb"))
RUNNER = "agent_runner/v1/runner.proto"
API = "ai/stigmer/agentic/agentexecution/v1/api.proto"
ENUMS = "ai/stigmer/agentic/agentexecution/v1/enum.proto"


def test_there_is_a_release() -> None:
    """With our own services and the published contract."""
    assert RELEASES
    for path in RELEASES:
        files = {file.name for file in of_release(path).file}
        assert {RUNNER, API, "agent_runner/v1/executions.proto"} <= files


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_what_a_release_says_is_understood(path: Path) -> None:
    """No message, field, value or method of it was removed, renumbered, renamed or got another type."""
    assert broken(of_release(path), of_now()) == []


def file_of(wire: FileDescriptorSet, name: str) -> FileDescriptorProto:
    return next(file for file in wire.file if file.name == name)


def message(wire: FileDescriptorSet, name: str, file: str = RUNNER) -> DescriptorProto:
    return next(m for m in file_of(wire, file).message_type if m.name == name)


def field(wire: FileDescriptorSet, of: str, name: str, file: str = RUNNER) -> FieldDescriptorProto:
    return next(f for f in message(wire, of, file).field if f.name == name)


def remove_a_field(wire: FileDescriptorSet) -> None:
    message(wire, "ClaimReply").field.remove(field(wire, "ClaimReply", "fence"))


def renumber_a_field(wire: FileDescriptorSet) -> None:
    field(wire, "AgentExecutionStatus", "messages", API).number = 99


def rename_a_field(wire: FileDescriptorSet) -> None:
    field(wire, "SettleRequest", "facts_json").name = "facts"


def retype_a_field(wire: FileDescriptorSet) -> None:
    field(wire, "RunDeltas", "first").type = FieldDescriptorProto.TYPE_INT32


def repeat_a_field(wire: FileDescriptorSet) -> None:
    field(wire, "Delta", "payload").label = FieldDescriptorProto.LABEL_REPEATED


def another_message_in_a_field(wire: FileDescriptorSet) -> None:
    field(wire, "BeatReply", "runs").type_name = ".agent_runner.v1.RunBeat"


def take_a_field_out_of_its_oneof(wire: FileDescriptorSet) -> None:
    field(wire, "PresenceRequest", "goodbye").ClearField("oneof_index")


def another_type_in_a_map(wire: FileDescriptorSet) -> None:
    (entry,) = message(wire, "ClaimReply").nested_type
    entry.field[1].type = FieldDescriptorProto.TYPE_BYTES


def remove_a_message(wire: FileDescriptorSet) -> None:
    file_of(wire, RUNNER).message_type.remove(message(wire, "RunSkill"))


def renumber_a_value(wire: FileDescriptorSet) -> None:
    file_of(wire, ENUMS).enum_type[0].value[1].number = 77


def remove_a_value(wire: FileDescriptorSet) -> None:
    del file_of(wire, RUNNER).enum_type[0].value[-1]


def remove_a_method(wire: FileDescriptorSet) -> None:
    del file_of(wire, RUNNER).service[0].method[-1]


def another_answer_of_a_method(wire: FileDescriptorSet) -> None:
    file_of(wire, RUNNER).service[0].method[0].output_type = ".agent_runner.v1.ClaimReply"


def no_stream_any_more(wire: FileDescriptorSet) -> None:
    next(m for m in file_of(wire, RUNNER).service[0].method if m.name == "presence").server_streaming = False


def remove_a_file(wire: FileDescriptorSet) -> None:
    wire.file.remove(file_of(wire, API))


@pytest.mark.parametrize(
    "change",
    [
        remove_a_field,
        renumber_a_field,
        rename_a_field,
        retype_a_field,
        repeat_a_field,
        another_message_in_a_field,
        take_a_field_out_of_its_oneof,
        another_type_in_a_map,
        remove_a_message,
        renumber_a_value,
        remove_a_value,
        remove_a_method,
        another_answer_of_a_method,
        no_stream_any_more,
        remove_a_file,
    ],
)
def test_every_break_is_seen(change: Callable[[FileDescriptorSet], None]) -> None:
    """The comparison itself: each kind of change that an old worker or client would stumble over."""
    changed = of_now()
    change(changed)
    assert broken(of_now(), changed)


def test_what_is_added_breaks_nothing() -> None:
    """A file, message, field (also one in a oneof), value or method more is no matter."""
    more = of_now()
    hello = message(more, "Hello")
    hello.field.add(name="more", number=99, type=FieldDescriptorProto.TYPE_STRING)
    hello.oneof_decl.add(name="one_of_these")
    hello.field.add(name="inside", number=98, type=FieldDescriptorProto.TYPE_BOOL, oneof_index=0)
    file_of(more, RUNNER).message_type.add(name="More")
    file_of(more, RUNNER).enum_type[0].value.add(name="MORE", number=99)
    file_of(more, RUNNER).service[0].method.add(name="more", input_type=".agent_runner.v1.More")
    more.file.add(name="more.proto")
    assert broken(of_now(), more) == []
    assert broken(more, of_now())
