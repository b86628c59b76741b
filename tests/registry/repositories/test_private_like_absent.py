"""A stranger makes the database do the same for a private repository and for none: time tells nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embhub_registry.database import accounts, repositories
from embhub_registry.database.accounts import Account
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
