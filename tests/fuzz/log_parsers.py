"""Each parser that came with the log by itself, for long runs by hand (`make fuzz TARGET=log-proof`).

Little is imported, so that the fuzzer starts soon: it rewrites each module that it watches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from embhub.log import checkpoints, leaves, notes, policies, proofs, tiles, witnessing
from embhub.log.errors import BadCosignatureError, MalformedLogError, WrongLogError
from embhub.refusals import MalformedBundleError, MalformedStatementError
from embhub.trust import audit_designs
from embhub.trust.audit_designs import Registration
from embhub.trust.bundle import Bundle
from embhub_registry.static import items


class Written(Protocol):
    """What can be written again."""

    def to_bytes(self) -> bytes: ...


def written_again(parse: Callable[[bytes], Written]) -> Callable[[bytes], None]:
    """A format with one spelling: what is read is written as it was."""

    def read(data: bytes) -> None:
        with contextlib.suppress(MalformedLogError):
            assert parse(data).to_bytes() == data

    return read


def read_answer(data: bytes) -> None:
    """A witness's answer: signature lines."""
    with contextlib.suppress(MalformedLogError):
        assert "".join(map(str, witnessing.parse_answer(data))).encode() == data


def read_checkpoint(data: bytes) -> None:
    """A checkpoint, and cosignatures of witnesses of both kinds on it."""
    with contextlib.suppress(MalformedLogError, BadCosignatureError, WrongLogError):
        note = notes.parse(data)
        assert checkpoints.parse(note).text == note.text
        checkpoints.is_signed_by_mldsa(checkpoints.open_signed(note, log=LOG), SECOND)
        assert len(checkpoints.check_cosignatures(note, [WITNESS, SECOND])) <= 2


def read_policy(data: bytes) -> None:
    """A log policy, and its quorum counted."""
    with contextlib.suppress(MalformedLogError):
        policy = policies.parse(data)
        assert policy.quorum and policy.is_met_by(policy.witnesses.values()) in (True, False)


def read_key(data: bytes) -> None:
    """A verifier key."""
    with contextlib.suppress(MalformedLogError):
        text = data.decode("utf-8", "replace")
        assert str(notes.parse_key(text)) == text


def read_tile(data: bytes) -> None:
    """A tile's address, and the bytes of a tile and of a bundle of entries."""
    with contextlib.suppress(MalformedLogError):
        text = data.decode("ascii", "replace")
        assert tiles.parse_path(text).path == text
    for width in (1, 2, 256):
        with contextlib.suppress(MalformedLogError):
            assert tiles.join_entries(tiles.split_entries(data, width)) == data
        with contextlib.suppress(MalformedLogError):
            assert b"".join(tiles.split_hashes(data, width)) == data


def read_design(data: bytes) -> None:
    """The file of a registered audit: its design with its notice, or its result."""
    with contextlib.suppress(MalformedStatementError, MalformedBundleError):
        found = audit_designs.parse_file(data)
        if isinstance(found, Registration):
            written = Registration(_named(found.design), _named(found.notice))
            assert audit_designs.parse_file(written.to_bytes()) == written
            number = audit_designs.read_design(found.design.statement).number
            digest = found.design.statement.digest
            assert audit_designs.notices(digest)[found.notice.envelope.identity] == number, "a reader finds it"
        else:
            assert audit_designs.parse_file(audit_designs.write_result(_named(found))) == _named(found)


def _named(found: Bundle) -> Bundle:
    """As it is written: the key's name in the envelope, too."""
    return replace(found, envelope=replace(found.envelope, keyid=found.hint))


def read_list(data: bytes) -> None:
    """The list of the files of an export, as an increment brings it: no path leads out of a folder."""
    try:
        files = items.read_manifest(data).files
    except ValueError:
        return
    for path, digest in files.items():
        assert not {"", ".", ".."} & set(path.split("/")) and path.isascii() and len(bytes.fromhex(digest)) == 32


PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
LOG = notes.signer(PRIVATE, "127.0.0.1").public
WITNESS = notes.signer(PRIVATE, "witness.example.org", kind=notes.COSIGNATURE).public
SECOND = notes.VerifierKey("127.0.0.1", notes.MLDSA44, bytes(1_312))
LOG_PARSERS: Mapping[str, Callable[[bytes], None]] = {
    "log-note": written_again(notes.parse),
    "log-checkpoint": read_checkpoint,
    "log-proof": written_again(proofs.parse),
    "log-entry": written_again(leaves.parse),
    "log-request": written_again(witnessing.parse),
    "log-answer": read_answer,
    "log-policy": read_policy,
    "log-key": read_key,
    "log-tile": read_tile,
    "log-design": read_design,
    "log-list": read_list,
}
