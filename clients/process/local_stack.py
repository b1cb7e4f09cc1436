"""The facts of a running `agent-runner dev`, for other commands that use the same data directory.

The stack holds a lock on `stack.lock` for as long as it lives and writes `dev.json` (mode 0600: it holds the embedded
Redis' password, and what the stack made of API key and Flower's password). The lock, not the file, says whether it
runs: a SIGKILLed stack leaves the file behind.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

LOCK_NAME, FILE_NAME, SECRET_KEY_NAME = "stack.lock", "dev.json", "secret.key"
API_KEY_NAME, FLOWER_PASSWORD_NAME = "api.key", "flower.password"


def stack_runs(data_dir: Path) -> bool:
    """Whether a process holds this data directory's lock."""
    try:
        lock = os.open(data_dir / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def running_stack(data_dir: Path) -> dict[str, Any]:
    """The facts of the stack that runs in this data directory; empty if none runs or it is not ready yet.

    Keys: pid, http_url, grpc_endpoint, flower_url, broker_url, redis_url, database_url, checkpoint_url; also api_key
    and flower_password, each if nobody set it.
    """
    if not stack_runs(data_dir):
        return {}
    try:
        facts = json.loads((data_dir / FILE_NAME).read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
