"""The refusal of an execution that does not fit into the budget of its org any more."""

import math

from agent_runner.app.server.problems import Kind, Problem
from agent_runner.status.log.render import rfc3339
from agent_runner.status.requests.org_budgets import Spent

SPENT = "ORG_BUDGET_SPENT"


def spent_problem(spent: Spent) -> Problem:
    """RESOURCE_EXHAUSTED, with the time to wait."""
    what = spent.measure.partition(":")
    unit = f" {what[2]}" if what[2] else ""
    left_s = max(1, math.ceil(spent.free_at - spent.now))
    return Problem(
        Kind.TOO_MANY,
        f"org '{spent.org}' has used its budget of this {spent.window}: {spent.used:g} of {spent.limit:g}{unit}"
        f" ({what[0]})",
        next_step=f"There is room again at {rfc3339(spent.free_at)}, in {left_s} s. GET /v1/budgets shows what is used;"
        " the operator sets it (AGENT_RUNNER_ORG_BUDGETS).",
        code=SPENT,
        retry_after_s=left_s,
    )
