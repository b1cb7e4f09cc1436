"""Skills over gRPC: archives, versions, tags, artifacts."""

import asyncio
from typing import Any

import grpc
import pytest

from agent_runner.ai.stigmer.agentic.skill.v1 import command_pb2_grpc, io_pb2, query_pb2_grpc
from agent_runner.ai.stigmer.agentic.skill.v1.api_pb2 import Skill
from agent_runner.ai.stigmer.agentic.skill.v1.status_pb2 import SKILL_STATE_READY
from agent_runner.ai.stigmer.commons.apiresource.apiresourcekind.api_resource_kind_pb2 import ApiResourceKind
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import identity_account, organization, platform
from agent_runner.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceReference
from agent_runner.app.server.composition import RunningServer
from agent_runner.app.server.resources.archives import Artifacts
from agent_runner.clients.skills.archive import MAX_ARCHIVE_BYTES, hash_of
from agent_runner.status.store.lists.queries import ResourceQuery
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.v1 import runner_pb2, runner_pb2_grpc
from tests.unit.server.conftest import AUTHORIZED
from tests.unit.server.test_grpc import code_of
from tests.unit.skills.archives import SKILL_MD, archive, with_entry

SHARES_A_SERVER = True

BIG = [("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20)]


class Client:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.command: Any = command_pb2_grpc.SkillCommandControllerStub(channel)
        self.query: Any = query_pb2_grpc.SkillQueryControllerStub(channel)

    async def push(self, data: bytes | None = None, *, name: str = "Invoices", **given: Any) -> Skill:
        request = io_pb2.PushSkillRequest(name=name, artifact=archive() if data is None else data, **given)
        pushed: Skill = await self.command.push(request, metadata=AUTHORIZED)
        return pushed

    async def by_reference(self, version: str = "", slug: str = "invoices", **given: Any) -> Skill:
        reference = ApiResourceReference(
            **{"scope": organization, "kind": ApiResourceKind.skill, "slug": slug, "version": version, **given}
        )
        found: Skill = await self.query.getByReference(reference, metadata=AUTHORIZED)
        return found

    async def artifact(self, key: str) -> bytes:
        request = io_pb2.GetArtifactRequest(artifact_storage_key=key)
        return bytes((await self.query.getArtifact(request, metadata=AUTHORIZED)).artifact)


@pytest.fixture
def client(channel: grpc.aio.Channel) -> Client:
    return Client(channel)


async def test_push_get_artifact_delete(client: Client) -> None:
    """The way of a skill: pushed, ready, its text from the archive, its archive by its key, gone."""
    data = archive({"scripts/read.sh": "echo"})
    pushed = await client.push(data, tag="v1")
    assert pushed.metadata.id.startswith("skl-")
    assert (pushed.metadata.name, pushed.metadata.slug, pushed.metadata.org) == ("Invoices", "invoices", "local")
    assert (pushed.spec.skill_md, pushed.spec.tag) == (SKILL_MD, "v1")
    assert (pushed.status.version_hash, pushed.status.state) == (hash_of(data), SKILL_STATE_READY)
    assert pushed.status.audit.spec_audit.created_at.seconds > 0
    id = io_pb2.SkillId(value=pushed.metadata.id)
    assert await client.query.get(id, metadata=AUTHORIZED) == pushed
    assert await client.artifact(pushed.status.artifact_storage_key) == data
    assert await client.command.delete(id, metadata=AUTHORIZED) == pushed
    for gone in (
        client.query.get(id, metadata=AUTHORIZED),
        client.artifact(pushed.status.artifact_storage_key),
        client.by_reference(),
        client.by_reference("v1"),
        client.command.delete(id, metadata=AUTHORIZED),
    ):
        assert (await code_of(gone))[0] is grpc.StatusCode.NOT_FOUND


async def test_versions_and_tags(client: Client) -> None:
    """A version is found by its hash or a tag for ever; `latest` is the last push; tags move."""
    texts = ["# one", "# two", "# three"]
    one, two, three = [
        await client.push(archive(skill_md=text), tag=tag)
        for text, tag in zip(texts, ("v1", "stable", ""), strict=True)
    ]
    assert one.metadata == two.metadata == three.metadata
    assert len({s.status.version_hash for s in (one, two, three)}) == 3
    for version, expected, tag in (
        ("", "# three", ""),
        ("latest", "# three", ""),
        ("v1", "# one", "v1"),
        ("stable", "# two", "stable"),
        (one.status.version_hash, "# one", "v1"),
        (three.status.version_hash, "# three", ""),
    ):
        found = await client.by_reference(version)
        assert (found.spec.skill_md, found.spec.tag, found.status.state) == (expected, tag, SKILL_STATE_READY)
        assert await client.artifact(found.status.artifact_storage_key) == archive(skill_md=expected)
    await client.push(archive(skill_md="# three"), tag="stable")
    assert (await client.by_reference("stable")).spec.skill_md == "# three"
    assert (await client.by_reference(two.status.version_hash)).spec.tag == ""
    code, text = await code_of(client.by_reference("v9"))
    assert code is grpc.StatusCode.NOT_FOUND
    assert "no version 'v9'" in text
    assert "stable, v1" in text


async def test_the_same_archive_is_the_same_version(client: Client) -> None:
    """Pushing again what is there changes neither the version nor its key, and makes an old version the latest."""
    first = await client.push(archive(skill_md="# one"))
    await client.push(archive(skill_md="# two"))
    again = await client.push(archive(skill_md="# one"))
    assert again.status.version_hash == first.status.version_hash
    assert again.status.artifact_storage_key == first.status.artifact_storage_key
    assert (await client.by_reference()).spec.skill_md == "# one"


async def test_equal_archives_of_two_skills_are_apart(client: Client) -> None:
    """The key of an archive belongs to one skill: deleting another skill with the same content takes nothing away."""
    mine, other = await client.push(name="Mine"), await client.push(name="Other")
    assert mine.status.version_hash == other.status.version_hash
    assert mine.status.artifact_storage_key != other.status.artifact_storage_key
    await client.command.delete(io_pb2.SkillId(value=other.metadata.id), metadata=AUTHORIZED)
    assert await client.artifact(mine.status.artifact_storage_key) == archive()


async def test_scopes(client: Client) -> None:
    """A skill of the platform and one of an org with the same name are two; other scopes are refused."""
    shared = await client.push(archive(skill_md="# shared"), scope=platform)
    own = await client.push(archive(skill_md="# own"), scope=organization, org="acme")
    assert (shared.metadata.org, own.metadata.org) == ("", "acme")
    assert (await client.by_reference(scope=platform)).spec.skill_md == "# shared"
    assert (await client.by_reference(org="acme")).spec.skill_md == "# own"
    assert (await code_of(client.by_reference(org="other")))[0] is grpc.StatusCode.NOT_FOUND
    assert (await code_of(client.push(scope=identity_account)))[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": ""}, "name is required"),
        ({"name": "!!"}, "letter or digit"),
        ({"name": "a\0b"}, "NUL"),
        ({"data": b""}, "artifact is required"),
        ({"data": b"no zip"}, "not a zip"),
        ({"data": archive({"a": "b"}, skill_md=None)}, "SKILL.md is missing"),
        ({"data": with_entry("../up")}, "leads out"),
        ({"data": b"x" * (MAX_ARCHIVE_BYTES + 1)}, "at most"),
        ({"tag": "no spaces"}, "tag must be"),
        ({"tag": "a" * 64}, "hash of a version"),
        ({"scope": 99}, "scope"),
    ],
)
async def test_what_is_refused(server: RunningServer, given: dict[str, Any], says: str) -> None:
    """INVALID_ARGUMENT with the reason, and nothing is stored."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=BIG) as channel:
        code, text = await code_of(Client(channel).push(given.pop("data", None), **given))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert says in text
    assert (await server.ctx.store.list_resources(ResourceQuery(kind=ResourceKind.SKILL))).total == 0


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "skl-x", "%2e%2e", "' or '1'='1", "0" * 64, "🔑"])
async def test_a_key_leads_nowhere_else(client: Client, key: str) -> None:
    """What is not the key of an archive is NOT_FOUND, whatever it looks like; none is INVALID_ARGUMENT."""
    await client.push()
    assert (await code_of(client.artifact(key)))[0] is grpc.StatusCode.NOT_FOUND
    assert (await code_of(client.artifact("")))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_largest_archive_fits_through(server: RunningServer) -> None:
    """An archive of the largest size is pushed and read back whole."""
    empty = archive({"noise.bin": b""})
    noise = bytes(range(256)) * ((MAX_ARCHIVE_BYTES - 2048) // 256)
    import io
    import zipfile

    file = io.BytesIO(empty)
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr("more.bin", noise, zipfile.ZIP_STORED)
    data = file.getvalue()
    assert MAX_ARCHIVE_BYTES - 2048 < len(data) <= MAX_ARCHIVE_BYTES
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=BIG) as channel:
        client = Client(channel)
        pushed = await client.push(data)
        assert await client.artifact(pushed.status.artifact_storage_key) == data
        runner: Any = runner_pb2_grpc.RunnerStub(channel)
        request = runner_pb2.SkillRequest(artifact_key=pushed.status.artifact_storage_key)
        assert (await runner.skill(request, metadata=AUTHORIZED)).archive == data


async def test_pushes_at_the_same_time(client: Client) -> None:
    """Each of them is a version, and the skill is one."""
    pushed = await asyncio.gather(*(client.push(archive(skill_md=f"# {n}"), tag=f"t{n}") for n in range(6)))
    assert len({skill.metadata.id for skill in pushed}) == 1
    for n in range(6):
        assert (await client.by_reference(f"t{n}")).spec.skill_md == f"# {n}"


async def test_a_skill_from_before_there_were_archives(client: Client, server: RunningServer) -> None:
    """It gets the archive of its text when somebody asks for it."""
    metadata = {"id": "skl-old", "name": "Old", "slug": "old", "org": "local", "owner_scope": "organization"}
    body = {
        "api_version": "agentic.stigmer.ai/v1",
        "kind": "Skill",
        "metadata": metadata,
        "spec": {"skill_md": "# Old"},
        "status": {"audit": {}},
    }
    store = server.ctx.store
    old = Resource(
        kind=ResourceKind.SKILL,
        id="skl-old",
        org="local",
        slug="old",
        parent_id="",
        created_at=1.0,
        version=0,
        body=body,
    )
    await store.put_resource(old)
    found = await asyncio.gather(*(client.by_reference(slug="old") for _ in range(3)))
    assert {skill.spec.skill_md for skill in found} == {"# Old"}
    assert found[0].status.state == SKILL_STATE_READY
    again = await store.get_resource(ResourceKind.SKILL, "skl-old")
    assert again is not None
    version = await Artifacts(store).version(again)
    assert version.version_hash == found[0].status.version_hash
