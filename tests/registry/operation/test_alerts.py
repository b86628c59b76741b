"""Alerts and the board: they speak of metrics that a server has, and each alert fires when its cause is there."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client.parser import text_string_to_metric_families

from embhub.client.wire.hub import Hub
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.logs import log_rows
from embhub_registry.operation.facts.registry_facts import FACTS
from embhub_registry.storage import configuration, quotas
from tests.registry.conftest import House
from tests.support import postgres, prometheus, releases, servers, tools
from tests.support.prometheus import MONITORING, needs_prometheus
from tests.support.servers import RunningRegistry

NAME = re.compile(r"\bembhub_[a-z_0-9]+")
SOMETIMES = {"embhub_certificate_expiry_timestamp_seconds"}  # it appears with its setting only


def names_of(text: str) -> set[str]:
    families = text_string_to_metric_families(text)
    return {sample.name for family in families for sample in family.samples}


def board() -> list[str]:
    document = json.loads((MONITORING / "grafana-board.json").read_text())
    return [target["expr"] for panel in document["panels"] for target in panel.get("targets", [])]


@pytest.mark.thorough
@needs_prometheus
def test_the_rules_pass_their_own_tests() -> None:
    done = prometheus.promtool("test", "rules", MONITORING / "alerts-test.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    tried = set(re.findall(r"alertname: (\w+)", (MONITORING / "alerts-test.yml").read_text()))
    assert tried == {rule["alert"] for rule in prometheus.rules()}


@needs_prometheus
def test_prometheus_takes_configuration_and_board(tmp_path: Path) -> None:
    done = prometheus.promtool("check", "config", MONITORING / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    replaced = [expr.replace("$__rate_interval", "5m").replace("$instance", ".*") for expr in board()]
    assert not any("$" in expr.replace("${1}", "") for expr in replaced)
    recorded = [{"record": f"board:panel_{number}", "expr": expr} for number, expr in enumerate(replaced)]
    (tmp_path / "board.yml").write_text(json.dumps({"groups": [{"name": "board", "rules": recorded}]}))
    done = prometheus.promtool("check", "rules", tmp_path / "board.yml")
    assert done.returncode == 0 and len(recorded) > 30, done.stdout + done.stderr


def test_board_and_alerts_speak_of_metrics_that_a_server_has(house: House) -> None:
    token = house.alice
    house.registry.request("POST", "/api/models/radboud/x/commit/main", token=token, body=b"{}")  # a refused push
    shown = names_of(house.registry.get("/metrics").body.decode())
    asked = {name for expr in [*board(), *(rule["expr"] for rule in prometheus.rules())] for name in NAME.findall(expr)}
    assert asked - shown <= SOMETIMES and len(asked) > 30
    assert set(FACTS) - shown <= SOMETIMES


def test_no_two_panels_are_in_one_place_and_each_has_words() -> None:
    panels = json.loads((MONITORING / "grafana-board.json").read_text())["panels"]
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_is_in_the_guide() -> None:
    page = (MONITORING.parents[2] / "docs/how-to/watch-a-registry.md").read_text()
    for rule in prometheus.rules():
        assert f"`{rule['alert']}`" in page and rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary"} and "for" in rule
    for name in FACTS:
        assert f"`{name}`" in page, name


# ── provoked ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def database() -> Iterator[postgres.Server]:
    """A server of this test's own: it will be stopped."""
    tools.require("postgresql", found=postgres.programs() is not None)
    with postgres.running_server() as server:
        yield server


@pytest.fixture
def registry(tmp_path: Path, database: postgres.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningRegistry]:
    """A registry on PostgreSQL, served."""
    monkeypatch.setenv("EMBHUB_REGISTRY_DATABASE", database.new_schema())
    url = f"http://127.0.0.1:{servers.free_port()}"
    folder = tmp_path / "registry"
    facts = json.loads(servers.run_here("--dir", folder, "init", "--name", "Test", "--url", url, "--json").stdout)
    running = RunningRegistry(folder, url, admin=facts["token"], root_fingerprint=facts["root_key"])
    running.start()
    try:
        yield running
    finally:
        running.stop()


def certificate(file: Path, *, days: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub.example.org")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now() - timedelta(days=1))
    signed = made.not_valid_after(now() + timedelta(days=days)).sign(key, hashes.SHA256())
    file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))


@pytest.mark.slow
@pytest.mark.thorough
@needs_prometheus
def test_each_alert_is_provoked(registry: RunningRegistry, database: postgres.Server, tmp_path: Path) -> None:
    """One server is brought into each state, but for those of IN_ANOTHER_TEST."""
    running = registry
    running.add_key(releases.SITE, namespace="radboud")
    alice = running.add_user("alice", namespace="radboud")
    Hub(running.url, token=alice).push(releases.make_release(), releases.REPOSITORY)
    good, bad = tmp_path / "good.pem", tmp_path / "bad.pem"
    certificate(good, days=90)
    certificate(bad, days=5)
    running.run("backup", "make", tmp_path / "hub.tar")
    running.run("setting", "set", "certificate.file", str(good))
    with prometheus.watching(running.url, tmp_path / "prometheus") as seen:
        seen.wait_for_sample("embhub_releases == 1")
        assert seen.firing() == set(), "a registry in order is quiet"
        far = {"X-Forwarded-For": "192.0.2.9"}
        seen.wait("RegistryGuessedAt", meanwhile=lambda: guess(running))
        running.run("setting", "set", "rate.address_burst", "1")
        running.run("setting", "set", "rate.address_per_second", "0.01")
        seen.wait(
            "RegistryLimitsMany", seconds=60, meanwhile=lambda: [running.get("/x", headers=far) for _ in range(100)]
        )
        running.run("setting", "set", "ready.free_bytes", "1000000000000000")
        seen.wait("RegistryDiskNearlyFull")
        running.run("setting", "set", "ready.free_bytes", "0")
        seen.wait_for_end("RegistryDiskNearlyFull")
        with running.opened() as opened, opened.database.writing():
            seen.wait("RegistryCannotWrite")
        seen.wait_for_end("RegistryCannotWrite")
        slow_facts(running, bad)
        stop_the_log(running)
        for alert in (
            "RegistryBackupTooOld", "RegistryCertificateEnds", "RegistryKeyringEnds", "RegistryTimestampEnds",
            "RegistryQuotaNearlyUsed", "RegistryLogNotAdvancing",
        ):  # fmt: skip
            seen.wait(alert, seconds=90)
        database.stop(signal.SIGQUIT)
        seen.wait("RegistryDatabaseDown", seconds=60)
        assert "RegistryDown" not in seen.firing(), "the process itself answers"
        seen.wait("RegistryFails", seconds=90, meanwhile=lambda: ask(running, alice))
        seen.wait("RegistryUpkeepFails", seconds=120)
        database.start()
        seen.wait_for_end("RegistryDatabaseDown", seconds=60)
        running.stop(how=signal.SIGKILL)
        seen.wait("RegistryDown")
        told = {sample["metric"]["alertname"] for sample in seen.query("last_over_time(ALERTS[1h])")}
    assert told == {rule["alert"] for rule in prometheus.rules()} - IN_ANOTHER_TEST


IN_ANOTHER_TEST = {"RegistrySlow", "RegistryOutOfThreads", "RegistryNotReady"}


@pytest.mark.thorough
@needs_prometheus
def test_alerts_of_waiting_and_of_a_missing_key_are_provoked(
    registry: RunningRegistry, database: postgres.Server, tmp_path: Path
) -> None:
    """Lists wait for a table that somebody locks on the server: few of them, then more than there are threads."""
    running = registry
    running.stop()
    running.run("storage", "share")
    running.start()
    with prometheus.watching(running.url, tmp_path / "prometheus", every="3s") as seen:
        seen.wait_for_sample("embhub_repositories == 0 and embhub_threads_waiting == 0")
        assert not seen.firing() & IN_ANOTHER_TEST
        with locking(database, seconds=3.0), asking_for_lists(running, callers=10):
            seen.wait("RegistrySlow", seconds=90)
            assert "RegistryOutOfThreads" not in seen.firing(), "some threads are free"
        with locking(database, seconds=0.7), asking_for_lists(running, callers=80):
            seen.wait("RegistryOutOfThreads", seconds=90)
        seen.wait_for_end("RegistryOutOfThreads")
        key = running.folder / "keys/logins.key"
        key.rename(key.with_suffix(".gone"))
        seen.wait("RegistryNotReady")
        assert [one["metric"]["check"] for one in seen.query("embhub_check_ok == 0")] == ["logins"]
        key.with_suffix(".gone").rename(key)
        seen.wait_for_end("RegistryNotReady")


@contextmanager
def locking(database: postgres.Server, *, seconds: float) -> Iterator[None]:
    """Somebody takes the table that lists are read from, for so many seconds, again and again until the block ends."""
    ended = threading.Event()

    def lock() -> None:
        with database.connect() as db:
            found = db.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'wording'").fetchone()
            assert found is not None
            while not ended.is_set():
                with db.transaction():
                    db.execute(f"LOCK TABLE {found[0]}.wording IN ACCESS EXCLUSIVE MODE")
                    ended.wait(seconds)
                ended.wait(0.05)

    with ThreadPoolExecutor(1) as somebody:
        locked = somebody.submit(lock)
        try:
            yield
        finally:
            ended.set()
    locked.result()


@contextmanager
def asking_for_lists(running: RunningRegistry, *, callers: int) -> Iterator[None]:
    """Callers who ask for one list after the other until the block ends; each is another one, so none is kept."""
    ended, numbers = threading.Event(), itertools.count()

    def ask_again() -> None:
        while not ended.is_set():
            assert running.get(f"/api/models?search=word{next(numbers)}").status == 200

    with ThreadPoolExecutor(callers) as crowd:
        asked = [crowd.submit(ask_again) for _ in range(callers)]
        try:
            yield
        finally:
            ended.set()
    for one in asked:
        one.result()


def guess(running: RunningRegistry) -> None:
    for _ in range(100):
        running.get("/api/whoami-v2", token="hf_emb_" + "Q" * 43)


def ask(running: RunningRegistry, token: str) -> None:
    for _ in range(20):
        running.get("/api/whoami-v2", token=token)


def slow_facts(running: RunningRegistry, certificate_file: Path) -> None:
    """What is looked up once a minute: ends that are near, a quota that is used, a backup of last week."""
    with running.opened() as registry:
        configuration.write(registry, "certificate.file", str(certificate_file))
        configuration.write(registry, "keyring.days", "3")
        configuration.write(registry, "timestamp.days", "1")
        quotas.change(registry, "radboud", {"repositories": 1})
        with registry.database.writing() as db:
            db.execute(
                "UPDATE setting SET value = ? WHERE name = 'backup.finished'", (stamp(now() - timedelta(days=7)),)
            )
    running.run("key", "raise")


def stop_the_log(running: RunningRegistry) -> None:
    """The log's key goes away, its last signature is an hour old, and an entry comes."""
    with running.opened() as registry:
        online = registry.private_keys.online
        (online / "log.pem").rename(online / "log.pem.gone")
        with registry.database.writing() as db:
            log_rows.append(db, b"an entry", hashed=b"\x01" * 32)
        hour_ago = now().timestamp() - 3600
        os.utime(registry.private_keys.log_state, (hour_ago, hour_ago))
