"""Downloads from a registry of several servers beside nginx alone: `python -m bench.scaled_out [--write]`.

Two ways are measured, on PostgreSQL and moto's S3. nginx in front of the server sends public files again for a second
(registry/deploy/nginx-file-cache.conf). Or a server sends a client that follows on to the object store, and the object
store sends the bytes; for them nginx stands in, because moto is no server for production. What counts is CPU time.
`--write` writes docs/benchmarks-scaled-out.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

from bench import load, machine, peers
from bench.load import Cost
from bench.measurement import Ratio, ratio
from bench.registry import large
from embhub.client.hub import Hub
from embhub.release.files import EMBEDDING
from tests.support import postgres
from tests.support.nginx import balancer
from tests.support.object_stores import running_store
from tests.support.releases import REPOSITORY, SITE, make_release
from tests.support.replicas import make_replicas, store_variables
from tests.support.servers import RunningRegistry, free_port

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks-scaled-out.md"
GOAL, TURNS, SECONDS = 0.95, 7, 1.5
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
FOLLOWS = {"User-Agent": "hf_hub/1.0.0"}
OPENING = """# Downloads from several servers

What a download of a public file costs where a registry has several servers. Written by
`python -m bench.scaled_out --write`, never by hand.

One server on PostgreSQL and an S3 (moto's) answers `GET` of a public file of {size:,} bytes. Other servers do the
same beside it. There are 16 connections, one request at a time on each, {turns} turns of {seconds:g} s an arm. The peer
is nginx with the file alone, one worker, in the same run. CPU time is that of the server and of nginx, without
PostgreSQL's.

- *nginx with the file cache*: nginx as we ship it with
  [its file cache](how-to/run-a-registry-at-scale.md#public-files-from-the-proxy) for one second. It has no TLS, and
  no limits for one address, which would stop the load.
- *The redirect*: the server sends the client on to the object store by a presigned address. nginx sends the bytes,
  because moto is slow. A download costs the redirect and nginx's work.

"""


NOTES = (
    "Answers a CPU second of the redirect are redirects alone.",
    "TCP congestion control matters on loopback. With BBR, which paces each connection, nginx spent about four times",
    "as much on an answer from its cache as on a plain file. Nearly all of it went into timers of the kernel.",
)


@dataclass(frozen=True)
class Found:
    """Answers a CPU second of each way and of nginx alone, and what nginx alone costs as a part of each way's cost."""

    size: int
    redirects: float
    cached: float
    files: float
    redirected_share: Ratio
    cached_share: Ratio


def measure(*, turns: int = TURNS, seconds: float = SECONDS) -> Found | None:
    """Both, turn by turn; None where nginx or PostgreSQL's programs are not installed."""
    if postgres.programs() is None:
        return None
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server, token = stack.enter_context(_served(Path(folder)))
        Hub(server.url, token=token).push(make_release(artifact=large()), REPOSITORY)
        path = f"/{REPOSITORY}/resolve/{server.get(f'/api/models/{REPOSITORY}').json()['sha']}/{EMBEDDING}"
        blob = server.get(path).body  # read whole once, from here on it is sent for
        nginx = stack.enter_context(peers.nginx(Path(folder) / "nginx", {"blob": blob}))
        if nginx is None:
            return None
        assert server.process is not None
        own, front = int(server.url.rpartition(":")[2]), free_port()
        proxy = stack.enter_context(
            balancer([server.url], front, Path(folder) / "front", file_cache=True, for_load=True)
        )
        ask, follow, plain = (
            load.request("GET", *words) for words in ((path,), (path, FOLLOWS), ("/blob",))
        )  # fmt: skip
        processes = load.family(server.process.pid)
        behind = [*processes, *load.family(proxy)]
        redirects, cached, files = [], [], []
        for _ in range(turns):
            redirects.append(load.measure(own, follow, processes=processes, seconds=seconds, status=302))
            cached.append(load.measure(front, ask, processes=behind, seconds=seconds))
            files.append(load.measure(nginx.port, plain, processes=nginx.processes, seconds=seconds))
    alone, kept = _seconds(files), _seconds(cached)
    both = [redirect + file for redirect, file in zip(_seconds(redirects), alone, strict=True)]
    return Found(len(blob), _middle(redirects), _middle(cached), _middle(files), ratio(alone, both), ratio(alone, kept))


def _seconds(costs: Sequence[Cost]) -> list[float]:
    """CPU seconds of an answer, turn by turn."""
    return [1 / cost.per_cpu_second for cost in costs]


def _middle(costs: Sequence[Cost]) -> float:
    return median(cost.per_cpu_second for cost in costs)


@contextmanager
def _served(folder: Path) -> Iterator[tuple[RunningRegistry, str]]:
    """One server of a shared registry that sends clients on, and a publisher's token."""
    namespace = REPOSITORY.partition("/")[0]
    with postgres.running_server() as postgresql, running_store() as store, store_variables(store):
        replicas = make_replicas(folder, postgresql, store, count=1)
        try:
            replicas.start()
            server = replicas[0]
            server.add_key(SITE, namespace=namespace)
            token = server.add_user("alice", namespace=namespace)
            server.run("setting", "set", "rate.exempt", "127.0.0.0/8")
            server.run("setting", "set", "blobs.redirect", "yes")
            server.run("setting", "set", "files.proxy_seconds", "1")
            yield server, token
        finally:
            replicas.stop()


def render(found: Found) -> str:
    """The table."""
    rows = (
        ("nginx with the file cache", found.cached, str(found.cached_share), _held(found.cached_share)),
        (
            "the server's redirect, and nginx for the bytes", found.redirects, str(found.redirected_share),
            _held(found.redirected_share),
        ),
        ("nginx, the file alone", found.files, "1", ""),
    )  # fmt: skip
    lines = ["| way | answers a CPU second | of nginx alone, by CPU time | goal |", "|---|---:|---|---|"]
    lines += [f"| {way} | {answers:,.0f} | {share} | {held} |" for way, answers, share, held in rows]
    return "\n".join([*lines, "", *NOTES, ""])


def _held(share: Ratio) -> str:
    return f"{GOAL:g}: {'met' if share.median >= GOAL else '**missed**'}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaled_out", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    asked, facts = parser.parse_args(), machine.describe()
    found = measure()
    if found is None:
        raise SystemExit("nginx or PostgreSQL's programs are not installed")
    print(render(found))
    if asked.write:
        facts = {
            "measured on": f"{date.today():%Y-%m-%d}",
            **facts,
            "TCP congestion control": CONGESTION.read_text().strip(),
        }
        rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
        opening = OPENING.format(size=found.size, turns=TURNS, seconds=SECONDS)
        PAGE.write_text(f"{opening}| | |\n|---|---|\n{rows}\n\n{render(found)}", encoding="utf-8")


if __name__ == "__main__":
    main()
