"""The answer to a claim: environments in layers, skills in versions, and what it says when something is gone."""

import asyncio
import json
import threading
import time
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from agent_runner.app.server.composition import RunningServer, running_server
from agent_runner.app.server.context import ServerContext
from agent_runner.app.server.runners.claim_reply import claim_reply
from agent_runner.clients.settings.settings import Settings
from agent_runner.clients.skills.archive import SkillText, read_skill_md
from agent_runner.status.log.bounds import MAX_SECRETS
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.schema import skill_artifacts
from agent_runner.status.store.store import Store
from agent_runner.v1 import runner_pb2 as pb
from tests.support.tables import change, scalar
from tests.unit.server.conftest import Worker, created, http_client
from tests.unit.server.test_resources import VERSION, agent
from tests.unit.server.test_skills_http import push
from tests.unit.skills.archives import archive

SHARES_A_SERVER = True


def value(text: str, *, secret: bool = False) -> dict[str, Any]:
    return {"value": text, "is_secret": secret}


async def environment(http: httpx.AsyncClient, name: str, **values: Any) -> dict[str, Any]:
    """Made, and the reference to it."""
    metadata = {"name": name, "owner_scope": "organization"}
    body = {"api_version": VERSION, "kind": "Environment", "metadata": metadata, "spec": {"data": values}}
    assert (await http.post("/v1/environments", json=body)).status_code == 201
    return {"kind": "environment", "slug": name}


async def session(http: httpx.AsyncClient, refs: list[dict[str, Any]], **spec: Any) -> str:
    """A session with an instance of a new agent that refers to these environments."""
    made = (await http.post("/v1/agents", json=agent(**spec))).json()
    instance = {
        "api_version": VERSION,
        "kind": "AgentInstance",
        "metadata": {"name": "one", "owner_scope": "organization"},
        "spec": {"agent_id": made["metadata"]["id"], "environment_refs": refs},
    }
    answer = await http.post("/v1/agent-instances", json=instance)
    assert answer.status_code == 201, answer.text
    body = {
        "api_version": VERSION,
        "kind": "Session",
        "metadata": {"name": "s", "owner_scope": "organization"},
        "spec": {"agent_instance_id": answer.json()["metadata"]["id"]},
    }
    return str((await http.post("/v1/sessions", json=body)).json()["metadata"]["id"])


async def claimed(server: RunningServer, id: str, ctx: ServerContext | None = None) -> pb.ClaimReply:
    return await claim_reply(ctx or server.ctx, await Worker(server).claim(id))


@pytest.mark.promise("1.69")
async def test_the_layers_of_the_environment(http: httpx.AsyncClient, server: RunningServer) -> None:
    """The agent's values, then each reference in order, then the execution's own: the later one wins."""
    names = ("A", "B", "C", "D", "E")
    refs = [await environment(http, f"layer-{n}", **{name: value(f"ref {n}") for name in names[n:]}) for n in (1, 2, 3)]
    id = await session(http, refs, env_spec={"data": {name: value("agent") for name in names}})
    run = await created(http, session_id=id, env={"E": "runtime"})
    reply = await claimed(server, run["metadata"]["id"])
    assert dict(reply.env) == {"A": "agent", "B": "ref 1", "C": "ref 2", "D": "ref 3", "E": "runtime"}
    assert list(reply.secret_names) == ["E"]


@pytest.mark.promise("1.70")
@pytest.mark.parametrize(("order", "wins"), [((0, 1), "two"), ((1, 0), "one")])
async def test_the_order_of_references_counts(
    http: httpx.AsyncClient, server: RunningServer, order: tuple[int, int], wins: str
) -> None:
    """Of two references the later one wins, whichever was made first."""
    refs = [await environment(http, name, SAME=value(name)) for name in ("one", "two")]
    run = await created(http, session_id=await session(http, [refs[n] for n in order]))
    assert (await claimed(server, run["metadata"]["id"])).env["SAME"] == wins


@pytest.mark.promise("1.71")
async def test_environments_add_up(http: httpx.AsyncClient, server: RunningServer) -> None:
    """base, aws-prod and github-team give all their values; secrets are named, others are not."""
    refs = [
        await environment(http, "base", REGION=value("eu"), LEVEL=value("info")),
        await environment(http, "aws-prod", AWS_SECRET=value("aws-hunter2", secret=True), LEVEL=value("warn")),
        await environment(http, "github-team", GITHUB_TOKEN=value("ghp-hunter2", secret=True)),
    ]
    run = await created(http, session_id=await session(http, refs))
    reply = await claimed(server, run["metadata"]["id"])
    assert dict(reply.env) == {
        "REGION": "eu", "LEVEL": "warn", "AWS_SECRET": "aws-hunter2", "GITHUB_TOKEN": "ghp-hunter2"
    }  # fmt: skip
    assert sorted(reply.secret_names) == ["AWS_SECRET", "GITHUB_TOKEN"]
    assert not reply.agent.spec.HasField("env_spec")


async def test_too_many_secrets_of_all_layers_end_the_run(http: httpx.AsyncClient, server: RunningServer) -> None:
    """Each layer may be written, together they are more than a run may have: it ends E304, and gets none of them."""
    halves = [{f"{name}{n}": value("hunter2", secret=True) for n in range(MAX_SECRETS - 1)} for name in "AB"]
    refs = [await environment(http, f"half-{n}", **half) for n, half in enumerate(halves)]
    run = await created(http, session_id=await session(http, refs))
    reply = await claimed(server, run["metadata"]["id"])
    assert reply.bundle_error_code == "E304"
    assert f"these are {2 * MAX_SECRETS - 2}" in reply.bundle_error
    assert not reply.env


class PatientStore(Store):
    """Answers a look-up of a reference when five of its kind are asked for."""

    fives: dict[ResourceKind, asyncio.Barrier]

    async def find_resource(self, kind: ResourceKind, org: str, slug: str) -> Resource | None:
        await asyncio.wait_for(self.fives[kind].wait(), 20)
        return await super().find_resource(kind, org, slug)


@pytest.mark.promise("1.68")
async def test_references_are_looked_up_at_the_same_time(
    http: httpx.AsyncClient, server: RunningServer, settings: Settings
) -> None:
    """Of five environments and five skills none waits for the answer to another of its kind."""
    refs = [await environment(http, f"env-{n}", **{f"V{n}": value(str(n))}) for n in range(5)]
    for n in range(5):
        await push(http, archive(), name=f"skill-{n}")
    skill_refs = [{"kind": "skill", "slug": f"skill-{n}"} for n in range(5)]
    run = await created(http, session_id=await session(http, refs, skill_refs=skill_refs))
    one = await Worker(server).claim(run["metadata"]["id"])
    patient = PatientStore.open(settings.database_url)
    patient.fives = {kind: asyncio.Barrier(5) for kind in (ResourceKind.ENVIRONMENT, ResourceKind.SKILL)}
    try:
        reply = await claim_reply(replace(server.ctx, store=patient), one)
    finally:
        await patient.close()
    assert len(reply.env) == len(reply.skills) == 5


async def test_an_environment_that_is_gone(http: httpx.AsyncClient, server: RunningServer) -> None:
    """E304 naming the first one that is missing; no value leaves the server."""
    refs = [await environment(http, name, A=value("hunter2", secret=True)) for name in ("here", "gone", "away")]
    run = await created(http, session_id=await session(http, refs), env={"B": "hunter2"})
    for name in ("gone", "away"):
        await http.delete(f"/v1/environments/{name}")
    reply = await claimed(server, run["metadata"]["id"])
    assert reply.granted
    assert (reply.bundle_error_code, reply.bundle_error_what) == ("E304", "gone")
    assert "does not exist" in reply.bundle_error
    assert not reply.env


@pytest.mark.parametrize("holder", ["environment", "agent", "execution"])
async def test_a_secret_that_no_key_opens(
    http: httpx.AsyncClient, server: RunningServer, settings: Settings, holder: str
) -> None:
    """E304 saying whose it is, after AGENT_RUNNER_SECRET_KEY was replaced instead of preceded."""
    secret = {"A": value("hunter2", secret=True)}
    refs = [await environment(http, "prod", **secret)] if holder == "environment" else []
    spec = {"env_spec": {"data": secret}} if holder == "agent" else {}
    env = {"A": "hunter2"} if holder == "execution" else {}
    run = await created(http, session_id=await session(http, refs, **spec), env=env)
    one = await Worker(server).claim(run["metadata"]["id"])
    other = settings.model_copy(update={"secret_key": SecretStr("another key")})
    async with running_server(other) as restarted:
        reply = await claim_reply(restarted.ctx, one)
    named = {"environment": "prod", "agent": "code-helper", "execution": "runtime_env"}[holder]
    assert reply.bundle_error_code == "E304"
    assert named in reply.bundle_error_what
    assert "AGENT_RUNNER_SECRET_KEY" in reply.bundle_error


async def test_a_session_that_is_gone_is_no_environment(http: httpx.AsyncClient, server: RunningServer) -> None:
    """Everything else that is gone stays E302: without a code of its own."""
    run = await created(http, session_id=await session(http, []))
    await http.delete(f"/v1/sessions/{run['spec']['session_id']}")
    reply = await claimed(server, run["metadata"]["id"])
    assert reply.bundle_error_code in ("", "E302")
    assert "Session" in reply.bundle_error


async def test_the_skills_of_a_run(http: httpx.AsyncClient, server: RunningServer) -> None:
    """Of the agent and of its sub-agents, by version; two versions of one skill do not share a folder."""
    first = await push(http, archive(), tag="v1")
    second = await push(http, archive(skill_md="# Reading bills\n\nA newer way."))
    helper = {
        "name": "helper",
        "instructions": "Do a small part.",
        "skill_refs": [{"kind": "skill", "slug": "invoices"}, {"kind": "skill", "slug": "invoices", "version": "v1"}],
    }
    ref = {"kind": "skill", "slug": "invoices", "version": "v1"}
    run = await created(http, session_id=await session(http, [], skill_refs=[ref, ref], sub_agents=[helper]))
    skills = (await claimed(server, run["metadata"]["id"])).skills
    assert [(s.sub_agent, s.name, s.description, s.version_hash) for s in skills] == [
        ("", "Invoices", "Reads invoices. Use it for PDF bills.", first["status"]["version_hash"]),
        ("helper", "Invoices", "A newer way.", second["status"]["version_hash"]),
        ("helper", "Invoices", "Reads invoices. Use it for PDF bills.", first["status"]["version_hash"]),
    ]
    assert skills[0].folder == skills[2].folder == "invoices"
    assert skills[1].folder == f"invoices-{second['status']['version_hash'][:12]}"
    assert skills[0].artifact_key == first["status"]["artifact_storage_key"]


@pytest.mark.parametrize(
    ("ref", "what", "says"),
    [
        ({"slug": "nothing"}, "nothing", "does not exist in org 'local'"),
        ({"slug": "invoices", "scope": "platform"}, "invoices", "on the platform"),
        ({"slug": "invoices", "version": "v9"}, "invoices", "no version 'v9'"),
    ],
)
async def test_a_skill_that_is_gone(
    http: httpx.AsyncClient, server: RunningServer, ref: dict[str, str], what: str, says: str
) -> None:
    """E303 naming it, and its version if only that is missing."""
    await push(http, archive())
    run = await created(http, session_id=await session(http, [], skill_refs=[{"kind": "skill", **ref}]))
    reply = await claimed(server, run["metadata"]["id"])
    assert (reply.bundle_error_code, reply.bundle_error_what) == ("E303", what)
    assert says in reply.bundle_error


async def test_keys_are_replaced_one_after_the_other(
    http: httpx.AsyncClient, server: RunningServer, settings: Settings
) -> None:
    """New key first, old key second: old values open, GET and PUT seals them anew, then the old key can go."""
    refs = [await environment(http, "prod", A=value("hunter2", secret=True))]
    run = await created(http, session_id=await session(http, refs))
    one = await Worker(server).claim(run["metadata"]["id"])
    both = settings.model_copy(update={"secret_key": SecretStr("a new one, a secret of the operator")})
    async with running_server(both) as rotating, http_client(rotating) as client:
        assert (await claim_reply(rotating.ctx, one)).env["A"] == "hunter2"
        shown = (await client.get("/v1/environments/prod")).json()
        assert shown["spec"]["data"]["A"]["value"] == "***"
        assert (await client.put("/v1/environments/prod", json=shown)).status_code == 200
    new = settings.model_copy(update={"secret_key": SecretStr("a new one")})
    async with running_server(new) as rotated:
        assert (await claim_reply(rotated.ctx, one)).env["A"] == "hunter2"
    reply = await claim_reply(server.ctx, one)
    assert reply.bundle_error_code == "E304"


@pytest.mark.parametrize("end", ["cancel", "settle"])
async def test_the_secrets_of_an_execution_go_with_its_end(
    http: httpx.AsyncClient, server: RunningServer, worker: Worker, end: str
) -> None:
    """The terminal write removes the sealed runtime_env; an operator's context of that execution goes within a tick."""
    run = await created(http, env={"A": "hunter2"})
    id = run["metadata"]["id"]
    context = Resource(
        kind=ResourceKind.EXECUTION_CONTEXT, id="exec-1", org="", slug="c", parent_id=id, created_at=1.0, version=0,
        body={"metadata": {"id": "exec-1"}, "spec": {"execution_id": id}},
    )  # fmt: skip
    store = server.ctx.store
    await store.put_resource(context)
    before = await store.get(id)
    assert before is not None
    assert before.sealed_env
    if end == "cancel":
        await http.post(f"/v1/executions/{id}/cancel")
    else:
        await worker.settle(await worker.claim(id), number=0)
    after = await store.get(id)
    assert after is not None
    assert not after.sealed_env
    deadline = time.monotonic() + 20
    while await store.get_resource(ResourceKind.EXECUTION_CONTEXT, "exec-1") is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_claim_reads_no_front_matter(
    http: httpx.AsyncClient, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read when the skill was pushed. A version from before that was kept is read once, in a thread, whatever
    servers come and go."""
    await push(http, archive(skill_md="---\nname: Once\ndescription: d\n---\nbody"), name="once")
    threads: list[int] = []

    def seen(text: str) -> SkillText:
        threads.append(threading.get_ident())
        return read_skill_md(text)

    monkeypatch.setattr("agent_runner.app.server.resources.archives.read_skill_md", seen)
    id = await session(http, [], skill_refs=[{"kind": "skill", "slug": "once"}])
    granted = await Worker(server).claim((await created(http, session_id=id))["metadata"]["id"])

    async def told() -> list[tuple[str, str]]:
        reply = await claim_reply(server.ctx, granted)
        return [(skill.name, skill.description) for skill in reply.skills]

    assert [await told() for _ in range(2)] == [[("Once", "d")]] * 2
    assert threads == []
    await forget_front(server)
    assert [await told() for _ in range(3)] == [[("Once", "d")]] * 3
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


async def test_an_old_skill_that_is_refused_today(http: httpx.AsyncClient, server: RunningServer) -> None:
    """Its execution is told why, at every claim, and the reason is kept like what a good one says."""
    await push(http, archive(skill_md="---\nname: Old\n---\nbody"), name="old")
    await forget_front(server, skill_md="---\na: &x 1\nb: *x\n---\nbody")
    id = await session(http, [], skill_refs=[{"kind": "skill", "slug": "old"}])
    granted = await Worker(server).claim((await created(http, session_id=id))["metadata"]["id"])
    for _ in range(2):
        reply = await claim_reply(server.ctx, granted)
        assert (reply.bundle_error_code, reply.bundle_error_what) == ("E303", "old")
        assert "alias" in reply.bundle_error
    assert "alias" in str(await kept_front(server))


async def forget_front(server: RunningServer, **values: Any) -> None:
    """As versions were stored before their front matter was kept."""
    await change(server.ctx.store, update(skill_artifacts).values(front=None, **values))


async def kept_front(server: RunningServer) -> Any:
    return await scalar(server.ctx.store, select(skill_artifacts.c.front))


async def test_the_lower_budget_counts(http: httpx.AsyncClient, server: RunningServer) -> None:
    """An execution can lower what its agent may do, and cannot raise it."""
    body = agent()
    body["metadata"]["annotations"] = {"agent-runner/budget": json.dumps({"tool_calls": 5, "tokens": 10})}
    made = (await http.post("/v1/agents", json=body)).json()
    own = {"agent-runner/budget": json.dumps({"tool_calls": 9, "model_calls": 2})}
    kind = {"api_version": VERSION, "kind": "AgentExecution"}
    spec = {"message": "hi", "agent_id": made["metadata"]["id"]}
    answer = await http.post("/v1/executions", json={**kind, "metadata": {"annotations": own}, "spec": spec})
    assert answer.status_code == 201, answer.text
    reply = await claimed(server, answer.json()["metadata"]["id"])
    limits = json.loads(reply.agent.metadata.annotations["agent-runner/budget"])
    assert limits == {"tool_calls": 5, "tokens": 10, "model_calls": 2}
