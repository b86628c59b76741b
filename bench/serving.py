"""What the registry's server answers in a second and in a CPU second: `python -m bench.serving [--quick]`.

Its registry has one audited release. One request is sent again and again over 16 connections, one at a time on each.
"Behind nginx" means `registry/deploy/nginx.conf`, one worker, without TLS and without the limits for one address, which
would stop the load. CPU time is user and system time of the registry's process, behind nginx nginx's too. Figures are
medians of the turns, the least and the largest in brackets. The load shares the machine with the server, so answers a
CPU second say more than answers a second by the clock.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from bench import load, machine
from bench.load import Cost
from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.client.wire.hub import Hub
from embhub.release.files import EMBEDDING
from tests.support.nginx import PROGRAM, balancer
from tests.support.releases import BASE, REPOSITORY, SITE, make_release
from tests.support.servers import RunningRegistry, free_port, running_registry

TURNS, SECONDS = 7, 1.5


@dataclass(frozen=True)
class Row:
    """One request on one way: answers of each turn by the clock, and a CPU second."""

    what: str
    way: str
    clock: list[float]
    cpu: list[float]


def measure(*, turns: int = TURNS, seconds: float = SECONDS) -> list[Row]:
    """Every request on every way; the server alone where nginx is not installed."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        registry = stack.enter_context(running_registry(root))
        requests = _publish(registry)
        assert registry.process is not None
        server = load.family(registry.process.pid)
        ways = {"alone": (int(registry.url.rpartition(":")[2]), server)}
        if PROGRAM is not None:
            port = free_port()
            proxy = stack.enter_context(balancer([registry.url], port, root / "nginx", for_load=True))
            ways["behind nginx"] = (port, [*server, *load.family(proxy)])
        rows = []
        for what, request in requests.items():
            for way, (port, processes) in ways.items():
                costs = [_turn(port, request, processes, seconds) for _ in range(turns)]
                clock, cpu = [cost.answers / seconds for cost in costs], [cost.per_cpu_second for cost in costs]
                rows.append(Row(what, way, clock, cpu))
        return rows


def render(rows: list[Row]) -> str:
    """The table."""
    lines = ["| request | way | answers a second | answers a CPU second |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.way} | {_spread(row.clock)} | {_spread(row.cpu)} |" for row in rows]
    return "\n".join(lines) + "\n"


def large() -> Embedding:
    """64 rows of 1,536 half-precision numbers: about 200 kB."""
    base = {**BASE, "encoders": {"text_encoder": {**BASE["encoders"]["text_encoder"], "dim": 1536}}}
    rows = np.random.default_rng(0).normal(size=(64, 1536)) * 0.05
    training = {"steps": 200, "learning_rate": 0.005}
    return embedding.build(
        {"emb_params": rows}, token="<cspca>", base=base, base_name="builtin", training=training, privacy="none"
    )


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns: figures are rough")
    turns, seconds = (3, 0.5) if parser.parse_args().quick else (TURNS, SECONDS)
    print(machine.table())
    print(render(measure(turns=turns, seconds=seconds)))


def _publish(registry: RunningRegistry) -> dict[str, bytes]:
    """Publish a release, and give the requests for it."""
    namespace = REPOSITORY.partition("/")[0]
    registry.add_key(SITE, namespace=namespace)
    token = registry.add_user("alice", namespace=namespace)
    Hub(registry.url, token=token).push(make_release(artifact=large()), REPOSITORY)
    registry.run("setting", "set", "rate.exempt", "127.0.0.0/8")
    reader = {"Authorization": f"Bearer {registry.add_user('reader', namespace='lumc', role='reader')}"}
    info, page = f"/api/models/{REPOSITORY}", f"/{REPOSITORY}"
    file = f"/{REPOSITORY}/resolve/{registry.get(info).json()['sha']}/{EMBEDDING}"
    size = len(registry.get(file).body)
    return {
        "page of a model": load.request("GET", page, {"Accept": "text/html"}),
        "`/api/models/NS/NAME`": load.request("GET", info),
        "`/api/models/NS/NAME`, with a token": load.request("GET", info, reader),
        f"download of {size:,} bytes": load.request("GET", file),
        f"download of {size:,} bytes, with a token": load.request("GET", file, reader),
        "`HEAD` of a file": load.request("HEAD", file),
        "`HEAD` of a file, with a token": load.request("HEAD", file, reader),
    }


def _turn(port: int, request: bytes, processes: list[int], seconds: float) -> Cost:
    """Ask for so long; once more where a page's "minutes ago" changed its length meanwhile."""
    try:
        return load.measure(port, request, processes=processes, seconds=seconds)
    except RuntimeError:
        return load.measure(port, request, processes=processes, seconds=seconds)


def _spread(figures: list[float]) -> str:
    return f"{median(figures):,.0f} ({min(figures):,.0f} to {max(figures):,.0f})"


if __name__ == "__main__":
    main()
