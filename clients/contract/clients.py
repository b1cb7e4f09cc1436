"""All clients of the contract over one channel.

async with ContractClients(settings) as clients:
    execution = await clients.executions.get(execution_id)
"""

from typing import TYPE_CHECKING, Self

from clients.contract.agent_instances import AgentInstanceClient
from clients.contract.agents import AgentClient
from clients.contract.channel import ContractChannel
from clients.contract.environments import EnvironmentClient
from clients.contract.execution_contexts import ExecutionContextClient
from clients.contract.executions import ExecutionClient
from clients.contract.sessions import SessionClient
from clients.contract.skills import SkillClient

if TYPE_CHECKING:
    from clients.settings import Settings


class ContractClients:
    """Make it on the loop that uses it, after any fork. `close` is idempotent."""

    def __init__(self, settings: "Settings") -> None:
        self.channel = ContractChannel(settings)
        self.executions = ExecutionClient(self.channel)
        self.sessions = SessionClient(self.channel)
        self.agents = AgentClient(self.channel)
        self.agent_instances = AgentInstanceClient(self.channel)
        self.environments = EnvironmentClient(self.channel)
        self.skills = SkillClient(self.channel)
        self.execution_contexts = ExecutionContextClient(self.channel)

    async def close(self) -> None:
        await self.channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
