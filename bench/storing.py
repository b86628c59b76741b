"""What a push costs the registry's server: `python -m bench.storing`. CPU time of its processes for a whole release."""

from __future__ import annotations

import argparse
import tempfile
from itertools import count
from pathlib import Path
from statistics import median

from bench import load, machine
from embhub.client.wire.hub import Hub
from embhub.release.files import Release
from tests.support.releases import REPOSITORY, SITE, make_embedding, make_release
from tests.support.servers import running_registry

NAMESPACE = REPOSITORY.partition("/")[0]
GOAL = 0.050  # CPU seconds
TURNS, PUSHES = 7, 10


def measure(*, turns: int = TURNS, pushes: int = PUSHES) -> float:
    """CPU seconds of a push, the median of the turns; each has its own repository, and the first does not count."""
    spent, number = list[float](), count()
    with tempfile.TemporaryDirectory() as folder, running_registry(Path(folder)) as registry:
        registry.add_key(SITE, namespace=NAMESPACE)
        hub = Hub(registry.url, token=registry.add_user("alice", namespace=NAMESPACE))
        assert registry.process is not None
        server = load.family(registry.process.pid)
        for turn in range(turns + 1):
            releases = dict(_release(next(number)) for _ in range(pushes if turn else 1))
            before = load.cpu_seconds(server)
            for name, release in releases.items():
                hub.push(release, name)
            if turn:
                spent.append((load.cpu_seconds(server) - before) / len(releases))
    return median(spent)


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(prog="python -m bench.storing", description=__doc__).parse_args()
    print(machine.table())
    found = measure()
    held = "met" if found < GOAL else "**missed**"
    print(f"a push of a release, CPU time of the server: {found * 1000:.1f} ms (goal {GOAL * 1000:.0f} ms: {held})")


def _release(number: int) -> tuple[str, Release]:
    name = f"{NAMESPACE}/bench-{number}"
    return name, make_release(artifact=make_embedding(seed=number), repository=name, name=f"bench-{number}")


if __name__ == "__main__":
    main()
