"""The spans of a task and of its run. What a span says has been through the run's mask; while tracing is off they are
nothing."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from agent_runner.clients.tracing.tracing import Span
from agent_runner.status.phases import Phase
from agent_runner.tasks.run.run import Claim, Run

if TYPE_CHECKING:
    from agent_runner.tasks.worker.process import RunnerProcess


def task_span(
    process: "RunnerProcess", task: str, execution_id: str, carried: Mapping[str, str] | None
) -> AbstractContextManager[Span]:
    """One delivery of a message. `carried`: the trace context that came with it."""
    return process.tracing.span(
        f"process {task}",
        "consumer",
        parent=carried,
        messaging__system="celery",
        messaging__operation__name="process",
        messaging__operation__type="process",
        messaging__destination__name=process.queue,
        agent_runner__execution__id=execution_id,
        agent_runner__worker=process.name,
    )


def tell_claim(span: Span, claim: Claim) -> None:
    told = claim.reply
    span.tell(
        {
            "agent_runner.session.id": told.session_id,
            "agent_runner.attempt": told.attempt,
            "agent_runner.fence": told.fence,
            "agent_runner.graph": told.graph or None,
        }
    )


def tell_end(span: Span, result: Mapping[str, Any]) -> None:
    """`result` is that of the task. A run that another worker owns has no phase."""
    span.tell({"agent_runner.phase": result["phase"] or None, "agent_runner.code": result["code"] or None})
    if result["phase"] == Phase.FAILED.wire_name:
        span.fail(str(result["code"]))


@contextmanager
def agent_span(process: "RunnerProcess", run: Run) -> Iterator[Span]:
    """What the agent does, from its first step to its last."""
    told = run.claim.reply
    agent = told.agent.metadata
    name = run.mask(agent.name or agent.slug or told.graph or "agent")
    with process.tracing.span(
        f"invoke_agent {name}",
        gen_ai__operation__name="invoke_agent",
        gen_ai__agent__name=name,
        gen_ai__agent__id=agent.id or None,
        gen_ai__conversation__id=told.session_id or None,
        gen_ai__request__model=told.model_name or None,
    ) as span:
        try:
            yield span
        except Exception as error:
            span.fail(type(error).__name__, run.mask(str(error)))
            raise
