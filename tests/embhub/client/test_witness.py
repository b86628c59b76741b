"""A witness cosigns one history of each log, whatever it is asked."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embhub.client.log import log_evidence, log_memory
from embhub.client.log.log_reader import TileProofs
from embhub.client.monitor import watching
from embhub.client.monitor.witness import MOST_CALLERS, Witness, open_key, serve
from embhub.errors import ConfigError, RegistryError
from embhub.log import checkpoints, merkle, notes, witnessing
from embhub.log.errors import ForkedLogError, MalformedLogError
from tests.support import logs
from tests.support.logs import MemoryLog
from tests.support.quick import examples
from tests.support.watched_logs import ENTRIES, KEY, TwoFaces, kept, log, look


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))


@pytest.fixture
def witness() -> Witness:
    return Witness(logs.witness_key(), {"127.0.0.1": KEY.public})


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


def test_a_round_that_met_an_older_answer_says_so_and_is_no_success(witness: Witness) -> None:
    def source(size: int) -> TwoFaces:
        return TwoFaces(MemoryLog(ENTRIES[:9], KEY, size=size), log(9))

    cosigned_by = partial(watching.cosign, key=KEY.public, witness=witness, time=1)
    assert cosigned_by(source(9), log(9).checkpoint()) == "cosigned 9 entries"
    with pytest.raises(RegistryError, match=r"not cosigned: 127\.0\.0\.1 shows 5 entries, and 9 were cosigned before"):
        cosigned_by(source(5), log(5).checkpoint())


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
    monkeypatch.setattr("embhub.client.monitor.witness.LONGEST", 2.0)
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


def test_a_caller_does_not_wait_for_a_registry_that_a_round_of_the_witness_asks(witness: Witness) -> None:
    witness.add_checkpoint(request(log(3), 0), time=100)
    asked, answered = threading.Event(), threading.Event()

    class Slow(TileProofs):
        def prove(self, first: int, second: int) -> Sequence[bytes]:
            asked.set()
            assert answered.wait(30), "the caller waits for this registry"
            return super().prove(first, second)

    def cosign() -> None:
        found.append(witness.cosign(log(7).checkpoint(), KEY.public, prove=Slow(log(7)).prove, time=300))

    found: list[notes.SignatureLine] = []
    thread = threading.Thread(target=cosign)
    thread.start()
    assert asked.wait(30)
    assert cosigned(witness.add_checkpoint(request(log(5), 3), time=200), witness, log(5)) == 200
    answered.set()
    thread.join()
    kept = log_memory.recall(KEY.public, book=log_memory.WITNESS)
    assert len(found) == 1 and kept is not None and kept.size == 7


def test_a_witnesss_key_keeps_its_name(tmp_path: Path) -> None:
    made = open_key(tmp_path / "w.pem", name="watch.umcu.example")
    assert made.public.kind == notes.COSIGNATURE and (tmp_path / "w.pem").stat().st_mode & 0o077 == 0
    assert open_key(tmp_path / "w.pem", name="").public == made.public
    with pytest.raises(ConfigError, match="is the key of"):
        open_key(tmp_path / "w.pem", name="other")


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
