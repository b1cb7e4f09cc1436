"""What a good answer is, for each sort of method. Each check also asks `get`: what was answered is what is stored."""

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import (
    EXECUTION_IN_PROGRESS,
    EXECUTION_PENDING,
    MESSAGE_HUMAN,
)
from agent_runner.ai.stigmer.agentic.skill.v1.status_pb2 import SKILL_STATE_READY
from agent_runner.ai.stigmer.commons.apiresource.enum_pb2 import organization
from tests.contract.methods.drafts import API_VERSION, changed, shown, slug_of
from tests.contract.methods.facts import AGENT, EXECUTION, INSTANCE, SESSION, SKILL, Kind
from tests.contract.methods.world import World, kind_of, request
from tests.unit.skills.archives import SKILL_MD, archive

Check = Callable[[World, Any, Any], Awaitable[None]]
CLOCKS_DIFFER_S = 60
GIVEN = ("name", "labels", "annotations", "tags", "owner_scope", "org")
"""What of the metadata is the caller's."""


def created(kind: Kind) -> Check:
    async def check(world: World, given: Any, made: Any) -> None:
        assert kind.is_id(made.metadata.id)
        assert (made.api_version, made.kind) == (API_VERSION, kind.name)
        assert [getattr(made.metadata, f) for f in GIVEN] == [getattr(given.metadata, f) for f in GIVEN]
        assert made.metadata.slug == slug_of(given.metadata.name)
        wanted = shown(given.spec)
        if kind is EXECUTION:
            assert SESSION.is_id(made.spec.session_id)
            wanted.session_id = made.spec.session_id
            assert (made.status.phase, made.status.error) == (EXECUTION_PENDING, "")
            assert [(m.type, m.content) for m in made.status.messages] == [(MESSAGE_HUMAN, given.spec.message)]
            assert not made.status.todos
        assert made.spec == wanted
        if kind is AGENT:
            default = await world.get(INSTANCE, made.status.default_instance_id)
            assert default.spec.agent_id == made.metadata.id
        _assert_new(made)
        assert await world.get(kind, made.metadata.id) == made

    return check


def updated(kind: Kind) -> Check:
    """By its id, and where it is the only one with its name also by that."""

    async def check(world: World, given: Any, made: Any) -> None:
        await _check_change(world, world.made[made.metadata.id], given, made)
        if kind is not EXECUTION:
            given.metadata.id, given.metadata.labels["again"] = "", "yes"
            again = await world.admin.call(f"{kind.name}CommandController.update", given)
            await _check_change(world, made, given, again)

    return check


def applied(kind: Kind) -> Check:
    """The first time it is made; the second time, found by its slug, changed."""

    async def check(world: World, given: Any, made: Any) -> None:
        await created(kind)(world, given, made)
        method = f"{kind.name}CommandController.apply"
        again = await world.admin.call(method, given)
        assert (again.metadata, again.spec) == (made.metadata, made.spec)
        wanted = changed(made)
        wanted.metadata.id = ""
        await _check_change(world, again, wanted, await world.admin.call(method, wanted))

    return check


def deleted(kind: Kind) -> Check:
    """The answer is what it was; after that it is gone, also for a second delete."""

    async def check(world: World, given: Any, was: Any) -> None:
        assert was == world.made.pop(was.metadata.id)
        get = f"{kind.name}QueryController.get"
        gone = await world.admin.refused(get, request(get, value=was.metadata.id))
        again = await world.admin.refused(f"{kind.name}CommandController.delete", given)
        assert {gone[0], again[0]} == {grpc.StatusCode.NOT_FOUND}

    return check


def got(kind: Kind) -> Check:
    async def check(world: World, given: Any, found: Any) -> None:
        assert found == world.made[given.value]

    return check


def referenced(kind: Kind) -> Check:
    async def check(world: World, given: Any, found: Any) -> None:
        (made,) = (m for m in world.made.values() if m.kind == kind.name and m.metadata.slug == given.slug)
        assert found == made == await world.get(kind, made.metadata.id)

    return check


async def pushed(world: World, given: Any, made: Any) -> None:
    """The first archive makes the skill; another one is its next version."""
    assert SKILL.is_id(made.metadata.id)
    assert (made.api_version, made.kind) == (API_VERSION, SKILL.name)
    assert (made.metadata.name, made.metadata.slug) == (given.name, slug_of(given.name))
    assert (made.metadata.org, made.metadata.owner_scope) == (world.org, organization)
    assert (made.spec.skill_md, made.spec.tag, made.status.state) == (SKILL_MD, given.tag, SKILL_STATE_READY)
    assert made.status.version_hash == hashlib.sha256(given.artifact).hexdigest()
    _assert_new(made)
    assert await world.get(SKILL, made.metadata.id) == made
    push = "SkillCommandController.push"
    other = request(push, name=given.name, org=given.org, artifact=archive(skill_md="# Next"), tag="v2")
    next_one = await world.admin.call(push, other)
    assert next_one.metadata == made.metadata
    assert (next_one.spec.skill_md, next_one.spec.tag) == ("# Next", "v2")
    assert next_one.status.version_hash == hashlib.sha256(other.artifact).hexdigest()
    assert next_one.status.artifact_storage_key != made.status.artifact_storage_key
    _assert_later(made, next_one)
    assert await world.get(SKILL, made.metadata.id) == next_one


async def artifact(world: World, given: Any, found: Any) -> None:
    (skill,) = world.made.values()
    assert hashlib.sha256(found.artifact).hexdigest() == skill.status.version_hash


def listed(kind: Kind) -> Check:
    """Exactly what was made here and belongs there, newest first, each as `get` shows it."""

    async def check(world: World, given: Any, reply: Any) -> None:
        known = {f.name for f in reply.DESCRIPTOR.fields}
        entries = reply.items if "items" in known else reply.entries
        mine = [m for m in world.made.values() if m.kind == kind.name]
        if session_id := getattr(given, "session_id", ""):
            mine = [m for m in mine if m.spec.session_id == session_id]
        ids = {m.metadata.id for m in mine}
        if kind is INSTANCE:
            ids.add((await world.get(AGENT, given.agent_id)).status.default_instance_id)
        assert [e.metadata.id for e in entries] == sorted(ids, reverse=True)
        assert [await world.get(kind, e.metadata.id) for e in entries] == list(entries)
        assert (reply.total_count if "total_count" in known else reply.total_pages * len(ids)) == len(ids)

    return check


async def followed(world: World, given: Any, first: Any) -> None:
    assert first == await world.get(EXECUTION, given.value)


async def status_updated(world: World, given: Any, now: Any) -> None:
    """What is set replaces, what is not set stays; the spec and the description are not in it."""
    before = world.made[given.execution_id]
    for status in (now.status, (await world.get(EXECUTION, given.execution_id)).status):
        assert status.phase == EXECUTION_IN_PROGRESS
        assert [m.content for m in status.messages] == ["hello", "working on it"]
        assert [(c.id, c.name, c.status) for c in status.tool_calls] == [("call-1", "read", 2)]
        assert status.todos["1"].content == "look around"
    more = request("AgentExecutionCommandController.updateStatus", execution_id=given.execution_id)
    more.status.todos["1"].content = "look closer"
    later = await world.admin.call("AgentExecutionCommandController.updateStatus", more)
    assert later.status.todos["1"].content == "look closer"
    for kept in ("phase", "messages", "tool_calls", "started_at"):
        assert getattr(later.status, kept) == getattr(now.status, kept)
    assert (later.metadata, later.spec) == (before.metadata, before.spec)
    assert await world.get(EXECUTION, given.execution_id) == later


async def _check_change(world: World, before: Any, given: Any, after: Any) -> None:
    """Identity and status stay; the description and the spec are the given ones, an execution's spec excepted."""
    kind = kind_of(before.metadata.id)
    for fixed in ("id", "slug", "org", "owner_scope"):
        assert getattr(after.metadata, fixed) == getattr(before.metadata, fixed)
    for theirs in ("name", "labels", "annotations", "tags"):
        assert getattr(after.metadata, theirs) == getattr(given.metadata, theirs)
    assert after.spec == (before.spec if kind is EXECUTION else shown(given.spec))
    _assert_later(before, after)
    assert await world.get(kind, after.metadata.id) == after


def _assert_new(made: Any) -> None:
    audit = made.status.audit.spec_audit
    assert abs(audit.created_at.seconds - time.time()) < CLOCKS_DIFFER_S
    assert (audit.updated_at, audit.event) == (audit.created_at, "created")
    assert audit.created_by.id == made.status.audit.status_audit.created_by.id != ""


def _assert_later(before: Any, after: Any) -> None:
    """The audit says so, and of the status nothing else changed."""
    was, now = before.status.audit.spec_audit, after.status.audit.spec_audit
    assert (now.created_at, now.event) == (was.created_at, "updated")
    assert now.updated_at.ToNanoseconds() >= was.updated_at.ToNanoseconds()
    if before.kind != SKILL.name:
        kept, rest = type(before.status)(), type(after.status)()
        kept.CopyFrom(before.status)
        rest.CopyFrom(after.status)
        kept.ClearField("audit")
        rest.ClearField("audit")
        assert kept == rest
