"""The digest of a request. It shows whether the same idempotency key came with the same request.

Values of secrets are left out, because a short value can be found from its digest by trying all short values. So a
request with another value of the same secret counts as the same request.
"""

import hashlib
import json
from dataclasses import asdict, is_dataclass

from agent_runner.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from agent_runner.app.server.executions.drafts.draft import Draft


def digest_of(draft: Draft) -> str:
    """SHA-256 in hexadecimal. Both forms of a request have the same digest only if their content is the same."""
    execution = AgentExecution()
    execution.CopyFrom(draft.execution)
    for value in execution.spec.runtime_env.values():
        if value.is_secret:
            value.value = ""
    timeouts = draft.timeouts
    rest = {
        "agent": draft.agent,
        "graph": draft.graph,
        "input": draft.input,
        "answers": dict(draft.answers),
        "spoken": draft.spoken,
        "timeouts": asdict(timeouts) if is_dataclass(timeouts) else dict(timeouts),
        "redriven_from": draft.redriven_from,
        "attachments": [[one.shown(), one.block] for one in draft.attachments],
    }
    if draft.layout:  # the places of the blocks in the text; left out for text alone, so that older digests stay valid
        rest["layout"] = [dict(part) for part in draft.layout]
    digest = hashlib.sha256(execution.SerializeToString(deterministic=True))
    digest.update(json.dumps(rest, sort_keys=True, default=str).encode())
    return digest.hexdigest()
