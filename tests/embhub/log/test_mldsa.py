"""ML-DSA-44 signatures of logs and witnesses: what is signed, as C2SP tlog-cosignature lays it out, and no more."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from embhub.log import checkpoints, mldsa, notes, policies
from embhub.log.checkpoints import Checkpoint
from embhub.log.errors import BadCosignatureError, MalformedLogError, WrongLogError
from tests.support import logs

GOLDEN = Path(__file__).parent / "golden"
CHECKPOINT = Checkpoint("hub.example.org", 7, hashlib.sha256(b"root").digest())
LOG = logs.log_key("hub.example.org")


SECOND, WITNESS = logs.mldsa_key("hub.example.org"), logs.mldsa_key("witness.example.org", 5)
SIGNED = checkpoints.sign(CHECKPOINT, by=LOG, also=SECOND)


def test_it_is_offered_here() -> None:
    assert mldsa.is_offered()


def test_the_key_and_the_line_have_the_specified_form() -> None:
    key = SECOND.public
    assert len(key.raw) == 1_312 and notes.parse_key(str(key)) == key
    assert key.key_id == hashlib.sha256(b"hub.example.org\n\x06" + key.raw).digest()[:4]
    _, line = SIGNED.note.signatures
    assert line.is_by(key) and line.signature[:8] == bytes(8) and len(line.signature) == 8 + 2_420
    assert len(SIGNED.to_bytes()) < 3_600 and notes.parse(SIGNED.to_bytes()) == SIGNED.note


@pytest.mark.parametrize("time", [0, 1_700_000_000, 2**63 - 1])
def test_what_is_signed_is_the_structure_of_the_specification(time: int) -> None:
    """Put together here from the specification's text, and checked by the library alone."""
    name, origin = b"witness.example.org", b"hub.example.org"
    message = b"\x73\x75\x62\x74\x72\x65\x65\x2f\x76\x31\x0a\x00" + struct.pack(
        f">B{len(name)}sQB{len(origin)}sQQ32s", len(name), name, time, len(origin), origin, 0, 7, CHECKPOINT.root
    )
    line = checkpoints.cosign(CHECKPOINT, by=WITNESS, time=time)
    assert line.signature[:8] == struct.pack(">Q", time)
    MLDSA44PublicKey.from_public_bytes(WITNESS.public.raw).verify(line.signature[8:], message)


def test_a_checkpoint_that_was_signed_once_verifies_on() -> None:
    """Signatures are made with fresh randomness, so this one was kept."""
    opened = checkpoints.open_signed((GOLDEN / "checkpoint-mldsa").read_bytes(), log=LOG.public)
    assert opened.checkpoint == CHECKPOINT and checkpoints.is_signed_by_mldsa(opened, SECOND.public) is True


def test_who_does_not_know_the_second_key_reads_the_first() -> None:
    assert checkpoints.open_signed(SIGNED.to_bytes(), log=LOG.public).checkpoint == CHECKPOINT
    with pytest.raises(WrongLogError):
        checkpoints.open_signed(SIGNED.to_bytes(), log=SECOND.public)


def test_a_second_signature_that_is_absent_or_of_another_key_is_said() -> None:
    plain = checkpoints.sign(CHECKPOINT, by=LOG)
    other = checkpoints.sign(CHECKPOINT, by=LOG, also=logs.mldsa_key("hub.example.org", 6))
    for signed in (plain, other):
        assert checkpoints.is_signed_by_mldsa(signed, SECOND.public) is False


@pytest.mark.parametrize("change", ["size", "root", "origin", "time", "cut", "byte"])
def test_a_forged_second_signature_is_refused(change: str) -> None:
    changed = {"size": replace(CHECKPOINT, size=8), "root": replace(CHECKPOINT, root=b"r" * 32),
               "origin": replace(CHECKPOINT, origin="other.example.org")}  # fmt: skip
    line = checkpoints.cosign(changed.get(change, CHECKPOINT), by=SECOND, time=0)
    signature = {"time": bytes(7) + b"\1" + line.signature[8:], "cut": line.signature[:-1],
                 "byte": line.signature[:-1] + bytes([line.signature[-1] ^ 1])}.get(change, line.signature)  # fmt: skip
    note = checkpoints.sign(CHECKPOINT, by=LOG).note.with_signatures([replace(line, signature=signature)])
    with pytest.raises(WrongLogError, match="ML-DSA-44"):
        checkpoints.is_signed_by_mldsa(checkpoints.open_signed(note, log=LOG.public), SECOND.public)


def test_a_witness_may_cosign_with_such_a_key() -> None:
    policy = policies.parse(f"witness A {WITNESS.public}\nquorum A\n".encode())
    line = checkpoints.cosign(CHECKPOINT, by=WITNESS, time=1_700_000_000)
    (found,) = checkpoints.check_cosignatures(SIGNED.note.with_signatures([line]), policy.witnesses.values())
    assert policy.time_of([found]) == 1_700_000_000
    later = replace(line, signature=(1_800_000_000).to_bytes(8, "big") + line.signature[8:])
    elsewhere = checkpoints.sign(replace(CHECKPOINT, size=8), by=LOG).note.with_signatures([line])
    for note in (SIGNED.note.with_signatures([later]), elsewhere):
        with pytest.raises(BadCosignatureError):
            checkpoints.check_cosignatures(note, policy.witnesses.values())


def test_an_older_library_still_reads_the_first_signature_and_says_so(without_mldsa: None) -> None:
    assert not mldsa.is_offered()
    opened = checkpoints.open_signed((GOLDEN / "checkpoint-mldsa").read_bytes(), log=LOG.public)
    assert checkpoints.is_signed_by_mldsa(opened, SECOND.public) is None
    assert checkpoints.check_cosignatures(opened.note, [SECOND.public]) == [], "not counted, and not refused"


@pytest.mark.parametrize("raw", [b"", b"\6", b"\6" + bytes(32), b"\6" + bytes(1_313), b"\1" + bytes(1_312), b"\5" * 33])
def test_a_key_of_another_length_or_kind_is_refused(raw: bytes) -> None:
    text = str(notes.VerifierKey("hub.example.org", raw[0] if raw else 0, raw[1:]))
    with pytest.raises(MalformedLogError):
        notes.parse_key(text)
