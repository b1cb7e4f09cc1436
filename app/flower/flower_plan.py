"""What Flower's process is told by the command that has read the settings, in a variable of the environment.

The packages that read settings would cost it 8 MiB for as long as it lives, and it needs these few.
"""

import json
import os
from dataclasses import asdict, dataclass
from typing import Self

VARIABLE = "AGENT_RUNNER_FLOWER_PLAN"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowerPlan:
    """`env_file`: a line about the `.env` that was read. `tls_ca`: a file, or nothing. `known_key`: a key that counts
    as `password` for programs of the stack's own user; empty: none does."""

    env_file: str
    http_url: str
    api_key: str
    tls_ca: str
    log_level: str
    log_format: str
    password: str
    known_key: str

    def put(self) -> None:
        """Into the environment of the process to be. A command line can be read by everybody."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def taken(cls) -> Self:
        return cls(**json.loads(os.environ.pop(VARIABLE)))
