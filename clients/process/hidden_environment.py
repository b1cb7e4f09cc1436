"""Removes secrets from a process's environment once they have been read: then they are only in memory.

The product's own secret settings (keys, URLs with passwords) are gone for all later readers. Users' code may look for
the keys of model providers and for other variables that look like secrets. These stay readable in `os.environ` of this
process (see `run_environment.py`), but no program that it starts inherits them, and no other process finds them in
/proc.
"""

import contextlib
import ctypes
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import SecretStr

from agent_runner.clients.settings.environment import names_of
from agent_runner.clients.settings.service_urls import without_password

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

OF_USERS = ("llm_api_key", "anthropic_api_key", "openai_api_key", "langsmith_api_key")
"""Settings whose variables are the providers' own: clients that a graph makes read them, too."""
LOOKS_SECRET = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|_PAT)(_|$)", re.IGNORECASE)
HAS_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")


def hide_secrets(settings: "Settings") -> dict[str, str]:
    """Returns the variables that users' code may still see. Call it before anything is started, once per process."""
    own, shared = _names(settings)
    seen = {}
    hidden = {name for name in os.environ if name in own or name in shared or _is_secret(name, os.environ[name])}
    for name in hidden:
        value = os.environ.pop(name)
        if name not in own:
            seen[name] = value
    _erase(hidden)
    return seen


def _names(settings: "Settings") -> tuple[set[str], set[str]]:
    own: set[str] = set()
    shared: set[str] = set()
    for field, info in type(settings).model_fields.items():
        value = getattr(settings, field)
        if isinstance(value, SecretStr) or (isinstance(value, str) and without_password(value) != value):
            (shared if field in OF_USERS else own).update(names_of(info))
    return own, shared


def _is_secret(name: str, value: str) -> bool:
    # Clients of models use a proxy with its password, and find it by this name.
    return not name.upper().endswith("_PROXY") and bool(LOOKS_SECRET.search(name) or HAS_PASSWORD.search(value))


def _erase(names: Iterable[str]) -> None:
    """Overwrite the values in the memory that /proc/PID/environ shows. Linux only; the kernel says where that memory
    is."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        begin, end = int(fields[47]), int(fields[48])  # env_start and env_end; the state is field 0 here
        if not 0 < begin < end:
            return
        at = begin
        for entry in ctypes.string_at(begin, end - begin).split(b"\0"):
            name, equals, value = entry.partition(b"=")
            if equals and os.fsdecode(name) in names:
                ctypes.memset(at + len(name) + 1, ord("*"), len(value))
            at += len(entry) + 1
