#!/bin/bash
# One would guess: an app of Celery may be used by several threads from its first message on; with `broker_pool_limit` it
#   keeps at most so many connections, and a thread that finds none free waits for one.
# What happens: the pool of producers is made by the first message, with kombu's own limit of 10, and gets the app's limit
#   after other threads can see it. If one of them has taken a producer by then, the first message fails with
#   RuntimeError("Can't shrink pool when in use: was=10 now=4"), which no retry policy knows, and the pool then keeps
#   the limit of 10. It happens once in the life of a process, in its first moment under load: a web server that has just been
#   started refuses one of its first requests. Any limit below 10 has it; none at or above 10, so the default of 10 hides it.
#   Touching `app.producer_pool` in one thread before the others begin is the way out.
# Version: celery 5.7.0, kombu 5.7.0 (as installed below; the broker is kombu's own `memory://`).
# Source: celery/app/amqp.py AMQP.producer_pool (the attribute is set, then `.limit`); kombu/resource.py Resource.resize.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q celery==5.7.0 kombu==5.7.0
cat > "$work/seen.py" <<'PY'
import sys
import threading
from importlib.metadata import version

from celery import Celery
from kombu import pools

THREADS, MOST = 8, 5000
sys.setswitchinterval(1e-6)  # threads take turns often: what happens rarely happens soon


def first_messages(number: int, limit: int, *, touched: bool) -> tuple[list[str], int]:
    """The errors of the first messages of a new app that several threads send at once, and its pool's limit then."""
    pools.reset()
    pools.set_limit(10)  # kombu's own, as in a new process
    app = Celery("sender", broker=f"memory://host{number}", broker_pool_limit=limit)
    if touched:
        _ = app.producer_pool
    start, errors = threading.Barrier(THREADS), []

    def send() -> None:
        start.wait()
        try:
            app.send_task("work")
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=send) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors, app.producer_pool.limit


name = f"celery {version('celery')}, kombu {version('kombu')}"
seen = next((found for found in (first_messages(n, 4, touched=False) for n in range(MOST)) if found[0]), None)
print(f"{name}: a limit of 4, {THREADS} threads: {seen}")
wide = [first_messages(n, 10, touched=False)[0] for n in range(300)]
touched = [first_messages(n, 4, touched=True)[0] for n in range(300)]
print(f"{name}: 300 times with a limit of 10: {sum(map(len, wide))} errors; with a pool that was touched first: {sum(map(len, touched))}")
said = set(seen[0]) if seen else set()
as_described = said == {"Can't shrink pool when in use: was=10 now=4"} and not any(wide) and not any(touched)
raise SystemExit(0 if as_described else "the behaviour has changed")
PY
"$work/venv/bin/python" "$work/seen.py"
