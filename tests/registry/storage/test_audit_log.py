"""The audit log is a chain: edited, removed, reordered or cut lines are noticed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from embhub.errors import ConfigError, UsageError
from embhub_registry.database.logs import audit_head
from embhub_registry.operation.observability import audit_export
from embhub_registry.operation.opening import open_folder
from embhub_registry.storage import database_place, folder
from embhub_registry.storage.audit import audit_log
from embhub_registry.storage.folder import Registry

TOKEN = "hf_emb_" + "Zx9-_q" * 7


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    for number in range(6):
        made.audit_log.write("event", user="anna", what=number)
    yield made
    made.close()


def lines(registry: Registry) -> list[str]:
    return registry.audit_log.path.read_text().splitlines(keepends=True)


def edit(change: Callable[[list[str]], list[str]]) -> Callable[[Registry], None]:
    def apply(registry: Registry) -> None:
        registry.audit_log.path.write_text("".join(change(lines(registry))))

    return apply


def rechain(registry: Registry) -> None:
    """What somebody does who may write the file, but not the database: all lines after the edited one anew."""
    rows = [json.loads(line) for line in lines(registry)]
    rows[2]["user"] = "nobody"
    for before, row in pairwise(rows):
        row["previous"] = audit_log.digest_of(json.dumps(before).encode())
    registry.audit_log.path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    "attack",
    [
        edit(lambda rows: [row.replace("anna", "bert") if n == 3 else row for n, row in enumerate(rows)]),
        pytest.param(edit(lambda rows: [*rows[:-1], rows[-1].replace("anna", "bert")]), marks=pytest.mark.thorough),
        edit(lambda rows: rows[:2] + rows[3:]),
        pytest.param(edit(lambda rows: rows[1:]), marks=pytest.mark.thorough),
        edit(lambda rows: rows[:-1]),
        edit(lambda rows: [rows[0], rows[2], rows[1], *rows[3:]]),
        pytest.param(edit(lambda rows: [*rows[:3], rows[2], *rows[3:]]), marks=pytest.mark.thorough),
        edit(lambda rows: [*rows[:-1], rows[-1][:-20]]),
        pytest.param(edit(lambda rows: []), marks=pytest.mark.thorough),
        rechain,
        lambda registry: registry.audit_log.path.unlink(),
    ],
    ids=(
        "edited",
        "last-edited",
        "removed",
        "first-removed",
        "cut",
        "reordered",
        "doubled",
        "torn",
        "emptied",
        "rewritten",
        "deleted",
    ),
)
def test_what_was_done_to_the_log_is_noticed(registry: Registry, attack: Callable[[Registry], None]) -> None:
    assert registry.audit_log.problems() == []
    attack(registry)
    found = registry.audit_log.problems()
    assert found and all(text.startswith("audit log: ") for text in found)
    registry.audit_log.write("later")
    assert registry.audit_log.problems(), "going on does not heal it"


def test_lines_that_were_appended_by_hand_are_told_apart(registry: Registry) -> None:
    forged = {**json.loads(lines(registry)[-1]), "number": 8, "event": "forged"}
    forged["previous"] = registry.audit_log.head().digest
    with registry.audit_log.path.open("a") as stream:
        stream.write(json.dumps(forged) + "\n")
    assert registry.audit_log.unsealed() > 0
    assert not any("forged" in line for line in audit_export.export(registry))
    registry.audit_log.write("later")
    rows = [json.loads(line) for line in audit_export.export(registry)]
    assert [row["event"] for row in rows[-2:]] == ["audit-log-unsealed", "later"]
    assert "forged" in rows[-2]["text"] and registry.audit_log.problems() == [] and registry.audit_log.unsealed() == 0


def test_a_writer_killed_after_its_line_leaves_a_whole_chain(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(audit_head, "write", die)
        registry.audit_log.write("half")
    registry.audit_log.write("after")
    assert registry.audit_log.problems() == []
    assert [json.loads(line)["event"] for line in audit_export.export(registry)][-2:] == ["audit-log-unsealed", "after"]


def test_a_head_that_was_written_down_shows_a_rewritten_log(registry: Registry) -> None:
    known = audit_export.head(registry)["head"]
    registry.audit_log.write("later")
    assert audit_export.verify(registry, known=known)["whole"]
    rechain(registry)  # and now the database as well: whoever owns the disk can do both
    rows = lines(registry)
    with registry.database.writing() as db:
        head = audit_head.read(db)
        assert head is not None
        digest, size = audit_log.digest_of(rows[-1].rstrip("\n").encode()), sum(map(len, rows))
        forged = audit_head.Head(head.number, digest, head.segment, size, head.first_number, head.first_previous)
        audit_head.write(db, forged)
    assert registry.audit_log.problems() == [], "the folder alone does not show it"
    assert not audit_export.verify(registry, known=known)["whole"]
    with pytest.raises(UsageError, match="head"):
        audit_export.verify(registry, known="7")


def test_months_are_segments_and_old_ones_can_go(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for month in ("2031-01", "2031-02", "2031-01", "2031-03"):
        monkeypatch.setattr(audit_log, "stamp", lambda month=month: f"{month}-01T00:00:00.000Z")
        registry.audit_log.write("monthly", month=month)
    names = [path.name for path in registry.audit_log.segments()]
    assert len(names) == 4 and names[1:] == ["audit-2031-01.jsonl", "audit-2031-02.jsonl", "audit.jsonl"]
    assert registry.audit_log.problems() == [], "a clock that goes back opens no older segment"
    kept = registry.audit_log.segments()[0].read_bytes()
    gone, _ = registry.audit_log.prune("2031-02")
    assert gone == names[:2] and registry.audit_log.problems() == []
    registry.audit_log.path.with_name(names[0]).write_bytes(kept)  # as if it had been killed before it removed this one
    assert registry.audit_log.problems() == [] and names[0] not in [path.name for path in registry.audit_log.segments()]
    assert registry.audit_log.prune("2031-02")[0] == names[:1] and registry.audit_log.problems() == []
    registry.audit_log.write("later")
    assert registry.audit_log.problems() == []
    registry.audit_log.segments()[0].unlink()
    assert registry.audit_log.problems()


def test_lines_without_a_head_are_set_aside_and_told(tmp_path: Path) -> None:
    """A process was killed before its transaction, or somebody put them there."""
    made = folder.create(tmp_path / "registry", name="Test", url="http://127.0.0.1:1", audit="optional")
    try:
        with made.database.writing() as db:
            db.execute("DELETE FROM audit_head")
        old = '{"time": "2026-01-01T00:00:00.000Z", "event": "init"}\n{"event": "user-added", "user": "anna"}\n'
        made.audit_log.path.write_text(old)
        made.audit_log.write("new")
        told, new = (json.loads(line) for line in made.audit_log.lines())
        assert (told["event"], told["number"], new["event"]) == ("audit-log-unsealed", 1, "new")
        assert (made.folder / told["file"]).read_text() == old and made.audit_log.problems() == []
        lines = made.audit_log.path.read_bytes()
        made.audit_log.path.write_bytes(old.encode() + lines)
        assert "comes something else" in made.audit_log.problems()[0]
    finally:
        made.close()


def test_no_token_is_written_down(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    from embhub_registry.storage.logs import log

    basic = "authorization: Basic YTpiYzpk"
    planted = {"path": f"/{TOKEN}/x", "text": f"Authorization: Bearer {TOKEN}", "basic": basic}
    registry.audit_log.write("odd", **planted)
    log("info", "odd", **planted)
    for text in (registry.audit_log.path.read_text(), capsys.readouterr().err):
        assert "[redacted]" in text and TOKEN not in text and TOKEN[10:30] not in text and "YTpiYzpk" not in text
    assert not re.search(r"hf_emb_[A-Za-z0-9_-]{16,}", registry.audit_log.path.read_text())
    assert registry.audit_log.problems() == []


def test_an_older_database_loses_no_line(registry: Registry) -> None:
    with registry.database.writing() as db:
        older = audit_head.read(db)
    assert older is not None
    for number in range(200):
        registry.audit_log.write("later", what=number, pad="x" * 200)
    whole = registry.audit_log.path.read_bytes()
    with registry.database.writing() as db:  # the database recovered to an earlier moment
        audit_head.write(db, older)
    registry.audit_log.write("after")
    event = json.loads(lines(registry)[-2])
    kept = registry.audit_log.path.with_name(event["file"])
    assert kept.name.startswith(f"audit-unsealed-{older.number}-") and kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_bytes() == whole[older.size :] and event["bytes"] == len(whole) - older.size
    assert registry.audit_log.problems() == [] and kept not in registry.audit_log.segments()


def at(monkeypatch: pytest.MonkeyPatch, month: str) -> None:
    monkeypatch.setattr(audit_log, "stamp", lambda: f"{month}-01T00:00:00.000Z")


def events(registry: Registry) -> list[str]:
    return [json.loads(line)["event"] for line in registry.audit_log.lines() if line]


def test_a_writer_killed_at_a_months_end_leaves_a_whole_chain(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(audit_head, "write", die)
        registry.audit_log.write("half")
    at(monkeypatch, "2099-01")
    registry.audit_log.write("after")
    assert registry.audit_log.problems() == [] and events(registry)[-2:] == ["audit-log-unsealed", "after"]


def test_an_older_database_of_an_earlier_month_loses_no_line(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines after the recovered moment stand in closed segments too."""
    with registry.database.writing() as db:
        older = audit_head.read(db)
    assert older is not None
    registry.audit_log.write("later")
    for month in ("2098-11", "2098-12", "2099-01"):
        at(monkeypatch, month)
        registry.audit_log.write("later", month=month)
        registry.audit_log.write("later still", month=month)
    written = b"".join(file.read_bytes() for file in registry.audit_log.segments())
    with registry.database.writing() as db:
        audit_head.write(db, older)
    at(monkeypatch, "2099-02")
    registry.audit_log.write("after")
    assert registry.audit_log.problems() == []
    added = [json.loads(line) for line in registry.audit_log.lines()][older.number :]
    assert [row["event"] for row in added] == ["audit-log-unsealed"] * 4 + ["after"]
    kept = b"".join(registry.audit_log.path.with_name(row["file"]).read_bytes() for row in added[:-1])
    before = b"".join(line + b"\n" for line in [*registry.audit_log.lines()][: older.number])
    assert before + kept == written, "every line is there, in order"


def test_a_log_that_lost_its_file_says_so_in_the_next_month_too(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.audit_log.path.unlink()
    at(monkeypatch, "2099-01")
    registry.audit_log.write("after")
    assert events(registry) == ["audit-log-cut", "after"]
    assert registry.audit_log.problems()


def test_the_log_of_another_database_is_left_as_it_is(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    with registry.database.writing() as db:
        head = audit_head.read(db)
        assert head is not None
        audit_head.write(db, replace(head, digest="0" * 64, size=len(lines(registry)[0])))
    files = {path.name: path.read_bytes() for path in registry.folder.glob("audit*")}
    for month in (head.segment, "2099-01"):
        monkeypatch.setattr(audit_log, "stamp", lambda month=month: f"{month}-01T00:00:00.000Z")
        registry.audit_log.write("after")
        assert {path.name: path.read_bytes() for path in registry.folder.glob("audit*")} == files
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="do not belong together"):
        registry.audit_log.check_belongs()


def test_folder_and_database_have_one_id(registry: Registry, tmp_path: Path) -> None:
    here = database_place.noted_id(registry.folder)
    assert len(here) == 32 and registry.setting(database_place.ID) == here
    other = folder.create(tmp_path / "other", name="Other", url="http://127.0.0.1:2", audit="optional")
    other.close()
    before = registry.audit_log.path.read_bytes()
    (registry.folder / database_place.ID).write_bytes((other.folder / database_place.ID).read_bytes())
    with pytest.raises(ConfigError, match="different registries"):
        open_folder(registry.folder)
    assert registry.audit_log.path.read_bytes() == before
    (registry.folder / database_place.ID).unlink()  # as a backup or an earlier release leaves it
    open_folder(registry.folder).close()
    assert database_place.noted_id(registry.folder) == here
