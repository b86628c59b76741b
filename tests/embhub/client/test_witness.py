"""A witness cosigns one history of each log, whatever it is asked; a monitor reads every entry, and the tree."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embhub.client import watching
from embhub.client.log_tiles import TileProofs
from embhub.client.witness import MOST_CALLERS, Witness, open_key, serve
from embhub.errors import ConfigError, RegistryError
from embhub.log import checkpoints, leaves, merkle, notes, tiles, witnessing
from embhub.log.errors import ForkedLogError, MalformedLogError
from embhub.site import config, log_evidence, log_memory, signed
from embhub.site.keys import SigningKey
from embhub.trust import dsse
from embhub.trust import logged as entries
from embhub.trust.dsse import Envelope
from embhub.trust.keyring import LogKey, Trust
from tests.support import logs, releases
from tests.support.logs import MemoryLog
from tests.support.quick import examples

KEY = logs.log_key()
ENTRIES = [logs.make_leaf(number).to_bytes() for number in range(20)]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))


@pytest.fixture
def witness() -> Witness:
    return Witness(logs.witness_key(), {"127.0.0.1": KEY.public})


def log(size: int, **changes: object) -> MemoryLog:
    return replace(MemoryLog(ENTRIES[:size], KEY), **changes)  # type: ignore[arg-type]


def request(log: MemoryLog, old: int, **changes: object) -> bytes:
    size = log.checkpoint().size
    proof = merkle.consistency_proof(old, size, log.node) if old <= size else ()
    return replace(witnessing.make(old, proof, log.checkpoint().note), **changes).to_bytes()  # type: ignore[arg-type]


def cosigned(answer: tuple[int, str, bytes], by: Witness, log: MemoryLog) -> int:
    assert answer[0] == 200
    note = log.checkpoint().note.with_signatures(witnessing.parse_answer(answer[2]))
    (found,) = checkpoints.check_cosignatures(note, [by.signer.public])
    return found.time


# Requests of a log of 1, 3 and 5 entries, and what a witness answers: cmd/litewitness/testdata/litewitness.txt of
# FiloSottile/torchwood (ISC licence). The log's origin and its Ed25519 key are Sigsum's.
SIGSUM = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562"
SIGSUM_KEY = bytes.fromhex("ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f")
A, B = "KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
D = "KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
NOTES = {
    1: ("KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY="),
    3: ("RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=",
        "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go="),
    5: ("QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=",
        "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww="),
}  # fmt: skip


def published(old: int, size: int, *proof: str, origin: str = SIGSUM) -> bytes:
    root, signature = NOTES[size]
    lines = [f"old {old}", *proof, "", origin, str(size), root, "", f"\N{EM DASH} {origin} {signature}", ""]
    return "\n".join(lines).encode()


def test_published_requests_are_answered_as_another_witness_does() -> None:
    key = notes.VerifierKey(SIGSUM, notes.ED25519, SIGSUM_KEY)
    witness = Witness(logs.witness_key(), {SIGSUM: key})
    steps = (B, "KgMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "wgiIFdZfYNv6WU1OllBKsWnLYIS/DBMqt8Uh/S4OukE=", D)
    damaged = "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABAA="
    for status, body, request in [
        (200, None, published(0, 1)),
        (404, None, published(1, 3, A, B, origin=SIGSUM[:-1] + "3")),
        (422, None, published(1, 3)),
        (422, None, published(1, 3, A, damaged)),
        (200, None, published(1, 3, A, B)),
        (409, b"3\n", published(1, 5, A, "+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=", D)),
        (200, None, published(3, 5, *steps)),
        (409, b"5\n", published(0, 5)),
    ]:
        answer = witness.add_checkpoint(request, time=1_700_000_000)
        assert answer[0] == status and body in (None, answer[2]), (request, answer)


def test_a_log_that_grows_is_cosigned(witness: Witness) -> None:
    for old, new, now in ((0, 3, 100), (3, 3, 200), (3, 20, 300)):
        assert cosigned(witness.add_checkpoint(request(log(new), old), time=now), witness, log(new)) == now
    kept = witness.checkpoint(witnessing.place_of("127.0.0.1"))
    assert kept is not None and checkpoints.open_signed(kept, log=KEY.public).size == 20
    assert len(notes.parse(kept).signatures) == 2 and witness.checkpoint("0" * 64 + "/checkpoint") is None


BAD: dict[str, tuple[int, Callable[[], bytes]]] = {
    "an old size that is not the one known": (409, lambda: request(log(9), 4)),
    "a log that is not known": (404, lambda: request(log(9, key=logs.log_key("other")), 5)),
    "another key": (403, lambda: request(log(9, key=logs.log_key(seed=9)), 5)),
    "a forged signature": (403, lambda: request(log(9), 5).replace(b"\n9\n", b"\n8\n")),
    "an old size above the checkpoint's": (400, lambda: request(log(3), 5)),
    "no proof": (422, lambda: request(log(9), 5, proof=())),
    "a proof that is wrong": (422, lambda: request(log(9), 5, proof=(b"x" * 32,) * 3)),
    "a proof where none is needed": (422, lambda: request(log(5), 5, proof=(b"x" * 32,))),
    "another history": (422, lambda: request(MemoryLog(ENTRIES[::-1], KEY), 5)),
    "another history of the same size": (422, lambda: request(MemoryLog(ENTRIES[1:6], KEY), 5)),
    "nothing": (400, lambda: b""),
    "zeros before the old size": (400, lambda: request(log(9), 5).replace(b"old 5", b"old 05")),
    "too long a proof": (400, lambda: request(log(9), 5, proof=(b"x" * 32,) * 64)),
    "a page": (400, lambda: b"old 5\n\n<html>"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_continue_the_log_is_not_cosigned(witness: Witness, case: str) -> None:
    witness.add_checkpoint(request(log(5), 0), time=1)
    status, body = BAD[case]
    answer = witness.add_checkpoint(body(), time=2)
    assert answer[0] == status and "\N{EM DASH}".encode() not in answer[2]
    if status == 409:
        assert answer[1:] == ("text/x.tlog.size", b"5\n")
    kept = log_memory.recall(KEY.public, book=log_memory.WITNESS)
    assert kept is not None and kept.size == 5


@given(st.binary(max_size=300))
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_answered(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body, time=1)[0] in (400, 403, 404)
    for parse in (witnessing.parse, witnessing.parse_answer):
        with contextlib.suppress(MalformedLogError):
            parse(body)


def test_a_smaller_tree_is_not_cosigned_by_a_witness_that_reads(witness: Witness) -> None:
    witness.cosign(log(9).checkpoint(), KEY.public, prove=lambda a, b: (), time=1)
    with pytest.raises(ForkedLogError, match="were cosigned before"):
        witness.cosign(log(5).checkpoint(), KEY.public, prove=lambda a, b: (), time=2)
    kept = log_memory.recall(KEY.public, book=log_memory.WITNESS)
    assert kept is not None and kept.size == 9


def test_an_older_answer_of_the_same_history_is_not_cosigned_and_is_no_fork(witness: Witness) -> None:
    sent = TileProofs(log(9))
    witness.cosign(log(9).checkpoint(), KEY.public, prove=sent.prove, time=1)
    for size in (4, 5):
        with pytest.raises(RegistryError, match="of the same history"):
            witness.cosign(log(size).checkpoint(), KEY.public, prove=sent.prove, time=2)
    assert kept(log_evidence.FORKS) == [] and kept(log_evidence.UNEXPLAINED) == []
    fork = MemoryLog(ENTRIES[1:6], KEY).checkpoint()
    with pytest.raises(ForkedLogError, match="was rewritten"):
        witness.cosign(fork, KEY.public, prove=sent.prove, prefix=sent.prefix, time=3)


def test_a_round_that_met_an_older_answer_says_so_and_goes_on(witness: Witness) -> None:
    def source(size: int) -> TwoFaces:
        return TwoFaces(MemoryLog(ENTRIES[:9], KEY, size=size), log(9))

    cosigned_by = partial(watching.cosign, key=KEY.public, witness=witness, time=1)
    assert cosigned_by(source(9), log(9).checkpoint()) == "cosigned 9 entries"  # type: ignore[arg-type]
    said = cosigned_by(source(5), log(5).checkpoint())  # type: ignore[arg-type]
    assert said.startswith("not cosigned: 127.0.0.1 shows 5 entries, and 9 were cosigned before, of the same history")


class Answering:
    """A witness that listens, and what raw bytes over a socket bring from it."""

    def __init__(self, witness: Witness) -> None:
        self.server = serve(witness, "127.0.0.1", 0, clock=lambda: 1)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.server.server_port))
        made.settimeout(10)
        return made

    def ask(self, data: bytes) -> bytes:
        with self.connect() as made:
            made.sendall(data)
            return made.recv(65_536)


@pytest.fixture
def answering(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    monkeypatch.setattr("embhub.client.witness.LONGEST", 2.0)
    made = Answering(witness)
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


def post(body: bytes, length: str | None = None) -> bytes:
    given = str(len(body)) if length is None else length
    return b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: %s\r\n\r\n%s" % (given.encode(), body)


@pytest.mark.parametrize("length", ["1" * 5_000, "-1", "64001", "1e3", "", "\u0661"])
def test_a_length_that_is_none_is_answered(
    answering: Answering, length: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert answering.ask(post(b"", length)).startswith(b"HTTP/1.1 400 ")
    assert b" 200 OK" in answering.ask(post(request(log(5), 0)))
    assert capfd.readouterr().err == ""


def test_callers_who_say_nothing_hold_few_threads_and_not_for_long(answering: Answering) -> None:
    before = threading.active_count()
    idle = [answering.connect() for _ in range(60)]
    for made in idle:
        made.sendall(post(b"", "60000"))
    deadline = time.monotonic() + 20
    most, answer = 0, b""
    while b" 200 OK" not in answer and time.monotonic() < deadline:
        most = max(most, threading.active_count() - before)
        with contextlib.suppress(OSError):
            answer = answering.ask(post(request(log(5), 0)))
        for made in idle[:3]:
            with contextlib.suppress(OSError):
                made.sendall(b"x")  # a caller who sends a byte now and then is not heard for longer
        time.sleep(0.05)
    assert b" 200 OK" in answer and most <= MOST_CALLERS
    for made in idle:
        made.close()


def test_a_witnesss_key_keeps_its_name(tmp_path: Path) -> None:
    made = open_key(tmp_path / "w.pem", name="watch.umcu.example")
    assert made.public.kind == notes.COSIGNATURE and (tmp_path / "w.pem").stat().st_mode & 0o077 == 0
    assert open_key(tmp_path / "w.pem", name="").public == made.public
    with pytest.raises(ConfigError, match="is the key of"):
        open_key(tmp_path / "w.pem", name="other")


def trust() -> Trust:
    keyring = releases.make_keyring()
    return releases.make_trust(keyring.model_copy(update={"log": LogKey(vkey=str(KEY.public))}))


def look(source: MemoryLog, **options: object) -> watching.Watched:
    return watching.look(source, KEY.public, trust(), now=releases.NOW, **options)  # type: ignore[arg-type]


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


def kept(folder: str) -> list[Path]:
    return sorted((config.paths().state / folder).glob("*"))


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


OTHERS = [
    entries.leaf_of(Envelope(b"%d" % n, "text/plain", n.to_bytes(70, "big"), ""), releases.OTHER_SITE.public).to_bytes()
    for n in range(6)
]
WITH_A_THEFT = [*OTHERS[:3], ENTRIES[7], *OTHERS[4:]]


class TwoFaces:
    """One registry: every other time that its checkpoint is asked for, it is that of the second history."""

    def __init__(self, one: MemoryLog, other: MemoryLog) -> None:
        self.faces, self.asked, self.sent = (one, other), 0, list[bytes]()

    def read(self, name: str, *, limit: int) -> bytes | None:
        self.asked += name == "checkpoint"
        return self.faces[(self.asked - 1) % 2].read(name, limit=limit)

    def post(self, name: str, body: bytes) -> bytes:
        self.sent.append(body)
        return b""


def test_a_round_cosigns_the_checkpoint_that_it_checked(witness: Witness) -> None:
    source = TwoFaces(MemoryLog(OTHERS, KEY), MemoryLog(WITH_A_THEFT, KEY))
    found = look(source, namespace="radboud")  # type: ignore[arg-type]
    said = watching.cosign(source, found.checkpoint, KEY.public, witness, time=1)  # type: ignore[arg-type]
    assert said == "cosigned 6 entries" and source.asked == 1 and found.unknown == ()
    assert checkpoints.parse(notes.parse(source.sent[0])) == MemoryLog(OTHERS, KEY).checkpoint().checkpoint
    with pytest.raises(ForkedLogError, match="two different trees of 6"):
        look(source, namespace="radboud")  # type: ignore[arg-type]


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


def test_strangers_write_no_evidence_of_a_fork_and_little_of_anything(witness: Witness) -> None:
    witness.add_checkpoint(request(log(4), 0), time=1)
    note = log(9).checkpoint().note
    pad = notes.SignatureLine("pad.example.org", b"abcd", bytes(40_000))
    for number in range(100):
        line = notes.SignatureLine("stranger.example.org", number.to_bytes(4, "big"), b"s")
        body = witnessing.make(4, (b"x" * 32,) * 3, note.with_signatures([line, pad])).to_bytes()
        assert witness.add_checkpoint(body, time=2)[0] == 422
    assert kept(log_evidence.FORKS) == []
    (pair,) = kept(log_evidence.UNEXPLAINED)
    assert pair.stat().st_size < 1_000
    assert look(log(9)).unexplained == () and kept(log_evidence.UNEXPLAINED) == []


def test_evidence_has_an_end(witness: Witness) -> None:
    witness.add_checkpoint(request(log(3), 0), time=1)
    for number in range(log_evidence.MOST + 20):
        fork = MemoryLog([b"%d" % number, b"", b""], KEY)
        assert witness.add_checkpoint(request(fork, 3), time=2)[0] == 422
    assert len(kept(log_evidence.FORKS)) == log_evidence.MOST
    other = Witness(witness.signer, {"other": logs.log_key("other").public})
    for entry in (b"a", b"b"):
        other.add_checkpoint(request(MemoryLog([entry], logs.log_key("other")), 0 if entry == b"a" else 1), time=3)
    assert len(kept(log_evidence.FORKS)) == log_evidence.MOST + 1, "one log leaves room for another's"


def test_a_pair_that_shows_nothing_is_no_fork() -> None:
    """Earlier versions kept such pairs; and a file may be damaged."""
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


def test_the_witness_answers_while_a_look_waits_for_the_registry(witness: Witness) -> None:
    answers: list[int] = []

    class Slow(MemoryLog):
        def read(self, name: str, *, limit: int) -> bytes | None:
            if name.startswith("tile/0") and not answers:
                asked = threading.Thread(
                    target=lambda: answers.append(witness.add_checkpoint(request(log(3), 0), time=1)[0]), daemon=True
                )
                asked.start()
                asked.join(timeout=10)
            return super().read(name, limit=limit)

    look(log(5))
    assert look(Slow(ENTRIES[:9], KEY)).size == 9 and answers == [200]
    remembered = [log_memory.recall(KEY.public, book=book) for book in (log_memory.MONITOR, log_memory.WITNESS)]
    assert [one.size for one in remembered if one is not None] == [9, 3]
