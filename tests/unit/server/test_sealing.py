"""Sealing, ids and slugs, drafts: what needs no server."""

import pytest

from agent_runner.app.server.contract.ids import new_execution_id, new_resource_id, slug_of
from agent_runner.app.server.executions.drafts.draft import draft_of_json
from agent_runner.app.server.problems import Problem
from agent_runner.app.server.resources.sealing import REDACTED, EnvValue, SealBroken, Sealing, redacted
from agent_runner.app.server.runners.failure_reports import how
from agent_runner.status.store.records import ResourceKind


def test_what_is_sealed_opens_with_the_same_key_only() -> None:
    """Any text is a key; another key cannot open, and the sealed form does not show the value."""
    values = {"A": EnvValue(value="hunter2 ✓", is_secret=True), "B": EnvValue(value="x", is_secret=False)}
    sealed = Sealing("key one").seal_env(values)
    assert b"hunter2" not in sealed
    assert Sealing("key one").open_env(sealed) == values
    with pytest.raises(SealBroken):
        Sealing("key two").open_env(sealed)
    with pytest.raises(SealBroken):
        Sealing("").open_env(sealed)


def test_without_a_key_nothing_is_stored() -> None:
    """A server without a secret key refuses values instead of keeping them in clear; no values are no problem."""
    sealing = Sealing("")
    assert sealing.seal_env({}) == b""
    assert sealing.open_env(b"") == {}
    with pytest.raises(Problem, match="AGENT_RUNNER_SECRET_KEY"):
        sealing.seal_env({"A": EnvValue(value="v", is_secret=True)})


def test_the_redaction_sent_back_keeps_the_value() -> None:
    """Sending REDACTED for a stored secret keeps it; for a new name it is just a value; clear text stays clear."""
    sealing = Sealing("k")
    stored = sealing.seal_data({"S": {"value": "v", "is_secret": True}, "P": {"value": "p"}}, {})
    assert redacted(stored)["S"]["value"] == REDACTED
    again = sealing.seal_data(redacted(stored) | {"N": {"value": REDACTED, "is_secret": True}}, stored)
    assert {name: v.value for name, v in sealing.open_data(again).items()} == {"S": "v", "P": "p", "N": REDACTED}


def test_a_plain_value_that_becomes_secret_is_sealed() -> None:
    """The redaction of a value that was stored in clear never carries the clear text over."""
    sealing = Sealing("k")
    became = sealing.seal_data({"P": {"value": REDACTED, "is_secret": True}}, {"P": {"value": "clear"}})
    assert "clear" not in str(became)


def test_a_plain_value_may_look_sealed() -> None:
    """A value that only looks like a sealed one is given back as it is."""
    sealing = Sealing("k")
    data = sealing.seal_data({"P": {"value": "sealed:x"}, "S": {"value": "sealed:y", "is_secret": True}}, {})
    assert {name: v.value for name, v in sealing.open_data(data).items()} == {"P": "sealed:x", "S": "sealed:y"}


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [
        (ResourceKind.AGENT, "agt"),
        (ResourceKind.AGENT_INSTANCE, "ain"),
        (ResourceKind.SESSION, "ses"),
        (ResourceKind.SKILL, "skl"),
        (ResourceKind.ENVIRONMENT, "env"),
        (ResourceKind.EXECUTION_CONTEXT, "exec"),
    ],
)
def test_ids_carry_the_kinds_prefix(kind: ResourceKind, prefix: str) -> None:
    """Ids are the contract's prefix, a hyphen and a lowercase ULID; two are never equal."""
    id = new_resource_id(kind)
    assert id.startswith(f"{prefix}-")
    assert len(id) == len(prefix) + 27
    assert id == id.lower() != new_resource_id(kind)
    assert new_execution_id().startswith("aex-")


@pytest.mark.parametrize(
    ("name", "slug"),
    [("My Agent 2!", "my-agent-2"), ("  a--b  ", "a-b"), ("ÄÖ", ""), ("x" * 80, "x" * 63), ("", "")],
)
def test_slugs(name: str, slug: str) -> None:
    """A slug has lower-case letters, digits and single hyphens only."""
    assert slug_of(name) == slug


def test_exits_in_words() -> None:
    """The cause of an end says what was seen and no more."""
    assert how(9, None) == "signal 9: usually out of memory"
    assert how(15, None).startswith("signal 15: ")
    assert how(None, 3) == "exit code 3"
    assert how(None, None) == "the cause of its end is not known"


def test_the_short_form_as_a_draft() -> None:
    """The short form becomes a contract message with every value in its place; its env is secret."""
    draft = draft_of_json({"message": "m", "agent": "a", "model": "x", "env": {"K": "v"}, "org": "o", "graph": "g"})
    spec = draft.execution.spec
    assert (spec.message, spec.execution_config.model_name, draft.agent, draft.graph) == ("m", "x", "a", "g")
    assert (spec.runtime_env["K"].value, spec.runtime_env["K"].is_secret) == ("v", True)
    assert draft.execution.metadata.org == "o"
    assert draft.default_agent
