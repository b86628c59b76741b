"""A stranger makes the database do the same for a private repository and for none: time tells nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.repositories import repos
from embhub_registry.storage import folder
from embhub_registry.storage.folder import Registry

MEMBER = Account(1, "alice", "a", "publisher", "one", b"", None, None)
STRANGER = Account(2, "lea", "b", "publisher", "two", b"", None, None)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    with made.database.writing() as db:
        accounts.add_namespace(db, "a", now="2026-01-01T00:00:00Z")
        identity = repositories.add(db, "a", "kept", private=True, now="2026-01-01T00:00:00Z")
        front = {"notes": "n" * 100_000}
        repositories.describe(db, identity, {"front_matter": front, "release": None}, tags=(), text="a/kept")
    yield made
    made.close()


def statements(registry: Registry, account: Account | None, name: str) -> list[str]:
    """What SQLite is asked until the refusal, the name left out."""
    db, asked = registry.database.connection(), list[str]()
    db.set_trace_callback(asked.append)
    try:
        with pytest.raises(RequestDeniedError) as refused:
            repos.locate(db, account, "a", name)
    finally:
        db.set_trace_callback(None)
    assert refused.value.status == 404
    return [statement.replace(name, "NAME") for statement in asked]


@pytest.mark.parametrize("account", [None, STRANGER], ids=["nobody", "a stranger"])
def test_the_same_is_read(registry: Registry, account: Account | None) -> None:
    found = statements(registry, account, "kept")
    assert found == statements(registry, account, "gone") and found
    assert not any("summary" in statement for statement in found)


def test_members_find_it(registry: Registry) -> None:
    found = repos.locate(registry.database.connection(), MEMBER, "a", "kept")
    assert found.private and found.summary["front_matter"]["notes"] == "n" * 100_000
    assert dict(found.summary) == {**found.summary} and len(found.summary) == 2


@pytest.mark.parametrize("account", [None, STRANGER], ids=["nobody", "a stranger"])
def test_a_name_that_reads_alike_is_named_where_the_caller_may_see_it(
    registry: Registry, account: Account | None
) -> None:
    with registry.database.writing() as db:
        repositories.add(db, "a", "knee-mri.2", private=False, now="2026-01-01T00:00:00Z")
        repositories.add(db, "a", "Secret-Study", private=True, now="2026-01-01T00:00:00Z")
    db = registry.database.connection()
    with pytest.raises(RequestDeniedError, match="a/Knee_mri-2 not found") as refused:
        repos.locate(db, account, "a", "Knee_mri-2")
    assert refused.value.hint == "did you mean a/knee-mri.2?"
    for name in ("secret_study", "secret-study", "knee-mri"):
        with pytest.raises(RequestDeniedError) as refused:
            repos.locate(db, account, "a", name)
        assert "did you mean" not in refused.value.hint and "Secret" not in str(refused.value)
    with pytest.raises(RequestDeniedError) as refused:
        repos.locate(db, MEMBER, "a", "secret_study")
    assert refused.value.hint == "did you mean a/Secret-Study?"


def test_what_was_disabled_or_yanked_is_not_recommended(registry: Registry) -> None:
    db = registry.database.connection()
    for column in ("hidden", "disabled"):
        with registry.database.writing() as writing:
            identity = repositories.add(writing, "a", f"{column}-one", private=False, now="2026-01-01T00:00:00Z")
            writing.execute(f"UPDATE repository SET {column} = 1 WHERE id = ?", (identity,))
        with pytest.raises(RequestDeniedError) as refused:
            repos.locate(db, None, "a", f"{column}_one")
        assert "did you mean" not in refused.value.hint
