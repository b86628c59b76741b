"""Lists, search and facets: the rows that were asked for, in one order, and nobody's private ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import registry_search
from embhub.formats.search_words import plain
from embhub_registry.database import Connection, Database, dialects, schema
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import placement, repositories, search
from embhub_registry.database.releases.repositories import Revision
from embhub_registry.database.releases.search import FACETS, Query
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.wire.hub_api import hf_api
from tests.support.databases import new_database
from tests.support.quick import examples

DAY = "2026-11-20T10:00:00.000Z"
CARDS = 400
PAGES = Query(limit=20, released=True)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The benchmark's catalogue, smaller."""
    database = new_database(tmp_path_factory.mktemp("search") / "x.db")
    schema.migrate(database)
    registry_search.fill(database, CARDS)
    yield database.connection()
    database.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = new_database(tmp_path / "x.db")
    schema.migrate(made)
    with made.writing() as db:
        for name in ("radboud", "lumc"):
            accounts.add_namespace(db, name, now=DAY)
    yield made
    made.close()


def release(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "modality": ["MR"], "anatomy": ["Prostate"], "finding": ["cancer"], "base": "builtin", "privacy": "none",
        "audit": "not-audited", "confirmation": "none", "licence": "CC-BY-4.0",
    }  # fmt: skip
    return {"release": made | changes}


def add(
    database: Database, name: str, *, namespace: str = "radboud", private: bool = False, text: str = "", **changes: Any
) -> int:
    with database.writing() as db:
        identity = repositories.add(db, namespace, name, private=private, now=DAY)
        repositories.describe(db, identity, release(**changes), tags=["x"], text=f"{namespace}/{name} {text}")
    return identity


def names(db: Connection, **query: Any) -> list[str]:
    return [row.name for row in search.run(db, Query(released=True, **query))]


def facts(row: repositories.Repository) -> set[tuple[str, str]]:
    return {*placement.facets_of(row.summary["release"]), ("namespace", row.namespace)}


def expected(db: Connection, query: Query) -> list[int]:
    """What a query means, spelt out: every row looked at."""
    rows = [row for row in repositories.all_repositories(db) if not row.private or row.namespace in query.readers]
    wanted = {(kind, value) for kind, values in query.facets.items() for value in values}
    texts = dict(db.execute("SELECT repository_id, words FROM wording").fetchall())
    found = [
        row
        for row in rows
        if wanted <= facts(row)
        and all(word in texts[row.id] for word in plain(query.text).split())
        and query.author in (None, row.namespace)
    ]
    return [row.id for row in sorted(found, key=lambda row: -row.position)]


words = st.sampled_from(["lung", "effus", "ka", "MR", "ncl", "Carcinoma of the", '"', "of the kidney", "qqq", "%", "_"])
queries = st.builds(
    lambda text, modality, organ, author, readers: replace(
        PAGES, text=" ".join(text), author=author, readers=readers, limit=CARDS,
        facets={"modality": modality, "anatomy": organ},
    ),
    st.lists(words, max_size=3),
    st.lists(st.sampled_from(registry_search.MODALITIES), max_size=1),
    st.lists(st.sampled_from(registry_search.ORGANS), max_size=1),
    st.sampled_from([None, None, "site-3"]),
    st.lists(st.sampled_from([f"site-{n}" for n in range(60)]), max_size=3).map(tuple),
)  # fmt: skip


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(queries)
def test_any_query_finds_what_a_look_at_every_row_finds(filled: Connection, query: Query) -> None:
    found = [row.id for row in search.run(filled, query)]
    assert found == expected(filled, query)
    seen: list[int] = []
    after = None
    while True:
        page = search.run(filled, replace(query, limit=7, after=after))
        seen += [row.id for row in page[:7]]
        if len(page) <= 7:
            break
        after = (page[6].position, page[6].id)
    assert seen == found, "pages by key are the list, each row once"


@settings(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(queries)
def test_counts_are_of_the_rows_that_the_list_has(filled: Connection, query: Query) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "VALUES", 10_000)
        patch.setattr(search, "_FREQUENT", 10_000)
        patch.setattr(search, "COUNTED", CARDS)
        counts = search.count_facets(filled, query)
    rows = search.run(filled, query)
    counter = Counter(fact for row in rows for fact in facts(row))
    assert counts.total == len(rows) and not counts.capped
    assert {(kind, value): n for kind, found in counts.facets.items() for value, n in found} == {
        fact: n for fact, n in counter.items() if fact[0] in FACETS
    }


def test_long_lists_are_counted_in_part_and_say_so(filled: Connection) -> None:
    counts = search.count_facets(filled, replace(PAGES, text="axial"))
    assert counts.capped and counts.total == search.COUNTED
    assert sum(n for _, n in counts.facets["privacy"]) == counts.total
    assert not search.count_facets(filled, PAGES).capped, "a whole catalogue has counters"


def test_one_and_two_letters_are_looked_for_among_the_newest(
    filled: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(text: str) -> int:
        return min(row.position for row in search.run(filled, replace(PAGES, text=text, limit=CARDS)))

    whole = reached("ka")
    monkeypatch.setattr(search, "REACH", 50)
    assert reached("ka") > whole and reached("lung") == reached("lung lu"), "long words have an index to start from"


def test_accents_and_case_do_not_matter(database: Database) -> None:
    add(database, "one", text="Früh ERKANNTES Karzinom, Sjögren")
    db = database.connection()
    for text in ("früh", "FRUH", "erkannt sjogren", "Karzinom,", "ra"):
        assert names(db, text=text) == ["one"], text
    assert names(db, text="fruhe") == [] and names(db, text='früh "') == []
    assert names(db, facets={"anatomy": ["prostate"]}) == ["one"], "facets have one spelling"


def test_what_is_private_is_in_no_count_and_no_list_of_others(database: Database) -> None:
    add(database, "open")
    identity = add(database, "secret", private=True, text="rare", finding=["rare disease"], anatomy=["eye"])
    db = database.connection()

    def told(**query: Any) -> str:
        asked = Query(released=True, **query)
        return f"{search.run(db, asked)} {search.count_facets(db, asked)}"

    for query in (
        {},
        {"text": "radboud"},
        {"text": "rare"},
        {"facets": {"finding": ["rare disease"]}},
        {"author": "radboud"},
    ):
        for readers in ((), ("lumc",)):
            assert "rare" not in told(readers=readers, **query) and "eye" not in told(readers=readers, **query)
        assert "rare" in told(readers=("radboud",), **query)
        assert "rare" in told(everything=True, **query)
    assert search.count_facets(db, PAGES).total == 1
    assert search.count_facets(db, replace(PAGES, readers=("radboud",))).total == 2
    with database.writing() as writing:
        repositories.set_access(writing, identity, private=False, gated=None, disabled=None)
    assert "rare" in told() and search.count_facets(db, PAGES).total == 2
    with database.writing() as writing:
        repositories.set_access(writing, identity, private=True, gated=None, disabled=None)
    assert "rare" not in told() and search.count_facets(db, PAGES).total == 1


def test_counters_follow_every_change(database: Database) -> None:
    def counted() -> dict[str, int]:
        rows = database.connection().execute("SELECT kind || ':' || value, shown FROM label_count WHERE shown <> 0")
        return dict(rows.fetchall())

    first, second = add(database, "a"), add(database, "b", modality=["CT"])
    assert counted()["modality:MR"] == 1 and counted()["anatomy:prostate"] == 2 and counted()["namespace:radboud"] == 2
    with database.writing() as db:
        repositories.describe(db, first, release(modality=["CT"]), tags=[], text="a")
    assert "modality:MR" not in counted() and counted()["modality:CT"] == 2
    with database.writing() as db:
        placement.set_hidden(db, second, hidden=True)
    assert counted()["modality:CT"] == 1 and names(database.connection()) == ["a"]
    with database.writing() as db:
        placement.set_hidden(db, second, hidden=False)
        placement.raise_to_top(db, second)
    assert counted()["modality:CT"] == 2 and names(database.connection()) == ["b", "a"]
    with database.writing() as db:
        repositories.delete(db, first)
        repositories.delete(db, second)
    assert counted() == {} and database.problems() == []
    if database.dialect.has_word_table:
        database.connection().execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")


def test_a_commit_beside_the_main_branch_moves_up_and_is_found_as_before(database: Database) -> None:
    first = add(database, "a", text="unusual")
    add(database, "b")
    with database.writing() as db:
        repositories.add_revision(db, first, Revision("c" * 40, None, "anna", DAY, "t", ""), [])
        placement.raise_to_top(db, first)
    assert names(database.connection()) == ["a", "b"] and names(database.connection(), text="unusual") == ["a"]


@pytest.mark.parametrize(("sort", "value"), [("modified", "2026"), ("downloads", "x"), ("created", 5)])
def test_a_cursor_of_another_order_is_refused(filled: Connection, sort: str, value: Any) -> None:
    with pytest.raises(RequestDeniedError) as refused:
        search.run(filled, Query(sort=sort, after=(value, 1)))
    assert refused.value.status == 400


@pytest.mark.parametrize("sort", ["created", "downloads"])
def test_other_orders(filled: Connection, sort: str) -> None:
    seen: list[int] = []
    after = None
    while True:
        page = search.run(filled, Query(sort=sort, text="lung", limit=9, after=after))
        seen += [row.id for row in page[:9]]
        if len(page) <= 9:
            break
        after = (getattr(page[8], search.SORTS[sort]), page[8].id)
    rows = [r for r in repositories.all_repositories(filled) if r.id in set(seen)]
    assert seen == [r.id for r in sorted(rows, key=lambda r: (getattr(r, sort), r.id), reverse=True)] and seen


@pytest.mark.parametrize(("sort", "largest"), [("epsilon", False), ("epsilon-largest", True)])
def test_lists_by_epsilon_have_what_claims_none_last(database: Database, sort: str, largest: bool) -> None:
    epsilons = {"a": 3.0, "b": None, "c": 0.5, "d": 8, "e": None, "f": 3.0, "g": 0.1 + 0.2}
    for name, epsilon in epsilons.items():
        add(database, name, privacy="none" if epsilon is None else "x", epsilon=epsilon, text="lung")
    add(database, "hidden", namespace="lumc", private=True, privacy="x", epsilon=1.0)
    db = database.connection()
    ordered = names(db, sort=sort)
    claimed = sorted((e for e in epsilons.values() if e is not None), reverse=largest)
    assert [epsilons[name] for name in ordered] == [*claimed, None, None]
    assert names(db, sort=sort, text="lung", facets={"privacy": ["claimed"]}) == ordered[:5]
    seen: list[str] = []
    after = None
    for _ in range(7):
        row = search.run(db, Query(sort=sort, limit=1, after=after, released=True))[0]
        after = hf_api.read_cursor(hf_api.make_cursor(search.value_of(row, sort), row.id))
        seen.append(row.name)
    assert seen == ordered
    page = search.find_page(db, Query(sort=sort, limit=3), most_bytes=10**6)
    assert page.last == hf_api.read_cursor(hf_api.make_cursor(*page.last)) and page.more


def test_an_order_by_epsilon_follows_the_newest_release_and_its_index(database: Database) -> None:
    first = add(database, "a", privacy="x", epsilon=1.0)
    add(database, "b", privacy="x", epsilon=2.0)
    with database.writing() as db:
        repositories.describe(db, first, release(privacy="x", epsilon=5.0), tags=[], text="radboud/a")
    db = database.connection()
    assert names(db, sort="epsilon") == ["b", "a"]
    with database.writing() as db:
        repositories.describe(db, first, {"release": None}, tags=[], text="radboud/a")
    db = database.connection()
    held = repositories.find_by_id(db, first)
    assert held is not None and held.epsilon is None
    if db.dialect is dialects.SQLITE:
        asked = "EXPLAIN QUERY PLAN SELECT r.id FROM repository AS r ORDER BY {} DESC, r.id DESC LIMIT 3"
        for sort, index in (("epsilon", "repository_epsilon"), ("epsilon-largest", "repository_epsilon_largest")):
            plan = " ".join(row[3] for row in db.execute(asked.format(search._order(sort))))
            assert f"INDEX {index}" in plan and "TEMP B-TREE" not in plan, plan


def test_the_benchmark_measures_every_kind_of_query(filled: Connection) -> None:
    found = registry_search.measure(filled, turns=2)
    assert len(found) == 19 and all(row.p50 <= row.p95 for row in found)
    table = registry_search.render(found)
    assert table.count("\n") == 20 and "word and facet" in table


@pytest.mark.parametrize(
    ("release_", "band"),
    [
        ({"privacy": "none", "epsilon": None}, "none"), ({"privacy": "none"}, "none"),
        ({"privacy": "claimed by the publisher: epsilon 1", "epsilon": 1.0}, "to-1"),
        ({"privacy": "claimed", "epsilon": 0.0}, "to-1"), ({"privacy": "claimed", "epsilon": 1.0001}, "to-3"),
        ({"privacy": "claimed", "epsilon": 10}, "to-10"), ({"privacy": "claimed", "epsilon": 1e9}, "above"),
        ({"privacy": "claimed", "epsilon": None}, "unbounded"),
    ],
)  # fmt: skip
def test_a_claimed_epsilon_has_bands_and_no_claim_is_one_of_its_own(
    database: Database, release_: dict[str, Any], band: str
) -> None:
    add(database, "x", **release_)
    db = database.connection()
    assert names(db, facets={"epsilon": [band]}) == ["x"]
    assert search.count_facets(db, Query(released=True)).facets["epsilon"] == [(band, 1)]
    assert search.count_facets(db, Query(released=True, text="radboud")).facets["epsilon"] == [(band, 1)]
    for other in {"none", "to-1", "to-3", "to-10", "above", "unbounded"} - {band}:
        assert names(db, facets={"epsilon": [other]}) == []
