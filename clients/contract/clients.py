"""All clients of the contract over one channel.

async with ContractClients(settings) as clients:
    execution = await clients.executions.get(execution_id)
"""

from typing import TYPE_CHECKING, Self

from agent_runner.clients.contract.agent_instances import AgentInstanceClient
from agent_runner.clients.contract.agents import AgentClient
from agent_runner.clients.contract.channel import ContractChannel
from agent_runner.clients.contract.environments import EnvironmentClient
from agent_runner.clients.contract.execution_contexts import ExecutionContextClient
from agent_runner.clients.contract.executions import ExecutionClient
from agent_runner.clients.contract.sessions import SessionClient
from agent_runner.clients.contract.skills import SkillClient

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings


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
