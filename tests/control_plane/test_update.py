"""`update` of an execution: what describes it changes, what it runs by and its status do not."""

import sqlite3
from pathlib import Path
from typing import Any

import grpc
import httpx
import psycopg
import pytest

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2
from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import EXECUTION_FAILED
from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.clients.settings.settings import Settings
from agent_runner.v1 import executions_pb2 as own
from agent_runner.v1 import executions_pb2_grpc as own_grpc
from tests.control_plane.caller import Caller, execution_of, resource_of
from tests.control_plane.model import COMPLETED, IN_PROGRESS, Report
from tests.control_plane.seen import status_of
from tests.unit.server.conftest import KEY, http_client
from tests.unit.server.identity import code_of, id_of, key

SECRET, OTHER_SECRET = "hunter2-first", "hunter2-second"


@pytest.fixture
def caller(channel: grpc.aio.Channel, http: httpx.AsyncClient) -> Caller:
    return Caller(channel, http)


async def accepted(caller: Caller, **given: Any) -> AgentExecution:
    agent = await caller.call(caller.commands["Agent"].apply, resource_of("Agent", "Helper"))
    request = execution_of("do it", agent_id=agent.metadata.id, name="a run", tags=["first"], team="one")
    request.metadata.annotations.update({"note": "kept?", "agent-runner/timeouts": '{"heartbeat_s": 20}'})
    request.spec.runtime_env["TOKEN"].value, request.spec.runtime_env["TOKEN"].is_secret = SECRET, True
    request.spec.runtime_env["PLAIN"].value = "seen"
    for name, value in given.items():
        setattr(request.spec, name, value)
    made: AgentExecution = await caller.call(caller.command.create, request)
    return made


def relabelled(execution: AgentExecution) -> AgentExecution:
    wanted = AgentExecution()
    wanted.CopyFrom(execution)
    wanted.metadata.name = "another name"
    wanted.metadata.labels.clear()
    wanted.metadata.labels.update({"team": "two", "cost": "low"})
    wanted.metadata.annotations["note"] = "changed"
    wanted.metadata.tags[:] = ["second", "third"]
    return wanted


async def refusal(caller: Caller, wanted: AgentExecution) -> tuple[grpc.StatusCode, str]:
    return await code_of(caller.update(wanted))


@pytest.mark.promise("1.80")
@pytest.mark.promise("1.81")
@pytest.mark.promise("2.01")
@pytest.mark.promise("2.09")
async def test_labels_change_and_the_status_stays_whole(caller: Caller, settings: Settings) -> None:
    """Name, labels, annotations and tags are replaced and last; the status is as it was, whatever the update says."""
    made = await accepted(caller)
    said = Report(phase=IN_PROGRESS, messages=[(2, "working")], calls=[("c1", "shell", 2, "")], todos={"1": ("x", 2)})
    before = await caller.report(made.metadata.id, status_of(said))
    wanted = relabelled(before)
    wanted.status.Clear()
    wanted.status.phase, wanted.status.error = EXECUTION_FAILED, "forged"
    updated = await caller.update(wanted)
    assert updated.metadata == wanted.metadata
    assert updated.spec == before.spec
    audit, was = updated.status.audit.spec_audit, before.status.audit.spec_audit
    assert (audit.event, audit.created_at, audit.updated_by.id) == ("updated", was.created_at, "STIGMER_API_KEY")
    assert audit.updated_at.ToNanoseconds() > was.updated_at.ToNanoseconds()
    updated.status.audit.spec_audit.CopyFrom(was)
    assert updated.status == before.status
    async with (
        running_server(settings) as again,
        http_client(again) as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{again.grpc_port}") as channel,
    ):
        elsewhere = await Caller(channel, http).execution(made.metadata.id)
    assert elsewhere.metadata == wanted.metadata
    assert [m.content for m in elsewhere.status.messages] == ["working"]


async def test_the_same_update_again_changes_nothing(caller: Caller) -> None:
    """Not even the time of the last change; nor does sending back what is shown."""
    made = await accepted(caller)
    assert await caller.update(made) == made
    once = await caller.update(relabelled(made))
    assert await caller.update(relabelled(made)) == once


async def test_what_is_left_out_is_gone_but_for_how_it_runs(caller: Caller) -> None:
    """Labels, tags and annotations are replaced as a whole; annotations of the server itself stay, and the name."""
    made = await accepted(caller)
    bare = execution_of("do it")
    bare.metadata.id = made.metadata.id
    updated = await caller.update(bare)
    assert not updated.metadata.labels
    assert not updated.metadata.tags
    assert dict(updated.metadata.annotations) == {"agent-runner/timeouts": '{"heartbeat_s": 20}'}
    assert (updated.metadata.name, updated.metadata.slug, updated.spec) == ("a run", "a-run", made.spec)


async def test_what_it_runs_by_is_fixed(caller: Caller) -> None:
    """A change of message, session, agent, model, secrets, org or timeouts is refused by name; nothing is stored."""
    made = await accepted(caller)
    for field, change in (
        ("spec.message", lambda e: setattr(e.spec, "message", "other")),
        ("spec.session_id", lambda e: setattr(e.spec, "session_id", "ses-other")),
        ("spec.agent_id", lambda e: setattr(e.spec, "agent_id", "agt-other")),
        ("spec.execution_config", lambda e: setattr(e.spec.execution_config, "model_name", "other")),
        ("spec.runtime_env", lambda e: setattr(e.spec.runtime_env["NEW"], "value", "x")),
        ("spec.runtime_env", lambda e: e.spec.runtime_env.pop("TOKEN")),
        ("spec.callback_token", lambda e: setattr(e.spec, "callback_token", b"other")),
        ("metadata.org", lambda e: setattr(e.metadata, "org", "other")),
        ("agent-runner/timeouts", lambda e: e.metadata.annotations.update({"agent-runner/timeouts": "{}"})),
        ("agent-runner/graph", lambda e: e.metadata.annotations.update({"agent-runner/graph": "other"})),
    ):
        wanted = relabelled(made)
        change(wanted)
        code, text = await refusal(caller, wanted)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert field in text
    assert await caller.execution(made.metadata.id) == made


async def test_a_secret_in_an_update_goes_nowhere(
    caller: Caller, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """L9: a new value, and even the old one in clear, is refused, and is not in the answer, the log or the database."""
    made = await accepted(caller)
    assert made.spec.runtime_env["TOKEN"].value == "***"
    for value in (OTHER_SECRET, SECRET):
        wanted = relabelled(made)
        wanted.spec.runtime_env["TOKEN"].value = value
        code, text = await refusal(caller, wanted)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "spec.runtime_env" in text
        assert "hunter2" not in text
    unmarked = relabelled(made)
    unmarked.spec.runtime_env["TOKEN"].value, unmarked.spec.runtime_env["TOKEN"].is_secret = OTHER_SECRET, False
    assert (await refusal(caller, unmarked))[0] is grpc.StatusCode.FAILED_PRECONDITION
    assert (await caller.update(relabelled(made))).spec.runtime_env["TOKEN"].value == "***"
    assert "hunter2" not in everything_in(settings.database_url)
    assert "hunter2" not in caplog.text


def everything_in(database_url: str) -> str:
    if database_url.startswith("sqlite"):
        with sqlite3.connect(database_url.removeprefix("sqlite:///")) as connection:
            return "\n".join(connection.iterdump())
    with psycopg.connect(database_url) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        return "\n".join(str(connection.execute(f'select * from "{name}"').fetchall()) for (name,) in tables)


async def test_labels_of_what_has_ended(caller: Caller) -> None:
    """After the end its owner may still label it; the end itself does not change."""
    made = await accepted(caller)
    ended = await caller.report(made.metadata.id, status_of(Report(phase=COMPLETED)))
    updated = await caller.update(relabelled(ended))
    assert list(updated.metadata.tags) == ["second", "third"]
    updated.status.audit.CopyFrom(ended.status.audit)
    assert updated.status == ended.status


async def test_tags_move_in_lists(caller: Caller, http: httpx.AsyncClient) -> None:
    """A list by tag finds an execution by the tags that it has now."""
    made = await accepted(caller)
    await caller.update(relabelled(made))

    async def tagged(tag: str) -> list[str]:
        answer = await caller.call(caller.query.list, io_pb2.ListAgentExecutionsRequest(tags=[tag]))
        return [e.metadata.id for e in answer.entries]

    assert await tagged("first") == []
    assert await tagged("second") == await tagged("third") == [made.metadata.id]


async def test_a_redrive_takes_the_labels_along(caller: Caller, channel: grpc.aio.Channel) -> None:
    """The new execution is described as the old one is now."""
    agent = await caller.call(caller.commands["Agent"].apply, resource_of("Agent", "Helper"))
    made = await caller.execute("do it", agent_id=agent.metadata.id, tags=["first"])
    wanted = AgentExecution()
    wanted.CopyFrom(made)
    wanted.metadata.tags.append("second")
    await caller.update(wanted)
    await caller.report(made.metadata.id, status_of(Report(phase=COMPLETED)))
    executions: Any = own_grpc.ExecutionsStub(channel)
    new = await caller.call(executions.redrive, own.RedriveRequest(execution_id=made.metadata.id))
    assert list(new.metadata.tags) == ["first", "second"]


async def test_who_updated_it(server: RunningServer, channel: grpc.aio.Channel, http: httpx.AsyncClient) -> None:
    """The audit names the key, by its id; a key that may only read cannot update."""
    writer, reader = await key(server, "execute"), await key(server, "read")
    made = await accepted(Caller(channel, http, KEY))
    updated = await Caller(channel, http, writer).update(relabelled(made))
    assert updated.status.audit.spec_audit.updated_by.id == id_of(writer)
    code, _ = await code_of(Caller(channel, http, reader).update(made))
    assert code is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("tags", "says"),
    [(["x" * 129], "129 characters"), (["a\0b"], "NUL"), ([str(n) for n in range(65)], "65 tags")],
)
async def test_tags_have_limits(caller: Caller, tags: list[str], says: str) -> None:
    """What no index can hold is INVALID_ARGUMENT: in a create, an update, a list, for executions and resources."""
    made = await accepted(caller)
    wanted = relabelled(made)
    wanted.metadata.tags[:] = tags
    for call in (
        caller.update(wanted),
        caller.execute("x", agent_id=made.spec.agent_id, tags=tags),
        caller.call(caller.query.list, io_pb2.ListAgentExecutionsRequest(tags=tags)),
        caller.call(caller.commands["Agent"].create, resource_of("Agent", "Tagged", tags=tags)),
    ):
        code, text = await code_of(call)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert says in text
