"""A registry of 10^8 releases and 10,000 requests a second, computed: `python -m bench.registry_at_scale`.

Nothing is measured here. What was measured comes from `docs/explanation/registry-capacity.md`, each figure with its
source, and is an option, as are prices. The queue of writers is simulated: pushes arrive at random, one at a time is
stored, and who would wait for more than ten seconds gets 503.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass, fields
from statistics import quantiles

MONTH = 30 * 86_400
PATIENCE = 10.0  # seconds that a writer waits (`PostgresqlDatabase`)


@dataclass(frozen=True)
class Given:
    """What is put in: figures that were measured, how much is asked of it, and prices in dollars."""

    releases: float = 1e8
    requests: float = 10_000.0  # a second
    pushes: float = 5.0  # of these
    lists: float = 0.05  # the share that are searches and lists
    files: float = 6.0  # of a release
    release_bytes: float = 200_000.0
    from_store: float = 0.2  # the share of reads whose bytes are not in a server's memory
    answers: float = 892.0  # a CPU second, not from the response cache, which each push empties
    list_answers: float = 481.0
    push_cpu: float = 0.046
    hold: float = 0.104  # seconds of the writers' lock a push
    database_bytes: float = 37_000.0  # a release
    log_bytes: float = 1_256.0
    busy: float = 0.6  # of each core at the most
    price_core: float = 35.0  # a month
    price_database_core: float = 80.0
    database_cores: float = 64.0
    price_database_gb: float = 0.25  # a month, with a standby
    price_object_gb: float = 0.023
    price_get: float = 0.0004 / 1000
    price_put: float = 0.005 / 1000
    price_out_gb: float = 0.05


@dataclass(frozen=True)
class Waits:
    """Of simulated pushes: seconds until stored, and the share that was refused."""

    rate: float
    median: float
    p99: float
    refused: float


def wait(rate: float, hold: float, *, pushes: int = 100_000, seed: int = 1) -> Waits:
    """A queue with one server, arrivals at random, the same time for each; who would wait too long is refused."""
    chance = random.Random(seed)
    now = free = 0.0
    waits, refused = list[float](), 0
    for _ in range(pushes):
        now += chance.expovariate(rate)
        begins = max(now, free)
        if begins - now > PATIENCE:
            refused += 1
            continue
        free = begins + hold
        waits.append(free - now)
    cuts = quantiles(waits, n=100)
    return Waits(rate, cuts[49], cuts[98], refused / pushes)


def size(given: Given) -> dict[str, float]:
    """Rows, objects, cores and months, computed."""
    reads = given.requests - given.pushes
    lists = given.requests * given.lists
    cores = (reads - lists) / given.answers + lists / given.list_answers + given.pushes * given.push_cpu
    return {
        "database, TB": given.releases * given.database_bytes / 1e12,
        "objects, millions": given.releases * given.files / 1e6,
        "objects, TB": given.releases * given.release_bytes / 1e12,
        "files of the log, GB": given.releases * given.log_bytes / 1e9,
        "servers' cores": cores / given.busy,
        "most pushes a second": 1 / given.hold,
        "days to push all releases one after the other": given.releases * given.hold / 86_400,
        "bytes out, Gbit/s": (reads - lists) * given.release_bytes / given.files * 8 / 1e9,
    }


def cost(given: Given) -> dict[str, float]:
    """Dollars a month, by what is paid for."""
    made, reads = size(given), (given.requests - given.pushes) * (1 - given.lists)
    return {
        "servers": made["servers' cores"] * given.price_core,
        "database's machines": given.database_cores * given.price_database_core * 2,
        "database's disks": made["database, TB"] * 1000 * given.price_database_gb,
        "objects kept": made["objects, TB"] * 1000 * given.price_object_gb,
        "requests to the store": MONTH
        * (reads * given.from_store * given.price_get + given.pushes * given.files * given.price_put),
        "bytes out": made["bytes out, Gbit/s"] / 8 * MONTH * given.price_out_gb,
    }


def lines(given: Given) -> Iterator[str]:
    """The tables."""
    yield "| computed | |\n|---|---:|"
    for name, value in size(given).items():
        yield f"| {name} | {value:,.1f} |"
    yield "\n| dollars a month | |\n|---|---:|"
    found = cost(given)
    for name, value in [*found.items(), ("together", sum(found.values()))]:
        yield f"| {name} | {value:,.0f} |"
    yield "\n| pushes a second | of the most | stored after: median | 99th percentile | refused |"
    yield "|---:|---:|---:|---:|---:|"
    for share in (0.5, 0.8, 0.9, 0.95, 1.0, 1.2):
        waits = wait(share / given.hold, given.hold)
        yield (
            f"| {waits.rate:,.1f} | {share:.0%} | {waits.median * 1000:,.0f} ms | {waits.p99 * 1000:,.0f} ms |"
            f" {waits.refused:.1%} |"
        )


def main() -> None:
    """Every figure is an option."""
    parser = argparse.ArgumentParser(prog="python -m bench.registry_at_scale", description=__doc__)
    for field in fields(Given):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, default=field.default)
    print("\n".join(lines(Given(**vars(parser.parse_args())))))


if __name__ == "__main__":
    main()
