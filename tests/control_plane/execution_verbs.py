"""What is done with executions, at the server and in the model alike; and walks through lists."""

from typing import Any

from hypothesis import strategies as st

from agent_runner.ai.stigmer.agentic.agentexecution.v1 import io_pb2
from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import EXECUTION_FAILED
from tests.control_plane import listings
from tests.control_plane.caller import execution_of
from tests.control_plane.listings import Listing
from tests.control_plane.model import (
    CANCELLED,
    COMPLETED,
    FAILED,
    HUMAN,
    IN_PROGRESS,
    PENDING,
    Execution,
    Report,
    Resource,
)
from tests.control_plane.resource_verbs import Draw, ResourceVerbs, labels, tags
from tests.control_plane.seen import modelled, of_execution, status_of

words = st.sampled_from(["", "one", "two words", "drei Wörter sind's"])
calls = st.lists(
    st.tuples(
        st.sampled_from(["c1", "c2", "c3"]), st.sampled_from(["shell", "read"]), st.integers(0, 4), st.just("") | words
    ),
    max_size=3,
    unique_by=lambda call: call[0],
)
reports = st.builds(
    Report,
    phase=st.sampled_from([0, 0, PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED]),
    error=st.sampled_from(["", "", "boom"]),
    messages=st.lists(st.tuples(st.integers(0, 4), words), max_size=3),
    calls=calls,
    subs=calls,
    todos=st.dictionaries(st.sampled_from(["1", "2"]), st.tuples(words, st.integers(0, 4)), max_size=2),
)
MOST = 25
"""More executions would make the walks longer and not better."""
SIZES = st.sampled_from([2, 1, 3, 5])


class ExecutionVerbs(ResourceVerbs):
    def create_execution(self, draw: Draw) -> None:
        """By an agent, which makes a session, or in a session, whose instance and agent must still be there."""
        if len(self.model.executions) >= MOST:
            return
        sessions = [r for r in self.model.resources if r.kind == "Session"]
        agents = [r for r in self.model.resources if r.kind == "Agent"]
        message, given, name = f"do {self.model.number()}", draw(tags), draw(st.sampled_from(["", "A Run"]))
        if sessions and (not agents or draw(st.booleans())):
            session = self.one(draw, sessions)
            agent = self.model.agent_of(session.id)
            refused = "" if agent else "FAILED_PRECONDITION"
            request = execution_of(message, session_id=session.id, name=name, tags=given, team="t")
        elif agents:
            agent = self.one(draw, agents)
            refused = ""
            request = execution_of(message, agent_id=agent.id, name=name, tags=given, team="t")
        else:
            return
        made = self.done(self.caller.call(self.caller.command.create, request), "create execution", refused)
        if made is None or agent is None:
            return
        if not request.spec.session_id:
            self._made_session(made, agent)
        new = Execution(
            number=self.model.number(), id=made.metadata.id, org=self.name, name=name or made.metadata.id,
            tags=given, labels={"team": "t"}, session_id=made.spec.session_id, agent_id=agent.id, message=message,
            messages=[(HUMAN, message)],
        )  # fmt: skip
        assert all(e.id != new.id for e in self.model.executions)
        self.model.executions.append(new)
        assert of_execution(made) == modelled(new)

    def _made_session(self, made: Any, agent: Resource) -> None:
        id = made.spec.session_id
        own = next(r for r in self.model.resources if r.parent_id == agent.id and r.slug == f"{agent.slug}-default")
        session = Resource(
            kind="Session", number=self.model.number(), id=id, org=self.name, name=id, slug=id, parent_id=own.id,
            text=made.spec.message,
        )  # fmt: skip
        assert self.model.resource("Session", id) is None
        self.model.resources.append(session)
        assert self.read(session) == modelled(session)

    def report(self, draw: Draw) -> None:
        """updateStatus: merges from its turn until the end, and is refused otherwise; what was asked for stays."""
        if not self.model.executions:
            return
        execution, said = self.one(draw, self.model.executions), draw(reports)
        waits = bool(self.model.in_front_of(execution))
        refused = "FAILED_PRECONDITION" if execution.over or waits else ""
        self.saw("report", "waits" if waits else "on its turn")
        merged = self.done(self.caller.report(execution.id, status_of(said)), "updateStatus", refused)
        if merged is not None:
            execution.merge(said)
            assert of_execution(merged) == modelled(execution)
            self.saw("phase", str(execution.phase))

    def update_execution(self, draw: Draw) -> None:
        """What describes it is replaced, before and after the end; a status that is sent along is ignored."""
        if not self.model.executions:
            return
        execution = self.one(draw, self.model.executions)
        request = self.run(self.caller.execution(execution.id))
        if draw(st.booleans()):  # nothing but what has to be there
            request = execution_of(execution.message)
            request.metadata.id = execution.id
        request.status.phase, request.status.error = EXECUTION_FAILED, "forged"
        what = draw(st.sampled_from(["describe"] * 6 + ["message", "session", "agent", "org", "env", "model"]))
        match what:
            case "message":
                request.spec.message = "something else"
            case "session":
                request.spec.session_id = "ses-other"
            case "agent":
                request.spec.agent_id = "agt-other"
            case "org":
                request.metadata.org = "other"
            case "env":
                request.spec.runtime_env["NEW"].value = "value"
            case "model":
                request.spec.execution_config.model_name = "another"
        changed = {"tags": draw(tags), "labels": draw(labels), "annotations": draw(labels), "name": "New Name"}
        for name in ("labels", "annotations"):
            getattr(request.metadata, name).clear()
            getattr(request.metadata, name).update(changed[name])
        del request.metadata.tags[:]
        request.metadata.tags.extend(changed["tags"])
        request.metadata.name = changed["name"]
        refused = "" if what == "describe" else "FAILED_PRECONDITION"
        updated = self.done(self.caller.update(request), "update execution", refused)
        if updated is not None:
            for field, value in changed.items():
                setattr(execution, field, value)
            assert of_execution(updated) == modelled(execution)
            self.saw("update execution", "after the end" if execution.over else "before the end")
        assert self._read(execution) == modelled(execution)

    def delete_execution(self, draw: Draw) -> None:
        """Only when it has ended."""
        if not self.model.executions:
            return
        ended = [e for e in self.model.executions if e.over]
        execution = self.one(draw, ended if ended and draw(st.integers(0, 3)) else self.model.executions)
        refused = "" if execution.over else "FAILED_PRECONDITION"
        if self.done(self.caller.delete(execution.id), "delete execution", refused) is not None:
            self.model.executions.remove(execution)
            self.done(self.caller.execution(execution.id), "get execution", "NOT_FOUND")

    def remove(self, listed: Execution | Resource) -> None:
        """Whatever it is, as far as it may be."""
        match listed:
            case Execution():
                ended = Report(phase=COMPLETED)
                for execution in [*self.model.in_front_of(listed), *([] if listed.over else [listed])]:
                    self.done(self.caller.report(execution.id, status_of(ended)), "updateStatus")
                    execution.merge(ended)
                self.done(self.caller.delete(listed.id), "delete execution")
                self.model.executions.remove(listed)
            case Resource() if not listed.is_default:
                self._delete(listed)

    def get_execution(self, draw: Draw) -> None:
        if self.model.executions:
            execution = self.one(draw, self.model.executions)
            assert self._read(execution) == modelled(execution)

    def looks_at(self, other: "ExecutionVerbs", draw: Draw) -> None:
        """What is another org's does not exist."""
        if other.model.executions:
            theirs = self.one(draw, other.model.executions)
            self.done(self.caller.execution(theirs.id), "another org's", "NOT_FOUND")
            update = execution_of(theirs.message)
            update.metadata.id = theirs.id
            self.done(self.caller.update(update), "another org's", "NOT_FOUND")
            in_session = io_pb2.ListAgentExecutionsBySessionRequest(session_id=theirs.session_id)
            assert not self.run(self.caller.call(self.caller.query.listBySession, in_session)).entries

    def _read(self, execution: Execution) -> Any:
        return of_execution(self.run(self.caller.execution(execution.id)))

    # lists

    def listing(self, draw: Draw) -> Listing:
        phase = draw(st.sampled_from([0, 0, 0, PENDING, IN_PROGRESS, COMPLETED]))
        given = draw(st.just(()) | st.just(()) | tags)
        agent_id = self._any(draw, "Agent")
        match draw(st.sampled_from([0, 1, 2, 3, 4, 5, 6])):
            case 1 if self.model.executions:
                return listings.executions_of_session(self.one(draw, self.model.executions).session_id)
            case 2:
                return listings.sessions(given)
            case 3 if agent_id:
                return listings.sessions_of_agent(agent_id)
            case 4 if agent_id:
                return listings.instances_of_agent(agent_id)
            case 5:
                return listings.agents_over_http(given)
            case 6:
                return listings.executions_over_http(phase, given, draw(st.sampled_from(["", agent_id])))
            case _:
                return listings.executions(phase, given)

    def _any(self, draw: Draw, kind: str) -> str:
        found = [r for r in self.model.resources if r.kind == kind]
        return self.one(draw, found).id if found else ""

    def pages_by_number(self, listing: Listing, size: int) -> None:
        """Page n is the n-th slice of the model's list; the one after the last is empty."""
        everything = [modelled(e) for e in listing.expected(self.model)]
        last = -(-len(everything) // size)
        for number in range(1, last + 2):
            page = self.run(listing.read(self.caller, size, str(number)))
            assert page.entries == everything[(number - 1) * size : number * size]
            assert page.pages == last
        self.saw("walk", "by number" if listing.tokens else listing.name)
