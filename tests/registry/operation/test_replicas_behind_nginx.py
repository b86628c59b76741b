"""The real client through nginx to three servers, each of which is killed: what was acknowledged is pulled."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub.client.publishing import push as publishing
from embhub.client.pulling import pull as pulling
from embhub.errors import EmbhubError
from embhub.formats import safe_yaml
from tests.support.nginx import balancer, needs_nginx
from tests.support.postgres import Server
from tests.support.releases import make_card, make_embedding
from tests.support.replicas import LogWatcher, Replicas, make_replicas
from tests.support.servers import RunningRegistry, free_port
from tests.support.sites import Site, new_key, open_site

pytestmark = [needs_nginx, pytest.mark.thorough]
TRIES = 40


@pytest.fixture
def front(tmp_path: Path, postgresql: Server) -> Iterator[tuple[RunningRegistry, Replicas]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    made = make_replicas(tmp_path, postgresql, front=url)
    made.start()
    try:
        with balancer([server.url for server in made.servers], port, tmp_path / "nginx"):
            first = made[0]
            yield RunningRegistry(first.folder, url, first.admin, first.root_fingerprint), made
    finally:
        made.stop()


def patiently(work: object, *arguments: object) -> object:
    """What a person does: again, while it does not answer."""
    assert callable(work)
    for _ in range(TRIES):
        try:
            return work(*arguments)
        except EmbhubError as error:
            last = error
            time.sleep(0.3)
    raise last


def test_each_server_is_killed_while_sites_push_and_pull(
    front: tuple[RunningRegistry, Replicas], tmp_path: Path
) -> None:
    registry, replicas = front
    watcher, ended = LogWatcher(), threading.Event()
    kills: list[int] = []

    def kill_in_turn() -> None:
        while not ended.is_set():
            number = len(kills) % 3
            time.sleep(0.7)
            replicas.kill(number)
            kills.append(number)
            time.sleep(0.7)
            replicas.start(number)

    killer = threading.Thread(target=kill_in_turn)
    killer.start()
    pushed = 0
    try:
        while len(kills) < 4 or pushed < 4:
            name = f"site{pushed}"
            with pytest.MonkeyPatch.context() as patch:
                site = open_site(registry, tmp_path / name, namespace=name, user=name).enter(patch)
                patiently(lambda name=name: new_key(registry, namespace=name))
                artifact = make_embedding(seed=pushed)
                file = site.folder / f"{name}.safetensors"
                file.write_bytes(artifact.data)
                file.with_name(f"{name}.card.yaml").write_bytes(safe_yaml.dump(make_card(artifact, name=name)))
                patiently(publishing.push, file)
            with pytest.MonkeyPatch.context() as patch:
                reader = Site(tmp_path / f"{name}-reader", registry.url).enter(patch)
                patiently(reader.trust, registry)
                patiently(pulling.pull, f"{name}/{name}")
            watcher.look(registry)
            pushed += 1
    finally:
        ended.set()
        killer.join()
    assert set(kills) == {0, 1, 2}
    entries = watcher.check(registry)
    assert len(entries) >= pushed
    for number in range(pushed):  # nothing half-made: every file of every release, from every server
        for server in replicas.servers:
            listed = server.get(f"/api/models/site{number}/site{number}/tree/main?recursive=true")
            assert listed.status == 200, listed.body
            paths = [row["path"] for row in listed.json() if row["type"] == "file"]
            found = {server.get(f"/site{number}/site{number}/resolve/main/{path}").status for path in paths}
            assert found == {200} and len(paths) >= 4
    replicas.stop()
    with replicas[1].opened() as opened:
        assert opened.audit_log.problems() == []
