"""Downloads from a registry of several servers beside nginx alone: `python -m bench.scaled_out [--write]`.

A server sends a client that follows on to the object store, and the object store sends the bytes. What is measured is
the CPU time of a server that redirects, on PostgreSQL and moto's S3. For the bytes nginx stands in, in both arms: moto
is no server for production. `--write` writes docs/benchmarks-scaled-out.md.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
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
from tests.support.object_stores import running_store
from tests.support.releases import REPOSITORY, SITE, make_release
from tests.support.replicas import make_replicas, store_variables
from tests.support.servers import RunningRegistry

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks-scaled-out.md"
GOAL, TURNS, SECONDS = 0.95, 7, 1.5
FOLLOWS = {"User-Agent": "hf_hub/1.0.0"}
OPENING = """# Downloads through an object store

What a download costs where a registry's servers send clients on to the object store. Written by
`python -m bench.scaled_out --write`, never by hand.

One server on PostgreSQL and an S3 (moto's) answers `GET` of a public file of {size:,} bytes with a presigned redirect.
nginx sends the bytes, because moto is slow. A download costs the redirect and nginx's work; its peer is nginx for
the file alone. There are 16 connections, one request at a time on each, {turns} turns of {seconds:g} s
an arm. CPU time is that of the server and of nginx, without PostgreSQL's. Other servers do the
same beside it.

"""


@dataclass(frozen=True)
class Found:
    """Answers a CPU second of the redirect and of nginx, and what nginx alone costs as a part of both together."""

    size: int
    redirects: float
    files: float
    share: Ratio


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
        port, processes = int(server.url.rpartition(":")[2]), load.family(server.process.pid)
        ask, plain = load.request("GET", path, FOLLOWS), load.request("GET", "/blob")
        redirects: list[Cost] = []
        files: list[Cost] = []
        for _ in range(turns):
            redirects.append(load.measure(port, ask, processes=processes, seconds=seconds, status=302))
            files.append(load.measure(nginx.port, plain, processes=nginx.processes, seconds=seconds))
    alone = [1 / cost.per_cpu_second for cost in files]
    both = [1 / cost.per_cpu_second + file for cost, file in zip(redirects, alone, strict=True)]
    return Found(
        len(blob), median(cost.per_cpu_second for cost in redirects), median(cost.per_cpu_second for cost in files),
        ratio(alone, both),
    )  # fmt: skip


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
            yield server, token
        finally:
            replicas.stop()


def render(found: Found) -> str:
    """The table."""
    held = "met" if found.share.median >= GOAL else "**missed**"
    return (
        "| measured | answers a CPU second |\n|---|---|\n"
        f"| the server's redirect | {found.redirects:,.0f} |\n| nginx, the file | {found.files:,.0f} |\n\n"
        f"A download by way of the redirect gives {found.share} of nginx alone, by CPU time. Goal: {GOAL:g}, {held}.\n"
    )


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
        facts = {"measured on": f"{date.today():%Y-%m-%d}", **facts}
        rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
        opening = OPENING.format(size=found.size, turns=TURNS, seconds=SECONDS)
        PAGE.write_text(f"{opening}| | |\n|---|---|\n{rows}\n\n{render(found)}", encoding="utf-8")


if __name__ == "__main__":
    main()
