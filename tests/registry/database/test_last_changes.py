"""The commit that last changed a path, on histories made up by Hypothesis, against a slow and obvious answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub_registry.database import Connection, schema
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import last_changes, repositories
from embhub_registry.database.releases.repositories import Entry, Revision
from tests.support.databases import new_database
from tests.support.quick import examples

Tree = dict[str, str]
TREES = st.dictionaries(st.sampled_from(["README.md", "a/x", "a/y", "a/b/z", "c/x"]), st.sampled_from("12"))


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    database = new_database(tmp_path_factory.mktemp("lasting") / "registry.db")
    schema.migrate(database)
    with database.writing() as connection:
        accounts.add_namespace(connection, "radboud", now="2026-11-20")
    yield database.connection()
    database.close()


def store(db: Connection, trees: Sequence[Tree]) -> tuple[int, list[Revision]]:
    """A repository with a commit for each tree, oldest first; its id and the commits."""
    number = db.execute("SELECT count(*) FROM repository").fetchone()[0]
    identity = repositories.add(db, "radboud", f"r{number}", private=False, now="2026-11-20")
    line: list[Revision] = []
    for depth, tree in enumerate(trees):
        revision = Revision(f"{depth:040x}", line[-1].id if line else None, "anna", "2026-11-20", f"commit {depth}", "")
        rows = [Entry(path, content * 64, 1, content * 40) for path, content in tree.items()]
        repositories.add_revision(db, identity, revision, rows)
        line.append(revision)
    return identity, line


def below(tree: Tree, path: str) -> Tree:
    return {name: content for name, content in tree.items() if name == path or name.startswith(f"{path}/")}


def obvious(trees: Sequence[Tree]) -> dict[str, str]:
    """Path -> title, from the oldest commit up: whoever changed what is at or under a path is its last so far."""
    newest = trees[-1]
    paths = {"/".join(name.split("/")[:n]) for name in newest for n in range(1, name.count("/") + 2)}
    found: dict[str, str] = {}
    for depth, tree in enumerate(trees):
        before = trees[depth - 1] if depth else {}
        found |= {path: f"commit {depth}" for path in paths if below(tree, path) != below(before, path)}
    return found


@settings(max_examples=examples(40), deadline=None)
@given(trees=st.lists(TREES, min_size=1, max_size=6))
def test_it_is_the_commit_that_made_the_path_what_it_is(db: Connection, trees: list[Tree]) -> None:
    identity, line = store(db, trees)
    found = last_changes.find(db, identity, line[-1])
    assert {path: revision.title for path, revision in found.items()} == obvious(trees)


def test_a_folder_changes_when_a_file_in_it_goes(db: Connection) -> None:
    identity, line = store(db, [{"a/x": "1", "a/y": "1"}, {"a/x": "1"}])
    found = last_changes.find(db, identity, line[-1])
    assert {path: revision.title for path, revision in found.items()} == {"a": "commit 1", "a/x": "commit 0"}


@pytest.mark.parametrize(("reach", "title"), [(1, "commit 3"), (3, "commit 1"), (5, "commit 0"), (9, "commit 0")])
def test_past_its_reach_it_gives_the_oldest_commit_looked_at(db: Connection, reach: int, title: str) -> None:
    identity, line = store(db, [{"README.md": "1"} | ({"c/x": "12"[n % 2]}) for n in range(5)])
    found = last_changes.find(db, identity, line[-1], reach=reach)
    assert (found["README.md"].title, found["c/x"].title) == (title, "commit 4")
