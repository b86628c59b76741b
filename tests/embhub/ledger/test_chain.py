"""The chained file: what was written is there after a crash, and what somebody changed is noticed."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embhub.errors import ConfigError
from embhub.ledger.chain import Ledger, LedgerTamperedError
from tests.support.quick import examples

KEY = b"k" * 32


def ledger(folder: Path, key: bytes = KEY) -> Ledger:
    return Ledger(folder / "state" / "ledger.jsonl", head=folder / "config" / "budget.head", key=key)


def fill(folder: Path, count: int = 5) -> Ledger:
    book = ledger(folder)
    with book.locked():
        for number in range(count):
            book.append("spent", {"steps": number, "q": 0.1})
    return book


def read(folder: Path, key: bytes = KEY) -> list[int]:
    book = ledger(folder, key)
    with book.locked():
        return [entry.body["steps"] for entry in book.read()]


def lines(folder: Path) -> list[bytes]:
    return (folder / "state" / "ledger.jsonl").read_bytes().splitlines(keepends=True)


def write(folder: Path, content: list[bytes]) -> None:
    (folder / "state" / "ledger.jsonl").write_bytes(b"".join(content))


def test_entries_come_back_in_order_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    fill(tmp_path)
    assert read(tmp_path) == [0, 1, 2, 3, 4]
    for path in (tmp_path / "state" / "ledger.jsonl", tmp_path / "config" / "budget.head"):
        assert path.stat().st_mode & 0o077 == 0


def _edit(content: list[bytes]) -> list[bytes]:
    return [line.replace(b'"steps":2', b'"steps":1') for line in content]


def _resealed(content: list[bytes]) -> list[bytes]:
    """An edit by somebody who knows the format, but not the key."""
    value = json.loads(content[2])
    value["body"]["steps"] = 0
    return [*content[:2], json.dumps(value, separators=(",", ":"), sort_keys=True).encode() + b"\n", *content[3:]]


CHANGES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "edited": _edit,
    "edited with care": _resealed,
    "one deleted": lambda content: content[:2] + content[3:],
    "first deleted": lambda content: content[1:],
    "last deleted": lambda content: content[:-1],
    "all deleted": lambda content: [],
    "reordered": lambda content: [content[0], content[2], content[1], *content[3:]],
    "repeated": lambda content: [*content, content[-1]],
    "inserted": lambda content: [*content[:2], content[1], *content[2:]],
    "cut": lambda content: [*content[:-1], content[-1][:-9]],
    "line end gone": lambda content: [*content[:-1], content[-1].rstrip(b"\n")],
    "not JSON": lambda content: [*content[:-1], b"{" * (len(content[-1]) - 1) + b"\n"],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_tampering_is_noticed(tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    fill(tmp_path)
    write(tmp_path, change(lines(tmp_path)))
    with pytest.raises(LedgerTamperedError) as caught:
        read(tmp_path)
    assert caught.value.exit_code == 6 and caught.value.hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(25))
@given(st.data())
def test_no_byte_can_be_changed(tmp_path: Path, data: st.DataObject) -> None:
    shutil.rmtree(tmp_path / "state", ignore_errors=True)
    shutil.rmtree(tmp_path / "config", ignore_errors=True)
    fill(tmp_path, 3)
    whole = b"".join(lines(tmp_path))
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    write(tmp_path, [whole[:place] + bytes([byte]) + whole[place + 1 :]])
    with pytest.raises(LedgerTamperedError):
        read(tmp_path)


def test_an_older_head_or_none_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    older = (tmp_path / "config" / "budget.head").read_bytes()
    fill(tmp_path, 3)
    (tmp_path / "config" / "budget.head").write_bytes(older)
    with pytest.raises(LedgerTamperedError, match="older"):
        read(tmp_path)
    (tmp_path / "config" / "budget.head").unlink()
    with pytest.raises(LedgerTamperedError):
        read(tmp_path)


def test_a_changed_head_is_noticed(tmp_path: Path) -> None:
    fill(tmp_path)
    head = tmp_path / "config" / "budget.head"
    head.write_bytes(head.read_bytes().replace(b'"count":5', b'"count":4'))
    with pytest.raises(LedgerTamperedError, match="head"):
        read(tmp_path)


def test_an_old_ledger_with_its_old_head_is_what_nobody_can_notice(tmp_path: Path) -> None:
    """Said in the docs: the files alone cannot tell a restored backup from the present."""
    fill(tmp_path, 2)
    shutil.copytree(tmp_path / "state", tmp_path / "old")
    shutil.copy(tmp_path / "config" / "budget.head", tmp_path / "old.head")
    fill(tmp_path, 2)
    shutil.rmtree(tmp_path / "state")
    shutil.copytree(tmp_path / "old", tmp_path / "state")
    shutil.copy(tmp_path / "old.head", tmp_path / "config" / "budget.head")
    assert read(tmp_path) == [0, 1]


def test_another_key_reads_nothing(tmp_path: Path) -> None:
    fill(tmp_path)
    with pytest.raises(LedgerTamperedError):
        read(tmp_path, b"o" * 32)


def test_appending_to_a_changed_ledger_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    write(tmp_path, lines(tmp_path)[:-1])
    with pytest.raises(LedgerTamperedError):
        fill(tmp_path, 1)


@pytest.mark.parametrize("kept", [1, 30, -1])
def test_a_line_that_a_crash_cut_off_is_dropped(tmp_path: Path, kept: int) -> None:
    """Its writer was never told that it was there."""
    fill(tmp_path, 3)
    head = (tmp_path / "config" / "budget.head").read_bytes()
    fill(tmp_path, 1)
    (tmp_path / "config" / "budget.head").write_bytes(head)
    content = lines(tmp_path)
    write(tmp_path, [*content[:-1], content[-1][:kept]])
    assert read(tmp_path) == [0, 1, 2]
    fill(tmp_path, 1)
    assert read(tmp_path) == [0, 1, 2, 0]


def test_a_whole_line_that_the_head_missed_counts(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    head = (tmp_path / "config" / "budget.head").read_bytes()
    fill(tmp_path, 1)
    (tmp_path / "config" / "budget.head").write_bytes(head)
    fill(tmp_path, 1)
    assert read(tmp_path) == [0, 1, 2, 0, 0]


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = fill(tmp_path, 2)
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 20:
            return real(descriptor, data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embhub.ledger.chain.os.write", full)
    with book.locked(), pytest.raises(ConfigError, match="No space left"):
        book.append("spent", {"steps": 7})
    monkeypatch.setattr("embhub.ledger.chain.os.write", real)
    assert read(tmp_path) == [0, 1]
    fill(tmp_path, 1)
    assert read(tmp_path) == [0, 1, 0]


def _add(folder: Path, times: int) -> None:
    for _ in range(times):
        fill(folder, 1)


def test_processes_at_once_lose_no_entry(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add, args=(tmp_path, 12)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert read(tmp_path) == [0] * 48
