"""Skills over HTTP: from an archive, from a text, by version."""

from typing import Any

import grpc
import httpx
import pytest

from agent_runner.ai.stigmer.agentic.skill.v1 import io_pb2, query_pb2_grpc
from agent_runner.app.server.composition import RunningServer
from agent_runner.clients.skills.archive import MAX_ARCHIVE_BYTES, hash_of, pack, read_archive
from tests.unit.server.conftest import http_client
from tests.unit.server.test_create import assert_problem
from tests.unit.server.test_grpc import code_of
from tests.unit.skills.archives import SKILL_MD, archive

SHARES_A_SERVER = True

ZIP = {"Content-Type": "application/zip"}


def by_text(text: str = "# Reading", name: str = "Reading", **metadata: Any) -> dict[str, Any]:
    return {
        "api_version": "agentic.stigmer.ai/v1",
        "kind": "Skill",
        "metadata": {"name": name, "owner_scope": "organization", **metadata},
        "spec": {"skill_md": text},
    }


async def push(http: httpx.AsyncClient, data: bytes, **params: str) -> dict[str, Any]:
    answer = await http.post("/v1/skills", params={"name": "Invoices", **params}, content=data, headers=ZIP)
    assert answer.status_code == 201, answer.text
    pushed: dict[str, Any] = answer.json()
    return pushed


async def test_an_archive_is_pushed_and_read_back(http: httpx.AsyncClient) -> None:
    """POST of a zip makes a version; GET shows one and gives its archive."""
    data = archive({"scripts/read.sh": "echo"})
    pushed = await push(http, data, tag="v1")
    assert pushed["spec"] == {"skill_md": SKILL_MD, "tag": "v1"}
    assert pushed["status"]["version_hash"] == hash_of(data)
    assert pushed["status"]["state"] == "SKILL_STATE_READY"
    await push(http, archive(skill_md="# Newer"))
    assert (await http.get("/v1/skills/invoices")).json()["spec"]["skill_md"] == "# Newer"
    for version in ("v1", hash_of(data)):
        found = await http.get("/v1/skills/invoices", params={"version": version})
        assert found.json()["spec"] == {"skill_md": SKILL_MD, "tag": "v1"}
        file = await http.get("/v1/skills/invoices/archive", params={"version": version})
        assert (file.content, file.headers["content-type"]) == (data, "application/zip")
        assert file.headers["content-disposition"] == 'attachment; filename="invoices.zip"'
    assert_problem(await http.get("/v1/skills/invoices", params={"version": "v2"}), 404, "NOT_FOUND")
    assert_problem(await http.get("/v1/skills/invoices/archive", params={"version": "v2"}), 404, "NOT_FOUND")


async def test_what_is_refused(http: httpx.AsyncClient) -> None:
    """No name, a wrong scope, no archive, something else, too much: 400 and 413."""
    for params, data, says in (
        ({}, archive(), "name is required"),
        ({"name": "a", "scope": "galaxy"}, archive(), "galaxy"),
        ({"name": "a"}, b"", "artifact is required"),
        ({"name": "a"}, b"no zip", "not a zip"),
        ({"name": "a", "tag": "a b"}, archive(), "tag"),
    ):
        answer = await http.post("/v1/skills", params=params, content=data, headers=ZIP)
        assert says in assert_problem(answer, 400, "INVALID_ARGUMENT")["detail"]
    large = await http.post("/v1/skills", params={"name": "a"}, content=b"x" * (MAX_ARCHIVE_BYTES + 1), headers=ZIP)
    assert_problem(large, 413, "RESOURCE_EXHAUSTED")
    assert (await http.get("/v1/skills")).json()["entries"] == []


async def test_a_text_is_an_archive_too(http: httpx.AsyncClient) -> None:
    """A skill written as JSON has a version, and its archive holds the text."""
    made = (await http.post("/v1/skills", json=by_text())).json()
    assert made["status"]["version_hash"] == hash_of(pack("# Reading"))
    file = (await http.get("/v1/skills/reading/archive")).content
    assert read_archive(file).skill_md == "# Reading"
    assert_problem(await http.post("/v1/skills", json=by_text()), 409, "ALREADY_EXISTS")
    for wrong in (by_text("---\n: [\n---\n"), by_text(" "), {**by_text(), "spec": {}}, {**by_text(), "kind": "Agent"}):
        assert_problem(await http.post("/v1/skills", json=wrong), 400, "INVALID_ARGUMENT")


async def test_apply_makes_a_version_of_a_new_text_only(http: httpx.AsyncClient) -> None:
    """The same text keeps the version; another one is a new version, and the old one stays."""
    first = (await http.put("/v1/skills", json=by_text("# One"))).json()
    same = (await http.put("/v1/skills", json=by_text("# One", labels={"team": "a"}))).json()
    assert same["metadata"]["labels"] == {"team": "a"}
    assert same["status"]["version_hash"] == first["status"]["version_hash"]
    id = first["metadata"]["id"]
    second = (await http.put(f"/v1/skills/{id}", json=by_text("# Two"))).json()
    assert second["metadata"]["id"] == id
    assert second["status"]["version_hash"] != first["status"]["version_hash"]
    old = await http.get(f"/v1/skills/{id}", params={"version": first["status"]["version_hash"]})
    assert old.json()["spec"]["skill_md"] == "# One"
    assert_problem(await http.put("/v1/skills/nothing", json=by_text()), 404, "NOT_FOUND")


async def test_changing_a_label_keeps_the_files(http: httpx.AsyncClient) -> None:
    """GET, change a label, PUT: the archive with all its files stays the version."""
    data = archive({"scripts/read.sh": "echo"})
    pushed = await push(http, data)
    pushed["metadata"]["labels"] = {"team": "a"}
    changed = (await http.put("/v1/skills/invoices", json=pushed)).json()
    assert changed["metadata"]["labels"] == {"team": "a"}
    assert changed["status"]["version_hash"] == hash_of(data)
    assert (await http.get("/v1/skills/invoices/archive")).content == data


async def test_the_list_shows_the_latest(http: httpx.AsyncClient) -> None:
    """One entry per skill, however many versions it has."""
    for text in ("# One", "# Two"):
        await push(http, archive(skill_md=text))
    listed = (await http.get("/v1/skills")).json()
    assert [entry["spec"]["skill_md"] for entry in listed["entries"]] == ["# Two"]
    assert listed["total"] == 1


async def test_skills_of_another_org(http: httpx.AsyncClient, server: RunningServer) -> None:
    """A key of one org finds its own and the platform's; the rest is not there, whatever is known of it."""
    theirs = await push(http, archive(skill_md="# theirs"), org="other", tag="v1")
    await push(http, archive(skill_md="# shared"), name="Shared", scope="platform")
    made = await http.post("/v1/keys", json={"name": "acme", "scopes": ["admin"], "org": "acme"})
    async with http_client(server, made.json()["key"]) as acme:
        mine = await push(acme, archive(skill_md="# mine"))
        assert mine["metadata"]["org"] == "acme"
        names = [entry["spec"]["skill_md"] for entry in (await acme.get("/v1/skills")).json()["entries"]]
        assert sorted(names) == ["# mine", "# shared"]
        assert (await acme.get("/v1/skills/shared/archive")).status_code == 200
        id = theirs["metadata"]["id"]
        for path in (f"/v1/skills/{id}", f"/v1/skills/{id}/archive", f"/v1/skills/{id}?version=v1"):
            assert_problem(await acme.get(path), 404, "NOT_FOUND")
        assert_problem(await acme.delete(f"/v1/skills/{id}"), 404, "NOT_FOUND")
        refused = await acme.post("/v1/skills", params={"name": "x", "org": "other"}, content=archive(), headers=ZIP)
        assert_problem(refused, 403, "PERMISSION_DENIED")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        query: Any = query_pb2_grpc.SkillQueryControllerStub(channel)
        request = io_pb2.GetArtifactRequest(artifact_storage_key=theirs["status"]["artifact_storage_key"])
        call = query.getArtifact(request, metadata=(("authorization", f"Bearer {made.json()['key']}"),))
        assert (await code_of(call))[0] is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", ["..%2f..%2fetc", "%2e%2e", "invoices%00"])
async def test_no_path_is_climbed(http: httpx.AsyncClient, name: str) -> None:
    """A name is looked up, never used as a path."""
    await push(http, archive())
    assert (await http.get(f"/v1/skills/{name}/archive")).status_code in (400, 404)
