"""Signing with a key in a hardware token or module, by PKCS #11, with the extra `pkcs11`.

A key is named by its URI (RFC 7512): `pkcs11:token=hsm;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from embhub.errors import ConfigError, UsageError
from embhub.project import how_to_install
from embhub.trust import p256

_HINT = "a URI is such as pkcs11:token=hsm;object=signing?module-path=/usr/lib/softhsm/libsofthsm2.so"


@dataclass(frozen=True)
class Place:
    """Where a key is: the module (a shared library), the token's label, and the key's label."""

    module: str
    token: str
    label: str


@dataclass(frozen=True)
class TokenKey:
    """A key in a token, with the PIN that opens it; never prints itself."""

    name: str
    place: Place
    public: p256.PublicKey
    pin: str

    def __repr__(self) -> str:
        return f"TokenKey({self.name!r}, {self.fingerprint})"

    @property
    def public_pem(self) -> str:
        """The public half in PEM (SubjectPublicKeyInfo)."""
        return p256.public_pem(self.public)

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` prints it."""
        return p256.fingerprint(self.public)

    def sign(self, message: bytes) -> bytes:
        """DER signature over `message`, ECDSA with SHA-256; the digest is made here, the signature in the token.

        Raises:
            ConfigError: the module, token or key is not there, or the PIN is wrong.
        """
        with _opened(self.place, self.pin) as (session, pkcs11):
            key = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, label=self.place.label)
            raw = key.sign(hashlib.sha256(message).digest(), mechanism=pkcs11.Mechanism.ECDSA)
        half = len(raw) // 2
        der = encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))
        p256.verify(message, signature=der, key=self.public)
        return der


def parse(uri: str) -> Place:
    """The parts of a URI that name one key.

    Raises:
        UsageError: not such a URI, a part is missing or unknown, or it carries a PIN.
    """
    scheme, _, rest = uri.partition(":")
    path, _, query = rest.partition("?")
    parts = [tuple(part.partition("=")[::2]) for part in path.split(";") if part]
    found = {name: unquote(value) for name, value in parts} | dict(parse_qsl(query))
    if "pin-value" in found or "pin-source" in found:
        raise UsageError("the URI carries a PIN, which would be kept on the disk", "leave it out: it is asked for")
    if scheme != "pkcs11" or set(found) != {"token", "object", "module-path"} or not all(found.values()):
        raise UsageError("not a PKCS #11 URI with token, object and module-path", _HINT)
    return Place(found["module-path"], found["token"], found["object"])


def find(uri: str, *, pin: str, name: str) -> TokenKey:
    """The key of a URI, with its public half as the token gives it.

    Raises:
        UsageError: not such a URI.
        ConfigError: the module, token or key is not there, it is no P-256 key, or the PIN is wrong.
    """
    place = parse(uri)
    with _opened(place, pin) as (session, pkcs11):
        from pkcs11.util.ec import encode_ec_public_key

        der = encode_ec_public_key(session.get_key(pkcs11.ObjectClass.PUBLIC_KEY, label=place.label))
    try:
        public = serialization.load_der_public_key(der)
    except ValueError as error:
        raise ConfigError(f"the key {place.label} has no readable public half", _HINT) from error
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return TokenKey(name, place, p256.read_public(public.public_bytes(serialization.Encoding.PEM, form)), pin)


@contextmanager
def _opened(place: Place, pin: str) -> Iterator[tuple[Any, Any]]:
    try:
        import pkcs11
    except ModuleNotFoundError as error:
        raise ConfigError("keys in a token need the package python-pkcs11", how_to_install("pkcs11")) from error
    try:
        token = pkcs11.lib(place.module).get_token(token_label=place.token)
        with token.open(user_pin=pin) as session:
            yield session, pkcs11
    except (pkcs11.PinIncorrect, pkcs11.PinLenRange) as error:
        raise ConfigError(f"the PIN does not open the token {place.token}", "too many wrong ones lock it") from error
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        what = f"{type(error).__name__} of {place.module}, token {place.token}, object {place.label}"
        raise ConfigError(f"the key cannot be used: {what}", _HINT) from error
