"""What the proxies that we ship make of /readyz: the real Caddy, and the real nginx, before two servers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import pushes
from tests.support.caddy import caddy_before, needs_caddy
from tests.support.nginx import balancer, needs_nginx
from tests.support.object_stores import RunningStore, faulty_proxy
from tests.support.postgres import Server
from tests.support.replicas import Replicas, make_replicas, store_variables, wait_for
from tests.support.servers import RunningRegistry, free_port

pytestmark = [needs_caddy, needs_nginx, pytest.mark.thorough]
LIST, FILES = "/api/models", "/readyz?files"
DRAFT = "radboud/draft"
README = f"/{DRAFT}/resolve/main/README.md"
MANY = 30  # requests, of which each of two servers would get some


@pytest.fixture
def replicas(tmp_path: Path, postgresql: Server, object_store: RunningStore) -> Iterator[Replicas]:
    with store_variables(object_store):
        made = make_replicas(tmp_path, postgresql, object_store, count=2)
        yield made
        made.stop()


def counted(server: RunningRegistry) -> int:
    """How many lists a server gave."""
    families = text_string_to_metric_families(server.get("/metrics").body.decode())
    samples = (sample for family in families for sample in family.samples if sample.name == "embhub_requests_total")
    return round(sum(sample.value for sample in samples if sample.labels["route"] == LIST))


def ask(front: RunningRegistry, times: int = MANY, path: str = LIST) -> set[int]:
    return {front.get(path).status for _ in range(times)}


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


def test_caddy_sends_what_needs_no_file_to_servers_without_their_store(
    replicas: Replicas, tmp_path: Path, object_store: RunningStore
) -> None:
    """Files, and pushes, go to a server that has it; where none has, they alone are refused."""
    first, second = replicas.servers
    first.run("setting", "set", "rate.address_per_second", "1000")
    first.run("setting", "set", "rate.address_burst", "1000")
    alice = first.add_user("alice", namespace="radboud")
    with faulty_proxy(object_store.url) as away:
        replicas.start(0)
        with store_variables(replace(object_store, url=away.url)):
            replicas.start(1)
        assert pushes.create(first, "draft", token=alice).status == 200
        files = {"README.md": b"# Draft\n"}
        assert pushes.commit(first, DRAFT, files, token=alice).status == 200
        port = free_port()
        front = RunningRegistry(first.folder, f"http://127.0.0.1:{port}", first.admin, first.root_fingerprint)
        with caddy_before([server.url for server in replicas.servers], port, tmp_path / "caddy"):
            away.set("503")
            wait_for("it is noticed", 20, lambda: second.get(FILES).status == 503)
            assert second.get("/readyz").status == 200 and said(second)["files"] is False
            wait_for("Caddy asked", 15, lambda: ask(front, path=README) == {200})
            assert not _gets_none(front, second), "lists go to both"
            for number in range(6):
                changed = {"README.md": b"# Draft %d\n" % number}
                assert pushes.commit(front, DRAFT, changed, token=alice).status == 200
            first.stop()
            wait_for("Caddy asked", 15, lambda: front.get(README).status == 503)
            for path in ("/embhub/v1/trust", "/embhub/v1/advisories", "/log/checkpoint", f"/api/models/{DRAFT}", LIST):
                assert ask(front, 4, path) == {200}, path
            assert pushes.commit(front, DRAFT, files, token=alice).status == 503


def _gets_none(front: RunningRegistry, server: RunningRegistry) -> bool:
    before = counted(server)
    assert ask(front) == {200}
    return counted(server) == before
