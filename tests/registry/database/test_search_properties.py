"""Any search of random cards gives what a look at every card gives."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.formats.search_words import plain
from embhub_registry.database import Connection, Database, schema
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import placement, repositories, search
from embhub_registry.database.releases.search import FACETS, Query
from tests.support.databases import new_database

DAY = "2026-11-20T10:00:00.000Z"
NAMESPACES = ("radboud", "lumc")
WORDS = ("imaging", "inginging", "lung", "lunge", "kalomi", "%_%_", "früh", "mi", "x", "42", "\ue000\ue001\ue002")
PLACES = (5, 262_139, 3_000_000)  # far more than there are rows
TEXTS = st.lists(st.sampled_from((*WORDS, "ging", "imagi", "umc/", "adboud", "kal", "rüh", "zqx")), max_size=3)


@dataclass(frozen=True)
class Card:
    """What a look at a card tells."""

    id: int
    position: int
    text: str
    labels: frozenset[tuple[str, str]]
    namespace: str
    private: bool
    released: bool
    hidden: bool
    gated: bool


@dataclass(frozen=True)
class Catalogue:
    """A database, and every card in it, newest first."""

    database: Database
    cards: Sequence[Card]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    database = new_database(tmp_path_factory.mktemp("cards") / "x.db")
    schema.migrate(database)
    chance = random.Random(11)
    with database.writing() as db:
        for name in NAMESPACES:
            accounts.add_namespace(db, name, now=DAY)
        identities = [add(db, chance, number) for number in range(150)]
        for place in PLACES:
            first = chance.choice(identities)
            db.execute("UPDATE repository SET position = ? WHERE id = ?", (place, first))
            for identity in (first, *chance.sample(identities, 6)):
                placement.raise_to_top(db, identity)
        for identity in chance.sample(identities, 15):
            placement.set_hidden(db, identity, hidden=True)
    yield Catalogue(database, cards_of(database.connection()))
    database.close()


def add(db: Connection, chance: random.Random, number: int) -> int:
    private, gated = chance.random() < 0.2, chance.choice(("", "", "auto", "manual"))
    name = f"r{number}"
    identity = repositories.add(db, chance.choice(NAMESPACES), name, private=private, gated=gated, now=DAY)
    release = {
        "modality": [chance.choice(("MR", "CT"))], "anatomy": chance.sample(("Lung", "Eye"), chance.randint(0, 2)),
        "finding": [], "base": "builtin", "privacy": "none", "licence": "CC0-1.0",
        "audit": chance.choice(("leak-detected", "not-audited")), "confirmation": "none",
    }  # fmt: skip
    summary = {"front_matter": {}, "release": release if chance.random() < 0.9 else None}
    text = f"{name} {' '.join(chance.sample(WORDS, chance.randint(0, 5)))}"
    repositories.describe(db, identity, summary, tags=chance.sample(("a", "b", "c"), 2), text=text)
    return identity


def cards_of(db: Connection) -> list[Card]:
    """By rows of the database that no search reads: summaries, labels and texts."""
    labels: dict[int, set[tuple[str, str]]] = {}
    for kind, value, identity in db.execute("SELECT kind, value, repository_id FROM label"):
        labels.setdefault(identity, set()).add((kind, value))
    texts = dict(db.execute("SELECT repository_id, words FROM wording").fetchall())
    rows = db.execute("SELECT * FROM repository ORDER BY position DESC").fetchall()
    return [
        Card(
            row["id"], row["position"], texts[row["id"]], frozenset(labels[row["id"]]), row["namespace"],
            bool(row["private"]), json.loads(row["summary"])["release"] is not None, bool(row["hidden"]),
            bool(row["gated"]),
        )
        for row in rows
    ]  # fmt: skip


def expected(cards: Sequence[Card], query: Query) -> list[Card]:
    words = plain(query.text).split()
    wanted = {(kind, value) for kind, values in query.facets.items() for value in values}
    wanted |= {("tag", tag) for tag in query.tags}
    if query.author is not None:
        wanted.add(("namespace", query.author))
    near = cards[0].position - search.REACH if words and len(max(words, key=len)) < 3 else 0
    return [
        card for card in cards
        if wanted <= card.labels and all(word in card.text for word in words) and card.position > near
        and (query.everything or not card.private or card.namespace in query.readers)
        and (card.released or not query.released) and (not card.hidden or (query.everything and not query.released))
        and query.gated in (None, card.gated)
    ]  # fmt: skip


QUERIES = st.builds(
    Query, text=TEXTS.map(" ".join), author=st.sampled_from((None, None, *NAMESPACES)),
    tags=st.lists(st.sampled_from("abz"), max_size=2, unique=True), everything=st.booleans(), released=st.booleans(),
    readers=st.sampled_from(((), ("lumc",), NAMESPACES)), gated=st.sampled_from((None, None, True, False)),
    limit=st.integers(1, 30),
    facets=st.fixed_dictionaries(
        {},
        optional={
            "modality": st.sampled_from((["MR"], ["CT"], ["XX"])),
            "anatomy": st.sampled_from((["lung"], ["lung", "eye"])),
            "audit": st.just(["leak-detected"]),
        },
    ),
)  # fmt: skip


@given(query=QUERIES, counted=st.sampled_from((3, 300)), data=st.data())
def test_a_search_gives_what_a_look_at_every_card_gives(
    catalogue: Catalogue, query: Query, counted: int, data: st.DataObject
) -> None:
    db, cards = catalogue.database.connection(), catalogue.cards
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "REACH", 400_000)
        patch.setattr(search, "VALUES", 10**4)
        patch.setattr(search, "COUNTED", counted)
        check(db, cards, query, data.draw(st.integers(0, len(cards))))


def check(db: Connection, cards: Sequence[Card], query: Query, begin: int) -> None:
    rows = expected(cards, query)
    first = [row.id for row in search.run(db, query)]
    assert first == [card.id for card in rows[: query.limit + 1]]
    if query.text.split() or query.facets:  # whole lists have counters
        counts = search.count_facets(db, query)
        counted = rows[: search.COUNTED]
        counter = Counter(label for card in counted for label in card.labels if label[0] in FACETS)
        assert (counts.total, counts.capped) == (len(counted), len(rows) > len(counted))
        found = {(kind, value): n for kind, values in counts.facets.items() for value, n in values}
        assert found == dict(counter)
    if begin < len(cards):
        after = (cards[begin].position, cards[begin].id)
        beyond = [card.id for card in rows if card.position < after[0]][: query.limit + 1]
        next_page = Query(**{**vars(query), "after": after})
        assert [row.id for row in search.run(db, next_page)] == beyond
