"""Spans of OpenTelemetry, sent by OTLP over HTTP in batches.

The provider is the product's own, not OpenTelemetry's global one: else spans of users' code, which nobody has masked,
would go out with ours. A receiver that is away delays nothing: what does not fit into the queue is dropped.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agent_runner.clients.tracing.call_spans import CallSpans
from agent_runner.clients.tracing.tracing import OFF, Attributes, Span, Tracing
from agent_runner.status.event_logger import event_logger

if TYPE_CHECKING:
    from langchain_core.callbacks import BaseCallbackHandler

    from agent_runner.clients.engine.current import CurrentRun
    from agent_runner.clients.settings.settings import Settings

log = event_logger(__name__)
PATH = "/v1/traces"
KINDS = {kind.name.lower(): kind for kind in SpanKind}
_w3c = TraceContextTextMapPropagator()


class OtelSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def tell(self, attributes: Attributes) -> None:
        self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})

    def fail(self, kind: str, text: str = "") -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(Status(StatusCode.ERROR, text or None))


class OtelTracing(Tracing):
    on = True

    def __init__(self, provider: TracerProvider, *, content: bool) -> None:
        self._provider, self._content = provider, content
        self._tracer = provider.get_tracer("agent-runner")

    @contextmanager
    def span(
        self, name: str, kind: str = "internal", *, parent: Mapping[str, str] | None = None, **attributes: Any
    ) -> Iterator[Span]:
        # An exception's text may hold what must not leave; whoever knows the mask tells it by `fail`.
        with self._tracer.start_as_current_span(
            name,
            context=_w3c.extract(parent) if parent else None,
            kind=KINDS[kind],
            record_exception=False,
            set_status_on_exception=False,
        ) as opened:
            span = OtelSpan(opened)
            span.tell({key.replace("__", "."): value for key, value in attributes.items()})
            try:
                yield span
            except BaseException as error:
                span.fail(type(error).__name__)
                raise

    def carried(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        _w3c.inject(carrier)
        return carrier

    def calls_of(self, run: "CurrentRun") -> "Iterable[BaseCallbackHandler]":
        return [CallSpans(self._tracer, run, content=self._content)]

    def close(self, within_s: float) -> None:
        # It sends what is left, and knows no time limit of its own.
        ending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(within_s)


def open_otel(settings: "Settings", role: str) -> Tracing:
    """Off when the standard variables of OpenTelemetry say so, or ask for what is not supported."""
    if reason := _refused(settings):
        log.warning("traces.off", reason=reason)
        return OFF
    given = dict(pair.split("=", 1) for pair in settings.otlp_headers.get_secret_value().split(",") if "=" in pair)
    headers = {name.strip(): value.strip() for name, value in given.items()}
    endpoint = settings.otlp_endpoint.rstrip("/")
    endpoint = endpoint if endpoint.endswith(PATH) else endpoint + PATH
    name = os.environ.get("OTEL_SERVICE_NAME") or f"agent-runner-{role}"
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, headers=headers)))
    log.info("traces.on", endpoint=endpoint, service=name, content=settings.trace_content)
    return OtelTracing(provider, content=settings.trace_content)


def _refused(settings: "Settings") -> str:
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return "OTEL_SDK_DISABLED is set"
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp").lower() != "otlp":
        return f"OTEL_TRACES_EXPORTER is {os.environ['OTEL_TRACES_EXPORTER']}; only otlp is known"
    asked = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if (asked or "http/protobuf") != "http/protobuf":
        return f"the protocol {asked} is not spoken here; use http/protobuf, usually port 4318"
    return ""
