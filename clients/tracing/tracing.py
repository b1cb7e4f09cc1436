"""What the rest of the product knows of traces: spans that cost nothing while tracing is off.

`open_tracing` returns `Tracing`, which does nothing, or the one of `otel.py`. Nothing of OpenTelemetry is imported
before it is asked for.
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

from agent_runner.status.event_logger import event_logger

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler

    from agent_runner.clients.engine.current import CurrentRun
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)
TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""The names of a W3C trace context, in HTTP, gRPC and messages alike."""
TRACE = "trace"
"""The field of an execution's stored spec that holds the context of the request that created it."""
Attributes = Mapping[str, str | int | float | bool | None]


class Span(Protocol):
    """The part of a span that is of use while it is open."""

    def rename(self, name: str) -> None:
        """For a name that is known later."""

    def tell(self, attributes: Attributes) -> None:
        """Add attributes; those that are None are left out."""

    def fail(self, kind: str, text: str = "") -> None:
        """The span ends as an error of this kind (`error.type`). The text has been masked."""


class _NoSpan:
    def rename(self, name: str) -> None: ...
    def tell(self, attributes: Attributes) -> None: ...
    def fail(self, kind: str, text: str = "") -> None: ...


NO_SPAN = nullcontext[Span](_NoSpan())


class Tracing:
    """Off. Each process has one, made when it starts and closed when it ends."""

    on = False

    def span(
        self, name: str, kind: str = "internal", *, parent: Mapping[str, str] | None = None, **attributes: Any
    ) -> AbstractContextManager[Span]:
        """A span around the block; spans inside are its children. `parent`: the context of a caller elsewhere, else the
        current span is the parent. Names of attributes have `__` in place of a point."""
        return NO_SPAN

    def carried(self) -> dict[str, str]:
        """The context of the current span, as a message or a row carries it; empty without one."""
        return {}

    def calls_of(self, run: "CurrentRun") -> "Iterable[BaseCallbackHandler]":
        """Handlers that make spans of the model and tool calls of a run, below the current span."""
        return ()

    def close(self, within_s: float) -> None:
        """Send what is left."""


OFF = Tracing()


def open_tracing(settings: "Settings", role: str) -> Tracing:
    """The tracing of this process. Call it after any fork: it has a thread of its own."""
    if not settings.otlp_endpoint:
        return OFF
    try:
        from agent_runner.clients.tracing.otel import open_otel
    except ImportError as error:
        log.warning("traces.off", reason=f"{error}: install them with pip install 'agent-runner[otel]'")
        return OFF
    return open_otel(settings, role)


def context_in(headers: Mapping[str, Any] | None) -> dict[str, str]:
    """The trace context among headers, metadata or fields; empty if there is none."""
    found = {name: (headers or {}).get(name) for name in (TRACEPARENT, TRACESTATE)}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}
