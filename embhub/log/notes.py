"""Signed notes, as of C2SP signed-note: text, and one line a signature. Read in their one canonical form only.

Three kinds of keys: Ed25519 (type 1) for a log, timestamped Ed25519 cosignatures (type 4) for a witness, and
timestamped ML-DSA-44 cosignatures (type 6) for both. Signatures of other kinds, and of keys that are not known, are
ignored, as the specification asks.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embhub.log import mldsa
from embhub.log.errors import malformed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

    PrivateKey = Ed25519PrivateKey | MLDSA44PrivateKey

ED25519, COSIGNATURE, MLDSA44 = 0x01, 0x04, 0x06
WITNESSES = (COSIGNATURE, MLDSA44)  # the kinds of a witness's key
_LENGTHS = {ED25519: 32, COSIGNATURE: 32, MLDSA44: mldsa.KEY}
MAX_BYTES = 64_000
MAX_SIGNATURES = 64
_P = 2**255 - 19
_ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
_Y8 = int.from_bytes(bytes.fromhex(_ORDER_8), "little")
_LOW_ORDER = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})  # y of the eight points, whichever sign x has
_DASH = "\N{EM DASH} "
_HEX = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class VerifierKey:
    """A public key with the name and type that its signatures are made under. `raw` is the key: 32 or 1,312 bytes."""

    name: str
    kind: int
    raw: bytes

    @property
    def key_id(self) -> bytes:
        """Four bytes that stand before each signature."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.raw).digest()[:4]

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.kind]) + self.raw).decode("ascii")
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @property
    def can_be_checked(self) -> bool:
        """Whether signatures of its kind can be checked on this machine."""
        return self.kind != MLDSA44 or mldsa.is_offered()

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Whether this key made the signature over `message`, and that can be checked here."""
        if self.kind == MLDSA44:
            return self.can_be_checked and mldsa.verify(self.raw, signature, message)
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True)
class NoteSigner:
    """A private key of a log or a witness, with its public half."""

    private: PrivateKey
    public: VerifierKey

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 (RFC 8032), or 2,420 of ML-DSA-44 (FIPS 204)."""
        return self.private.sign(message)


@dataclass(frozen=True)
class SignatureLine:
    """One signature as it stands in a note; what it is worth says the key of this name and id."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        encoded = base64.b64encode(self.key_id + self.signature).decode("ascii")
        return f"{_DASH}{self.name} {encoded}\n"

    def is_by(self, key: VerifierKey) -> bool:
        """Whether it names this key. Nothing is verified."""
        return (self.name, self.key_id) == (key.name, key.key_id)


@dataclass(frozen=True)
class Note:
    """The text, with its newline at the end, and the signatures below it. Nothing in it is trusted yet."""

    text: str
    signatures: tuple[SignatureLine, ...]

    def to_bytes(self) -> bytes:
        """The note's one spelling."""
        return f"{self.text}\n{''.join(map(str, self.signatures))}".encode()

    def by(self, key: VerifierKey) -> list[SignatureLine]:
        """Its signatures that name this key."""
        return [line for line in self.signatures if line.is_by(key)]

    def with_signatures(self, lines: Iterable[SignatureLine]) -> Note:
        """The same with further signatures, each once."""
        return Note(self.text, tuple(dict.fromkeys((*self.signatures, *lines))))


def signer(private: PrivateKey, name: str, *, kind: int = ED25519) -> NoteSigner:
    """A private key under a name.

    Raises:
        MalformedLogError: no key can have this name.
    """
    check_name(name)
    return NoteSigner(private, VerifierKey(name, kind, private.public_key().public_bytes_raw()))


def parse(data: bytes) -> Note:
    """Read a note.

    Raises:
        MalformedLogError: anything but a note in its canonical form, or one with no signature or too many.
    """
    if len(data) > MAX_BYTES:
        raise malformed("note", f"it has more than {MAX_BYTES:,} bytes")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed("note", "it is not UTF-8") from error
    if any(ord(c) < 32 and c != "\n" for c in whole):
        raise malformed("note", "it has control characters")
    text, gap, signatures = whole.rpartition("\n\n")
    if not gap or not signatures.endswith("\n"):
        raise malformed("note", "no signatures follow its text after an empty line")
    lines = signatures[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise malformed("note", f"it has more than {MAX_SIGNATURES} signatures")
    return Note(f"{text}\n", tuple(parse_line(line) for line in lines))


def parse_line(line: str) -> SignatureLine:
    """Read a signature's line, without its newline.

    Raises:
        MalformedLogError: it is none.
    """
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise malformed("note", "a signature's line is none")
    check_name(name)
    found = decode(encoded, what="note")
    if len(found) < 5:
        raise malformed("note", "a signature is too short")
    return SignatureLine(name, found[:4], found[4:])


def parse_key(text: str) -> VerifierKey:
    """Read a verifier key, `name+id+key`.

    Raises:
        MalformedLogError: it is none, is of a type that embhub does not use, or its id is not its own; or an Ed25519
            key is of low order, or not in its canonical form.
    """
    parts = text.split("+", 2)
    if len(parts) != 3 or not _HEX.fullmatch(parts[1]):
        raise malformed("verifier key", "it is not NAME+ID+KEY")
    check_name(parts[0])
    material = decode(parts[2], what="verifier key")
    if not material or len(material) - 1 != _LENGTHS.get(material[0]):
        raise malformed("verifier key", "it is not an Ed25519 or ML-DSA-44 key of a log or a witness")
    key = VerifierKey(parts[0], material[0], material[1:])
    if key.kind != MLDSA44:
        _check_point(key.raw)
    if key.key_id.hex() != parts[1]:
        raise malformed("verifier key", f"its id is {key.key_id.hex()}, not {parts[1]}")
    return key


def _check_point(raw: bytes) -> None:
    """Refuse keys for which signatures are had without a secret, and second spellings (RFC 8032, 5.1.3).

    The points of low order are those of C2SP/CCTV, ed25519/README.md. OpenSSL accepts them all.
    """
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _P:
        raise malformed("verifier key", "its Ed25519 key is not in canonical form")
    if y in _LOW_ORDER:
        raise malformed("verifier key", "its Ed25519 key is a point of low order")


def check_name(name: str) -> None:
    """Raises MalformedLogError where no key can have this name."""
    if (
        not name
        or len(name.encode("utf-8", "replace")) > 255
        or "+" in name
        or any(c.isspace() or not c.isprintable() for c in name)
    ):
        raise malformed("note", "a key's name is empty, too long, or has spaces or a plus sign")


def decode(text: str, *, what: str) -> bytes:
    """The bytes of canonical base64. Raises MalformedLogError."""
    try:
        found = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(what, "its base64 is damaged") from error
    if base64.b64encode(found).decode("ascii") != text:
        raise malformed(what, "its base64 is not canonical")
    return found
