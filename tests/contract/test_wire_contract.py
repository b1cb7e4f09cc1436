"""Our descriptors against the facts of the published contract, in wire_contract.json beside this file."""

import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, ServiceDescriptor

from agent_runner.ai import stigmer
from agent_runner.ai.stigmer.commons.apiresource import options_pb2
from agent_runner.ai.stigmer.commons.apiresource.apiresourcekind import api_resource_kind_pb2

FACTS: dict[str, Any] = json.loads(Path(__file__).with_name("wire_contract.json").read_text())
PROTO = Path(__file__).parents[2] / "proto"
SCALARS: dict[int, str] = {
    number: name.removeprefix("TYPE_").lower() for name, number in descriptor_pb2.FieldDescriptorProto.Type.items()
}
FILES: list[FileDescriptor] = [
    importlib.import_module(module.name).DESCRIPTOR
    for module in pkgutil.walk_packages(stigmer.__path__, f"{stigmer.__name__}.")
    if module.name.endswith("_pb2")
]


def messages(of: FileDescriptor | Descriptor) -> Iterator[Descriptor]:
    """All messages of a file, the nested ones too, without those that stand for maps."""
    direct = of.message_types_by_name.values() if isinstance(of, FileDescriptor) else of.nested_types
    for message in direct:
        if not message.GetOptions().map_entry:
            yield message
            yield from messages(message)


def type_name(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    return named.full_name if named is not None else SCALARS[field.type]


def field_facts(field: FieldDescriptor) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": field.name,
        "number": field.number,
        "type": type_name(field),
        "label": "repeated" if field.is_repeated else "singular",
        "json_name": field.json_name,
    }
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (type_name(field.message_type.fields_by_name[part]) for part in ("key", "value"))
        facts |= {"type": f"map<{key}, {value}>", "label": "map", "map": {"key": key, "value": value}}
    oneof = field.containing_oneof
    if oneof is not None and oneof.name == f"_{field.name}":
        facts["label"] = "optional"
    elif oneof is not None:
        facts["oneof"] = oneof.name
    return facts


def service_facts(service: ServiceDescriptor) -> list[dict[str, Any]]:
    return [
        {
            "method": method.name,
            "path": f"/{service.full_name}/{method.name}",
            "input": method.input_type.full_name,
            "output": method.output_type.full_name,
            "client_streaming": method.client_streaming,
            "server_streaming": method.server_streaming,
        }
        for method in service.methods
    ]


def all_services() -> Iterator[ServiceDescriptor]:
    for file in FILES:
        yield from file.services_by_name.values()


def test_messages_are_those_of_the_contract() -> None:
    """Every message has the contract's fields: names, numbers, types, labels, maps, oneofs and JSON names."""
    ours = {
        message.full_name: [field_facts(field) for field in message.fields]
        for file in FILES
        for message in messages(file)
    }
    assert ours == FACTS["messages"]


@pytest.mark.promise("1.03")
def test_enums_are_those_of_the_contract() -> None:
    """Every enum has the contract's names and numbers; the phases are called ExecutionPhase."""
    ours = {
        enum.full_name: {value.name: value.number for value in enum.values}
        for file in FILES
        for enum in file.enum_types_by_name.values()
    }
    assert ours == FACTS["enums"]
    assert "ai.stigmer.agentic.agentexecution.v1.ExecutionPhase" in ours


def test_services_are_those_of_the_contract() -> None:
    """Every service has the contract's methods: paths, inputs, outputs and streaming."""
    assert {service.full_name: service_facts(service) for service in all_services()} == FACTS["services"]


@pytest.mark.promise("1.08")
def test_names_live_in_the_files_of_the_contract() -> None:
    """Every message, enum and service is in the file that the contract has it in, which fixes the import path."""
    ours = {
        thing.full_name: file.name
        for file in FILES
        for thing in (*messages(file), *file.enum_types_by_name.values(), *file.services_by_name.values())
    }
    assert ours == FACTS["files"]


def test_kinds_carry_the_names_and_prefixes_of_the_contract() -> None:
    """kind_meta of every kind gives its name, display name, id prefix and whether it has versions."""
    ours = {}
    for value in api_resource_kind_pb2.ApiResourceKind.DESCRIPTOR.values:
        options = value.GetOptions()
        if options.HasExtension(api_resource_kind_pb2.kind_meta):
            meta = options.Extensions[api_resource_kind_pb2.kind_meta]
            ours[value.name] = {
                "number": value.number,
                "name": meta.name,
                "display_name": meta.display_name,
                "id_prefix": meta.id_prefix,
                "is_versioned": meta.is_versioned,
            }
    assert ours == FACTS["kind_meta"]


def test_services_name_their_kind() -> None:
    """The option api_resource_kind of every service is the contract's."""
    kinds = api_resource_kind_pb2.ApiResourceKind
    ours = {
        service.full_name: kinds.Name(service.GetOptions().Extensions[options_pb2.api_resource_kind])
        for service in all_services()
    }
    assert ours == FACTS["service_kind"]


def test_custom_options_have_the_numbers_of_the_contract() -> None:
    """The custom options extend the contract's option messages under the contract's names and numbers."""
    of = {
        "ServiceOptions": "service_options",
        "EnumValueOptions": "enum_value_options",
        "FieldOptions": "field_options",
    }
    ours: dict[str, dict[str, int]] = {name: {} for name in of.values()}
    for file in FILES:
        for extension in file.extensions_by_name.values():
            assert extension.containing_type is not None
            ours[of[extension.containing_type.name]][extension.full_name] = extension.number
    # Of the options of fields the facts give the full name of the first only.
    package = "ai.stigmer.commons.apiresource."
    theirs = {
        group: {name if "." in name else package + name: number for name, number in options.items()}
        for group, options in FACTS["custom_options"].items()
    }
    assert ours == theirs


def test_well_known_types_are_those_of_the_contract() -> None:
    """Struct and Timestamp are Google's own, and nothing else of Google's is used in a field."""
    used = {type_name(field) for file in FILES for message in messages(file) for field in message.fields}
    assert sorted(name for name in used if name.startswith("google.")) == FACTS["wellknown_used"]


def test_stubs_are_generated_from_the_proto_files() -> None:
    """stubs/ is exactly what proto/generate.py writes."""
    check = subprocess.run(
        [sys.executable, PROTO / "generate.py", "--check"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (check.returncode, check.stderr) == (0, "")
