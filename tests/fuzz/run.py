"""`make fuzz`: both edges of real servers under far more than the tests send, and what came of it.

On SQLite, and with AGENT_RUNNER_TEST_POSTGRES_URL a quarter of it on Postgres too; `--on` takes one of them, and all of
it there. Exit status 1 when anything failed.
Each operation of HTTP is told with what was answered when the next one begins: a run that is cut says what it reached.
The same seed sends the same requests, as far as these do not depend on what the server answered before.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.fuzz.bodies import fuzz_bodies
from tests.fuzz.rpc import fuzz_grpc
from tests.fuzz.stacks import QUICK_ENDS, fuzzed
from tests.fuzz.web import fuzz_http
from tests.support.databases import POSTGRES

REQUESTS, CALLS = 10_000, 20_000
BODIES_SHARE = 10
"""One of so many HTTP requests is a body that is no JSON."""
POSTGRES_SHARE = 4


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped
    postgres_share = 1 if options.on else POSTGRES_SHARE
    databases = {"SQLite": ("", 1), "Postgres": (os.environ.get(POSTGRES, ""), postgres_share)}
    failed = 0
    for name, (url, share) in databases.items():
        if options.on not in ("", name.lower()):
            continue
        if name == "Postgres" and not url:
            print(f"Postgres: not without {POSTGRES}")
            failed += bool(options.on)
            continue
        if options.requests:
            failed += _http(name, url, options.requests // share, options.seed, options.paths)
        if options.calls:
            failed += _grpc(name, url, options.calls // share, options.seed)
    print("FAILED" if failed else "PASSED", f"{failed} failures; SEED={options.seed}")
    return 1 if failed else 0


def _http(database: str, url: str, requests: int, seed: int, paths: str) -> int:
    began = time.monotonic()
    with fuzzed(url, worker=True, **QUICK_ENDS) as stack:
        odd = fuzz_bodies(stack, requests=requests // BODIES_SHARE, seed=seed)
        report = fuzz_http(stack, requests=requests, seed=seed, paths=paths, tell=_told)
    took = time.monotonic() - began
    print(f"\nHTTP on {database}: {report.requests.total()} requests, {report.operations} operations, in {took:.0f} s")
    _table(sorted(report.requests.items()))
    return _failures([*odd.failures, *report.failures])


def _grpc(database: str, url: str, calls: int, seed: int) -> int:
    began = time.monotonic()
    with fuzzed(url) as stack:
        report = asyncio.run(fuzz_grpc(stack, calls=calls, seed=seed))
    took = time.monotonic() - began
    print(f"\ngRPC on {database}: {report.calls.total()} calls of {len(report.methods)} methods in {took:.0f} s")
    codes: Counter[str] = Counter()
    for (_, code), number in report.calls.items():
        codes[code] += number
    _table(codes.most_common())
    return _failures(report.failures)


def _told(line: str) -> None:
    print(line, flush=True)


def _table(rows: Iterable[tuple[str, int]]) -> None:
    for name, number in rows:
        print(f"  {name:<20} {number:>7}")


def _failures(failures: Sequence[str]) -> int:
    print(f"  failures: {len(failures)}")
    for failure in failures:
        print(f"\n- {failure}")
    sys.stdout.flush()
    return len(failures)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make fuzz", description="send both edges whatever can be sent")
    parser.add_argument("--requests", type=int, default=REQUESTS, help="HTTP, about so many")
    parser.add_argument("--calls", type=int, default=CALLS, help="gRPC")
    parser.add_argument("--paths", default="", help="HTTP only to paths that this regular expression finds")
    parser.add_argument("--on", default="", choices=("sqlite", "postgres"), help="this database alone")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
