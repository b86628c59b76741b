"""Search after any changes gives what a look at every row gives: the same rows, in one order, on the same pages."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from embhub.formats.search_words import plain
from embhub_registry.database import Connection, Database, schema
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import placement, repositories, search
from embhub_registry.database.releases.search import FACETS, Query
from tests.support.databases import new_database

DAY = "2026-11-20T10:00:00.000Z"
NAMESPACES = ("radboud", "lumc", "umcu")
SYLLABLES = ("ka", "lo", "mi", "ra", "zq", "ée", "%_", "x")
LONG = ("kalo", "mira", "loka", "rakami", "qqqq", "zqx", "eemi", "%_%_", "adboud", "lumc/r", "xqqfc")
SHORT = ("k", "zq", "qq", "ée", "%", "ox", "7")
FIRST = 262_139  # a place: far more than there are rows


@dataclass(frozen=True)
class Known:
    """A repository as the test wrote it."""

    text: str
    facets: set[tuple[str, str]]
    private: bool
    hidden: bool = False


class Catalogue:
    """A database, and what a look at every row knows of it."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database, self.chance = database, random.Random(seed)
        self.rows: dict[int, Known] = {}
        with database.writing() as db:
            for name in NAMESPACES:
                accounts.add_namespace(db, name, now=DAY)
        first = self.add()
        with database.writing() as db:
            db.execute("UPDATE repository SET position = ? WHERE id = ?", (FIRST, first))
            placement.raise_to_top(db, first)

    def add(self) -> int:
        namespace, private = self.chance.choice(NAMESPACES), self.chance.random() < 0.2
        name = f"r{len(self.rows)}-{self.chance.randrange(10**6)}"
        with self.database.writing() as db:
            identity = repositories.add(db, namespace, name, private=private, now=DAY)
            self.describe(db, identity, private)
        return identity

    def describe(self, db: Connection, identity: int, private: bool) -> None:
        found = repositories.find_by_id(db, identity)
        assert found is not None
        words = ["".join(self.chance.choices(SYLLABLES, k=self.chance.randint(1, 4))) for _ in range(4)]
        release = {
            "modality": [self.chance.choice(("MR", "CT"))], "anatomy": [self.chance.choice(("Lung", "Eye"))],
            "finding": ["x"], "base": "builtin", "privacy": "none", "audit": "not-audited", "licence": "CC-BY-4.0",
            "confirmation": "none",
        }  # fmt: skip
        text = f"{found.full_name} {' '.join(words)}"
        repositories.describe(db, identity, {"release": release}, tags=[], text=text)
        facets = {*placement.facets_of(release), ("namespace", found.namespace)}
        hidden = identity in self.rows and self.rows[identity].hidden
        self.rows[identity] = Known(plain(text), facets, private, hidden)

    def change(self) -> None:
        """One thing that happens to a repository."""
        kind = self.chance.choice(("add", "add", "push", "rise", "yank", "visibility", "verdict", "delete"))
        if kind == "add" or len(self.rows) < 5:
            self.add()
            return
        identity = self.chance.choice(sorted(self.rows))
        row = self.rows[identity]
        with self.database.writing() as db:
            if kind == "push":
                self.describe(db, identity, row.private)
            elif kind == "rise":
                placement.raise_to_top(db, identity)
            elif kind == "yank":
                placement.set_hidden(db, identity, hidden=not row.hidden)
                self.rows[identity] = replace(row, hidden=not row.hidden)
            elif kind == "visibility":
                repositories.set_access(db, identity, private=not row.private, gated=None, disabled=None)
                self.rows[identity] = replace(row, private=not row.private)
            elif kind == "verdict":
                self.judge(db, identity)
            else:
                repositories.delete(db, identity)
                del self.rows[identity]

    def judge(self, db: Connection, identity: int) -> None:
        found, row = repositories.find_by_id(db, identity), self.rows[identity]
        assert found is not None
        verdict = self.chance.choice(("leak-detected", "no-leak-detected"))
        placement.change_verdict(db, identity, {"release": {**found.summary["release"], "audit": verdict}})
        kept = {facet for facet in row.facets if facet[0] != "audit"}
        self.rows[identity] = replace(row, facets=kept | {("audit", verdict)})

    def ask(self) -> Query:
        some = self.chance.choice((SHORT, SHORT, LONG, LONG, SHORT + LONG))
        facets = {"modality": ["MR"]} if self.chance.random() < 0.3 else {}
        if self.chance.random() < 0.2:
            facets["audit"] = [self.chance.choice(("leak-detected", "not-audited"))]
        return Query(
            text=" ".join(self.chance.sample(some, self.chance.randint(0, 2))), facets=facets, released=True,
            author=self.chance.choice((None, None, None, "lumc")),
            readers=self.chance.choice(((), (), ("lumc",), ("lumc", "umcu"))), limit=10**4,
        )  # fmt: skip

    def expected(self, db: Connection, query: Query) -> list[int]:
        places = dict(db.execute("SELECT id, position FROM repository").fetchall())
        words = plain(query.text).split()
        oldest = max(places.values()) - search.REACH if words and len(max(words, key=len)) < 3 else 0
        wanted = {(kind, value) for kind, values in query.facets.items() for value in values}
        if query.author is not None:
            wanted.add(("namespace", query.author))
        found = [
            identity
            for identity, row in self.rows.items()
            if wanted <= row.facets
            and all(word in row.text for word in words)
            and not row.hidden
            and (not row.private or any(("namespace", name) in row.facets for name in query.readers))
            and places[identity] > oldest
        ]
        return sorted(found, key=lambda identity: -places[identity])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = new_database(tmp_path / "x.db")
    schema.migrate(made)
    yield made
    made.close()


def pages(db: Connection, query: Query, size: int) -> list[int]:
    """The rows of every page of so many."""
    seen: list[int] = []
    after: tuple[Any, int] | None = None
    while True:
        rows = search.run(db, replace(query, limit=size, after=after))
        seen += [row.id for row in rows[:size]]
        if len(rows) <= size:
            return seen
        after = (rows[size - 1].position, rows[size - 1].id)


@pytest.mark.parametrize("seed", range(3))
def test_search_follows_every_change(database: Database, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = Catalogue(database, seed)
    monkeypatch.setattr(search, "REACH", 40)
    monkeypatch.setattr(search, "VALUES", 10**4)
    monkeypatch.setattr(search, "COUNTED", 10**4)
    for _ in range(60):
        catalogue.add()
    answered: Counter[str] = Counter()
    for turn in range(12):
        for _ in range(10):
            catalogue.change()
        db = database.connection()
        for _ in range(15):
            query = catalogue.ask()
            rows = catalogue.expected(db, query)
            assert [row.id for row in search.run(db, query)] == rows, query
            assert pages(db, query, 3) == rows, query
            other = replace(query, sort=("created", "downloads", "epsilon", "epsilon-largest")[turn % 4])
            assert {row.id for row in search.run(db, other)} == set(rows), other
            counts = search.count_facets(db, query)
            counter = Counter(facet for identity in rows for facet in catalogue.rows[identity].facets)
            assert counts.total == len(rows)
            assert {(kind, value): n for kind, values in counts.facets.items() for value, n in values} == {
                facet: n for facet, n in counter.items() if facet[0] in FACETS
            }, query
            answered[query.text] += bool(rows)
    assert sum(bool(found) for text, found in answered.items() if text) > 25, "many words were found"
    if database.dialect.has_word_table:  # against the texts
        database.connection().execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")


@pytest.mark.parametrize("after", [-5, 0, 1, 2**62, 1.5, -1e300, 1e300])
def test_a_cursor_may_name_any_place(database: Database, after: float) -> None:
    catalogue = Catalogue(database, 1)
    rows = search.run(database.connection(), Query(text="boud", after=(after, 1), everything=True))
    known = {identity for identity, row in catalogue.rows.items() if "boud" in row.text}
    assert {row.id for row in rows} == (known if after > FIRST + 10 else set())


def test_a_facet_takes_no_row_from_a_long_word_with_a_short_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One and two letters are looked for everywhere where a longer word narrows the rows, with a label and without."""
    catalogue = Catalogue(database, 8)
    monkeypatch.setattr(search, "REACH", 5)
    found = [catalogue.add() for _ in range(20)]
    with database.writing() as db:
        for identity in found:
            repositories.describe(db, identity, {"release": None}, tags=["own"], text="kalomira jj")
    for tags in ([], ["own"]):
        rows = search.run(database.connection(), Query(text="kalomira jj", tags=tags, everything=True))
        assert [row.id for row in rows] == found[::-1], tags
