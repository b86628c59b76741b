"""The audit log in the database, where servers share it: the same chain, the same evidence, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from embhub.errors import ConfigError, UsageError
from embhub_registry.database.dialects import SQLITE
from embhub_registry.database.logs import audit_head, audit_lines
from embhub_registry.operation.backups import backup, restoring
from embhub_registry.operation.facts import sharing
from embhub_registry.operation.observability import audit_export
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage import folder
from embhub_registry.storage.audit import audit_log, audit_places
from embhub_registry.storage.folder import Registry
from tests.support import postgres
from tests.support.quick import quick

Rows = list[tuple[int, str, str]]


@pytest.fixture(params=quick(["sqlite"], thorough=["postgresql"]))
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A registry whose audit log was a file, and is in the database now."""
    if request.param == "sqlite" and postgres.CHOSEN:
        pytest.skip("every registry is on PostgreSQL")
    address = request.getfixturevalue("postgresql").new_schema() if request.param == "postgresql" else None
    made = folder.create(tmp_path / "registry", name="T", url="http://127.0.0.1:1", audit="optional", database=address)
    for number in range(3):
        made.audit_log.write("event", user="anna", what=number)
    before = list(made.audit_log.lines())
    with made.database.writing() as db:
        files = audit_places.to_database(made.audit_log, db)
    audit_places.set_aside(files)
    assert list(made.audit_log.lines()) == before and made.audit_log.problems() == []
    for number in range(3, 6):
        made.audit_log.write("event", user="anna", what=number)
    yield made
    made.close()


def edit(change: Callable[[Rows], Rows]) -> Callable[[Registry], None]:
    """What somebody does who may write the database, but not a head that was noted elsewhere."""

    def apply(registry: Registry) -> None:
        with registry.database.writing() as db:
            rows = list(audit_lines.read(db, until=1_000_000))
            audit_lines.remove(db, until=1_000_000)
            audit_lines.append(db, change(rows))

    return apply


def rechain(rows: Rows) -> Rows:
    lines = [json.loads(text) for _, _, text in rows]
    lines[2]["user"] = "nobody"
    for before, line in pairwise(lines):
        line["previous"] = audit_log.digest_of(json.dumps(before).encode())
    return [(number, month, json.dumps(line)) for (number, month, _), line in zip(rows, lines, strict=True)]


def swap(rows: Rows) -> Rows:
    (one, month, first), (two, _, second) = rows[1:3]
    return [rows[0], (one, month, second), (two, month, first), *rows[3:]]


@pytest.mark.parametrize(
    "attack",
    [
        edit(lambda rows: [(n, month, text.replace("anna", "bert") if n == 4 else text) for n, month, text in rows]),
        edit(lambda rows: [*rows[:-1], (*rows[-1][:2], rows[-1][2].replace("anna", "bert"))]),
        edit(lambda rows: rows[:2] + rows[3:]),
        edit(lambda rows: rows[1:]),
        edit(lambda rows: rows[:-1]),
        edit(swap),
        edit(lambda rows: [*rows[:-1], (*rows[-1][:2], rows[-1][2][:-20])]),
        edit(lambda rows: []),
        edit(rechain),
    ],
    ids=("edited", "last-edited", "removed", "first-removed", "cut", "reordered", "torn", "emptied", "rewritten"),
)  # fmt: skip
def test_what_was_done_to_the_lines_is_noticed(registry: Registry, attack: Callable[[Registry], None]) -> None:
    attack(registry)
    found = registry.audit_log.problems()
    assert found and all(text.startswith("audit log: ") for text in found)
    registry.audit_log.write("later")
    assert registry.audit_log.problems(), "going on does not heal it"
    with pytest.raises(ConfigError, match="not whole"), registry.database.writing() as db:
        audit_places.to_files(registry.audit_log, db)


def test_a_line_is_not_updated(registry: Registry) -> None:
    with pytest.raises(Exception, match="append-only"), registry.database.writing() as db:
        db.execute("UPDATE audit_line SET line = 'x' WHERE number = 2")
    assert registry.audit_log.problems() == []


def test_a_line_that_nobody_sealed_is_told_and_taken_out(registry: Registry) -> None:
    head = registry.audit_log.head()
    with registry.database.writing() as db:
        audit_lines.append(db, [(head.number + 1, head.segment, '{"event":"forged"}')])
    assert any("the head knows" in text for text in registry.audit_log.problems())
    registry.audit_log.write("later")
    rows = [json.loads(line) for line in registry.audit_log.lines()]
    assert [row["event"] for row in rows[-2:]] == ["audit-log-unsealed", "later"] and "forged" in rows[-2]["text"]
    assert registry.audit_log.problems() == []


def test_a_head_that_was_noted_elsewhere_shows_a_rewritten_database(registry: Registry) -> None:
    known = audit_export.head(registry)["head"]
    registry.audit_log.write("later")
    assert audit_export.verify(registry, known=known)["whole"]
    with registry.database.writing() as db:
        rows = list(audit_lines.read(db, until=1_000_000))
        audit_lines.remove(db, until=1_000_000)
        forged = rechain(rows)
        audit_lines.append(db, forged)
        head = audit_head.read(db)
        assert head is not None
        audit_head.write(db, replace(head, digest=audit_log.digest_of(forged[-1][2].encode())))
    assert registry.audit_log.problems() == [], "the database alone does not show it"
    assert not audit_export.verify(registry, known=known)["whole"]


def test_months_are_pruned_and_go_back_into_files(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for month in ("2031-01", "2031-02", "2031-03"):
        monkeypatch.setattr(audit_log, "stamp", lambda month=month: f"{month}-05T00:00:00.000Z")
        for _ in range(2):
            registry.audit_log.write("event", month=month)
    assert registry.audit_log.problems() == []
    gone, _ = registry.audit_log.prune("2031-02")
    assert "audit-2031-01.jsonl" in gone and registry.audit_log.problems() == []
    kept = list(registry.audit_log.lines())
    assert list(audit_export.export(registry, since=registry.audit_log.head().number)) == [kept[-1].decode()]
    with registry.database.writing() as db:
        audit_places.to_files(registry.audit_log, db)
    assert list(registry.audit_log.lines()) == kept and registry.audit_log.problems() == []
    assert [file.name for file in registry.audit_log.segments()] == ["audit-2031-02.jsonl", "audit.jsonl"]
    registry.audit_log.write("later")
    assert registry.audit_log.problems() == [] and registry.audit_log.unsealed() == 0


def test_a_pruning_that_finds_nothing_removes_nothing(registry: Registry) -> None:
    before = list(registry.audit_log.lines())
    registry.audit_log.prune("2001-01")
    assert list(registry.audit_log.lines()) == before and registry.audit_log.problems() == []


def test_a_backup_has_the_lines_and_restores_them(registry: Registry, tmp_path: Path) -> None:
    before = list(registry.audit_log.lines())
    backup.back_up(registry, tmp_path / "hub.tar")
    restoring.restore(tmp_path / "hub.tar", tmp_path / "again", unauthenticated=True)
    again = open_folder(tmp_path / "again")
    try:
        assert again.audit_log.problems() == [] and list(again.audit_log.lines())[: len(before)] == before
        assert not again.is_shared and again.audit_log.head().place == audit_log.DATABASE
        assert sharing.unshare(again)["shared"] is False, "one server, and files, if its operator likes"
        assert again.audit_log.problems() == [] and list(again.audit_log.lines())[: len(before)] == before
        assert again.audit_log.head().place == "file"
    finally:
        again.close()


def test_only_a_registry_on_a_server_is_shared(registry: Registry) -> None:
    if registry.database.dialect is SQLITE:
        with pytest.raises(UsageError, match="only a registry on PostgreSQL"):
            sharing.share(registry)
    with registry.database.writing() as db:
        audit_places.to_files(registry.audit_log, db)
    with pytest.raises(UsageError, match="not shared"):
        sharing.unshare(registry)
    if registry.database.dialect is SQLITE:
        assert not registry.is_shared
