"""A monitor reads every entry, and the tree; what one part of a site saw, all parts compare."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from embhub.cli.find_and_verify import log_rounds
from embhub.client.log import log_evidence, log_memory
from embhub.client.log.log_reader import TileProofs
from embhub.client.monitor import watching
from embhub.client.monitor.witness import Witness
from embhub.errors import ConfigError, RegistryError
from embhub.log import checkpoints, leaves, merkle, notes, tiles
from embhub.log.errors import ForkedLogError, MalformedLogError
from embhub.site import config
from embhub.site.signing import signed
from embhub.site.signing.keys import SigningKey
from embhub.trust import dsse
from embhub.trust import logged as entries
from tests.support import logs, releases
from tests.support.logs import MemoryLog
from tests.support.watched_logs import ENTRIES, KEY, OTHERS, WITH_A_THEFT, TwoFaces, kept, log, look, trust


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))


@pytest.fixture
def witness() -> Witness:
    return Witness(logs.witness_key(), {"127.0.0.1": KEY.public})


def test_a_monitor_reads_what_is_new_and_whose_it_is() -> None:
    first = look(log(3))
    assert (first.before, [entry.index for entry in first.entries]) == (0, [0, 1, 2])
    assert {entry.namespace for entry in first.entries} == {"radboud"}
    second = look(log(5))
    assert (second.before, [entry.index for entry in second.entries]) == (3, [3, 4])
    assert look(log(5)).entries == () and len(look(log(5), everything=True).entries) == 5
    strange = look(MemoryLog([*ENTRIES[:5], b"not an entry of ours"], KEY))
    assert strange.entries[0].namespace is None


def test_what_was_signed_in_a_name_and_is_not_in_the_record_is_unknown() -> None:
    key = signed.NotedKey(releases.SITE)
    for number in (1, 2):
        signed.note([logs.make_leaf(number).identity])
    found = look(log(4), namespace="radboud")
    assert [entry.index for entry in found.unknown] == [0, 3]
    assert look(log(4), namespace="lumc").unknown == ()
    watching.accept(found.unknown)
    assert look(log(4), namespace="radboud").unknown == () and look(log(5), namespace="radboud").unknown[0].index == 4
    key.sign(b"a message")
    assert len(signed.known()) == 5
    with pytest.raises(ConfigError, match="no member"):
        look(log(5), namespace="nobody")


def signed_entry(number: int, key: SigningKey = releases.SITE) -> bytes:
    """An entry that this key really signed."""
    return entries.leaf_of(dsse.sign(b"%d" % number, key=key), key.public).to_bytes()


def test_an_entry_that_the_registry_invented_is_told_from_one_that_a_key_signed() -> None:
    other = leaves.parse(signed_entry(2, releases.WITHDRAWER))
    real = [signed_entry(1), other.to_bytes()]
    invented = [
        logs.make_leaf(3).to_bytes(),
        replace(other, digest=bytes(32)).to_bytes(),
        replace(leaves.parse(real[0]), key=other.key).to_bytes(),
        replace(leaves.parse(real[0]), signature=b"").to_bytes(),
    ]
    strange = [signed_entry(4, releases.STRANGER), b"of another kind"]
    source = MemoryLog([*real, *invented, *strange], KEY)
    found = look(source, namespace="radboud")
    assert [(entry.index, entry.is_signed) for entry in found.unknown] == [
        (0, True), (1, True), (2, False), (3, False), (4, False), (5, False),
    ]  # fmt: skip
    assert {entry.is_signed for entry in found.entries} == {None}, "only what is reported is checked"
    watching.accept(found.unknown)
    assert look(source, namespace="radboud").unknown == ()
    source.entries.append(signed_entry(3))  # a thief signs what an invented entry said before
    later = leaves.parse(source.entries[-1]).identity
    assert [entry.identity for entry in look(source, namespace="radboud").unknown] == [later]


FORKS: dict[str, Callable[[], MemoryLog]] = {
    "rewritten": lambda: MemoryLog([b"other", *ENTRIES[1:9]], KEY),
    "rewritten and cut, and the old files are served": lambda: MemoryLog(
        ENTRIES[:5], KEY, changed={"checkpoint": MemoryLog([b"other", *ENTRIES[1:3]], KEY).checkpoint().to_bytes()}
    ),
    "the same size": lambda: MemoryLog(ENTRIES[1:6], KEY),
}


@pytest.mark.parametrize("fork", FORKS)
def test_a_monitor_sees_a_log_that_is_not_append_only(fork: str) -> None:
    look(log(5))
    with pytest.raises(ForkedLogError) as caught:
        look(FORKS[fork]())
    assert caught.value.rule == "log-forked" and caught.value.exit_code == 4
    remembered = log_memory.recall(KEY.public, book=log_memory.MONITOR)
    assert remembered is not None and remembered.size == 5
    (evidence,) = kept(log_evidence.FORKS)
    assert str(evidence) in caught.value.hint
    for _ in range(2):  # it is said until a person has removed the evidence, whatever the log shows meanwhile
        with pytest.raises(ForkedLogError, match="signed two histories"):
            look(log(9))
    evidence.unlink()
    assert look(log(9)).size == 9


@pytest.mark.parametrize("size", [4, 5])
def test_a_rewrite_is_shown_at_every_size(size: int) -> None:
    """At a power of two a proof of consistency leaves out what the smaller tree has."""
    look(log(size))
    with pytest.raises(ForkedLogError, match="was rewritten"):
        look(MemoryLog([b"other", *ENTRIES[1:9]], KEY))
    (evidence,) = kept(log_evidence.FORKS)
    both = evidence.read_text().split("\n\n")
    lines = [base64.b64decode(line) for line in both[4].split()]
    first, second = log(size).checkpoint(), MemoryLog([b"other", *ENTRIES[1:9]], KEY).checkpoint()
    assert lines[0] != first.root
    merkle.check_consistency(size, 9, lines[0], second.root, lines[1:])  # whoever reads the file can check it


CUT: dict[str, Callable[[], MemoryLog]] = {
    "cut": lambda: log(3),
    "rewritten and cut": lambda: MemoryLog([b"other", *ENTRIES[1:3]], KEY),
}


@pytest.mark.parametrize("cut", CUT)
def test_a_log_that_was_cut_is_said_at_every_look_until_it_is_explained(cut: str) -> None:
    look(log(5))
    for _ in range(2):
        with pytest.raises(ForkedLogError, match="the log was cut") as caught:
            look(CUT[cut]())
        assert caught.value.exit_code == 4
        (pair,) = kept(log_evidence.UNEXPLAINED)
        assert str(pair) in caught.value.hint and pair.read_text().count("\N{EM DASH} 127.0.0.1") == 2
    assert kept(log_evidence.FORKS) == []
    if cut == "cut":  # the log shows its entries again, so the smaller checkpoint was an earlier one
        assert look(log(9)).unexplained == () and kept(log_evidence.UNEXPLAINED) == []
    else:
        with pytest.raises(ForkedLogError, match="was rewritten"):
            look(log(9))
        assert len(kept(log_evidence.FORKS)) == 1


def test_a_signed_tree_whose_files_are_withheld_is_kept_and_said_at_later_looks() -> None:
    class Withheld(MemoryLog):
        def read(self, name: str, *, limit: int) -> bytes | None:
            return None if name.startswith("tile/") else super().read(name, limit=limit)

    look(log(5))
    with pytest.raises(RegistryError, match="lacks tile") as caught:
        look(Withheld([b"other", *ENTRIES[1:12]], KEY))
    (pair,) = kept(log_evidence.UNEXPLAINED)
    assert str(pair) in caught.value.message
    found = look(log(9))  # smaller than what was signed: nothing says yet where the twelve entries are
    assert found.unexplained == (str(pair),) and found.size == 9
    with pytest.raises(ForkedLogError, match="was rewritten"):
        look(log(14))
    assert len(kept(log_evidence.FORKS)) == 1 and kept(log_evidence.UNEXPLAINED) == []


def test_an_older_copy_of_the_files_is_no_fork() -> None:
    look(log(9))
    with pytest.raises(RegistryError) as caught:
        look(log(5), is_copy=True)
    assert caught.value.exit_code == 5 and len(kept(log_evidence.UNEXPLAINED)) == 1
    assert look(log(9)).unexplained == () and kept(log_evidence.UNEXPLAINED) == []


def test_an_older_checkpoint_of_the_same_history_is_no_fork_and_no_news() -> None:
    look(log(9))
    with pytest.raises(RegistryError, match="9 were seen before"):
        look(MemoryLog(ENTRIES[:9], KEY, size=5))


def test_a_log_without_a_checkpoint_is_no_log() -> None:
    with pytest.raises(RegistryError, match="no checkpoint"):
        look(log(5, changed={"checkpoint": None}))


def test_a_round_cosigns_the_checkpoint_that_it_checked(witness: Witness) -> None:
    source = TwoFaces(MemoryLog(OTHERS, KEY), MemoryLog(WITH_A_THEFT, KEY))
    found = look(source, namespace="radboud")
    said = watching.cosign(source, found.checkpoint, KEY.public, witness, time=1)
    assert said == "cosigned 6 entries" and source.asked == 1 and found.unknown == ()
    assert checkpoints.parse(notes.parse(source.sent[0])) == MemoryLog(OTHERS, KEY).checkpoint().checkpoint
    with pytest.raises(ForkedLogError, match="two different trees of 6"):
        look(source, namespace="radboud")


BOOKS = (log_memory.READER, log_memory.MONITOR, log_memory.WITNESS)
HISTORIES = [(6, 6), (6, 9), (9, 6), (4, 9), (9, 4)]


@pytest.mark.parametrize("sizes", HISTORIES)
@pytest.mark.parametrize("first", BOOKS)
@pytest.mark.parametrize("second", BOOKS)
def test_what_one_part_of_a_site_saw_is_compared_by_all(first: str, second: str, sizes: tuple[int, int]) -> None:
    one, other = log(sizes[0]), MemoryLog([b"other", *ENTRIES[1 : sizes[1]]], KEY)
    log_memory.advance(KEY.public, one.checkpoint(), prove=None, book=first)
    sent = TileProofs(other if sizes[1] >= sizes[0] else one)
    with pytest.raises(ForkedLogError):
        log_memory.advance(KEY.public, other.checkpoint(), prove=sent.prove, prefix=sent.prefix, book=second)
    assert len(kept(log_evidence.FORKS)) == 1


@pytest.mark.parametrize("book", [log_memory.READER, log_memory.WITNESS])
def test_a_monitor_finds_what_another_part_could_not_compare(book: str) -> None:
    """A stick, and a request to the witness, bring no files for a comparison with what the monitor remembers."""
    look(log(9))
    fork = MemoryLog([b"other", *ENTRIES[1:6]], KEY)
    with pytest.raises(RegistryError) if book == log_memory.READER else nullcontext():
        log_memory.advance(KEY.public, fork.checkpoint(), prove=TileProofs(fork).prove, book=book)
    with pytest.raises(ForkedLogError, match="was rewritten"):
        look(log(9))


DAMAGED: dict[str, dict[str, bytes | None]] = {
    "hashes": {"tile/0/000.p/9": b"z" * 9 * 32},
    "hashes of another length": {"tile/0/000.p/9": b"z" * 31},
    "an entry": {"tile/entries/000.p/9": tiles.join_entries([*ENTRIES[:8], b"other"])},
    "a bundle that ends early": {"tile/entries/000.p/9": b"\0\5a"},
}


@pytest.mark.parametrize("size", [4, 5])
@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file_is_a_damaged_answer_and_no_fork(what: str, size: int) -> None:
    look(log(size))
    with pytest.raises(MalformedLogError):
        look(log(9, changed=DAMAGED[what]))
    assert kept(log_evidence.FORKS) == []
    remembered = log_memory.recall(KEY.public, book=log_memory.MONITOR)
    assert remembered is not None and remembered.size == size
    assert look(log(9)).unexplained == () and kept(log_evidence.UNEXPLAINED) == []


def test_a_pair_that_shows_nothing_is_no_fork() -> None:
    """A file may be damaged, or put there by hand."""
    look(log(4))
    folder = config.paths().state / log_evidence.FORKS
    folder.mkdir()
    one, two = log(5).checkpoint().to_bytes(), log(8).checkpoint().to_bytes()
    for name, data in {
        "a": one + b"\n" + two,
        "b": b"\xff" * 99,
        "c": one + b"\n" + two + b"\nAAAA\n",
        "d": b"",
    }.items():
        (folder / f"{name}.txt").write_bytes(data)
    assert look(log(9)).size == 9
    (folder / "e.txt").write_bytes(one + b"\n" + MemoryLog(ENTRIES[1:6], KEY).checkpoint().to_bytes())
    with pytest.raises(ForkedLogError):
        look(log(9))


def test_what_was_found_is_shown_before_the_witness_refuses(
    witness: Witness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(watching, "renew", lambda _: ())
    monkeypatch.setattr(watching, "find", lambda _: (KEY.public, trust()))
    monkeypatch.setattr(watching, "source_of", lambda _: log(5))
    monkeypatch.setattr(watching, "is_copy", lambda _: False)
    monkeypatch.setattr(watching, "is_confirmed", lambda *_: True)
    monkeypatch.setattr(log_rounds, "_open", lambda *_: witness)

    def refuse(*_: object, **__: object) -> str:
        raise ForkedLogError("it is of another history", "ask its operator")

    monkeypatch.setattr(watching, "cosign", refuse)
    shown: list[watching.Watched] = []
    with pytest.raises(ForkedLogError, match="another history"):
        log_rounds.run(
            "https://hub.example.org", show=shown.append, key=tmp_path / "w", name="", listen=None,
            namespace="radboud", accept=False, every=None,
        )  # fmt: skip
    assert [entry.index for entry in shown[0].unknown] == [0, 1, 2, 3, 4]
    assert shown[0].cosigned == "not cosigned: it is of another history"
