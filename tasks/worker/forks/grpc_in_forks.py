"""gRPC in a worker whose agents' own code forks (decision 0032).

gRPC's own part in a fork aborts forked processes, so workers run without it. A forked process inherits gRPC without
its threads then: a call there would wait for ever. So each use of it raises an error there that says what to do.

    without_fork_support()    once per worker, before gRPC is imported
    guard_forks()             once per process, when its first channel is open: gRPC has read the variable by then
"""

import os
from typing import Any, NoReturn

VARIABLE = "GRPC_ENABLE_FORK_SUPPORT"
OFF = frozenset({"0", "f", "false", "n", "no"})
"""What gRPC reads as off, in any case."""
NO_GRPC = (
    "gRPC cannot be used in a process that was forked from a worker: start the process with multiprocessing's"
    ' context "spawn" or "forkserver"'
)
_set_here = False


def without_fork_support() -> None:
    """An operator's own value stays, and with it gRPC's own part in forks."""
    global _set_here
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = "0"
        _set_here = True


def guard_forks() -> None:
    global _set_here
    if os.environ.get(VARIABLE, "").lower() not in OFF:
        return
    if _set_here:  # programs that agents start have no part in this
        del os.environ[VARIABLE]
        _set_here = False
    os.register_at_fork(after_in_child=_refuse)


def _refuse() -> None:
    """In a forked process. The Python part of gRPC looks these names up at each use: the first four make new channels
    and servers, the others begin a call on one that was inherited."""
    import grpc.aio._channel
    from grpc._cython import cygrpc

    core: Any = cygrpc
    for name in ("Channel", "AioChannel", "Server", "AioServer", "SendInitialMetadataOperation"):
        setattr(core, name, _refused)
    calls: Any = grpc.aio._channel._BaseMultiCallable
    calls._init_metadata = staticmethod(_refused)


def _refused(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError(NO_GRPC)
