"""The wire as descriptors: of now, of every release (`released/`), and what the one breaks of the other.

python -m tests.contract.wires VERSION     record what we have now as a release
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)

from agent_runner import v1
from agent_runner.ai import stigmer

RELEASED = Path(__file__).with_name("released")
PACKAGES = (v1, stigmer)
Facts = dict[str, object]


def of_now() -> FileDescriptorSet:
    """Everything that is generated from `proto/`."""
    files = []
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("_pb2"):
                file = FileDescriptorProto()
                importlib.import_module(module.name).DESCRIPTOR.CopyToProto(file)
                files.append(file)
    return FileDescriptorSet(file=sorted(files, key=lambda file: file.name))


def of_release(path: Path) -> FileDescriptorSet:
    return FileDescriptorSet.FromString(path.read_bytes())


def broken(old: FileDescriptorSet, new: FileDescriptorSet) -> list[str]:
    """What somebody who speaks the old wire would miss or misunderstand: one line each, empty when it is all there."""
    before, now = _named(old), _named(new)
    gone = [f"{name} is gone" for name in before if name not in now]
    changed = [
        f"{name}: {fact} was {was!r} and is {now[name].get(fact)!r}"
        for name, facts in before.items()
        if name in now
        for fact, was in facts.items()
        if now[name].get(fact) != was
    ]
    return gone + changed


def _named(wire: FileDescriptorSet) -> dict[str, Facts]:
    """By full name: messages, fields, enums, their values, services, methods."""
    return {name: facts for file in wire.file for name, facts in _in_file(file)}


def _in_file(file: FileDescriptorProto) -> Iterator[tuple[str, Facts]]:
    for message in file.message_type:
        yield from _in_message(f"{file.package}.{message.name}", message)
    for enum in file.enum_type:
        yield from _in_enum(f"{file.package}.{enum.name}", enum)
    for service in file.service:
        name = f"{file.package}.{service.name}"
        yield name, {"kind": "service"}
        for method in service.method:
            yield f"{name}.{method.name}", _of_method(method)


def _in_message(name: str, message: DescriptorProto) -> Iterator[tuple[str, Facts]]:
    yield name, {"kind": "message"}
    for field in message.field:
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        yield f"{name}.{field.name}", _of_field(field, oneof)
    for inner in message.nested_type:
        yield from _in_message(f"{name}.{inner.name}", inner)
    for enum in message.enum_type:
        yield from _in_enum(f"{name}.{enum.name}", enum)


def _in_enum(name: str, enum: EnumDescriptorProto) -> Iterator[tuple[str, Facts]]:
    yield name, {"kind": "enum"}
    for value in enum.value:
        yield f"{name}.{value.name}", {"kind": "value", "number": value.number}


def _of_field(field: FieldDescriptorProto, oneof: str) -> Facts:
    """By the oneof's name, not by its index, which another one would move."""
    return {
        "kind": "field",
        "number": field.number,
        "type": FieldDescriptorProto.Type.Name(field.type),
        "of": field.type_name,
        "label": FieldDescriptorProto.Label.Name(field.label),
        "optional": field.proto3_optional,
        "oneof": oneof,
        "JSON name": field.json_name or _camel(field.name),
    }


def _of_method(method: MethodDescriptorProto) -> Facts:
    return {
        "kind": "method",
        "input": method.input_type,
        "output": method.output_type,
        "client streaming": method.client_streaming,
        "server streaming": method.server_streaming,
    }


def _camel(name: str) -> str:
    """The JSON name where none is set: generated code does not repeat it."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


if __name__ == "__main__":
    (RELEASED / f"{sys.argv[1]}.binpb").write_bytes(of_now().SerializeToString(deterministic=True))
