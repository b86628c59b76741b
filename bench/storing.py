"""Storing a whole release: the registry's push, a bare copy with fsync, mlflow's artifact server; CPU time of each."""

from __future__ import annotations

import http.client
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median

from bench import load, peers
from bench.measurement import Ratio, ratio
from embhub.client.hub import Hub
from embhub.release.files import Release
from tests.support.releases import REPOSITORY, SITE, make_embedding, make_release
from tests.support.servers import running_registry

NAMESPACE = REPOSITORY.partition("/")[0]


@dataclass(frozen=True)
class Stored:
    """CPU seconds a release, medians of the turns; None where mlflow was not asked for or is not there."""

    ours: float
    copy: float
    over_copy: Ratio
    mlflow: float | None = None
    over_mlflow: Ratio | None = None
    mlflow_version: str = ""


def measure(*, turns: int, pushes: int, with_mlflow: bool) -> Stored:
    """Releases that differ, each to a repository of its own, `pushes` a turn; one of each is thrown away before.

    Of ours and of mlflow the server's processes are counted, of the copy this process.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root, number = Path(folder), count()
        registry = stack.enter_context(running_registry(root))
        registry.add_key(SITE, namespace=NAMESPACE)
        hub = Hub(registry.url, token=registry.add_user("alice", namespace=NAMESPACE))
        assert registry.process is not None
        mine = load.family(registry.process.pid)
        peer = stack.enter_context(peers.mlflow(root / "mlflow")) if with_mlflow else None

        def push(releases: Mapping[str, Release]) -> float:
            before = load.cpu_seconds(mine)
            for name, release in releases.items():
                hub.push(release, name)
            return load.cpu_seconds(mine) - before

        def copy(releases: Mapping[str, Release]) -> float:
            before = time.process_time()
            for name, release in releases.items():
                _copy(release, root / "copies" / name)
            return time.process_time() - before

        def send(releases: Mapping[str, Release]) -> float:
            assert peer is not None
            before = load.cpu_seconds(peer.processes)
            for name, release in releases.items():
                _send(release, name, peer.port)
            return load.cpu_seconds(peer.processes) - before

        arms: dict[str, Callable[[Mapping[str, Release]], float]] = {"ours": push, "copy": copy}
        if peer is not None:
            arms["mlflow"] = send
        spent: dict[str, list[float]] = {name: [] for name in arms}
        for turn in range(turns + 1):
            releases = dict(_release(next(number)) for _ in range(pushes if turn else 1))
            for name in sorted(arms, reverse=bool(turn % 2)):
                seconds = arms[name](releases) / len(releases)
                if turn:
                    spent[name].append(seconds)
    middle = {name: median(turns_) for name, turns_ in spent.items()}
    over = {name: ratio(spent["ours"], spent[name]) for name in spent}
    return Stored(
        middle["ours"], middle["copy"], over["copy"], middle.get("mlflow"), over.get("mlflow"),
        peer.version if peer else "",
    )  # fmt: skip


def _release(number: int) -> tuple[str, Release]:
    name = f"{NAMESPACE}/bench-{number}"
    return name, make_release(artifact=make_embedding(seed=number), repository=name, name=f"bench-{number}")


def _copy(release: Release, folder: Path) -> None:
    """Each file durable under its name, as a careful program copies."""
    for path, data in release.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        descriptor = os.open(target.parent, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _send(release: Release, name: str, port: int) -> None:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for path, data in release.files.items():
        line.request("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{name}/{path}", body=data)
        answer = line.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"mlflow answered {answer.status}")
    line.close()
