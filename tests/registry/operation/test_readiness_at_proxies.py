"""What the proxies that we ship make of /readyz: the real Caddy, and the real nginx, before two servers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.caddy import caddy_before, needs_caddy
from tests.support.nginx import balancer, needs_nginx
from tests.support.postgres import Server
from tests.support.replicas import Replicas, make_replicas, wait_for
from tests.support.servers import RunningRegistry, free_port

pytestmark = [needs_caddy, needs_nginx, pytest.mark.thorough]
LIST = "/api/models"
MANY = 30  # requests, of which each of two servers would get some


@pytest.fixture
def replicas(tmp_path: Path, postgresql: Server) -> Iterator[Replicas]:
    made = make_replicas(tmp_path, postgresql, count=2)
    yield made
    made.stop()


def counted(server: RunningRegistry) -> int:
    """How many lists a server gave."""
    families = text_string_to_metric_families(server.get("/metrics").body.decode())
    samples = (sample for family in families for sample in family.samples if sample.name == "embhub_requests_total")
    return round(sum(sample.value for sample in samples if sample.labels["route"] == LIST))


def ask(front: RunningRegistry, times: int = MANY) -> set[int]:
    return {front.get(LIST).status for _ in range(times)}


def said(server: RunningRegistry) -> dict[str, str | bool]:
    found: dict[str, str | bool] = server.get("/readyz").json()
    return found


def test_a_server_that_is_not_ready_gets_no_requests(replicas: Replicas, tmp_path: Path) -> None:
    first, second = replicas.servers
    key = second.folder / "keys/logins.key"
    key.rename(key.with_suffix(".away"))
    first.run("setting", "set", "rate.address_per_second", "1000")  # all requests come from one address here
    first.run("setting", "set", "rate.address_burst", "1000")
    replicas.start()
    ports = [free_port(), free_port()]
    caddy, nginx = (
        RunningRegistry(first.folder, f"http://127.0.0.1:{port}", first.admin, first.root_fingerprint) for port in ports
    )
    urls = [server.url for server in replicas.servers]
    with caddy_before(urls, ports[0], tmp_path / "caddy"), balancer(urls, ports[1], tmp_path / "nginx"):
        assert second.get("/readyz").status == 503 and said(second)["logins"] == "logins.key is missing"
        wait_for("Caddy has asked", 15, lambda: _gets_none(caddy, second))
        before = counted(second)
        assert ask(caddy) == {200} and counted(second) == before
        assert ask(nginx) == {200} and counted(second) > before, "nginx does not ask, as the guide says"

        shutil.copy(first.folder / "keys/logins.key", key)
        wait_for("ready", 15, lambda: second.get("/readyz").status == 200)
        wait_for("Caddy sends requests again", 15, lambda: not _gets_none(caddy, second))

        with first.opened() as registry, registry.database.writing():
            for server in replicas.servers:
                wait_for("a busy writer is noticed", 15, lambda: said(server)["writing"] != "ok")  # noqa: B023
                assert server.get("/readyz").status == 200, "reads go on"
            until = time.monotonic() + 5  # Caddy asks each of them twice
            while time.monotonic() < until:
                assert ask(caddy, 5) == ask(nginx, 5) == {200}
                time.sleep(0.5)

        first.stop()
        for front in (caddy, nginx):
            assert ask(front) == {200}, "one that refuses connections costs no request"
        second.stop()
        assert nginx.get(LIST).status == 502
        answer = caddy.get(LIST)
        assert (answer.status, answer.header("Retry-After")) == (503, "5"), answer.body


def _gets_none(front: RunningRegistry, server: RunningRegistry) -> bool:
    before = counted(server)
    assert ask(front) == {200}
    return counted(server) == before
