"""Ids and slugs. An id is `<prefix>-<lowercase ULID>`; the prefix is the kind's, from the contract's `kind_meta`.

The 128 bits of a ULID are also a UUID of version 7: both begin with the time. Clients that want UUIDs get them.
"""

import re

from ulid import ULID

from agent_runner.ai.stigmer.commons.apiresource.apiresourcekind.api_resource_kind_pb2 import ApiResourceKind, kind_meta
from agent_runner.status.store.records import ResourceKind

_PREFIXES: dict[str, str] = {
    value.GetOptions().Extensions[kind_meta].name: value.GetOptions().Extensions[kind_meta].id_prefix
    for value in ApiResourceKind.DESCRIPTOR.values
    if value.GetOptions().HasExtension(kind_meta)
}
_NUMBERS: dict[str, int] = {
    value.GetOptions().Extensions[kind_meta].name: value.number
    for value in ApiResourceKind.DESCRIPTOR.values
    if value.GetOptions().HasExtension(kind_meta)
}
SLUG_LENGTH = 63


def new_execution_id() -> str:
    return _new_id("AgentExecution")


SCHEDULE_PREFIX = "sch"


def new_schedule_id() -> str:
    """Schedules are ours, and not of the contract."""
    return f"{SCHEDULE_PREFIX}-{str(_ulid()).lower()}"


def new_resource_id(kind: ResourceKind) -> str:
    return _new_id(kind.value)


def kind_number(kind: ResourceKind) -> int:
    """The contract's `ApiResourceKind` number."""
    return _NUMBERS[kind.value]


def slug_of(name: str) -> str:
    """`My Agent 2!` -> `my-agent-2`: lower-case letters, digits and single hyphens, at most 63; may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:SLUG_LENGTH].strip("-")


def execution_prefix() -> str:
    return _PREFIXES["AgentExecution"]


def resource_prefix(kind: ResourceKind) -> str:
    return _PREFIXES[kind.value]


def _new_id(kind_name: str) -> str:
    return f"{_PREFIXES[kind_name]}-{str(_ulid()).lower()}"


def _ulid() -> ULID:
    """A ULID of now with the two marks of a UUID: 74 of its bits stay random."""
    made = bytearray(ULID().bytes)
    made[6] = 0x70 | made[6] & 0x0F
    made[8] = 0x80 | made[8] & 0x3F
    return ULID.from_bytes(bytes(made))
