"""The table of validation rules against the words of the contract's facts, and each rule against real messages."""

import importlib
import json
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from agent_runner.ai import stigmer
from agent_runner.ai.stigmer.agentic.agent.v1 import api_pb2 as agent_pb2
from agent_runner.ai.stigmer.agentic.agentexecution.v1 import api_pb2 as execution_pb2
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import spec_pb2 as instance_pb2
from agent_runner.ai.stigmer.commons.apiresource import io_pb2
from agent_runner.ai.stigmer.commons.apiresource.apiresourcekind import api_resource_kind_pb2 as kind
from agent_runner.app.server.contract import rules
from agent_runner.app.server.contract.rules import RULES, Check, Rule, Violation, validate

WORDS: dict[str, str] = json.loads(Path(__file__).with_name("wire_contract.json").read_text())["validations"]
BY_FIELD = {f"ai.stigmer.{rule.field}": rule for rule in RULES}
ENVIRONMENT_REFS = "ai.stigmer.agentic.agentinstance.v1.AgentInstanceSpec.environment_refs"
HASH = "0123456789abcdef" * 4

for module in pkgutil.walk_packages(stigmer.__path__, f"{stigmer.__name__}."):
    importlib.import_module(module.name)


def parse(words: str) -> set[Check]:
    """The checks that the facts describe in words; what Pattern says for people is not part of them."""
    each = words.removeprefix("each item: ")
    if each != words:
        return {rules.EachItem(check) for check in parse(each)}
    checks: set[Check] = set()
    rest = words
    if found := re.match(r'CEL \[(.+?)\]: (.+?) - else message: "(.+?)"(?:; |$)', rest):
        name, expression, says = found.groups()
        compared = re.findall(r"this\.(\w+) == (\d+)", expression)
        assert " || ".join(f"this.{field} == {number}" for field, number in compared) == expression
        (field,) = {field for field, _ in compared}
        checks.add(rules.OneOf(field, tuple(int(number) for _, number in compared), name, says))
        rest = rest[found.end() :]
    if rest.startswith("required ("):
        checks.add(rules.REQUIRED)
    elif rest.startswith("must be a value defined in the enum"):
        checks.add(rules.DEFINED)
    elif found := re.fullmatch(r'must equal "(.+)"', rest):
        checks.add(rules.Equal(found[1]))
    elif found := re.fullmatch(r"length at least (\d+) characters", rest):
        checks.add(rules.Length(int(found[1])))
    elif found := re.fullmatch(r"at least (\d+)", rest):
        checks.add(rules.AtLeast(int(found[1])))
    elif found := re.fullmatch(r"must match regex (.+)", rest):
        checks.add(rules.Pattern(found[1], ""))
    else:
        assert not rest, f"the facts say something that this test cannot read: {rest}"
    return checks


def without_words(check: Check) -> Check:
    return rules.Pattern(check.expression, "") if isinstance(check, rules.Pattern) else check


def test_every_field_with_a_rule_stands_in_the_table_once() -> None:
    """The table has the 74 fields of the contract, no other, none twice, and all of them exist."""
    assert len(RULES) == len(BY_FIELD) == 74
    assert BY_FIELD.keys() == WORDS.keys()
    for field in BY_FIELD:
        assert descriptor_pool.Default().FindFieldByName(field).full_name == field


@pytest.mark.parametrize("field", sorted(WORDS))
def test_a_rule_says_what_the_contract_says(field: str) -> None:
    """The checks of a field are those that the contract describes, with its names and texts."""
    words = WORDS[field]
    if field == ENVIRONMENT_REFS:
        # A recorded difference: 52 is workflow_execution, and the text itself demands kind=environment.
        assert "this.kind == 52" in words
        words = words.replace("this.kind == 52", f"this.kind == {kind.environment}")
    assert {without_words(check) for check in BY_FIELD[field].checks} == parse(words)


def put(message: Message, name: str, value: Any) -> None:
    """Sets a field: a scalar, a dict for a message, or a list of dicts."""
    field = message.DESCRIPTOR.fields_by_name[name]
    if isinstance(value, list):
        for item in value:
            getattr(message, name).add(**item)
    elif field.message_type is not None:
        getattr(message, name).SetInParent()
        for inner, content in value.items():
            setattr(getattr(message, name), inner, content)
    else:
        setattr(message, name, value)


def good_values(check: Check, of: Any) -> list[Any]:
    match check:
        case rules.Required():
            return [{}] if of.message_type is not None else [b"x" if of.type == of.TYPE_BYTES else "x"]
        case rules.Equal(value):
            return [value]
        case rules.Length(at_least):
            return ["é" * at_least, "x" * (at_least + 1)]
        case rules.AtLeast(number):
            return [number, number + 1]
        case rules.Pattern(expression):
            return [HASH] if expression == rules.HASH.expression else ["", "v1.0_rc-2", HASH]
        case rules.Defined():
            return [0, 1, 2]
        case rules.OneOf(field, values):
            return [{field: value} for value in values]
        case rules.EachItem(item):
            return [[], list(good_values(item, of))]
    raise AssertionError(check)


def bad_values(check: Check, of: Any) -> list[Any]:
    match check:
        case rules.Required():
            return [None]
        case rules.Equal(value):
            return ["", value + "x", value.lower() + " "]
        case rules.Length(at_least):
            # 9 characters of two bytes each are not 10
            return ["é" * (at_least - 1)]
        case rules.AtLeast(number):
            return [number - 1, -1]
        case rules.Pattern(expression):
            wrong = ["a b", "ä", HASH + "\n", "a/b"]
            return [*wrong, "", HASH.upper(), HASH[1:]] if expression == rules.HASH.expression else wrong
        case rules.Defined():
            return [99, -1]
        case rules.OneOf(field, values):
            return [{field: value} for value in range(60) if value not in values]
        case rules.EachItem(item):
            return [[bad] for bad in bad_values(item, of)]
    raise AssertionError(check)


CASES = [
    pytest.param(rule, check, id=f"{rule.field}-{type(check).__name__}") for rule in RULES for check in rule.checks
]


@pytest.mark.parametrize(("rule", "check"), CASES)
def test_a_rule_lets_good_values_pass_and_names_the_field_of_bad_ones(rule: Rule, check: Check) -> None:
    """A good value of a field passes its check; a bad one gives a text that names the field, or is the contract's."""
    pool = descriptor_pool.Default()
    field = pool.FindFieldByName(f"ai.stigmer.{rule.field}")
    assert field.containing_type is not None
    make = message_factory.GetMessageClass(field.containing_type)

    def violations(value: Any) -> list[Violation]:
        message = make()
        if value is not None:
            put(message, field.name, value)
        return [found for found in validate(message) if re.match(rf"{field.name}\b", found.field)]

    match getattr(check, "check", check):
        case rules.OneOf(says=says):
            pass
        case rules.Required():
            says = f"{field.name} is required"
        case _:
            says = field.name
    for value in good_values(check, field):
        assert not [found for found in violations(value) if says in found.text]
    for value in bad_values(check, field):
        assert [found for found in violations(value) if says in found.text], value


def valid_execution() -> execution_pb2.AgentExecution:
    execution = execution_pb2.AgentExecution(api_version="agentic.stigmer.ai/v1", kind="AgentExecution")
    execution.metadata.name = "hello"
    execution.spec.message = "Hello"
    execution.spec.runtime_env["TOKEN"].value = "s3cret"
    return execution


def test_a_valid_execution_has_no_violations() -> None:
    """What the contract's clients send passes, with a status that holds anything."""
    execution = valid_execution()
    execution.status.messages.add()
    execution.status.messages[0].metadata.update({"usage": {"input_tokens": 3}, "list": [1, None, "x"]})
    assert validate(execution) == []


@pytest.mark.promise("1.01")
def test_a_missing_api_version_and_kind_are_named_with_what_is_expected() -> None:
    """Without api_version and kind the texts name both fields and both expected values."""
    execution = valid_execution()
    execution.ClearField("api_version")
    execution.kind = "Agent"
    assert validate(execution) == [
        Violation(field="api_version", text='api_version must be "agentic.stigmer.ai/v1", and is not set'),
        Violation(field="kind", text='kind must be "AgentExecution", not "Agent"'),
    ]


def test_a_missing_message_is_reported_once() -> None:
    """Of a field that is required and missing, no other rule is tried."""
    execution = valid_execution()
    execution.ClearField("metadata")
    assert validate(execution) == [Violation(field="metadata", text="metadata is required")]


def test_rules_hold_at_any_depth() -> None:
    """Lists, maps and a chosen member of a oneof are looked into; the path tells where."""
    agent = agent_pb2.Agent(api_version="agentic.stigmer.ai/v1", kind="Agent")
    agent.metadata.SetInParent()
    agent.spec.instructions = "Be helpful and brief."
    agent.spec.mcp_servers.add(name="files").docker.ports.add(host_port=80)
    agent.spec.sub_agents.add(name="a", instructions="Read all the files.").skill_refs.add(kind=kind.agent)
    execution = valid_execution()
    execution.spec.runtime_env["B"].value = ""
    execution.spec.runtime_env["A"].value = ""
    assert [violation.field for violation in validate(agent)] == [
        "metadata.owner_scope",
        "spec.mcp_servers[0].docker.image",
        "spec.mcp_servers[0].docker.ports[0].container_port",
        "spec.sub_agents[0].skill_refs[0].kind",
    ]
    assert [violation.field for violation in validate(execution)] == [
        'spec.runtime_env["A"].value',
        'spec.runtime_env["B"].value',
    ]


def test_environments_are_referenced_with_their_own_kind() -> None:
    """An environment reference has kind 53, environment, although the contract's expression says 52."""
    spec = instance_pb2.AgentInstanceSpec(agent_id="agt_1")
    spec.environment_refs.append(io_pb2.ApiResourceReference(kind=kind.environment, slug="prod"))
    assert validate(spec) == []
    spec.environment_refs[0].kind = kind.workflow_execution
    assert [violation.field for violation in validate(spec)] == ["environment_refs[0].kind"]
