"""Only our own settings decide about tracing to LangSmith, not what the libraries find in the environment.

The libraries read several spellings of the switch, remember the first answer for the whole process, and a newer one
that says no loses against an older one that says yes. So all of them are removed once the settings have been read.
"""

import os
import re
from contextvars import Context
from typing import Any

SWITCH = re.compile(
    r"(LANGSMITH|LANGCHAIN)_(TRACING(_V2)?|OTEL\w*|RUNS_ENDPOINTS|HANDLER|SESSION|PROJECT|AGENT_\w+|CALLBACKS_BACKGROUND)",
    re.IGNORECASE,
)
OFF = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGSMITH_OTEL_ENABLED")


def forget_switches() -> None:
    """Replace all switches by those that say no. Call it after the settings were read, and before anything is imported
    that reads them."""
    for name in [name for name in os.environ if SWITCH.fullmatch(name)]:
        del os.environ[name]
    os.environ.update(dict.fromkeys(OFF, "false"))


def stay_off() -> None:
    """Keep tracing off if a graph's module sets a switch later: this configuration counts before the environment."""
    configure_all(enabled=False)


def configure_all(**what: Any) -> None:
    """Configure langsmith for all contexts of the process.

    It sets the context variables of its caller as well, and these count first: a process that forks later would give
    its children, and what they start, an answer that no later call of theirs changes.
    """
    from langsmith import configure

    Context().run(lambda: configure(**what))


def without_switches(variables: dict[str, str]) -> dict[str, str]:
    """The variables of an execution without those that would change what this process sends for others."""
    return {name: value for name, value in variables.items() if not SWITCH.fullmatch(name)}
