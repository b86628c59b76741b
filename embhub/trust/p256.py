"""The one signature algorithm: ECDSA over P-256 with SHA-256 (FIPS 186-5), keys named as OpenSSH names them.

One algorithm means that none can be confused with another; this one is what sigstore clients, cosign and the
JavaScript client all take.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from embhub.refusals import BadSignatureError, WrongKeyError

PublicKey = ec.EllipticCurvePublicKey
MAX_PEM = 4096
_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""What stands before the point in every SubjectPublicKeyInfo of P-256 with an uncompressed point (RFC 5480)."""
_SSH = b"\0\0\0\x13ecdsa-sha2-nistp256\0\0\0\x08nistp256\0\0\0\x41"
"""What stands before it in the key's blob of SSH (RFC 5656)."""
_POINT = 65  # bytes: 04, x, y


def read_public(pem: str | bytes) -> PublicKey:
    """The public key of a PEM file (SubjectPublicKeyInfo).

    Raises:
        WrongKeyError: not PEM, a private key, another algorithm or another curve.
    """
    data = pem.encode("utf-8", "replace") if isinstance(pem, str) else pem
    if b"PRIVATE KEY" in data:
        raise WrongKeyError("this is a private key", "keep it at home; `embhub key export` prints the public half")
    if len(data) > MAX_PEM or data.count(b"-----BEGIN") != 1:
        raise WrongKeyError("not one public key in PEM", "use the output of `embhub key export`")
    return _read_usual(data) or _read_any(data)


def _read_usual(pem: bytes) -> PublicKey | None:
    """The key of a file as `public_pem` writes it; None of any other, which the library's reader of all forms reads.

    That reader takes longer to import than all keys of a keyring to read. The library checks the point here as well.
    """
    lines = pem.split(b"\n")
    try:
        der = base64.b64decode(b"".join(lines[1:-2]), validate=True)
        if len(der) != len(_SPKI) + _POINT or _pem(der).encode("ascii") != pem or not der.startswith(_SPKI + b"\x04"):
            return None
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), der[len(_SPKI) :])
    except ValueError:  # no base64, or no point of the curve
        return None


def _read_any(data: bytes) -> PublicKey:
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise WrongKeyError("not a readable public key in PEM", "use the output of `embhub key export`") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise WrongKeyError("not an ECDSA P-256 key, the only kind in use here", "make one with `embhub key new`")
    return key


def public_pem(key: PublicKey) -> str:
    """SubjectPublicKeyInfo in PEM, as `openssl ec -pubout` writes it."""
    return _pem(_SPKI + _point(key))


def fingerprint(key: PublicKey) -> str:
    """`SHA256:…`, what `ssh-keygen -l` prints for this key: SHA-256 of the RFC 5656 blob, base64 unpadded."""
    blob = _SSH + _point(key) if isinstance(key.curve, ec.SECP256R1) else _blob_of_another_curve(key)
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def _blob_of_another_curve(key: PublicKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return base64.b64decode(key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).split()[1])


def _point(key: PublicKey) -> bytes:
    """The uncompressed point (SEC 1, section 2.3.3)."""
    numbers = key.public_numbers()
    return b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


def _pem(der: bytes) -> str:
    """PEM of a public key (RFC 7468): lines of 64 characters."""
    text = base64.b64encode(der).decode("ascii")
    rows = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *rows, "-----END PUBLIC KEY-----", ""])


def verify(message: bytes, *, signature: bytes, key: PublicKey) -> None:
    """Check a DER signature over `message`.

    Both halves of s are accepted, as everywhere: a signature is malleable, so never name anything by it.

    Raises:
        BadSignatureError: not made by this key over these bytes, or not DER.
    """
    _verify(message, signature, key, ec.ECDSA(hashes.SHA256()))


def verify_digest(digest: bytes, *, signature: bytes, key: PublicKey) -> None:
    """As `verify`, of a message of which the SHA-256 alone is at hand; 32 bytes.

    Raises:
        BadSignatureError: not made by this key over a message with this digest, or not DER.
    """
    _verify(digest, signature, key, ec.ECDSA(Prehashed(hashes.SHA256())))


def _verify(data: bytes, signature: bytes, key: PublicKey, how: ec.ECDSA) -> None:
    try:
        key.verify(signature, data, how)
    except InvalidSignature as error:
        raise BadSignatureError(
            f"the signature was not made by {fingerprint(key)} over these bytes",
            "the bundle was edited or damaged: fetch it again, and ask the publisher if that does not help",
        ) from error
