"""Resources over HTTP: agents, instances, sessions, skills, environments."""

import sqlite3
from typing import Any

import httpx
import pytest

from agent_runner.app.server.composition import RunningServer
from agent_runner.clients.settings.settings import Settings
from agent_runner.status.store.records import ResourceKind
from tests.unit.server.conftest import created
from tests.unit.server.test_create import assert_problem

SHARES_A_SERVER = True

VERSION = "agentic.stigmer.ai/v1"


def agent(name: str = "Code Helper", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "owner_scope": "organization"}
    return {
        "api_version": VERSION,
        "kind": "Agent",
        "metadata": metadata,
        "spec": {"instructions": "Help people with their code.", **spec},
    }


def environment(**values: Any) -> dict[str, Any]:
    metadata = {"name": "Prod", "owner_scope": "organization"}
    return {"api_version": VERSION, "kind": "Environment", "metadata": metadata, "spec": {"data": values}}


async def test_an_agent_comes_with_its_default_instance(http: httpx.AsyncClient) -> None:
    """Creating an agent makes its default instance, and executions by slug use both."""
    made = await http.post("/v1/agents", json=agent())
    assert made.status_code == 201, made.text
    body = made.json()
    assert body["metadata"]["id"].startswith("agt-")
    assert body["metadata"]["slug"] == "code-helper"
    instance = (await http.get(f"/v1/agent-instances/{body['status']['default_instance_id']}")).json()
    assert instance["metadata"]["slug"] == "code-helper-default"
    assert instance["spec"]["agent_id"] == body["metadata"]["id"]
    execution = await created(http, agent="code-helper")
    assert execution["spec"]["agent_id"] == body["metadata"]["id"]
    session = (await http.get(f"/v1/sessions/{execution['spec']['session_id']}")).json()
    assert session["spec"]["agent_instance_id"] == instance["metadata"]["id"]


async def test_either_spelling_in_original_names_out(http: httpx.AsyncClient) -> None:
    """Both spellings of field names are read; answers have the original ones."""
    body = agent(subAgents=[{"name": "helper", "instructions": "Do a small part."}], iconUrl="x")
    made = (await http.post("/v1/agents", json=body)).json()
    assert made["spec"]["icon_url"] == "x"
    assert made["spec"]["sub_agents"][0]["name"] == "helper"


async def test_a_name_is_taken_once(http: httpx.AsyncClient) -> None:
    """A second resource of the same kind, org and slug is a 409."""
    assert (await http.post("/v1/agents", json=agent())).status_code == 201
    assert_problem(await http.post("/v1/agents", json=agent("code helper!")), 409, "ALREADY_EXISTS")


async def test_apply_creates_then_updates(http: httpx.AsyncClient) -> None:
    """PUT to the collection is idempotent: one resource, whose status and id stay."""
    first = (await http.put("/v1/agents", json=agent())).json()
    second = (await http.put("/v1/agents", json=agent(description="new"))).json()
    assert second["metadata"]["id"] == first["metadata"]["id"]
    assert second["spec"]["description"] == "new"
    assert second["status"]["default_instance_id"] == first["status"]["default_instance_id"]
    assert (await http.get("/v1/agents")).json()["total"] == 1


async def test_update_never_writes_status(http: httpx.AsyncClient) -> None:
    """PUT to a resource replaces its spec, ignores a status that is sent, and keeps the slug."""
    first = (await http.post("/v1/agents", json=agent())).json()
    id = first["metadata"]["id"]
    changed = {**agent("Other Name", description="d"), "status": {"default_instance_id": "ain-forged"}}
    second = (await http.put(f"/v1/agents/{id}", json=changed)).json()
    assert second["metadata"] | {"name": "x"} == first["metadata"] | {"name": "x"}
    assert second["status"]["default_instance_id"] == first["status"]["default_instance_id"]
    assert second["spec"]["description"] == "d"
    other = {**changed, "metadata": {**changed["metadata"], "id": "agt-other"}}
    assert_problem(await http.put(f"/v1/agents/{id}", json=other), 400, "INVALID_ARGUMENT")


async def test_delete_takes_the_default_instance_along(http: httpx.AsyncClient) -> None:
    """A deleted agent is gone with its default instance; its name can be used again; its sessions end clearly."""
    first = (await http.post("/v1/agents", json=agent())).json()
    execution = await created(http, agent="code-helper")
    assert (await http.delete("/v1/agents/code-helper")).status_code == 200
    assert_problem(await http.get("/v1/agents/code-helper"), 404, "NOT_FOUND")
    instance = first["status"]["default_instance_id"]
    assert_problem(await http.get(f"/v1/agent-instances/{instance}"), 404, "NOT_FOUND")
    assert (await http.post("/v1/agents", json=agent())).status_code == 201
    again = {"message": "a", "session_id": execution["spec"]["session_id"]}
    assert_problem(await http.post("/v1/executions", json=again), 409, "FAILED_PRECONDITION")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "Session"}, "kind"),
        ({"api_version": "v1"}, VERSION),
        ({"metadata": {"name": "a", "owner_scope": "identity_account"}}, "platform or organization scope"),
        ({"metadata": {"name": "!!", "owner_scope": 2}}, "letter or digit"),
        ({"spec": {"instructions": "short"}}, "instructions"),
        ({"spec": {"nonsense": 1}}, "nonsense"),
        ({"spec": "text"}, "spec must be an object"),
    ],
)
async def test_a_wrong_resource_is_a_400(http: httpx.AsyncClient, change: dict[str, Any], says: str) -> None:
    """What breaks a rule of the contract is refused with the field and the expectation."""
    answer = await http.post("/v1/agents", json={**agent(), **change})
    assert says in assert_problem(answer, 400, "INVALID_ARGUMENT")["detail"]


async def test_parents_must_exist(http: httpx.AsyncClient) -> None:
    """A session of an instance that does not exist is a 404 naming the instance."""
    body = {
        "api_version": VERSION,
        "kind": "Session",
        "metadata": {"name": "s", "owner_scope": "organization"},
        "spec": {"agent_instance_id": "ain-none"},
    }
    assert "ain-none" in assert_problem(await http.post("/v1/sessions", json=body), 404, "NOT_FOUND")["detail"]


async def test_environment_secrets_are_sealed(
    http: httpx.AsyncClient, server: RunningServer, settings: Settings
) -> None:
    """Secret values are stored sealed and shown redacted; sending the redaction back keeps the value."""
    given = environment(TOKEN={"value": "hunter2-env", "is_secret": True}, PLAIN={"value": "seen"})
    made = (await http.post("/v1/environments", json=given)).json()
    assert made["spec"]["data"]["TOKEN"]["value"] == "***"
    assert made["spec"]["data"]["PLAIN"]["value"] == "seen"
    updated = {**made, "spec": {"data": {**made["spec"]["data"], "MORE": {"value": "x", "is_secret": True}}}}
    assert (await http.put("/v1/environments/prod", json=updated)).status_code == 200
    stored = await server.ctx.store.find_resource(ResourceKind.ENVIRONMENT, "local", "prod")
    assert stored is not None
    clear = {name: v.value for name, v in server.ctx.sealing.open_data(stored.body["spec"]["data"]).items()}
    assert clear == {"TOKEN": "hunter2-env", "PLAIN": "seen", "MORE": "x"}
    dumped = "\n".join(sqlite3.connect(settings.database_url.removeprefix("sqlite:///")).iterdump())
    assert "hunter2" not in dumped


async def test_an_agents_own_secrets_are_sealed_too(http: httpx.AsyncClient, server: RunningServer) -> None:
    """Values in an agent's env_spec are treated as an environment's."""
    given = agent(env_spec={"data": {"KEY": {"value": "hunter2-agent", "is_secret": True}}})
    made = (await http.post("/v1/agents", json=given)).json()
    assert made["spec"]["env_spec"]["data"]["KEY"]["value"] == "***"
    stored = await server.ctx.store.get_resource(ResourceKind.AGENT, made["metadata"]["id"])
    assert stored is not None
    assert "hunter2" not in str(stored.body)


async def test_lists_page_and_filter_by_agent(http: httpx.AsyncClient) -> None:
    """Sessions can be listed for one agent, page by page, newest first."""
    await http.post("/v1/agents", json=agent())
    mine = [(await created(http, agent="code-helper"))["spec"]["session_id"] for _ in range(3)]
    await created(http)
    first = (await http.get("/v1/sessions", params={"agent": "code-helper", "page_size": 2})).json()
    rest = (
        await http.get(
            "/v1/sessions", params={"agent": "code-helper", "page_size": 2, "page_token": first["next_page_token"]}
        )
    ).json()
    assert [s["metadata"]["id"] for s in first["entries"] + rest["entries"]] == mine[::-1]
    assert rest["next_page_token"] == ""
    assert first["total"] == 3


async def test_skills_by_their_text(http: httpx.AsyncClient) -> None:
    """A skill made from its SKILL.md is stored and found by slug."""
    body = {
        "api_version": VERSION,
        "kind": "Skill",
        "metadata": {"name": "Reading", "owner_scope": "platform"},
        "spec": {"skill_md": "# Reading"},
    }
    assert (await http.post("/v1/skills", json=body)).status_code == 201
    assert (await http.get("/v1/skills/reading")).json()["spec"]["skill_md"] == "# Reading"


SPECS: dict[str, dict[str, Any]] = {
    "Agent": {"instructions": "Help people with their code."},
    "Environment": {"data": {}},
    "Skill": {"skill_md": "# Reading"},
}


@pytest.mark.parametrize("method", ["post", "put"])
@pytest.mark.parametrize("metadata", [{}, {"owner_scope": None}, {"ownerScope": None}])
@pytest.mark.parametrize("kind", SPECS)
async def test_who_does_not_say_whose_it_is_means_the_organization(
    http: httpx.AsyncClient, kind: str, metadata: dict[str, Any], method: str
) -> None:
    """Over HTTP `owner_scope` may be left out wherever the contract asks for one."""
    body = {"api_version": VERSION, "kind": kind, "metadata": {"name": "Mine", **metadata}, "spec": SPECS[kind]}
    made = await http.request(method, f"/v1/{kind.lower()}s", json=body)
    assert made.status_code == (201 if method == "post" else 200), made.text
    assert made.json()["metadata"]["owner_scope"] == "organization"


async def test_a_session_is_the_organizations_too(http: httpx.AsyncClient) -> None:
    """A session that says nothing of its owner belongs to the organization."""
    instance = (await http.post("/v1/agents", json=agent())).json()["status"]["default_instance_id"]
    body = {
        "api_version": VERSION,
        "kind": "Session",
        "metadata": {"name": "s"},
        "spec": {"agent_instance_id": instance},
    }
    made = await http.post("/v1/sessions", json=body)
    assert (made.status_code, made.json()["metadata"]["owner_scope"]) == (201, "organization")


async def test_an_update_does_not_move_a_resource(http: httpx.AsyncClient) -> None:
    """Whose a resource is stays as it was made, whatever an update says or leaves out."""
    body = agent()
    body["metadata"]["owner_scope"] = "platform"
    made = (await http.post("/v1/agents", json=body)).json()
    for metadata in ({}, {"owner_scope": "organization"}):
        answer = await http.put(f"/v1/agents/{made['metadata']['id']}", json=body | {"metadata": metadata})
        assert answer.status_code == 200, answer.text
        assert answer.json()["metadata"]["owner_scope"] == "platform"
        assert answer.json()["metadata"].get("org", "") == made["metadata"].get("org", "")


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("Agent", 0, "write owner_scope: platform or owner_scope: organization"),
        ("Environment", "platform", "write owner_scope: organization or owner_scope: identity_account"),
    ],
)
async def test_a_wrong_owner_is_told_what_to_write(http: httpx.AsyncClient, kind: str, given: Any, says: str) -> None:
    """A value that the kind cannot have is refused with those it can have."""
    metadata = {"name": "Mine", "owner_scope": given}
    body = {"api_version": VERSION, "kind": kind, "metadata": metadata, "spec": SPECS[kind]}
    answer = assert_problem(await http.post(f"/v1/{kind.lower()}s", json=body), 400, "INVALID_ARGUMENT")
    assert says in str(answer["violations"])
