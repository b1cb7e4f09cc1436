"""The Celery application of a worker: each role registers its own tasks and no others."""

from typing import TYPE_CHECKING, Any, Literal

from celery import Celery, Task

from agent_runner.clients.broker.celery_config import new_celery
from agent_runner.clients.broker.task_names import (
    CLEANUP_SANDBOX,
    ENSURE_THREAD,
    EXECUTE_GRAPHTON,
    PRUNE_THREAD,
    QUERY_GRAPH,
    REPORT_FAILURE,
)
from agent_runner.clients.tracing.tracing import context_in
from agent_runner.tasks.body_errors import AlreadyEnded, ExecutionError
from agent_runner.tasks.worker.workplace import Workplace

if TYPE_CHECKING:
    from agent_runner.clients.settings.settings import Settings

Role = Literal["worker", "orchestrator"]
ROLES: tuple[Role, ...] = ("worker", "orchestrator")


def build_app(settings: "Settings", role: Role, workplace: Workplace | None = None) -> Celery:
    """Nothing is connected yet. Tasks find their process in `workplace`, which the worker fills when it starts."""
    app = new_celery(settings, main=f"agent_runner.{role}")
    app.conf.task_default_queue = queue_of(settings, role)
    place = workplace or Workplace()
    if role == "worker":
        _register_runner(app, place)
    else:
        _register_orchestrator(app, place)
    app.set_current()
    app.finalize()
    return app


def queue_of(settings: "Settings", role: Role) -> str:
    return settings.runner_queue if role == "worker" else settings.orchestrator_queue


def registered(app: Celery) -> list[str]:
    """The names of our own tasks that this application knows."""
    return sorted(name for name in app.tasks if not name.startswith("celery."))


def _register_runner(app: Celery, place: Workplace) -> None:
    from agent_runner.tasks.cleanup_sandbox import cleanup_sandbox
    from agent_runner.tasks.ensure_thread import ensure_thread
    from agent_runner.tasks.execute_graphton import execute_graphton
    from agent_runner.tasks.prune_thread import prune_thread
    from agent_runner.tasks.query_graph import query_graph
    from agent_runner.tasks.repeated_end import repeat_end
    from agent_runner.tasks.request import RunRequest

    @app.task(name=ENSURE_THREAD, shared=False, bind=True, Request=RunRequest)
    def ensure(self: "Task[Any, Any]", execution_id: str) -> dict[str, Any]:
        place.put_back_if_leaving()
        return place.wait_for(ensure_thread(place.process, execution_id, context_in(self.request.headers)))

    @app.task(name=EXECUTE_GRAPHTON, shared=False, bind=True, Request=RunRequest, throws=(ExecutionError,))
    def run(self: "Task[Any, Any]", execution_id: str) -> dict[str, Any]:
        place.put_back_if_leaving()
        request = self.request
        who, carried = (request.id or "", request.hostname or ""), context_in(request.headers)
        try:
            return place.wait_for(execute_graphton(place.process, app, *who, execution_id, carried))
        except AlreadyEnded as ended:
            return repeat_end(self, execution_id, ended)

    @app.task(name=CLEANUP_SANDBOX, shared=False)
    def cleanup(session_id: str, sandbox_id: str) -> dict[str, Any]:
        place.put_back_if_leaving()
        return place.wait_for(cleanup_sandbox(place.process, session_id, sandbox_id))

    @app.task(name=PRUNE_THREAD, shared=False)
    def prune(thread_id: str, head_checkpoint_id: str) -> dict[str, Any]:
        place.put_back_if_leaving()
        return place.wait_for(prune_thread(place.process, thread_id, head_checkpoint_id))

    @app.task(name=QUERY_GRAPH, shared=False)
    def query(query_id: str) -> dict[str, Any]:
        place.put_back_if_leaving()
        return place.wait_for(query_graph(place.process, query_id))


def _register_orchestrator(app: Celery, place: Workplace) -> None:
    from agent_runner.tasks.report_failure import report_failure

    # Bound, and sent with `.si`: then Celery always queues it, and never calls it inside the process that failed.
    @app.task(name=REPORT_FAILURE, shared=False, bind=True)
    def report(self: "Task[Any, Any]", execution_id: str) -> dict[str, Any]:
        return place.wait_for(report_failure(place.process, app, execution_id, self.request.parent_id or ""))
