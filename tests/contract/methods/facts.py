"""The facts of the published contract: its methods, its kinds, its messages. Nothing here asks the product."""

import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from agent_runner.ai import stigmer

FACTS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "wire_contract.json").read_text())
ULID = "[0-9a-hjkmnp-tv-z]{26}"
"""In lower case: Crockford's alphabet without i, l, o and u."""

for _module in pkgutil.walk_packages(stigmer.__path__, f"{stigmer.__name__}."):
    importlib.import_module(_module.name)


@dataclass(frozen=True, slots=True)
class Method:
    """`id` is `<Controller>.<method>`; `input` and `output` are full names of messages."""

    id: str
    path: str
    input: str
    output: str
    streams: bool

    @property
    def name(self) -> str:
        return self.id.partition(".")[2]


METHODS: dict[str, Method] = {
    found.id: found
    for service, methods in FACTS["services"].items()
    for fact in methods
    for found in [
        Method(
            id=f"{service.rpartition('.')[2]}.{fact['method']}",
            path=fact["path"],
            input=fact["input"],
            output=fact["output"],
            streams=fact["server_streaming"],
        )
    ]
}


@dataclass(frozen=True, slots=True)
class Kind:
    """`name` is what `kind` says in a resource, and what a refusal calls it."""

    name: str
    number: int
    prefix: str

    def is_id(self, text: str) -> bool:
        return re.fullmatch(f"{self.prefix}-{ULID}", text) is not None


def _kind(key: str) -> Kind:
    meta = FACTS["kind_meta"][key]
    return Kind(meta["name"], meta["number"], meta["id_prefix"])


AGENT, INSTANCE, SESSION = _kind("agent"), _kind("agent_instance"), _kind("session")
SKILL, ENVIRONMENT, CONTEXT = _kind("skill"), _kind("environment"), _kind("execution_context")
EXECUTION = _kind("agent_execution")
KINDS = (AGENT, INSTANCE, SESSION, SKILL, ENVIRONMENT, CONTEXT, EXECUTION)


def message_class(full_name: str) -> type[Message]:
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full_name))


def each_method(
    aspect: str, among: Iterable[str] = METHODS, marks: Callable[[str], Any] = lambda _: ()
) -> pytest.MarkDecorator:
    """`parametrize` over methods; the ids read `AgentCommandController.create-<aspect>`."""
    cases = [pytest.param(method, id=f"{method}-{aspect}", marks=marks(method)) for method in among]
    return pytest.mark.parametrize("method", cases)
