"""One org on the shared server, made for one test: what is made in it, no other test sees."""

import uuid
from typing import Any

import grpc
import httpx

from agent_runner.ai.stigmer.agentic.agentexecution.v1.enum_pb2 import EXECUTION_COMPLETED
from agent_runner.app.server.composition import RunningServer
from tests.contract.methods import drafts
from tests.contract.methods.caller import Caller
from tests.contract.methods.facts import (
    AGENT,
    CONTEXT,
    ENVIRONMENT,
    EXECUTION,
    INSTANCE,
    KINDS,
    METHODS,
    SESSION,
    SKILL,
    Kind,
    message_class,
)
from tests.unit.skills.archives import archive

_MADE_BY = {kind: f"{kind.name}CommandController.{'push' if kind is SKILL else 'create'}" for kind in KINDS}


class World:
    def __init__(self, server: RunningServer, channel: grpc.aio.Channel, http: httpx.AsyncClient) -> None:
        self.server = server
        self.channel = channel
        self._http = http
        self.org = f"org-{token()}"
        self.made: dict[str, Any] = {}
        """What was made here, by id, as the last call answered it."""
        self._some: dict[Kind, Any] = {}

    async def open(self) -> "World":
        self.admin = await self.caller("admin")
        self.admin.reports_by = (await self.caller("runner")).metadata
        return self

    async def caller(self, scope: str) -> Caller:
        """With a new key of this org that has one scope. A runner's key belongs to no org."""
        scopes = (
            ["execute", "model"] if scope == "execute" else [scope]
        )  # requests here fill every field, the model too
        body = {"name": f"{scope} of {self.org}", "scopes": scopes, "org": "" if scope == "runner" else self.org}
        answer = await self._http.post("/v1/keys", json=body)
        assert answer.status_code == 201, answer.text
        return Caller.with_key(self.channel, answer.json()["key"])

    async def some(self, kind: Kind) -> Any:
        """The first one of this kind; made when there is none."""
        if kind not in self._some:
            self._some[kind] = await self.make(kind)
        return self._some[kind]

    async def make(self, kind: Kind) -> Any:
        """A new one, with all that it belongs to."""
        made = await self.admin.call(_MADE_BY[kind], await self.draft(kind))
        self.made[made.metadata.id] = made
        return made

    async def end(self, execution: Any, phase: Any = EXECUTION_COMPLETED) -> Any:
        """As a runner of the contract ends it."""
        given = request("AgentExecutionCommandController.updateStatus", execution_id=execution.metadata.id)
        given.status.phase = phase
        ended = await self.admin.call("AgentExecutionCommandController.updateStatus", given)
        self.made[ended.metadata.id] = ended
        return ended

    async def draft(self, kind: Kind) -> Any:
        """What makes a new one; its parents are there."""
        new = token()
        if kind is AGENT:
            return drafts.agent(self.org, new)
        if kind is INSTANCE:
            return drafts.instance(self.org, new, (await self.some(AGENT)).metadata.id)
        if kind is SESSION:
            return drafts.session(self.org, new, (await self.some(INSTANCE)).metadata.id)
        if kind is ENVIRONMENT:
            return drafts.environment(self.org, new)
        if kind is CONTEXT:
            return drafts.context(self.org, new, (await self.some(EXECUTION)).metadata.id)
        if kind is SKILL:
            name, data = f"The One, of {new}!", archive({"scripts/read.sh": f"echo {new}"})
            return request("SkillCommandController.push", name=name, org=self.org, artifact=data, tag="v1")
        return drafts.execution(self.org, new, (await self.some(AGENT)).metadata.id)

    async def get(self, kind: Kind, id: str) -> Any:
        method = f"{kind.name}QueryController.get"
        return await self.admin.call(method, request(method, value=id))

    async def all(self) -> dict[str, Any]:
        """Everything that was made here, as it is now."""
        return {id: await self.get(kind_of(id), id) for id in self.made}


def request(method: str, **fields: Any) -> Any:
    return message_class(METHODS[method].input)(**fields)


def kind_of(id: str) -> Kind:
    (kind,) = (kind for kind in KINDS if kind.is_id(id))
    return kind


def token() -> str:
    return uuid.uuid4().hex[:12]
