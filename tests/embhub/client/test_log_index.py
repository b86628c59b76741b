"""A log that is too long for one call is read over several, and each entry that counts is the one that was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from embhub.client.log import log_index, log_reader, logged_designs, read_entries
from embhub.errors import RegistryError
from embhub.log import tiles
from embhub.log.errors import MalformedLogError
from embhub.log.tiles import WIDTH
from embhub.site import config
from tests.embhub.client.test_logged_designs import BAD, GOOD, KEY, SECOND, check, said, showing
from tests.support import logs
from tests.support.logs import MemoryLog

FILLING = [logs.make_leaf(number).to_bytes() for number in range(1_000)]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(logged_designs, "MOST_ENTRIES", WIDTH)


class Files(MemoryLog):
    """A log that is files alone: of a tile that is not whole it has the newest state. `bundles` were read."""

    def read(self, name: str, *, limit: int) -> bytes | None:
        self.bundles = getattr(self, "bundles", [])
        if not name.startswith("tile/") or name in self.changed:
            return super().read(name, limit=limit)
        tile = tiles.parse_path(name)
        if tile != tiles.needed(tile.level, tile.number, self.checkpoint().size):
            return None
        self.bundles += [tile.number] if tile.level is None else []
        return super().read(name, limit=limit)


def long(*more: bytes, size: int = 3 * WIDTH + 40) -> list[bytes]:
    """Design and notice of GOOD in the first bundle, its result in the second, and `more` at the end."""
    entries = [*FILLING[:10], *GOOD.before, *FILLING[10:300], *GOOD.after, *FILLING[300:]]
    return [*entries[: size - len(more)], *more]


def read_it(entries: Sequence[bytes]) -> Files:
    """The log, after as many calls as it takes."""
    log = Files(list(entries), KEY)
    for _ in range(len(entries) // WIDTH):
        outcome, text = said(check(log))[0]
        assert outcome == "warning" and text.startswith("unknown: the log was not read: only ")
    return log


def test_each_call_reads_a_part_and_the_last_one_knows() -> None:
    log = Files(long(), KEY)
    for call in (1, 2, 3):
        ((outcome, text),) = said(check(log))
        assert outcome == "warning" and f"only {call * WIDTH:,} of its 808 entries so far" in text
        assert log.bundles == [call - 1], "what was read before is not read again"
        log.bundles = []
    ((outcome, text),) = said(check(log))
    assert (outcome, text) == ("ok", "design logged at 11, result at 302, nothing dropped between")
    assert log.bundles == [3, 0], "the last part, and the bundle of the notice"
    assert said(check(None))[0][0] == "ok", "a folder needs no network"


def test_a_log_that_grew_is_read_from_where_it_ended() -> None:
    read_it(long())
    grown = Files([*long(), *FILLING[500 : 500 + WIDTH]], KEY)
    assert said(check(grown))[0][0] == "warning" and grown.bundles == [3]
    grown.bundles = []
    assert said(check(grown))[0][0] == "ok" and set(grown.bundles) == {4, 0}


@pytest.mark.parametrize("at", [20, 400, 790])
def test_an_audit_that_was_dropped_is_seen_in_each_part(at: int) -> None:
    entries = long()
    entries[at : at + len(BAD.before)] = BAD.before
    entries[-4:] = [*SECOND.before, *SECOND.after]
    log = Files(entries, KEY)
    for _ in range(4):
        ((outcome, text),) = said(check(log, audit=SECOND, ask=showing(SECOND.row)))
    assert outcome == "warning" and "dropped: audit 1 by radboud" in text


def test_an_entry_that_was_read_is_not_exchanged_later() -> None:
    log = read_it(long())
    other = tiles.join_entries([*FILLING[600:610], *FILLING[:2], *log.entries[12:WIDTH]])
    with pytest.raises(MalformedLogError, match="not those under its checkpoint"):
        check(replace(log, changed={"tile/entries/000": other}))


def test_bundles_that_were_not_signed_are_not_remembered() -> None:
    honest = Files(long(), KEY)
    damaged = replace(honest, changed={"tile/entries/000": tiles.join_entries(FILLING[:WIDTH])})
    with pytest.raises(MalformedLogError):
        check(damaged)
    assert read_entries.load(KEY.public) is None


def test_what_was_read_is_not_lost_to_a_registry_that_shows_damaged_tiles() -> None:
    log = Files(long(), KEY)
    check(log), check(log)
    before = read_entries.load(KEY.public)
    assert before is not None and before.size == 2 * WIDTH
    with pytest.raises(MalformedLogError):
        check(replace(log, changed={"tile/1/000.p/3": b"x" * 96}))
    assert said(check(replace(log, changed={"tile/1/000.p/3": None})))[0][0] == "warning"
    assert read_entries.load(KEY.public) == before


@pytest.mark.parametrize("change", [b"", b"x", b"embhub-entries/1", None])
def test_a_damaged_file_is_read_again(change: bytes | None) -> None:
    read_it(long())
    (path,) = (config.paths().state / "log-entries").iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if change is None else change)
    assert read_entries.load(KEY.public) is None
    read_it(long())


def test_rows_of_another_history_are_not_used() -> None:
    other = read_entries.ReadEntries(b"r" * 32, bytes(2 * WIDTH * read_entries.ROW))
    read_entries.save(KEY.public, other)
    assert said(check(read_it(long())))[0][0] == "ok"


def test_the_log_has_to_begin_with_the_entries_under_the_releases_checkpoint() -> None:
    log = Files(long(), KEY)
    for size in (5, WIDTH, 300, len(log.entries)):
        log_index.check_known(log, replace(log, size=size).checkpoint(), log.checkpoint())
        fork = MemoryLog([b"other", *log.entries[1:]], KEY, size=size).checkpoint()
        with pytest.raises(MalformedLogError, match=f"checkpoint of {size}"):
            log_index.check_known(log, fork, log.checkpoint())


def test_notices_without_end_are_not_fetched_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes the log can name a file in every entry, signed by nobody."""
    log = read_it(long())
    monkeypatch.setattr(log_reader, "MOST_READ", 1_000)
    found = log_index.read(log, KEY.public, log.checkpoint(), most=WIDTH)
    with pytest.raises(RegistryError, match="too many"):
        [entry() for _, entry in found]


WANTED = b"wanted"


def look(log: MemoryLog, purpose: str = "a keyring") -> int | None:
    """The place of the entry that is wanted, among 256 after entry 4."""
    return log_index.first_after(
        log, KEY.public, log.checkpoint(), 4, lambda entry: entry == WANTED, purpose=purpose, most=WIDTH
    )


def looked(log: MemoryLog) -> int:
    """How far it was looked through."""
    with pytest.raises(RegistryError, match="were looked through so far; verify again") as caught:
        look(log)
    return int(caught.value.message.split()[1].replace(",", ""))


def test_a_log_is_looked_through_a_part_at_a_time() -> None:
    log = Files(FILLING, KEY)
    assert [looked(log), looked(log)] == [512, 768]
    for _ in range(2):  # the last part, which is not whole, is read again
        log.bundles = []
        assert look(log) is None and set(log.bundles) == {3}
    grown = Files([*FILLING, *FILLING, WANTED], KEY)
    assert [looked(grown) for _ in range(4)] == [1_024, 1_280, 1_536, 1_792]
    assert look(grown) == look(grown) == 2_000  # what was found is found again


def test_what_was_looked_through_for_something_else_is_looked_through_anew() -> None:
    log = MemoryLog([*FILLING[:600], WANTED, *FILLING[600:]], KEY)
    assert looked(log) == 512 and look(log) == 600
    with pytest.raises(RegistryError, match="only 512"):
        look(log, "another keyring")


@pytest.mark.parametrize("size", [512, 600, 1_000])
def test_entries_that_were_looked_through_in_another_log_do_not_count(size: int) -> None:
    """Whoever holds the log's key shows one history without the entry, then another with it."""
    assert looked(MemoryLog(FILLING, KEY)) == 512
    assert look(MemoryLog([*FILLING[:5], WANTED, *FILLING[6:size]], KEY)) == 5


@pytest.mark.parametrize("damage", [b"", b"embhub-looked-through/1", bytes(87)])
def test_a_damaged_note_of_what_was_looked_through_is_no_note(damage: bytes) -> None:
    log = MemoryLog(FILLING, KEY)
    assert looked(log) == 512
    (note,) = (config.paths().state / "log-entries").glob("*.looked")
    assert note.stat().st_mode & 0o777 == 0o600
    note.write_bytes(damage)
    assert looked(log) == 512


def test_a_shorter_checkpoint_is_looked_through_anew() -> None:
    log = MemoryLog([*FILLING[:100], WANTED, *FILLING[101:]], KEY)
    read_entries.save_looked_through(KEY.public, "a keyring", read_entries.LookedThrough(1_000, bytes(32)))
    assert look(replace(log, size=300)) == 100
