"""F20: the agent's own code ends more than itself, or tries to."""

from collections.abc import Callable

from tests.faults.registry import case
from tests.faults.scene import Scene
from tests.integration.stack import Json, Process
from tests.support.waiting import eventually

EXIT_CODE = 3
BEFORE: Json = {"do": "say", "text": "before"}
MOMENT: Json = {"do": "await", "s": 1.2}
BOTH = ("async", "prefork")


def raises(what: str) -> Callable[[Scene], None]:
    """The agent raises that exception, which is none that code may catch."""
    action = {"do": "recurse"} if what == "RecursionError" else {"do": "raise", "what": what, "text": "out of here"}

    def agent_raises(scene: Scene) -> None:
        worker = scene.worker()
        _two(scene, action)
        running = _processes(worker)
        status = scene.end("culprit")
        error = str(status.get("error"))
        said = "recursion" if what == "RecursionError" else what
        scene.evidence(said in error, f"the agent raised {what}")
        scene.end("neighbour")
        scene.demand(_processes(worker) == running, f"a worker process was replaced: {running} {_processes(worker)}")
        scene.next_works()

    return agent_raises


for _name in ("SystemExit", "CancelledError", "MemoryError", "RecursionError", "KeyboardInterrupt"):
    case(f"F20/{_name}", pools=BOTH)(raises(_name))


@case("F20/exit")
def process_exits(scene: Scene) -> None:
    """os._exit ends every run of that process."""
    worker = scene.worker()
    _two(scene, {"do": "exit_process", "code": EXIT_CODE})
    child = worker.child()
    scene.end("culprit")
    scene.end("neighbour")
    scene.evidence(not child.is_running(), "the process is gone")
    eventually(scene.stack.workers, within_s=20, what="the process that replaces it")
    scene.next_works()


@case("F20/exit-fork", pools=("prefork",))
def pool_child_exits(scene: Scene) -> None:
    """In prefork that is one child."""
    worker = scene.worker()
    parent = worker.child()
    children = _processes(worker)
    _two(scene, {"do": "exit_process", "code": EXIT_CODE})
    scene.end("culprit")
    eventually(lambda: _processes(worker) != children, within_s=5, what="the child to be gone")
    scene.evidence(_processes(worker) != children, "a child is gone")
    scene.demand(parent.is_running(), "the parent died too")
    scene.end("neighbour")
    scene.next_works()


def _two(scene: Scene, action: Json) -> None:
    """A neighbour in the middle of its work, and the culprit a moment before the action."""
    scene.act(BEFORE, {"do": "await", "s": 3}, role="neighbour")
    scene.in_flight("neighbour", text="before")
    scene.act(BEFORE, MOMENT, action, role="culprit")
    scene.in_flight("culprit", text="before")
    scene.strike()


def _processes(worker: Process) -> set[int]:
    child = worker.child()
    return {child.pid, *(process.pid for process in child.children())}
