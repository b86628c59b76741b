"""What a registry's transparency log costs: `python -m bench.log`; `--simulated N` sets the large log's size.

Appends that wait together are measured beside appends one by one, turn by turn in one run. An append is one entry, and
counts once its index is durable (SQLite, WAL, `synchronous=FULL`). "2,000 waiting" means that 2,000 appends are in the
queue at once, from 8 threads or from a thread each. Each has a savepoint of its own, as a push has. With 2,000 threads
most of the cost is Python's switching between them. The waits are of the 8 threads. CPU time is that of the whole
process, user and system.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from bench import machine
from bench.log_simulation import Simulated, make_leaf, simulate
from bench.measurement import Ratio, Spent, Watch, ratio
from embhub.client.log import logged
from embhub.log import merkle, proofs
from embhub.release import verification
from embhub.trust import logged as entries
from embhub.trust.keyring import LogKey
from embhub_registry.database import Connection
from embhub_registry.database.logs import log_rows
from embhub_registry.storage import folder, log_entries
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log
from tests.support import logs, releases

TURNS, WAITING, CLIENTS, ALONE = 7, 2_000, 8, 300
GOAL, VERIFY_GOAL = 20_000, 50.0


@dataclass(frozen=True)
class Appends:
    """Seconds an append: one by one, 2,000 waiting in 8 threads, and in 2,000 threads; and the time one takes alone."""

    single: list[Spent]
    group: list[Spent]
    threads: list[Spent]
    waits: list[float]
    lone: list[float]


def adding(number: int) -> Callable[[Connection], int]:
    """The work of one append."""
    return lambda db: log_entries.add(db, make_leaf(number))


def one_by_one(registry: Registry, numbers: Sequence[int]) -> Spent:
    """Each in a transaction, as before there was a sequencer."""
    watch = Watch()
    watch.start()
    for number in numbers:
        with registry.database.writing() as db:
            adding(number)(db)
    return watch.stop() / len(numbers)


def waiting(registry: Registry, first: int, *, clients: int, each: int, waits: list[float]) -> Spent:
    """Threads that queue `each` appends and wait for all of them, three times over."""

    def client(number: int) -> None:
        for turn in range(3):
            start = first + (3 * number + turn) * each
            since = perf_counter()
            tickets = [registry.sequencer.submit(adding(start + step)) for step in range(each)]
            for ticket in tickets:
                ticket.result()
                waits.append(perf_counter() - since)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    watch = Watch()
    watch.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return watch.stop() / (3 * clients * each)


def append(registry: Registry, turns: int) -> Appends:
    """Every way, turn by turn."""
    found, many = Appends([], [], [], [], []), 3 * WAITING
    threading.stack_size(256 * 1024)
    for turn in range(turns):
        start = turn * (ALONE + 2 * many + ALONE)
        found.single.append(one_by_one(registry, range(start, start + ALONE)))
        start += ALONE
        found.group.append(waiting(registry, start, clients=CLIENTS, each=WAITING // CLIENTS, waits=found.waits))
        start += many
        found.threads.append(waiting(registry, start, clients=WAITING, each=1, waits=[]))
        start += many
        for number in range(start, start + ALONE):
            since = perf_counter()
            registry.sequencer.run(adding(number))
            found.lone.append(perf_counter() - since)
    size = log_rows.size(registry.database.connection())
    assert size == turns * (2 * many + 2 * ALONE) + 1, "each append has its entry"
    return found


def verify_logged(turns: int) -> tuple[float, float, float]:
    """CPU milliseconds: the log's part of a release's verification, all of it, and all of it the first time."""
    release, keyring = releases.make_release(), releases.make_keyring()
    key, second = logs.log_key(), logs.mldsa_key()
    log = LogKey(vkey=str(key.public), mldsa=str(second.public))
    trust = releases.make_trust(keyring.model_copy(update={"log": log}))
    leaf = entries.leaf_of(release.publish_bundle.envelope, releases.SITE.public).to_bytes()
    held = [make_leaf(number).to_bytes() for number in range(1_000)]
    proof = logs.MemoryLog([*held, leaf], key, second=second).proof_of(1_000).to_bytes()
    release = release.with_files({**release.files, logged.PROOF: proof})
    parts, wholes = list[float](), list[float]()
    for _ in range(turns):
        started = process_time()
        verified = verification.verify(release, trust=trust, now=releases.NOW)
        between = process_time()
        found = logged.check(verified, release, trusts=[trust], source=None, now=releases.NOW)
        wholes.append((process_time() - started) * 1_000)
        parts.append((process_time() - between) * 1_000)
        assert found.verified.log_index == 1_000
    return median(parts), median(wholes), wholes[0]


def prove(registry: Registry) -> dict[str, str]:
    """Signing what was appended, and a proof from it."""
    watch = Watch()
    watch.start()
    registry_log.publish(registry)
    whole = watch.stop()
    registry.sequencer.run(adding(10**9))
    watch = Watch()
    watch.start()
    registry_log.publish(registry)
    one = watch.stop()
    leaf, key = make_leaf(1).to_bytes(), registry.trust().keyring.log_key
    proof = registry_log.prove(registry, merkle.leaf_hash(leaf))
    assert proof is not None and key is not None
    plain = replace(proof, note=replace(proof.note, signatures=proof.note.signatures[:1]))
    data, started = proof.to_bytes(), process_time()
    for _ in range(200):
        proofs.parse(data).open(leaf, log=key)
    checked = (process_time() - started) / 200 * 1_000
    size = log_rows.size(registry.database.connection())
    return {
        f"signing the whole log of {size - 1:,} entries at once": f"{whole.wall:.1f} s, CPU {whole.cpu:.1f} s",
        "signing one more entry": f"{one.wall * 1_000:.0f} ms, CPU {one.cpu * 1_000:.0f} ms",
        "a proof": f"{len(data):,} bytes; {len(plain.to_bytes()):,} without the ML-DSA-44 signature",
        "checking a proof (Ed25519), CPU": f"{checked:.2f} ms",
    }


def describe(appends: Appends) -> list[str]:
    """The appends as rows of a table."""
    rates = [(one.wall, two.wall, three.wall) for one, two, three in
             zip(appends.single, appends.group, appends.threads, strict=True)]  # fmt: skip
    faster = [ratio([a for a, *_ in rates], [row[place] for row in rates]) for place in (1, 2)]
    lone, waits = sorted(appends.lone), sorted(appends.waits)
    met = "met" if 1 / median(one.wall for one in appends.group) >= GOAL else "**missed**"
    return [
        "| appends | a second by the clock | a CPU second | times one by one (clock) | goal |", "|---|---|---|---|---|",
        _rates("one by one, a transaction each", appends.single, None, ""),
        _rates("2,000 waiting, 8 threads", appends.group, faster[0], f"{GOAL:,} a second: {met}"),
        _rates("2,000 waiting, 2,000 threads", appends.threads, faster[1], ""), "",
        "| wait for one append | median | 99th percentile |", "|---|---|---|",
        f"| alone | {_at(lone, 0.5)} | {_at(lone, 0.99)} |",
        f"| with 2,000 waiting, 8 threads | {_at(waits, 0.5)} | {_at(waits, 0.99)} |",
    ]  # fmt: skip


def _rates(name: str, spent: Sequence[Spent], times: Ratio | None, goal: str) -> str:
    wall, cpu = (median(getattr(one, clock) for one in spent) for clock in ("wall", "cpu"))
    return f"| {name} | {1 / wall:,.0f} | {1 / cpu:,.0f} | {times or ''} | {goal} |"


def _at(ordered: Sequence[float], share: float) -> str:
    return f"{ordered[int(share * (len(ordered) - 1))] * 1_000:.1f} ms"


def describe_large(found: Simulated) -> dict[str, str]:
    """The simulated log in words."""
    audit, parse = found.audit, found.parsing.cpu * 1e6
    return {
        "entries": f"{found.size:,}",
        "tiles of hashes": f"{found.tiles:,} files, {found.tile_bytes / 1e6:,.0f} MB",
        "entries, as bundles (counted, not written)": f"{found.entry_bytes / 1e9:.2f} GB",
        "building and writing the tiles": f"{found.building.wall:,.0f} s, CPU {found.building.cpu:,.0f} s",
        "making up the entries": f"CPU {found.making.cpu:,.0f} s",
        "full audit: every entry hashed, every tile compared": f"{audit.wall:,.0f} s, CPU {audit.cpu:,.0f} s",
        "parsing an entry, as a monitor does, CPU": f"{parse:.0f} µs",
        "hashes in a proof": f"{found.proof}",
    }


def measure(scratch: Path, turns: int, simulated: int) -> list[str]:
    """The tables, line by line."""
    facts = machine.table()
    os.environ["EMBHUB_HOME"] = str(scratch / "home")
    registry = folder.create(scratch / "hub", name="Log", url="https://hub.example.org", audit="optional")
    appended = describe(append(registry, turns))
    proved = prove(registry)
    disk = sum(file.stat().st_size for file in (scratch / "hub/log").rglob("*") if file.is_file())
    size = log_rows.size(registry.database.connection())
    database = (scratch / "hub/registry.db").stat().st_size + (scratch / "hub/registry.db-wal").stat().st_size
    proved["bytes an entry: files of the log, database"] = f"{disk / size:,.0f}, {database / size:,.0f}"
    registry.close()
    part, whole, first = verify_logged(50)
    met = "met" if whole <= VERIFY_GOAL else "**missed**"
    proved["verifying a logged release past start, CPU"] = (
        f"{whole:.1f} ms, {part:.1f} ms of it the log (goal 50: {met})"
    )
    proved["the same, the first in its process"] = f"{first:.1f} ms"
    large = describe_large(simulate(scratch / "large", simulated))
    return [
        facts, "## Appending", "", *appended, "",
        "## Proofs", "", *_table(proved, ("measured", "")), "",
        "## A large log, simulated", "", *_table(large, ("measured", "")),
    ]  # fmt: skip


def _table(rows: dict[str, str], header: tuple[str, str]) -> list[str]:
    return [f"| {header[0]} | {header[1]} |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows.items())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulated", type=int, default=10**7, help="entries of the large log")
    parser.add_argument("--turns", type=int, default=TURNS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print("\n".join(measure(Path(scratch), asked.turns, asked.simulated)))


if __name__ == "__main__":
    main()
