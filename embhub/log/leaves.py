"""What an entry of the log is: a signature over a digest and the key that made it, in the shape of Rekor v2.

`hashedrekord` 0.0.2 over SHA-256(PAE) of an envelope: no name, no repository, no file, no date. The digest of a
statement that nobody else holds tells nothing of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from embhub.formats import strict_json
from embhub.log import notes, tiles
from embhub.log.errors import malformed

P256 = "PKIX_ECDSA_P256_SHA_256"
_WHAT = "log entry"
_HEAD = (
    b'{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256","digest":"'
)
# SubjectPublicKeyInfo of a P-256 key up to its coordinates (RFC 5480), and what precedes the point in OpenSSH's form
_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_OPENSSH = (b"ecdsa-sha2-nistp256", b"nistp256")


@dataclass(frozen=True)
class Leaf:
    """One entry: `digest` is the SHA-256 of what was signed, `signature` is DER, and `key` DER too (SPKI)."""

    digest: bytes
    signature: bytes
    key: bytes

    @property
    def identity(self) -> str:
        """The digest in hex, as `dsse.Envelope.identity` has it."""
        return self.digest.hex()

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint, as keyrings and `ssh-keygen -l` spell it; empty where it is no P-256 key."""
        if len(self.key) != len(_SPKI) + 64 or not self.key.startswith(_SPKI):
            return ""
        blob = b"".join(len(part).to_bytes(4, "big") + part for part in (*_OPENSSH, self.key[len(_SPKI) - 1 :]))
        return "SHA256:" + _encode(hashlib.sha256(blob).digest()).rstrip("=")

    def to_bytes(self) -> bytes:
        """Canonical JSON, as it is hashed."""
        verifier = {"keyDetails": P256, "publicKey": {"rawBytes": _encode(self.key)}}
        spec = {
            "data": {"algorithm": "SHA2_256", "digest": _encode(self.digest)},
            "signature": {"content": _encode(self.signature), "verifier": verifier},
        }
        document = {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": spec}}
        return json.dumps(document, separators=(",", ":"), sort_keys=True).encode("ascii")


def of_signature(message: bytes, *, signature: bytes, key: bytes) -> Leaf:
    """The entry of a signature over `message`, which is the PAE of an envelope."""
    return Leaf(hashlib.sha256(message).digest(), signature, key)


def digest_in(data: bytes) -> bytes:
    """The digest in an entry that is not parsed: enough to see which entries of a whole log are worth it."""
    try:
        return base64.b64decode(data[len(_HEAD) : len(_HEAD) + 44], validate=True) if data.startswith(_HEAD) else b""
    except ValueError:
        return b""


def parse(data: bytes) -> Leaf:
    """Read an entry.

    Raises:
        MalformedLogError: not one that embhub writes, byte for byte.
    """
    try:
        document = strict_json.read_object(data, limit=tiles.LONGEST_ENTRY)
    except strict_json.JsonError as error:
        raise malformed(_WHAT, str(error)) from error
    spec = _at(document, "spec", "hashedRekordV002")
    parts = (
        _at(spec, "data", "digest"),
        _at(spec, "signature", "content"),
        _at(spec, "signature", "verifier", "publicKey", "rawBytes"),
    )
    if not all(isinstance(part, str) for part in parts):
        raise malformed(_WHAT, "it is not a hashedrekord 0.0.2 with a public key")
    leaf = Leaf(*(notes.decode(str(part), what=_WHAT) for part in parts))
    if leaf.to_bytes() != data or len(leaf.digest) != 32:
        raise malformed(_WHAT, "it is not in its canonical form")
    return leaf


def _at(document: Any, *names: str) -> Any:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
