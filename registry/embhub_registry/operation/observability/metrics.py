"""What a monitoring system reads (Prometheus' text format): by route, never by path, name or person.

Requests are counted in plain dictionaries, on the event loop's thread alone; the client library writes them out when
asked. Its own counters take a lock each, at every request. What the database and the disk say is `registry_facts`'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from embhub_registry import __version__
from embhub_registry.database.call_times import CallTimes, Times
from embhub_registry.operation.facts.registry_facts import FACTS, Facts
from embhub_registry.storage.folder import Registry

METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
COMMIT = "/api/models/{namespace}/{name}/commit/{revision}"
# Alerts take the rate of these: a counter that appears with its first event shows no increase.
_SHOWN_AT_ONCE = ("rate", "storage", "database", "busy", "fault")
_DATABASE_ERRORS = ("busy", "unavailable", "full", "connect")


class Requests(Collector):
    """Answers by method, route and status; seconds by method and route; refusals by rule; failed logins."""

    def __init__(self) -> None:
        self.answered: Counter[tuple[str, str, str]] = Counter()
        self.refused: Counter[str] = Counter(dict.fromkeys(_SHOWN_AT_ONCE, 0))
        self.refused_pushes: Counter[str] = Counter()
        self.failed_logins = 0
        self.failed_upkeep = 0
        self.in_flight = 0
        self._times: dict[tuple[str, str], Times] = {}

    def time(self, method: str, route: str, seconds: float) -> None:
        """Count one answer in its bucket of seconds."""
        key = (method, route)
        if key not in self._times:
            self._times[key] = Times()
        self._times[key].add(seconds)

    def collect(self) -> Iterator[Metric]:
        """What was counted, as the client library writes it."""
        labels = ("method", "route")
        answered = CounterMetricFamily("embhub_requests", "Requests answered", labels=(*labels, "status"))
        for key, count in list(self.answered.items()):
            answered.add_metric(key, count)
        yield answered
        times = HistogramMetricFamily("embhub_request_seconds", "Seconds until the answer was sent", labels=labels)
        for route, found in list(self._times.items()):
            times.add_metric(route, buckets=found.cumulative(), sum_value=found.total)
        yield times
        yield _by_label("embhub_refusals", "Refused requests by rule", "rule", self.refused)
        yield _by_label("embhub_refused_pushes", "Refused commits by rule", "rule", self.refused_pushes)
        yield CounterMetricFamily(
            "embhub_failed_logins", "Failed logins with an invalid access token", value=self.failed_logins
        )
        yield CounterMetricFamily(
            "embhub_upkeep_failures", "Background tasks that failed and will be tried again", value=self.failed_upkeep
        )
        yield GaugeMetricFamily("embhub_requests_in_flight", "Requests that are being answered", value=self.in_flight)


def _by_label(name: str, words: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, words, labels=(label,))
    for value, count in list(counts.items()):
        family.add_metric((value,), count)
    return family


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self._requests = Requests()
        self._known = CollectorRegistry()
        self._known.register(self._requests)
        about = Gauge("embhub_build_info", "The program's version", ("version",), registry=self._known)
        about.labels(__version__).set(1)
        self._facts = Facts()

    def begun(self) -> None:
        """Count one request whose answer `answered` will count."""
        self._requests.in_flight += 1

    def answered(self, scope: Scope, *, status: int, seconds: float, rule: str | None) -> None:
        """Count one request; methods, routes and rules are bounded, whatever callers send."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = getattr(scope.get("route"), "path", "none")
        self._requests.in_flight -= 1
        self._requests.answered[method, route, str(status)] += 1
        self._requests.time(method, route, seconds)
        if rule is not None:
            self._requests.refused[rule] += 1
            if route == COMMIT:
                self._requests.refused_pushes[rule] += 1

    def login_failed(self) -> None:
        """Count a token that was no good."""
        self._requests.failed_logins += 1

    def upkeep_failed(self) -> None:
        """Count a background task that failed."""
        self._requests.failed_upkeep += 1

    def render(
        self, registry: Registry, *, serving: bool, checks: Mapping[str, str], threads: Mapping[str, float]
    ) -> bytes:
        """Everything as text; it reads the database, so not on the event loop.

        Args:
            registry: What is served.
            serving: Whether it is not shutting down.
            checks: What readiness found; where the database is not `ok` it is not read.
            threads: Worker threads: `busy`, `limit`, `waiting`.
        """
        shown = CollectorRegistry()
        shown.register(_Snapshot(registry, serving=serving, checks=checks, threads=threads, facts=self._facts))
        return generate_latest(self._known) + generate_latest(shown)


class _Snapshot(Collector):
    """What is looked up at each scrape."""

    def __init__(
        self, registry: Registry, *, serving: bool, checks: Mapping[str, str], threads: Mapping[str, float],
        facts: Facts,
    ) -> None:  # fmt: skip
        self._registry, self._serving, self._facts = registry, serving, facts
        self._checks, self._threads = checks, threads

    def describe(self) -> Iterator[Metric]:
        """Nothing: the families follow from what is found."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Checks, threads, connections, calls, and what the registry holds."""
        yield GaugeMetricFamily("embhub_serving", "1, or 0 while it shuts down", value=int(self._serving))
        checked = GaugeMetricFamily("embhub_check_ok", "1 where readiness found this in order", labels=("check",))
        for name, found in self._checks.items():
            checked.add_metric((name,), int(found == "ok"))
        yield checked
        for name, value in self._threads.items():
            yield GaugeMetricFamily(f"embhub_threads_{name}", f"Worker threads: {name}", value=value)
        database = self._registry.database
        yield GaugeMetricFamily(
            "embhub_database_connections", "Open connections of this process", value=database.open_connections()
        )
        yield from _calls("embhub_database", "the database", database.calls, errors=_DATABASE_ERRORS)
        facts: dict[str, GaugeMetricFamily] = {}
        for name, labels, value in self._facts.read(self._registry, self._checks):
            family = facts.setdefault(name, GaugeMetricFamily(name, FACTS[name], labels=tuple(labels)))
            family.add_metric(tuple(labels.values()), value)
        yield from facts.values()


def _calls(name: str, subject: str, calls: CallTimes, *, errors: tuple[str, ...]) -> Iterator[Metric]:
    times = HistogramMetricFamily(f"{name}_seconds", f"Seconds that calls of {subject} took", labels=("operation",))
    for operation, found in list(calls.times.items()):
        times.add_metric((operation,), buckets=found.cumulative(), sum_value=found.total)
    yield times
    counts = dict.fromkeys(errors, 0) | dict(calls.errors)
    yield _by_label(f"{name}_errors", f"Calls of {subject} that failed", "reason", counts)
