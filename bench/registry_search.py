"""Search over many synthetic cards on both engines: `python -m bench.registry_search`.

The rows are what a commit would have put there (the registry's own code places each); queries are the registry's own.
One connection, one thread. Words, findings and organs are drawn with a long tail, as in real catalogues. PostgreSQL is
Debian's, in a temporary folder, asked over a Unix socket.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench import machine
from embhub_registry.database import Connection, Database, schema
from embhub_registry.database.dialects import SQLITE
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories, search
from embhub_registry.database.releases.search import Query
from tests.support import postgres

CARDS = 20_000
GOAL = 0.050  # seconds, p95
PLAIN = Query(limit=20, released=True)
ORGANS = (
    "lung", "brain", "prostate", "breast", "liver", "kidney", "heart", "knee", "retina", "skin", "spine", "pancreas",
    "colon", "thyroid", "hip", "shoulder", "bladder", "uterus", "ovary", "spleen",
)  # fmt: skip
LESIONS = (
    "carcinoma", "nodule", "effusion", "fracture", "oedema", "haemorrhage", "cyst", "stenosis", "infarct", "metastasis",
    "polyp", "pneumonia", "atelectasis", "calcification", "abscess", "aneurysm", "fibrosis", "tear", "drusen",
    "melanoma",
)  # fmt: skip
MODALITIES = ("MR", "CT", "DX", "US", "MG", "PT", "OP", "SM")
AUDITS = ("insufficient-evidence", "not-audited", "no-leak-detected", "leak-detected")
SYLLABLES = ("ka", "lo", "mi", "ra", "te", "vi", "no", "su", "be", "do", "fa", "gu", "he", "pi", "zo")


@dataclass(frozen=True)
class Measured:
    """Seconds of one kind of query by the wall clock: the middle one, and the one that five of a hundred exceed.

    `cpu` is the middle one's time of a processor, which other programs on the machine hardly move.
    """

    what: str
    p50: float
    p95: float
    cpu: float
    rows: int


def fill(database: Database, cards: int, *, seed: int = 1) -> float:
    """Put that many repositories with one release each into an empty database; returns seconds a card."""
    chance = random.Random(seed)
    names = ["".join(parts) for parts in itertools.product(SYLLABLES, repeat=3)]
    started = time.perf_counter()
    with database.writing() as db:
        for number in range(500):
            accounts.add_namespace(db, f"site-{number}", now=_moment(0))
    for first in range(0, cards, 5000):
        with database.writing() as db:
            for number in range(first, min(first + 5000, cards)):
                _add(db, chance, names, number)
    return (time.perf_counter() - started) / cards


def measure(db: Connection, *, turns: int, seed: int = 2) -> list[Measured]:
    """Each kind of query that the pages make, `turns` times, no two alike where the kind allows it."""
    chance = random.Random(seed)
    organ, lesion = _picked(chance, ORGANS), _picked(chance, LESIONS)
    deep = _deep(db)
    kinds: dict[str, Callable[[], Query]] = {
        "newest, no filter": lambda: PLAIN,
        "one word": lambda: replace(PLAIN, text=next(lesion)),
        "two words": lambda: replace(PLAIN, text=f"{next(organ)} {next(lesion)}"),
        "part of a rare word": lambda: replace(PLAIN, text="".join(chance.choices(SYLLABLES, k=3))),
        "a word that nobody wrote": lambda: replace(PLAIN, text=f"{next(organ)}q{next(lesion)}"),
        "two letters that many wrote": lambda: replace(PLAIN, text="ka"),
        "two letters that nobody wrote": lambda: replace(PLAIN, text="zq"),
        "one facet, newest first": lambda: replace(PLAIN, facets={"anatomy": [next(organ)]}),
        "three facets": lambda: replace(
            PLAIN, facets={"modality": ["MR"], "anatomy": [next(organ)], "audit": [AUDITS[2]]}
        ),
        "word and facet": lambda: replace(PLAIN, text=next(lesion), facets={"modality": [chance.choice(MODALITIES)]}),
        "deep page (half of the rows)": lambda: replace(PLAIN, after=deep),
        "deep page of a word": lambda: replace(PLAIN, text=next(lesion), after=deep),
        "deep page of a facet": lambda: replace(PLAIN, facets={"modality": ["MR"]}, after=deep),
        "by downloads": lambda: replace(PLAIN, sort="downloads"),
    }
    found = [_time(what, lambda query: len(search.run(db, query)), made, turns) for what, made in kinds.items()]
    counted: dict[str, Callable[[], Query]] = {
        "facet counts, no filter": kinds["newest, no filter"],
        "facet counts of a word": kinds["one word"],
        "facet counts of a facet": kinds["one facet, newest first"],
        "facet counts, word and facet": kinds["word and facet"],
    }
    found += [
        _time(what, lambda query: search.count_facets(db, query).total, made, turns) for what, made in counted.items()
    ]
    pairs = _time("organs with findings", lambda _: len(search.count_pairs(db, readers=())[0]), lambda: PLAIN, turns)
    found.append(pairs)
    return found


def render(found: Sequence[Measured]) -> str:
    """The table; the goal is for 95 of 100 queries, by the wall clock."""
    lines = [
        f"| query | p50 | p95 | p50 of one core | goal (p95 under {GOAL * 1000:.0f} ms) |",
        "|---|---|---|---|---|",
    ]
    for row in found:
        times = " | ".join(f"{seconds * 1000:.2f} ms" for seconds in (row.p50, row.p95, row.cpu))
        lines.append(f"| {row.what} | {times} | {'met' if row.p95 < GOAL else '**missed**'} |")
    return "\n".join(lines)


def main() -> None:
    """Fill a database of each engine, one after the other, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.registry_search", description=__doc__)
    parser.add_argument("--cards", type=int, default=CARDS)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--engine", action="append", choices=("sqlite", "postgresql"), help="both unless given")
    asked = parser.parse_args()
    print(machine.table())
    for engine in asked.engine or ("sqlite", "postgresql"):
        with opened(engine) as database:
            schema.migrate(database)
            placed = fill(database, asked.cards)
            settle(database)
            print(f"{engine}: {asked.cards:,} cards, {placed * 1000:.2f} ms each to place")
            print(render(measure(database.connection(), turns=asked.turns)), flush=True)


def settle(database: Database) -> None:
    """Do what autovacuum would do within a minute: without statistics PostgreSQL's planner guesses."""
    if database.dialect is not SQLITE:
        database.connection().execute("VACUUM ANALYZE")


@contextmanager
def opened(engine: str) -> Iterator[Database]:
    """A new database of this engine, without a schema."""
    with tempfile.TemporaryDirectory() as folder:
        if engine == "sqlite":
            database = Database(Path(folder) / "registry.db")
            yield database
            database.close()
            return
        with postgres.running_server(shared_buffers="128MB") as server:
            database = Database(server.new_schema(), patience=600.0)
            yield database
            database.close()


def _add(db: Connection, chance: random.Random, names: Sequence[str], number: int) -> None:
    organ, lesion = (_long_tail(chance, words) for words in (ORGANS, LESIONS))
    word, other = chance.choice(names), chance.choice(names)
    modality, audit = _long_tail(chance, MODALITIES), _long_tail(chance, AUDITS)
    name = f"{organ}-{lesion}-{number}"
    finding = lesion if chance.random() < 0.5 else f"{lesion} of {word} type"
    description = (
        f"{lesion.title()} of the {organ}, {modality}, as {word} and {other} describe it: axial slices of adult"
        " patients from routine care, cropped around the finding and resized for the base model."
    )
    release = {
        "name": name, "version": "1.0.0", "description": description, "publisher": f"Hospital {number % 500}",
        "licence": "CC-BY-4.0", "token": f"<{word}>", "base": chance.choice(("builtin", "sd-1.5", "sd-2")),
        "family": "sd1", "modality": [modality], "anatomy": [organ], "finding": [finding],
        "privacy": "none", "epsilon": None, "audit": audit, "confirmation": "none", "auditors": [], "signer": "",
        "embedding": "",
    }  # fmt: skip
    identity = repositories.add(db, f"site-{number % 500}", name, private=chance.random() < 0.02, now=_moment(number))
    tags = ["embhub", "textual-inversion", f"modality:{modality}", f"anatomy:{organ}", f"finding:{lesion}"]
    text = " ".join([name, description, organ, finding, modality, f"<{word}>", *tags])
    repositories.describe(db, identity, {"front_matter": {}, "release": release}, tags=tags, text=text)


def _long_tail(chance: random.Random, words: Sequence[str]) -> str:
    return words[min(int(chance.expovariate(4 / len(words))), len(words) - 1)]


def _picked(chance: random.Random, words: Sequence[str]) -> Iterator[str]:
    while True:
        yield chance.choice(words)


def _moment(number: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(1_700_000_000 + number))


def _deep(db: Connection) -> tuple[Any, int]:
    rows = db.execute("SELECT position, id FROM repository ORDER BY position").fetchall()
    middle = rows[len(rows) // 2]
    return middle["position"], middle["id"]


def _time(what: str, ask: Callable[[Query], int], make: Callable[[], Query], turns: int) -> Measured:
    ask(make())
    wall, cpu, rows = [], [], 0
    for _ in range(turns):
        query = make()
        started, worked = time.perf_counter(), time.thread_time()
        rows += ask(query)
        wall.append(time.perf_counter() - started)
        cpu.append(time.thread_time() - worked)
    cuts = quantiles(wall, n=20)
    return Measured(what, cuts[9], cuts[18], median(cpu), rows // turns)


if __name__ == "__main__":
    main()
