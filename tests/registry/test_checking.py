"""`check` names what is corrupt and what is orphaned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embhub_registry import administration, checking, folder, publication, repos
from embhub_registry.commits import CommitRequest
from embhub_registry.database import accounts
from embhub_registry.folder import Registry

DAY = "2026-11-20T00:00:00.000Z"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    administration.add_user(made, "alice", namespace="radboud", role="publisher")
    alice = accounts.Account(1, "alice", "radboud", "publisher", "", b"", None, None)
    repos.create(made, alice, None, "r", private=False)
    request = CommitRequest("t", "", None, {"README.md": b"# Hello\n"}, frozenset(), frozenset())
    publication.publish(made, alice, "radboud", "r", branch="main", request=request)
    yield made
    made.close()


def blob(registry: Registry) -> Path:
    return registry.blobs.path(next(registry.blobs.stored()))


def flip(registry: Registry) -> None:
    blob(registry).write_bytes(b"# Jello\n")


def lose(registry: Registry) -> None:
    blob(registry).unlink()


def rewrite_history(registry: Registry) -> None:
    with registry.database.writing() as db:
        db.execute("UPDATE revision SET author = 'mallory'")


def lose_main(registry: Registry) -> None:
    with registry.database.writing() as db:
        db.execute("DELETE FROM ref")


def forge_keyring(registry: Registry) -> None:
    with registry.database.writing() as db:
        envelope = bytes(db.execute("SELECT envelope FROM keyring").fetchone()[0]).replace(b'"sig": "M', b'"sig": "N')
        db.execute("UPDATE keyring SET envelope = ?", (envelope,))


def lose_root_key(registry: Registry) -> None:
    (registry.folder / "keys" / "root.pem").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip, "other bytes"),
        (lose, "cannot be read"),
        (rewrite_history, "another id"),
        (lose_main, "no branch main"),
        (forge_keyring, "keyring"),
        (lose_root_key, "keyring"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_corruption_is_named(registry: Registry, damage: Callable[[Registry], None], words: str) -> None:
    assert checking.check(registry).clean
    damage(registry)
    report = checking.check(registry)
    assert any(words in line for line in report.corrupt), report


def test_orphans_are_named(registry: Registry) -> None:
    digest = registry.blobs.put(b"stray")
    (registry.folder / "blobs" / "incoming" / "half").write_bytes(b"x")
    report = checking.check(registry)
    assert not report.corrupt and len(report.orphaned) == 2
    assert digest in report.orphaned[0] and "half" in report.orphaned[1]
