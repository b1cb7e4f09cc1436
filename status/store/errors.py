"""The exceptions of the store.

StoreError
├── StoreUnavailable     try again; nothing is known about the write
│   └── StoreConflict    it lost a race for locks; nothing was written, and the store itself tries again
├── Terminal             the execution is over
├── NotItsTurn           it waits for another execution of its session; nobody may report on it yet
├── ClaimedNatively      a worker owns it through the runner service; updateStatus is refused
├── SlugTaken            another resource of that kind and org has the slug, or the id exists
├── NotDue               the schedule is not as it was when a firing was decided; nothing was written
├── AnswerNotTaken       the token of an answer is used, expired, or its question is answered
├── OrgBudgetSpent       the org has used its budget of this window; nothing was written
├── NoWorker             no worker serves the queue; nothing was written
├── OtherKeysWorker      the worker process was registered with another key
└── StaleVersion         the resource was changed in between
"""

from agent_runner.status.requests.org_budgets import Spent


class StoreError(Exception):
    """The base of all exceptions of the store."""


class StoreUnavailable(StoreError):
    """The database cannot be reached or did not answer."""


class StoreConflict(StoreUnavailable):
    """The transaction collided with another one and was rolled back."""


class Terminal(StoreError):
    """The execution has ended; nothing about it changes any more."""


class NotItsTurn(StoreError):
    """One run per thread: the execution waits behind another one of its session."""


class ClaimedNatively(StoreError):
    """The execution was claimed by a worker of this system, which reports by itself."""


class SlugTaken(StoreError):
    """Another resource has this name or id."""


class OtherKeysWorker(StoreError):
    """The worker process was registered with another key."""


class StaleVersion(StoreError):
    """The resource was changed by somebody else in between."""


class NotDue(StoreError):
    """Another server fired the schedule, or somebody changed it; nothing was written."""


class AnswerNotTaken(StoreError):
    """The token of this answer is not good any more; nothing was written."""


class OrgBudgetSpent(StoreError):
    """The org has used what it may use in this window."""

    def __init__(self, spent: Spent) -> None:
        super().__init__(f"{spent.org}: {spent.measure} of this {spent.window}")
        self.spent = spent


class NoWorker(StoreError):
    """No worker is there for the execution's queue."""
