"""Closed by default: a verb of the store is out of callers' reach until it says how it keeps orgs apart, and then it
does so."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from agent_runner.app.server.access.org_view import RULES, visible
from agent_runner.app.server.access.principal import Principal, acting_as
from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.attachments import Attachment
from agent_runner.status.requests.org_budgets import budgets_of
from agent_runner.status.schedules.schedule import Rules, Schedule
from agent_runner.status.store import schema
from agent_runner.status.store.lists.list_filters import ListFilters
from agent_runner.status.store.lists.queries import ExecutionQuery, ResourceQuery
from agent_runner.status.store.records import Execution, NewExecution, Resource, ResourceKind
from agent_runner.status.store.registry.assistants import Assistant, AssistantQuery
from agent_runner.status.store.registry.graph_queries import GraphQuery
from agent_runner.status.store.registry.schedules import SchedulePage, ScheduleQuery
from agent_runner.status.store.registry.skill_records import SkillVersion
from agent_runner.status.store.registry.threads import NewThread, ThreadQuery
from agent_runner.status.store.store import Store
from agent_runner.status.store.verbs import Orgs, rule_of, verb, verbs_of
from agent_runner.status.timeouts import Timeouts
from tests.support import databases

STRANGER, OWNER, EVERYBODY = (
    Principal(name=name, scopes=frozenset(), org=org, key_id=name)
    for name, org in (("stranger", "a"), ("owner", "b"), ("all orgs", ""))
)
OPEN_TO_ALL = {Orgs.AFTER_A_READ, Orgs.NOBODYS, Orgs.FOLLOWS}
"""What these say is nobody's, or was found by another verb before."""
VERBS = sorted(verbs_of(Store))
ASKED: list[str] = []


async def confirm() -> None:
    ASKED.append("")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything in it is org b's."""

    store: Store
    url: str
    pending: Execution
    ended: Execution
    agent: Resource
    skill: Resource
    assistant: Assistant
    schedule: Schedule
    thread_id: str

    def contents(self) -> dict[str, list[Any]]:
        engine = create_engine(self.url)
        with engine.connect() as connection:
            found = {
                name: sorted(map(repr, connection.execute(text(f"select * from {name}"))))
                for name in schema.metadata.tables
            }
        engine.dispose()
        return found


def execution(id: str) -> NewExecution:
    sent = Attachment(id="att-1", type="image", mime_type="image/png", content=b"\x89PNG", size=4)
    return NewExecution(
        id=id, org="b", session_id=f"ses-{id}", agent_id="agt-1", name="a run", slug="a-run", message="hello",
        timeouts=Timeouts(), runner_queue="runner", orchestrator_queue="orchestrator", attachments=[sent],
    )  # fmt: skip


def resource(kind: ResourceKind, id: str, org: str = "b", spec: Any = None) -> Resource:
    body = {"metadata": {"id": id}, "spec": spec or {}}
    return Resource(kind=kind, id=id, org=org, slug=id, parent_id="", created_at=1.0, version=1, body=body)


def version(skill: Resource) -> SkillVersion:
    return SkillVersion(
        skill_id=skill.id, version_hash="1" * 64, artifact_key="key", tag="", skill_md="# A skill", created_at=1.0
    )


def schedule(id: str) -> Schedule:
    return Schedule(id=id, org="b", name="s", rules=Rules(cron="@daily"), next_at=4e9)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    url = databases.copied(tmp_path / "store.db")
    store = Store.open(url)
    store.budgets = budgets_of('[{"org": "b", "window": "day", "executions": 99}]')
    made = [(await store.create(execution(id))).execution for id in ("aex-pending", "aex-ended")]
    ended = await store.request_cancel("aex-ended", "a test")
    assert made[0] is not None
    assert ended is not None
    agent = await store.put_resource(resource(ResourceKind.AGENT, "agt-1"))
    skill = resource(ResourceKind.SKILL, "skl-1")
    skill = await store.push_skill(skill, version(skill), b"archive")
    assistant = await store.put_assistant(Assistant(org="b", id="a-1", graph="g", name="n"), first=True)
    planned = await store.add_schedule(schedule("sch-1"), most=9)
    assert planned is not None
    instance = replace(resource(ResourceKind.AGENT_INSTANCE, "ain-1"), parent_id=agent.id)
    await store.put_resource(instance)
    thread = replace(resource(ResourceKind.SESSION, "ses-thread"), parent_id=instance.id)
    session = await store.put_resource(thread)
    yield World(
        store=store,
        url=url,
        pending=made[0],
        ended=ended,
        agent=agent,
        skill=skill,
        assistant=assistant,
        schedule=planned,
        thread_id=session.id,
    )
    await store.close()


async def patched_and_read(store: Store, world: "World") -> Any:
    await store.patch_thread(NewThread(session_id=world.thread_id, org="b", metadata={"by": "somebody"}))
    return await store.thread(world.thread_id)


async def asked_and_read(store: Any, world: "World") -> Any:
    await store.add_query(GraphQuery(id="qry-1", org="b", kind="state", queue="runner", body="{}", within_s=60))
    return await world.store.find_query("qry-1")


async def shown_of(asked: Awaitable[Any], part: str) -> Any:
    return getattr(await asked, part)


Asked = Callable[[Store, World], Awaitable[Any]]
OF_THE_OWNERS: dict[str, Asked] = {
    "get": lambda s, w: s.get(w.pending.id),
    "state": lambda s, w: s.state(w.pending.id),
    "last_of_session": lambda s, w: s.last_of_session(w.pending.session_id),
    "runs_of_session": lambda s, w: s.runs_of_session(w.pending.session_id, limit=9),
    "session_place": lambda s, w: s.session_place(w.thread_id),
    "list": lambda s, w: s.list(ExecutionQuery(session_id=w.pending.session_id)),
    "summaries": lambda s, w: shown_of(s.summaries(ExecutionQuery()), "rows"),
    "summaries_of": lambda s, w: s.summaries_of(ExecutionQuery(more=ListFilters(ids=[w.pending.id]))),
    "phase_numbers": lambda s, w: shown_of(s.phase_numbers(ExecutionQuery()), "phases"),
    "queue_ages": lambda s, w: s.queue_ages(org=""),
    "runs_since": lambda s, w: s.runs_since(0.0, org=""),
    "org_uses": lambda s, w: s.org_uses(org=""),
    "turn_standings": lambda s, w: s.turn_standings(org=""),
    "attachments": lambda s, w: s.attachments(w.pending.id),
    "attachment": lambda s, w: s.attachment(w.pending.id, "att-1"),
    "add_answer_token": lambda s, w: s.add_answer_token(w.pending.id, question_id="q", digest="d", lasts_s=9),
    "create": lambda s, w: s.create(execution("aex-new")),
    "delete": lambda s, w: s.delete(w.ended.id),
    "request_cancel": lambda s, w: s.request_cancel(w.pending.id, "somebody"),
    "undo_ended": lambda s, w: s.undo_ended(w.ended.id),
    "roll_back": lambda s, w: s.roll_back(w.pending.id, "somebody"),
    "update_spec": lambda s, w: s.update_spec(
        w.pending.id, expect_version=w.pending.spec_version, name="n", spec={}, by="b"
    ),
    "merge_status": lambda s, w: s.merge_status(w.pending.id, {"messages": [{"content": "said"}]}),
    "put_resource": lambda s, w: s.put_resource(resource(ResourceKind.AGENT, "agt-2")),
    "get_resource": lambda s, w: s.get_resource(ResourceKind.AGENT, w.agent.id),
    "find_resource": lambda s, w: s.find_resource(ResourceKind.AGENT, "b", w.agent.slug),
    "list_resources": lambda s, w: s.list_resources(ResourceQuery(kind=ResourceKind.AGENT)),
    "delete_resource": lambda s, w: s.delete_resource(ResourceKind.AGENT, w.agent.id),
    "thread": lambda s, w: s.thread(w.thread_id),
    "search_threads": lambda s, w: s.search_threads(ThreadQuery()),
    "count_threads": lambda s, w: s.count_threads(ThreadQuery()),
    "make_thread": lambda s, w: s.make_thread(
        resource(ResourceKind.SESSION, "ses-2"), NewThread(session_id="ses-2", org="b")
    ),
    "patch_thread": lambda s, w: patched_and_read(s, w),
    "find_assistant": lambda s, w: s.find_assistant(w.assistant.id, "b"),
    "search_assistants": lambda s, w: s.search_assistants(AssistantQuery()),
    "put_assistant": lambda s, w: s.put_assistant(w.assistant, first=False),
    "latest_assistant": lambda s, w: s.latest_assistant(w.assistant),
    "delete_assistant": lambda s, w: s.delete_assistant(w.assistant),
    "add_schedule": lambda s, w: s.add_schedule(schedule("sch-2"), most=9),
    "find_schedule": lambda s, w: s.find_schedule(w.schedule.id),
    "list_schedules": lambda s, w: s.list_schedules(ScheduleQuery()),
    "search_schedules": lambda s, w: s.search_schedules(ScheduleQuery()),
    "change_schedule": lambda s, w: s.change_schedule(replace(w.schedule, name="n"), read=w.schedule),
    "delete_schedule": lambda s, w: s.delete_schedule(w.schedule),
    "add_query": lambda s, w: asked_and_read(s, w),
    "push_skill": lambda s, w: s.push_skill(w.skill, version(w.skill), b"archive", expect_version=w.skill.version),
}
"""By the verb: a call about what belongs to org b."""


async def unless_refused(asked: Awaitable[Any]) -> Any:
    try:
        return await asked
    except Problem as problem:
        return None if problem.kind is Kind.PERMISSION_DENIED else problem


def is_nothing(answer: Any) -> bool:
    if (shown := getattr(answer, "executions", getattr(answer, "resources", None))) is not None:
        return not shown and answer.total == 0
    return not (answer.schedules if isinstance(answer, SchedulePage) else answer)


def test_there_is_a_call_for_every_verb_whose_rule_hides_something() -> None:
    """A new verb with such a rule needs a line above; every rule is kept somewhere, and some verb has it."""
    rules = {name: rule_of(Store, name) for name in VERBS}
    assert {name for name, rule in rules.items() if rule and rule not in OPEN_TO_ALL} == OF_THE_OWNERS.keys()
    assert RULES.keys() == set(Orgs) == set(rules.values()) - {None}


@pytest.mark.parametrize("name", OF_THE_OWNERS)
async def test_a_stranger_finds_nothing_and_changes_nothing(world: World, name: str) -> None:
    """Of each verb of the store: what is another org's does not exist or is refused, and stays as it was; its owner
    gets an answer."""
    view, before = visible(world.store, confirm), world.contents()
    with acting_as(STRANGER):
        assert is_nothing(await unless_refused(OF_THE_OWNERS[name](view, world)))
    assert world.contents() == before
    with acting_as(OWNER):
        assert not is_nothing(await OF_THE_OWNERS[name](view, world))


@pytest.mark.parametrize("name", [name for name in VERBS if rule_of(Store, name) is None])
def test_a_verb_without_a_rule_is_refused(name: str) -> None:
    """For whomever: what the server does by itself, and for workers, is done with the store itself."""
    with acting_as(EVERYBODY), pytest.raises(AttributeError, match=f"Store.{name} has no rule for orgs"):
        getattr(visible(Store.open("sqlite:///nowhere.db"), confirm), name)


@pytest.mark.parametrize("name", ["open", "close", "write", "read", "params", "on_end", "nonsense", "_writer"])
def test_what_is_no_verb_is_refused(name: str) -> None:
    """No way leads from what handlers hold to the database but the verbs."""
    with pytest.raises(AttributeError, match="has no rule"):
        getattr(visible(Store.open("sqlite:///nowhere.db"), confirm), name)


async def test_a_new_verb_is_closed_until_it_names_its_rule(world: World) -> None:
    """Forgotten, the rule costs an error at the first call and no org's data."""

    class Grown(Store):
        @verb
        async def everything(self) -> str:
            return "all of it"

        @verb(orgs=Orgs.NOBODYS)
        async def weather(self) -> str:
            return "fair"

    grown = Grown.open(world.url)
    view: Any = visible(grown, confirm)
    with acting_as(STRANGER):
        assert await view.weather() == "fair"
        with pytest.raises(AttributeError, match="everything has no rule"):
            view.everything()
    await grown.close()


async def test_nobody_asks_without_a_principal(world: World) -> None:
    """Outside of any call there is no answer, not everybody's."""
    with pytest.raises(RuntimeError, match="acting_as"):
        await visible(world.store, confirm).get(world.pending.id)


async def test_what_lasts_asks_for_its_key_each_time(world: World) -> None:
    """A stream of a key that was revoked ends: `get` and `read_log` confirm it before they answer."""
    view = visible(world.store, confirm)
    with acting_as(OWNER):
        for asked in (view.get, view.read_log):
            ASKED.clear()
            await asked(world.pending.id)
            assert ASKED


async def test_the_platform_is_read_and_not_written(world: World) -> None:
    """What is nobody's is found and listed by every org; references may name it; to change it is refused."""
    shared = await world.store.put_resource(resource(ResourceKind.AGENT, "agt-shared", org=""))
    view = visible(world.store, confirm)
    with acting_as(STRANGER):
        assert await view.get_resource(shared.kind, shared.id) == shared
        assert (await view.list_resources(ResourceQuery(kind=shared.kind))).resources == [shared]
        for change in (
            view.put_resource(replace(shared, slug="other"), expect_version=1),
            view.delete_resource(shared.kind, shared.id),
            view.put_resource(
                resource(ResourceKind.AGENT, "agt-3", org="a", spec={"deep": [{"x": {"slug": "s", "org": "b"}}]})
            ),
        ):
            with pytest.raises(Problem) as refused:
                await change
            assert refused.value.kind is Kind.PERMISSION_DENIED
        to_shared = {"ref": {"slug": "agt-shared", "org": ""}}
        assert await view.put_resource(resource(ResourceKind.AGENT, "agt-4", org="a", spec=to_shared))
