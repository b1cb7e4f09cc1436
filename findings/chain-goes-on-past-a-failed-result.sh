#!/bin/bash
# One would guess: a task of a chain either succeeds, and the next one runs, or fails, and the error callback runs. Never both.
# What happens: both, where the task's body returned and its result cannot be stored (JSON cannot hold it, the backend's
#   limit for a value is below it). Celery sends the next task of the chain before it stores the result; when storing
#   raises, the same task is made a failure: task_failure, link_error, state FAILURE. The chain runs on to its end and says
#   SUCCESS, with a parent that says FAILURE. Whoever compensates in link_error undoes work that its successor builds on.
# Version: celery 5.7.0, kombu 5.7.0.
# Source: celery/app/trace.py build_tracer.trace_task: `_chsig.apply_async` comes before `task.backend.mark_as_done`, and an
#   exception of the second goes to `on_error`.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q celery==5.7.0 kombu==5.7.0
cat > "$work/seen.py" <<'PY'
import threading

from celery import Celery, chain, signals
from celery.contrib.testing.worker import start_worker

app = Celery("demo", broker="memory://", backend="cache+memory://")
app.conf.result_backend_thread_safe = True
seen, delivered = [], threading.Event()

class Report:
    """What a task returns by mistake: an object that JSON cannot hold."""

@app.task
def render():
    seen.append("render returned")
    return Report()

@app.task
def deliver():
    seen.append("deliver ran")

@app.task
def undo(request, exc, traceback):
    seen.append(f"link_error ran: {type(exc).__name__}")

def done(sender=None, **_):
    if sender.name.endswith("deliver"):
        delivered.set()

signals.task_postrun.connect(done, weak=False)
with start_worker(app, pool="solo", perform_ping_check=False, loglevel="CRITICAL"):
    last = chain(render.si(), deliver.si()).apply_async(link_error=undo.s())
    assert delivered.wait(30) or print("deliver did not run")
    states = last.parent.state, last.state
print("first task:", states[0], "| the chain:", states[1], "|", ", ".join(seen))
same = states == ("FAILURE", "SUCCESS") and {"link_error ran: EncodeError", "deliver ran"} <= set(seen)
raise SystemExit(0 if same else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
