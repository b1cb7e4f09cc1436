"""An adapter on the test's server, and one run of it that says whatever the test wants."""

import json
from collections.abc import Sequence
from typing import Any

from agent_runner.clients.reporting.compatible import CompatibleBackend
from agent_runner.status.phases import Phase
from agent_runner.v1 import runner_pb2 as pb
from tests.unit.compatible.contract_server import EXECUTION, ContractServer


async def claim(backend: CompatibleBackend, claim_id: str = "c-1") -> pb.ClaimReply:
    return await backend.claim(pb.ClaimRequest(execution_id=EXECUTION, claim_id=claim_id, incarnation="inc"))


class Saying:
    """`text(n)` says n pieces of one message, each an event, in one append each; the message itself is the first."""

    def __init__(self, backend: CompatibleBackend, told: pb.ClaimReply) -> None:
        self.backend, self.told = backend, told
        self.said = 0
        self.verdict: int = pb.GO_ON

    @classmethod
    async def begun(cls, server: ContractServer, backend: CompatibleBackend) -> "Saying":
        told = await claim(backend)
        assert told.granted, told.refusal
        return cls(backend, told)

    async def append(self, *deltas: tuple[str, dict[str, Any]]) -> pb.RunAppended:
        run = pb.RunDeltas(handle=self.told.handle, fence=self.told.fence, first=self.said, deltas=_deltas(deltas))
        (answer,) = (await self.backend.append(pb.AppendRequest(runs=[run]))).runs
        self.verdict = answer.verdict
        self.said += len(deltas)
        return answer

    async def text(self, events: int) -> None:
        for number in range(self.said, self.said + events):
            if number == 0:
                await self.append(("message", {"id": "m-1", "type": "MESSAGE_AI", "content": "0 "}))
            else:
                await self.append(("text", {"id": "m-1", "text": f"{number} "}))

    async def settle(
        self,
        phase: Phase = Phase.COMPLETED,
        *deltas: tuple[str, dict[str, Any]],
        code: str = "",
        stop: bool = False,
        **facts: Any,
    ) -> pb.SettleReply:
        return await self.backend.settle(
            pb.SettleRequest(
                handle=self.told.handle,
                fence=self.told.fence,
                first=self.said,
                deltas=_deltas(deltas),
                phase=int(phase),
                code=code,
                facts_json=json.dumps(facts) if facts else "",
            ),
            stop=lambda: stop,
        )


def numbers(events: int) -> str:
    """What `Saying.text` has said after so many events."""
    return "".join(f"{number} " for number in range(events))


def _deltas(deltas: Sequence[tuple[str, dict[str, Any]]]) -> list[pb.Delta]:
    return [pb.Delta(kind=kind, payload=json.dumps(payload).encode()) for kind, payload in deltas]
