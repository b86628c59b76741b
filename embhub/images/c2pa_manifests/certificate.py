"""X.509 certificates for a site's key, as C2PA requires them (C2PA specification 2.2, section 14.5).

The site's key certifies itself. The issuer's name is the key's fingerprint. Whoever has the public key from a keyring
makes an anchor of that name and that key, and a C2PA library then checks the chain. Nothing in a certificate says when
it was made, and the serial number follows from the key.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from embhub.errors import ConfigError, UsageError
from embhub.site.signing.signed import Key
from embhub.trust import p256

MAX_BYTES = 100_000
"""Of a file with certificates."""
MOST = 8
"""Certificates in a chain."""
_FROM, _UNTIL = datetime(2020, 1, 1), datetime(2099, 12, 31)
_ISSUER = "site key "
_SUBJECT = re.compile(r"embhub (SHA256:[A-Za-z0-9+/]{43})")
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_FORM = "a PEM file: first the certificate of the signing key, then those of its issuers"


def issue(key: Key, *, organisation: str = "") -> str:
    """A certificate in PEM that the key makes for itself.

    Raises:
        ConfigError: the key does not sign.
    """
    fingerprint = p256.fingerprint(key.public)
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, f"embhub {fingerprint}")]
    if organisation:
        subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation[:64]))
    builder = _begin(x509.Name(subject), _issuer(fingerprint), key.public, authority=False)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    unsigned = builder.add_extension(usage, critical=False).sign(_throwaway(), hashes.SHA256())
    body = unsigned.tbs_certificate_bytes  # signed here, since the key may be in an agent or a token
    signature = b"\x03" + _length(b"\0" + key.sign(body))
    whole = b"\x30" + _length(body + _ECDSA_SHA256 + signature)
    return _pem(x509.load_der_x509_certificate(whole))


def anchor(public: p256.PublicKey) -> str:
    """What a C2PA library has to trust, in PEM, so that this key's certificates count, and no other key's.

    A key that is thrown away signs it: of an anchor only name and key are used.
    """
    name = _issuer(p256.fingerprint(public))
    return _pem(_begin(name, name, public, authority=True).sign(_throwaway(), hashes.SHA256()))


def claimed_key(common_name: str) -> str | None:
    """The fingerprint that a certificate's subject names. Nothing is verified by that."""
    found = _SUBJECT.fullmatch(common_name)
    return found[1] if found else None


def read_chain(path: Path, key: Key) -> str:
    """A site's own chain of certificates for its key, in PEM.

    Raises:
        UsageError: not such a file, or the first certificate is another key's.
    """
    found = read_certificates(path)
    public = found[0].public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey) or p256.fingerprint(public) != p256.fingerprint(key.public):
        raise UsageError(f"the first certificate in {path} is of another key", f"pass {_FORM}")
    return "".join(map(_pem, found))


def read_anchors(path: Path) -> str:
    """Certificates of authorities that a person trusts, in PEM. Raises UsageError, as `read_chain`."""
    return "".join(map(_pem, read_certificates(path)))


def read_certificates(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file. Raises UsageError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        found = x509.load_pem_x509_certificates(data) if len(data) <= MAX_BYTES else []
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", f"pass {_FORM}") from error
    except ValueError as error:
        raise UsageError(f"{path} holds no certificates", f"pass {_FORM}") from error
    if not 1 <= len(found) <= MOST:
        raise UsageError(f"{path} does not hold one to {MOST} certificates", f"pass {_FORM}")
    return found


def _begin(
    subject: x509.Name, issuer: x509.Name, public: p256.PublicKey, *, authority: bool
) -> x509.CertificateBuilder:
    serial = int.from_bytes(hashlib.sha256(p256.public_pem(public).encode("ascii")).digest()[:16], "big") >> 1
    usage = x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial or 1)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )


def _issuer(fingerprint: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{_ISSUER}{fingerprint}")])


def _throwaway() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _length(content: bytes) -> bytes:
    """Content behind its length, as DER writes it."""
    if len(content) < 0x80:
        return bytes([len(content)]) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    if len(size) > 4:
        raise ConfigError("the signature of the certificate has no possible length")
    return bytes([0x80 | len(size)]) + size + content


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
