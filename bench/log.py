"""What a registry's transparency log costs: durable appends, signing a checkpoint, the size of a proof, checking one.

`python -m bench.log` prints a table; `--entries N` sets how large the log is. Times are CPU of this process, and by
the clock where a disk is waited for.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from embhub.log import checkpoints, leaves, merkle, notes, proofs
from embhub.log.leaves import Leaf
from embhub_registry.storage import folder, log_entries, registry_log
from embhub_registry.storage.folder import Registry

ENTRIES = 20_000
KEY = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004") + bytes(64)


def make_leaf(number: int) -> Leaf:
    """An entry of the usual size; its signature signs nothing."""
    return leaves.of_signature(b"entry %d" % number, signature=number.to_bytes(71, "big"), key=KEY)


def append(registry: Registry, made: Sequence[Leaf]) -> None:
    """One transaction: durable when it returns."""
    with registry.database.writing() as db:
        for leaf in made:
            log_entries.add(db, leaf)


def clocked(what: Callable[[], object]) -> float:
    """Seconds by the clock."""
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def measure(place: Path, entries: int) -> dict[str, str]:
    """Each figure in words."""
    registry = folder.create(place, name="Log", url="https://hub.example.org", audit="optional")
    key = registry.trust().keyring.log_key
    assert key is not None
    made = [make_leaf(number) for number in range(entries + 4_000)]
    alone = sorted(clocked(lambda leaf=leaf: append(registry, [leaf])) for leaf in made[:100])  # type: ignore[misc]
    together = [clocked(lambda at=at: append(registry, made[at : at + 2_000])) for at in (100, 2_100)]  # type: ignore[misc]
    append(registry, made[4_100:entries])
    whole = clocked(lambda: registry_log.publish(registry))
    append(registry, [make_leaf(10**9)])
    one = clocked(lambda: registry_log.publish(registry))
    last = made[entries - 1].to_bytes()
    proof = registry_log.prove(registry, merkle.leaf_hash(last))
    assert proof is not None
    data, turns = proof.to_bytes(), 200
    started = time.process_time()
    for _ in range(turns):
        proofs.parse(data).open(last, log=key)
    checked = (time.process_time() - started) / turns
    disk = sum(file.stat().st_size for file in (place / "log").rglob("*") if file.is_file())
    signed = checkpoints.parse(notes.parse((place / "log/checkpoint").read_bytes()))
    registry.close()
    return {
        "entries": f"{signed.size:,}",
        "durable appends a second, one in a transaction": f"{1 / alone[50]:,.0f}",
        "one append, p99": f"{alone[98] * 1000:.1f} ms",
        "durable appends a second, 2,000 in a transaction": f"{2_000 / min(together):,.0f}",
        "signing the whole log at once": f"{whole:.2f} s",
        "signing one more entry": f"{one * 1000:.0f} ms",
        "a proof": f"{len(data):,} bytes",
        "checking a proof, CPU": f"{checked * 1000:.2f} ms",
        "files of the log, a byte an entry": f"{disk / signed.size:,.0f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name, figure in measure(Path(scratch) / "hub", max(asked.entries, 5_000)).items():
            print(f"{name:52}{figure}")


if __name__ == "__main__":
    main()
