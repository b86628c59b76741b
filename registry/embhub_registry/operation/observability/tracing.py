"""OpenTelemetry traces: a span for each request, and below it one for each transaction.

Off unless OTEL_EXPORTER_OTLP_ENDPOINT (or …_TRACES_ENDPOINT) is set; the other variables of OpenTelemetry count too. A
span holds the method, the route's template, the status, the rule of a refusal and the id of the request. It never holds
a path, a query, a name, an address or an error's text.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embhub.errors import ConfigError
from embhub_registry import __version__
from embhub_registry.database.call_times import CallTimes
from embhub_registry.operation.observability.metrics import METHODS
from embhub_registry.storage import logs

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
STOP_SECONDS = 3.0
UNTRACED = ("/healthz", "/readyz", "/metrics")


def is_wanted() -> bool:
    """Whether a collector is set, and OTEL_SDK_DISABLED is not."""
    return any(os.environ.get(name) for name in ENDPOINTS) and os.environ.get("OTEL_SDK_DISABLED", "") != "true"


def start(application: Starlette, *, accept_parent: bool = False) -> TracerProvider | None:
    """Trace an application that does not run yet, where a collector is set; `shutdown` of the result sends the rest.

    Args:
        application: Gets a middleware.
        accept_parent: Whether the `traceparent` header (W3C Trace Context) is believed: the proxy has to set it, or to
            remove what callers send.

    Raises:
        ConfigError: a collector is set, and OpenTelemetry's packages are not installed.
    """
    if not is_wanted():
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed",
            "pip install 'embhub-registry[tracing]', or unset the variable",
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME", "embhub-registry")
    about = Resource.create({"service.name": name, "service.version": __version__})
    provider = TracerProvider(resource=about, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("embhub-registry", __version__)
    application.add_middleware(TracingMiddleware, tracer=tracer, accept_parent=accept_parent)
    CallTimes.span = staticmethod(lambda called: _child(tracer, called))
    return provider


def stop(provider: TracerProvider | None) -> None:
    """Send what is left, and open no more spans; a collector that is away is not waited for."""
    if provider is not None:
        CallTimes.span = staticmethod(CallTimes.no_span)
        ending = threading.Thread(target=provider.shutdown, daemon=True)
        ending.start()
        ending.join(timeout=STOP_SECONDS)


def _child(tracer: Tracer, name: str) -> AbstractContextManager[Any]:
    from opentelemetry.trace import SpanKind

    return tracer.start_as_current_span(
        name, kind=SpanKind.CLIENT, record_exception=False, set_status_on_exception=False
    )


class TracingMiddleware:
    """One span of a server for each request.

    Args:
        app: What is traced.
        tracer: Makes the spans.
        accept_parent: Whether `traceparent` is believed.
    """

    def __init__(self, app: ASGIApp, *, tracer: Tracer, accept_parent: bool) -> None:
        self.app, self._tracer, self._accept_parent = app, tracer, accept_parent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or scope["path"] in UNTRACED:
            await self.app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, format_trace_id

        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._tracer.start_as_current_span(
            "request", context=self._parent(scope), kind=SpanKind.SERVER, record_exception=False,
            set_status_on_exception=False,
        ) as span:  # fmt: skip
            try:
                with logs.within(trace=format_trace_id(span.get_span_context().trace_id)):
                    await self.app(scope, receive, sending)
            finally:
                self._describe(span, scope, status)

    def _parent(self, scope: Scope) -> Any:
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        if not self._accept_parent:
            return Context()
        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        return TraceContextTextMapPropagator().extract({"traceparent": sent.get("traceparent", "")}, context=Context())

    def _describe(self, span: Any, scope: Scope, status: int) -> None:
        from opentelemetry.trace import Status, StatusCode

        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        route, state = getattr(scope.get("route"), "path", None), scope.get("state", {})
        span.update_name(f"{method} {route}" if route else method)
        facts = {
            "http.request.method": method, "http.route": route, "http.response.status_code": status,
            "embhub.rule": state.get("rule"), "embhub.request_id": state.get("request_id"),
        }  # fmt: skip
        span.set_attributes({name: value for name, value in facts.items() if value is not None})
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
