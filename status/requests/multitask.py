"""What happens to the executions of a session that have not ended when a new one is made."""

from enum import Enum


class Multitask(Enum):
    """The value is the word of LangGraph's own API, and what the store holds."""

    ENQUEUE = "enqueue"
    """The new one waits for its turn."""
    REJECT = "reject"
    """The new one is refused."""
    INTERRUPT = "interrupt"
    """They are cancelled; what they had done stays in memory. The new one begins after their end."""
    ROLLBACK = "rollback"
    """They are cancelled and removed, with all that they had done to the session's memory."""
