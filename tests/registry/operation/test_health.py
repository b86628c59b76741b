"""What a monitoring system sees, and who may see it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from embhub.errors import RegistryError
from embhub_registry.database import Database, schema
from embhub_registry.database.dialects import SQLITE
from embhub_registry.operation import health
from embhub_registry.storage import configuration, database_place, folder
from tests.registry.conftest import House
from tests.support import object_stores


def test_ready_and_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    fine = {"database": "ok", "schema": "ok", "disk": "ok", "serving": "ok"}
    fine |= {"objects": "ok"} if object_stores.CHOSEN else {}

    def look(readiness: health.Readiness) -> dict[str, str]:
        return asyncio.run(readiness.look(made))

    try:
        readiness = health.Readiness()
        assert look(readiness) == fine
        readiness.draining = True
        assert look(readiness) == fine | {"serving": "shutting down"}
        configuration.write(made, "ready.free_bytes", "1e15")
        assert look(readiness)["disk"] == "ok", "looked at every few seconds, however many ask"
        assert look(health.Readiness()) == fine | {"disk": "nearly full"}
        configuration.write(made, "ready.free_bytes", "0")
        with monkeypatch.context() as patch:
            patch.setattr(schema, "pending", lambda _database: ["a step"])
            assert look(health.Readiness()) == fine | {"schema": "behind this program"}

        def refuse(**options: float) -> None:
            raise RegistryError("read-only")

        monkeypatch.setattr(made.database, "writing", refuse)
        assert look(health.Readiness())["database"] == "cannot be written"
    finally:
        made.close()


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
        assert {answer["database"] for answer in found} == {"cannot be written"} and len(looked) == 1
        assert {answer["database"] for answer in asyncio.run(ask())} == {"ok"} and len(looked) == 2
        with made.database.writing() as db:
            if db.dialect is SQLITE:
                assert db.execute("PRAGMA busy_timeout").fetchone()[0] == 10_000, "others wait as long as before"
    finally:
        holder.close()
        made.close()


def test_ready_over_the_wire(house: House) -> None:
    answer = house.registry.get("/readyz")
    assert answer.status == 200 and answer.json()["ready"] is True and answer.header("Cache-Control") == "no-store"


def test_metrics_count_by_route_and_never_by_path(house: House) -> None:
    secret = "emb_" + "Q" * 43
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
