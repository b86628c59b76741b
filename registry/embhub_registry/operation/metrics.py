"""What a monitoring system reads (Prometheus' text format): by route, never by path, name or person.

Requests are counted in plain dictionaries, on the event loop's thread alone; the client library writes them out when
asked. Its own counters take a lock each, at every request.
"""

from __future__ import annotations

import shutil
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from embhub_registry import __version__
from embhub_registry.database import usage
from embhub_registry.storage.folder import Registry

METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TOTALS = {
    "objects": "Stored objects",
    "bytes": "Bytes of stored objects",
    "repositories": "Repositories, private ones included",
    "releases": "Commits that published a release",
    "yanked": "Versions and commits that were yanked",
    "deleted": "Names of deleted repositories",
    "accounts": "Accounts that are not disabled",
    "tokens": "Tokens that were not revoked",
}


class Requests(Collector):
    """Answers by method, route and status; seconds by method and route; refusals by rule; failed logins."""

    def __init__(self) -> None:
        self.answered: Counter[tuple[str, str, str]] = Counter()
        self.refused: Counter[str] = Counter()
        self.failed_logins = 0
        self._times: dict[tuple[str, str], list[int]] = {}
        self._sums: dict[tuple[str, str], float] = {}

    def time(self, method: str, route: str, seconds: float) -> None:
        """Count one answer in its bucket of seconds."""
        key = (method, route)
        if key not in self._times:
            self._times[key], self._sums[key] = [0] * (len(SECONDS) + 1), 0.0
        self._times[key][bisect_left(SECONDS, seconds)] += 1
        self._sums[key] += seconds

    def collect(self) -> Iterator[Metric]:
        """What was counted, as the client library writes it."""
        labels = ("method", "route")
        answered = CounterMetricFamily("embhub_requests", "Requests answered", labels=(*labels, "status"))
        for key, count in list(self.answered.items()):
            answered.add_metric(key, count)
        yield answered
        times = HistogramMetricFamily("embhub_request_seconds", "Seconds until the answer was sent", labels=labels)
        for route, counts in list(self._times.items()):
            bounds = [*map(str, SECONDS), "+Inf"]
            upto = [(bound, float(sum(counts[: n + 1]))) for n, bound in enumerate(bounds)]
            times.add_metric(route, buckets=upto, sum_value=self._sums[route])
        yield times
        refused = CounterMetricFamily("embhub_refusals", "Refused requests by rule", labels=("rule",))
        for rule, count in list(self.refused.items()):
            refused.add_metric((rule,), count)
        yield refused
        yield CounterMetricFamily(
            "embhub_failed_logins", "Failed logins with an invalid access token", value=self.failed_logins
        )


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self._requests = Requests()
        self._known = CollectorRegistry()
        self._known.register(self._requests)
        self._totals = {name: Gauge(f"embhub_{name}", words, registry=self._known) for name, words in TOTALS.items()}
        self._free = Gauge("embhub_disk_free_bytes", "Free bytes on the registry's disk", registry=self._known)
        self._audit = Gauge("embhub_audit_lines", "Lines of the audit log so far", registry=self._known)
        self._serving = Gauge("embhub_serving", "1, or 0 while it shuts down", registry=self._known)
        about = Gauge("embhub_build_info", "The program's version", ("version",), registry=self._known)
        about.labels(__version__).set(1)

    def answered(self, scope: Scope, *, status: int, seconds: float, rule: str | None) -> None:
        """Count one request; methods, routes and rules are bounded, whatever callers send."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = getattr(scope.get("route"), "path", "none")
        self._requests.answered[method, route, str(status)] += 1
        self._requests.time(method, route, seconds)
        if rule is not None:
            self._requests.refused[rule] += 1

    def login_failed(self) -> None:
        """Count a token that was no good."""
        self._requests.failed_logins += 1

    def render(self, registry: Registry, *, serving: bool) -> bytes:
        """Everything as text; it reads the database, so not on the event loop."""
        for name, value in usage.totals(registry.database.connection()).items():
            self._totals[name].set(value)
        self._free.set(shutil.disk_usage(registry.folder).free)
        self._audit.set(registry.audit_log.head().number)
        self._serving.set(int(serving))
        return generate_latest(self._known)
