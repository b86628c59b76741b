"""Traces as a collector gets them over OTLP/HTTP; ids that join logs, traces and answers."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from embhub.client.wire.hub import Hub
from embhub_registry.operation.observability import tracing
from tests.support import releases, servers
from tests.support.servers import RunningRegistry

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ROUTE = "/api/models/{namespace}/{name}"


@dataclass
class Collector:
    """Takes spans, as a collector of OpenTelemetry does."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    raw: bytes = b""
    resources: list[dict[str, str]] = field(default_factory=list)

    def take(self, body: bytes) -> None:
        self.raw += body
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            self.resources.append({pair.key: pair.value.string_value for pair in group.resource.attributes})
            self.spans += [span for scope in group.scope_spans for span in scope.spans]

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield collector
        server.shutdown()
        thread.join()


def facts(span: Any) -> dict[str, Any]:
    return {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}


def lines(registry: RunningRegistry) -> list[dict[str, Any]]:
    return [json.loads(line) for line in registry.log.read_text().splitlines() if line.startswith("{")]


def test_a_collector_gets_spans_without_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        registry = servers.start_registry(tmp_path)
        try:
            registry.add_key(releases.SITE, namespace="radboud")
            alice = registry.add_user("alice", namespace="radboud")
            Hub(registry.url, token=alice).push(releases.make_release(), releases.REPOSITORY)
            path = f"/api/models/{releases.REPOSITORY}?expand=sha&x-secret-query=1"
            answer = registry.get(path, token=alice, headers={"traceparent": PARENT, "X-Request-Id": "from-the-proxy"})
            assert answer.status == 200 and answer.header("X-Request-Id") == "from-the-proxy"
            assert registry.get("/api/models/radboud/never-there").status == 404
            registry.get("/readyz")
        finally:
            registry.stop()  # sends what is left
        (span,) = [s for s in collector.named(f"GET {ROUTE}") if facts(s).get("embhub.request_id") == "from-the-proxy"]
        assert facts(span)["http.route"] == ROUTE and facts(span)["http.response.status_code"] == 200
        assert span.trace_id.hex() != PARENT[3:35], "what a caller sends is not believed unless that was chosen"
        gone = [facts(s) for s in collector.named(f"GET {ROUTE}") if facts(s)["http.response.status_code"] == 404]
        assert gone and all(found["embhub.rule"] == "repository" for found in gone)
        (push,) = collector.named(f"POST {ROUTE}/commit/{{revision}}")
        inner = [s for s in collector.named("database transaction") if s.trace_id == push.trace_id]
        assert inner and all(s.parent_span_id == push.span_id for s in inner)
        assert collector.resources[0]["service.name"] == "embhub-registry"
        assert not [span for span in collector.spans if "readyz" in span.name]
        (line,) = [line for line in lines(registry) if line.get("id") == "from-the-proxy"]
        assert line["trace"] == span.trace_id.hex() and line["event"] == "request"
        for word in (
            b"alice",
            alice.encode(),
            releases.REPOSITORY.encode(),
            b"never-there",
            b"x-secret-query",
            b"127.0.0.1",
        ):
            assert word not in collector.raw, word


def test_the_proxys_trace_goes_on_where_that_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("EMBHUB_REGISTRY_ACCEPT_TRACEPARENT", "1")
        with servers.running_registry(tmp_path) as registry:
            registry.get("/api/models", headers={"traceparent": PARENT})
            registry.get("/trust", headers={"traceparent": "00-" + "z" * 32 + "-1-1"})
        (span,) = collector.named("GET /api/models")
        assert span.trace_id.hex() == PARENT[3:35] and span.parent_span_id.hex() == PARENT[36:52]
        (other,) = collector.named("GET /trust")
        assert not other.parent_span_id


def test_a_collector_that_is_away_delays_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{servers.free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with servers.running_registry(tmp_path) as registry:
        started = time.monotonic()
        assert all(registry.get("/api/models").status == 200 for _ in range(20))
        assert time.monotonic() - started < 5


def test_without_a_collector_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert not tracing.is_wanted()
    monkeypatch.setenv(tracing.ENDPOINTS[0], "http://127.0.0.1:4318")
    assert tracing.is_wanted()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not tracing.is_wanted()
