"""A stored session as a message: the same as the reader of JSON makes of it, whoever wrote the document."""

from typing import Any

import pytest
from google.protobuf import json_format

from agent_runner.ai.stigmer.agentic.session.v1.api_pb2 import Session
from agent_runner.app.server.access.principal import SERVER, acting_as
from agent_runner.app.server.resources.resource_bodies import new_body
from agent_runner.app.server.resources.resource_kinds import DEFINITIONS
from agent_runner.app.server.resources.sealing import Sealing
from agent_runner.app.server.resources.stored_messages import session_message
from agent_runner.status.store.records import ResourceKind

Json = dict[str, Any]


def of_ours(**metadata: Any) -> Json:
    """A session as the server itself makes it."""
    given = {
        "metadata": {"org": "o", "owner_scope": "organization", "annotations": {"agent-runner/graph": "g"}, **metadata},
        "spec": {"agent_instance_id": "ain-1", "subject": "été 😀", "metadata": {"a": "b"}},
    }
    with acting_as(SERVER):
        return new_body(Sealing(""), DEFINITIONS[ResourceKind.SESSION], given, before=None, named_by_id=True)


def read(body: Json) -> Session:
    return json_format.ParseDict(body, Session(), ignore_unknown_fields=True)


def audit(at: Any) -> Json:
    return {"status": {"audit": {"spec_audit": {"created_at": at, "event": "created"}}}}


def test_a_session_of_ours_is_not_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the same message all the same."""
    bodies = [of_ours(), of_ours(tags=["a", "b"], labels={"x": "y"})]
    expected = [read(body) for body in bodies]
    with monkeypatch.context() as patch:
        patch.setattr(json_format, "ParseDict", None)
        assert [session_message(body) for body in bodies] == expected


@pytest.mark.parametrize(
    "other",
    [
        {"metadata": {"ownerScope": "organization", "name": "s"}},
        {"metadata": {"name": "s", "of_a_newer_server": 1}},
        {"metadata": {"name": "s", "owner_scope": "of_a_newer_server"}},
        {"spec": None, "status": None},
        {"status": {"audit": None}},
        audit("2026-11-29T12:00:00Z"),
        audit("2026-11-29T12:00:00.123456789Z"),
        audit("2026-11-29T13:00:00.123+01:00"),
        audit(None),
        audit("2026-11-29T12:00:00.999Z"),
        {"status": {"audit": {"spec_audit": None}}},
        {},
    ],
)
def test_any_other_document_is_read_as_before(other: Json) -> None:
    body = of_ours() | other
    assert session_message(body) == read(body)
