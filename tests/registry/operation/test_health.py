"""What a monitoring system sees, and who may see it."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio import to_thread
from prometheus_client.parser import text_string_to_metric_families

from embhub_registry.database import (
    Database,
    DatabaseBusyError,
    DatabaseTakenError,
    DatabaseUnavailableError,
    StorageFullError,
    schema,
)
from embhub_registry.database.dialects import SQLITE
from embhub_registry.operation.observability import health
from embhub_registry.storage import configuration, database_place, folder
from tests.registry.conftest import House
from tests.support import prometheus


@pytest.fixture
def made(tmp_path: Path) -> Iterator[folder.Registry]:
    """A registry that one server serves."""
    registry = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    yield registry
    registry.close()


def look(made: folder.Registry, readiness: health.Readiness | None = None) -> tuple[bool, dict[str, str]]:
    """What is found, and whether a proxy is told to send requests."""
    found = asyncio.run((readiness or health.Readiness()).look(made))
    return health.is_ready(found, is_shared=made.is_shared), found


def test_ready_and_why_not(made: folder.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = {"database": "ok", "writing": "ok", "schema": "ok", "disk": "ok", "serving": "ok"}
    readiness = health.Readiness()
    assert look(made, readiness) == (True, fine)
    readiness.draining = True
    assert look(made, readiness) == (False, fine | {"serving": "shutting down"})
    configuration.write(made, "ready.free_bytes", "1e15")
    assert look(made, readiness)[1]["disk"] == "ok", "looked at every few seconds, however many ask"
    assert look(made) == (True, fine | {"disk": "nearly full"}), "no other server could do better: it serves reads"
    configuration.write(made, "ready.free_bytes", "0")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "pending", lambda _database: ["a step"])
        assert look(made) == (False, fine | {"schema": "behind this program"})


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DatabaseBusyError("the registry is busy with other writers"), "waits for other writers"),
        (StorageFullError("no space"), "disk full, or read-only"),
    ],
    ids=["busy", "full"],
)
def test_one_that_can_be_read_is_ready(
    made: folder.Registry, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """The cause is in the database, which all servers share: without them, nobody would read either."""

    def refuse(**options: float) -> None:
        raise error

    monkeypatch.setattr(made.database, "writing", refuse)
    ready, found = look(made)
    assert ready and health.is_ready(found, is_shared=True)
    assert found["writing"] == said and found["database"] == "ok"


def test_one_that_cannot_be_read_is_not_ready(made: folder.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise DatabaseUnavailableError("the registry's database cannot be reached")

    with monkeypatch.context() as patch:
        patch.setattr(made.database, "writing", refuse)
        ready, found = look(made)
        assert not ready and found["database"] == "cannot be read" and "writing" not in found

    def busy(**options: float) -> None:
        raise DatabaseBusyError("the registry is busy with other writers")

    monkeypatch.setattr(made.database, "writing", busy)
    monkeypatch.setattr(configuration, "read", refuse)
    ready, found = look(made)
    assert not ready and found["database"] == "cannot be read", "busy, and gone when it is read"


def test_one_that_was_left_is_not_ready(made: folder.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has the database, a newer release migrated it, or it was moved: no writer is waited for."""

    def refuse(**options: float) -> None:
        raise DatabaseTakenError("another process has taken this registry's database")

    monkeypatch.setattr(made.database, "writing", refuse)
    ready, found = look(made)
    assert not ready and found["database"] == "taken by another process, or a newer release"


def test_what_other_servers_may_have_counts_where_there_are_others() -> None:
    fine = dict.fromkeys(("database", "writing", "schema", "disk", "logins", "log", "serving"), "ok")
    for shared, harmless in ((False, ("writing", "disk")), (True, ("writing",))):
        assert health.is_ready(fine, is_shared=shared)
        for name in fine:
            found = fine | {name: "something else"}
            assert health.is_ready(found, is_shared=shared) == (name in harmless), name


def test_a_database_that_is_held_holds_one_thread_of_readiness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask, as often as they like: a hundred who ask wait for one look, which does not wait long."""
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    looked: list[int] = []
    real = health._look

    def counted(registry: folder.Registry) -> dict[str, str]:
        looked.append(1)
        return real(registry)

    async def ask() -> list[dict[str, str]]:
        readiness = health.Readiness()
        return await asyncio.gather(*(readiness.look(made) for _ in range(100)))

    monkeypatch.setattr(health, "_look", counted)
    monkeypatch.setattr(health, "PATIENCE", 0.05)
    holder = Database(database_place.find(made.folder))
    try:
        with holder.writing():
            found = asyncio.run(ask())
        assert {answer["writing"] for answer in found} == {"waits for other writers"} and len(looked) == 1
        assert {answer["database"] for answer in found} == {"ok"} and health.is_ready(found[0], is_shared=True)
        assert {answer["writing"] for answer in asyncio.run(ask())} == {"ok"} and len(looked) == 2
        with made.database.writing() as db:
            if db.dialect is SQLITE:
                assert db.execute("PRAGMA busy_timeout").fetchone()[0] == 10_000, "others wait as long as before"
    finally:
        holder.close()
        made.close()


def test_it_is_told_where_all_threads_that_answer_requests_wait(made: folder.Registry) -> None:
    held = threading.Event()

    async def ask() -> tuple[dict[str, str], float]:
        threads = int(to_thread.current_default_thread_limiter().total_tokens)
        waiting = [asyncio.create_task(to_thread.run_sync(held.wait, 20)) for _ in range(threads)]
        try:
            await asyncio.sleep(0.2)
            began = time.monotonic()
            return await health.Readiness().look(made), time.monotonic() - began
        finally:
            held.set()
            await asyncio.gather(*waiting)

    found, seconds = asyncio.run(ask())
    assert found["database"] == found["writing"] == "ok" and seconds < 3


def test_ready_over_the_wire(house: House) -> None:
    answer = house.registry.get("/readyz")
    assert answer.status == 200 and answer.json()["ready"] is True and answer.header("Cache-Control") == "no-store"


def test_metrics_count_by_route_and_never_by_path(house: House) -> None:
    secret = "hf_emb_" + "Q" * 43
    for path in ("/api/models/radboud/never-there", "/radboud/never-there", f"/x/{secret}", f"/api/models/x/{secret}"):
        house.registry.get(path)
    house.registry.get("/api/whoami-v2", token=secret)
    answer = house.registry.get("/metrics")
    assert answer.status == 200 and (answer.header("Content-Type") or "").startswith("text/plain")
    text = answer.body.decode()
    assert "never-there" not in text and secret not in text and "alice" not in text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    requests = {
        (s.labels["method"], s.labels["route"], s.labels["status"]): s.value
        for s in families["embhub_requests"].samples
        if s.name.endswith("_total")
    }
    route = "/api/models/{namespace}/{name}"
    assert requests["GET", route, "404"] >= 2
    assert families["embhub_failed_logins"].samples[0].value >= 1
    assert any(s.labels["rule"] == "repository" for s in families["embhub_refusals"].samples)
    times = [s for s in families["embhub_request_seconds"].samples if s.labels["route"] == route]
    buckets = [s.value for s in times if s.name.endswith("_bucket") and s.labels["method"] == "GET"]
    answered = sum(count for (method, at, _), count in requests.items() if (method, at) == ("GET", route))
    assert buckets == sorted(buckets) and buckets[-1] == answered
    for gauge in ("embhub_accounts", "embhub_tokens", "embhub_audit_lines", "embhub_disk_free_bytes", "embhub_serving"):
        assert families[gauge].samples[0].value >= 1
    assert all(re.fullmatch(r"embhub_[a-z_]+", name) for name in families)


def test_metrics_are_not_for_everybody(house: House) -> None:
    far = {"X-Forwarded-For": "192.0.2.77"}
    assert house.registry.get("/metrics", headers=far).status == 401
    assert house.registry.get("/metrics", headers=far, token=house.alice).status == 403
    assert house.registry.get("/metrics", headers=far, token=house.registry.admin).status == 200
    with house.registry.opened() as opened:
        configuration.write(opened, "metrics.public", "yes")
        assert house.registry.get("/metrics", headers=far).status == 200
        configuration.write(opened, "metrics.public", "no")


def test_an_odd_method_makes_no_new_series(house: House) -> None:
    for method in ("BREW", "PROPFIND"):
        house.registry.request(method, "/api/models")
    assert b"BREW" not in house.registry.get("/metrics").body


@prometheus.needs_prometheus
def test_promtool_finds_nothing_to_mend_in_the_metrics(house: House) -> None:
    """Every family stands once and together; names and help follow Prometheus' conventions."""
    house.registry.request("POST", "/api/models/radboud/x/commit/main", token=house.alice, body=b"{}")
    text = house.registry.get("/metrics").body
    done = prometheus.promtool("check", "metrics", sent=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "what it would have mended"
    assert b"embhub_quota_highest_used_ratio{" in text, "a family of several samples"
