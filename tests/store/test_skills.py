"""Versions of skills in the store: one transaction each, kept by hash, found by tag."""

import asyncio
from typing import Any

import pytest

from agent_runner.status.store.errors import SlugTaken, StaleVersion
from agent_runner.status.store.records import Resource, ResourceKind
from agent_runner.status.store.registry.skill_records import SkillVersion
from agent_runner.status.store.store import Store


def skill(id: str = "skl-1", slug: str = "invoices", **body: Any) -> Resource:
    return Resource(
        kind=ResourceKind.SKILL, id=id, org="local", slug=slug, parent_id="", created_at=1.0, version=0, body=body
    )


def version(of: str = "h1", *, id: str = "skl-1", tag: str = "", text: str = "# text") -> SkillVersion:
    return SkillVersion(skill_id=id, version_hash=of, artifact_key=f"{id}/{of}", tag=tag, skill_md=text, created_at=1.0)


async def test_a_push_is_there_as_a_whole(store: Store) -> None:
    """The skill, its version, its archive and its tag, after one call."""
    stored = await store.push_skill(skill(n=1), version(tag="v1"), b"\x00zip")
    assert await store.get_resource(ResourceKind.SKILL, "skl-1") == stored
    assert await store.skill_version("skl-1", "h1") == await store.skill_version("skl-1", "v1") == version(tag="v1")
    assert await store.skill_artifact("skl-1/h1") == ("skl-1", b"\x00zip")
    assert await store.skill_tags("skl-1") == {"v1": "h1"}
    assert await store.skill_version("skl-1", "v2") is None
    assert await store.skill_artifact("skl-1/h2") is None


async def test_a_push_that_is_refused_leaves_nothing(store: Store) -> None:
    """A name that is taken, a skill that was changed in between: no version and no archive of it stay."""
    first = await store.push_skill(skill(), version(), b"1")
    with pytest.raises(SlugTaken):
        await store.push_skill(skill(id="skl-2"), version(id="skl-2"), b"2")
    assert await store.skill_artifact("skl-2/h1") is None
    with pytest.raises(StaleVersion):
        await store.push_skill(skill(), version("h2", tag="v2"), b"2", expect_version=first.version + 1)
    assert await store.skill_artifact("skl-1/h2") is None
    assert await store.skill_tags("skl-1") == {}


async def test_a_version_never_changes_and_a_tag_moves(store: Store) -> None:
    """Pushing a hash again keeps what it was; its tags are those that point to it now."""
    stored = await store.push_skill(skill(), version("h1", tag="v"), b"1")
    stored = await store.push_skill(skill(), version("h2", tag="v"), b"2", expect_version=stored.version)
    await store.push_skill(skill(), version("h1", text="# other"), b"other", expect_version=stored.version)
    assert await store.skill_artifact("skl-1/h1") == ("skl-1", b"1")
    assert await store.skill_version("skl-1", "h1") == version("h1")
    assert await store.skill_version("skl-1", "v") == version("h2", tag="v")


async def test_deleting_a_skill_deletes_its_versions(store: Store) -> None:
    """And those of no other."""
    await store.push_skill(skill(), version(tag="v"), b"1")
    await store.push_skill(skill(id="skl-2", slug="other"), version(id="skl-2", tag="v"), b"2")
    assert await store.delete_resource(ResourceKind.SKILL, "skl-1") is not None
    assert await store.skill_artifact("skl-1/h1") is None
    assert await store.skill_tags("skl-1") == {}
    assert await store.skill_version("skl-1", "h1") is None
    assert await store.skill_artifact("skl-2/h1") == ("skl-2", b"2")
    assert await store.skill_tags("skl-2") == {"v": "h1"}


async def test_pushes_at_the_same_time(store: Store) -> None:
    """Of several that read the same state one is applied; the others are told, and have left nothing."""
    first = await store.push_skill(skill(), version("h0"), b"0")
    answers = await asyncio.gather(
        *(store.push_skill(skill(), version(f"h{n}"), b"x", expect_version=first.version) for n in range(1, 6)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Resource) for answer in answers) == 1
    assert sum(isinstance(answer, StaleVersion) for answer in answers) == 4
    there = [n for n in range(1, 6) if await store.skill_artifact(f"skl-1/h{n}")]
    assert [n for n, answer in enumerate(answers, 1) if isinstance(answer, Resource)] == there
