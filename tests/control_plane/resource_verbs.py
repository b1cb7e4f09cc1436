"""What is done with agents, instances and sessions, at the server and in the model alike."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import grpc
from hypothesis import strategies as st

from agent_runner.ai.stigmer.agentic.agent.v1 import io_pb2 as agent_io
from agent_runner.ai.stigmer.agentic.agentinstance.v1 import io_pb2 as instance_io
from agent_runner.ai.stigmer.agentic.session.v1 import io_pb2 as session_io
from tests.control_plane.caller import resource_of
from tests.control_plane.model import Described, Model, Resource
from tests.control_plane.seen import modelled, of_resource
from tests.control_plane.served import Served

Draw = Callable[[st.SearchStrategy[Any]], Any]
D = TypeVar("D", bound=Described)
T = TypeVar("T")

tags = st.lists(st.sampled_from(["red", "green", "Grün"]), max_size=2, unique=True).map(tuple)
labels = st.dictionaries(st.sampled_from(["team", "cost"]), st.sampled_from(["one", "two"]), max_size=2)
NAMES = ["Alpha", "Beta", "Gamma", "Delta"]
PARENT = {"AgentInstance": "Agent", "Session": "AgentInstance"}
IDS: dict[str, Any] = {
    "Agent": agent_io.AgentId,
    "AgentInstance": instance_io.AgentInstanceId,
    "Session": session_io.SessionId,
}


class ResourceVerbs:
    def __init__(self, served: Served) -> None:
        self.served = served
        self.name, self.caller = served.org()
        self.model = Model(self.name)

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        return self.served.run(call)

    def saw(self, what: str, how: str) -> None:
        self.served.seen[what, how] += 1

    def done(self, call: Coroutine[Any, Any, T], what: str, refused: str = "") -> T | None:
        """The answer; None if it was refused, which it is exactly when the model says so, with this code."""
        try:
            answer = self.run(call)
        except grpc.aio.AioRpcError as error:
            if error.code().name != refused:
                raise AssertionError(f"{what}: {error.code().name}: {error.details()}") from error
            self.saw(what, refused)
            return None
        assert not refused, f"{what} should be {refused}"
        self.saw(what, "ok")
        return answer

    def one(self, draw: Draw, found: list[D]) -> D:
        """Mostly one of the newest, which is where things happen."""
        last = len(found) - 1
        back: int = draw(st.integers(0, 5) | st.integers(0, 30))
        return found[max(0, last - back)]

    # create

    def create_agent(self, draw: Draw) -> None:
        name, given = draw(st.sampled_from(NAMES)), draw(tags)
        refused = "ALREADY_EXISTS" if self.model.taken("Agent", name.lower()) else ""
        made = self._created("Agent", name, "", given, refused)
        if made is not None:
            own = {"kind": "AgentInstance", "org": self.name, "parent_id": made.metadata.id}
            own |= {"id": made.status.default_instance_id, "name": f"{name} (default)"}
            self._add(Resource(number=self.model.number(), slug=f"{name.lower()}-default", **own))

    def create_instance(self, draw: Draw) -> None:
        self._create_below("AgentInstance", draw)

    def create_session(self, draw: Draw) -> None:
        self._create_below("Session", draw)

    def _create_below(self, kind: str, draw: Draw) -> None:
        parents = [r for r in self.model.resources if r.kind == PARENT[kind]]
        gone = not parents or draw(st.integers(0, 3)) == 0
        parent_id = "none-such" if gone else self.one(draw, parents).id
        name = f"{kind} {self.model.number()}"
        self._created(kind, name, parent_id, draw(tags), "NOT_FOUND" if gone else "")

    def _created(self, kind: str, name: str, parent_id: str, given: tuple[str, ...], refused: str) -> Any:
        text = f"about {name}"
        request = resource_of(kind, name, parent_id=parent_id, text=text, tags=given)
        made = self.done(self.caller.call(self.served_by(kind).create, request), f"create {kind}", refused)
        if made is None:
            return None
        slug = name.lower().replace(" ", "-")
        new = Resource(
            kind=kind, number=self.model.number(), id=made.metadata.id, org=self.name, name=name, slug=slug,
            parent_id=parent_id, text=text, tags=given,
        )  # fmt: skip
        self._add(new)
        assert of_resource(made) == modelled(new)
        return made

    def _add(self, resource: Resource) -> None:
        assert self.model.resource(resource.kind, resource.id) is None
        self.model.resources.append(resource)

    # update, delete, get

    def update_resource(self, draw: Draw) -> None:
        """All of it is replaced but the slug. The parent must still be there."""
        if not self.model.resources:
            return
        orphans = [resource for resource in self.model.resources if self._is_orphan(resource)]
        found = orphans if orphans and draw(st.integers(0, 2)) == 0 else self.model.resources
        resource = self.one(draw, found)
        gone = self._is_orphan(resource)
        name, text, given = f"Renamed {draw(st.integers(1, 9))}", draw(st.sampled_from(["", "new"])), draw(tags)
        request = resource_of(resource.kind, name, parent_id=resource.parent_id, text=text, tags=given)
        request.metadata.id = resource.id
        changed = {"labels": draw(labels), "annotations": draw(labels)}
        request.metadata.labels.update(changed["labels"])
        request.metadata.annotations.update(changed["annotations"])
        call = self.caller.call(self.served_by(resource.kind).update, request)
        updated = self.done(call, "update resource", "NOT_FOUND" if gone else "")
        if updated is not None:
            for field, value in {"name": name, "text": text, "tags": given, **changed}.items():
                setattr(resource, field, value)
            assert of_resource(updated) == modelled(resource)

    def delete_resource(self, draw: Draw) -> None:
        """Not an agent's default instance, which the server makes again when it needs one."""
        if found := [r for r in self.model.resources if not r.is_default]:
            self._delete(self.one(draw, found))

    def _delete(self, resource: Resource) -> None:
        delete, request = self.served_by(resource.kind).delete, IDS[resource.kind](value=resource.id)
        was = self.done(self.caller.call(delete, request), "delete resource")
        assert of_resource(was) == modelled(resource)
        self.model.remove_resource(resource)
        self.done(self.caller.call(delete, request), "delete resource", "NOT_FOUND")

    def get_resource(self, draw: Draw) -> None:
        if self.model.resources:
            resource = self.one(draw, self.model.resources)
            assert self.read(resource) == modelled(resource)

    def read(self, resource: Resource) -> Any:
        request = IDS[resource.kind](value=resource.id)
        found = self.done(self.caller.call(self.caller.queries[resource.kind].get, request), "get resource")
        return of_resource(found)

    def _is_orphan(self, resource: Resource) -> bool:
        parent = PARENT.get(resource.kind)
        return parent is not None and self.model.resource(parent, resource.parent_id) is None

    def served_by(self, kind: str) -> Any:
        return self.caller.commands[kind]
