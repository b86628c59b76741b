"""The one signature algorithm: ECDSA over P-256 with SHA-256 (FIPS 186-5), keys named as OpenSSH names them.

One algorithm means that none can be confused with another; this one is what sigstore clients, cosign and the
JavaScript client all take.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from embhub.refusals import BadSignatureError, WrongKeyError

PublicKey = ec.EllipticCurvePublicKey
MAX_PEM = 4096


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
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise WrongKeyError("not a readable public key in PEM", "use the output of `embhub key export`") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise WrongKeyError("not an ECDSA P-256 key, the only kind in use here", "make one with `embhub key new`")
    return key


def public_pem(key: PublicKey) -> str:
    """SubjectPublicKeyInfo in PEM, as `openssl ec -pubout` writes it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode("ascii")


def fingerprint(key: PublicKey) -> str:
    """`SHA256:…`, what `ssh-keygen -l` prints for this key: SHA-256 of the RFC 5656 blob, base64 unpadded."""
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    blob = base64.b64decode(line.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def verify(message: bytes, *, signature: bytes, key: PublicKey) -> None:
    """Check a DER signature over `message`.

    Both halves of s are accepted, as everywhere: a signature is malleable, so never name anything by it.

    Raises:
        BadSignatureError: not made by this key over these bytes, or not DER.
    """
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise BadSignatureError(
            f"the signature was not made by {fingerprint(key)} over these bytes",
            "the bundle was edited or damaged: fetch it again, and ask the publisher if that does not help",
        ) from error
