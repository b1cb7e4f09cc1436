"""Why a run stops before its end. Without imports: an orchestrator, which runs no agent, needs it too."""

from enum import Enum

ACTIVITY = "ExecuteGraphton"


class Stop(Enum):
    """Why a run was told to stop. The first reason counts, but FENCED_OUT replaces any other."""

    CANCEL = "cancel"
    TIMED_OUT = "timed out"
    SHUTDOWN = "shutdown"
    REVOKED = "revoked"
    FENCED_OUT = "fenced out"
