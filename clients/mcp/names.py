"""The names under which a model sees the tools of an agent's servers.

A tool keeps its own name unless another server, or the agent itself, has one of that name: then it is SERVER_TOOL.
Models accept letters, digits, `_` and `-`, 64 of them; everything else becomes `_`.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

from agent_runner.clients.engine.agent_definition import OWN_TOOLS

MOST_CHARS = 64
HASH_CHARS = 8


def shown_names(tools: Sequence[tuple[str, str]]) -> list[str]:
    """For each (server, tool) its name; no two are the same."""
    plain = [_fit(tool) for _, tool in tools]
    taken = Counter(plain)
    names: list[str] = []
    used = set(OWN_TOOLS)
    for (server, tool), name in zip(tools, plain, strict=True):
        shown = _fit(f"{server}_{tool}") if name in OWN_TOOLS or taken[name] > 1 else name
        if shown in used or (shown != name and shown in taken):
            shown = _fit(f"{shown}_{_hash(server, tool)}")
        used.add(shown)
        names.append(shown)
    return names


def _fit(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name) or "_"
    return plain if len(plain) <= MOST_CHARS else f"{plain[: MOST_CHARS - HASH_CHARS - 1]}_{_hash(name)}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:HASH_CHARS]
