"""Tracing to LangSmith is off in workers and orchestrators, even if the environment asks for it.

A trace holds all messages of a run, before anything is masked, and goes to another company's service. The libraries
read several spellings of the switch, and a newer one that says no loses against an older one that says yes.
"""

import os
import re

SWITCH = re.compile(
    r"(LANGSMITH|LANGCHAIN)_(TRACING\w*|OTEL\w*|RUNS_ENDPOINTS|HANDLER|SESSION|PROJECT|CALLBACKS_BACKGROUND)",
    re.IGNORECASE,
)
OFF = ("LANGSMITH_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGSMITH_OTEL_ENABLED")


def forget_switches() -> None:
    """Replace all switches by those that say no. Call it before anything is imported that reads them."""
    for name in [name for name in os.environ if SWITCH.fullmatch(name)]:
        del os.environ[name]
    os.environ.update(dict.fromkeys(OFF, "false"))


def stay_off() -> None:
    """Keep tracing off if a graph's module sets a switch later: this configuration counts before the environment."""
    from langsmith import configure

    configure(enabled=False)
