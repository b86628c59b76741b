"""This site's signing keys: PKCS #8 PEM files, one a name, readable by their owner alone; or keys held elsewhere.

`NAME.pub` beside a key holds its public half, so that an encrypted key can be listed without its passphrase.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.site import config
from embhub.site.signing import external_keys
from embhub.trust import p256
from embhub.trust.p256 import fingerprint

__all__ = [
    "KeyInfo",
    "PassphraseRequiredError",
    "SigningKey",
    "fingerprint",
    "generate",
    "list_keys",
    "load",
    "public_pem",
]

MAX_BYTES = 8_192
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?", re.ASCII)


class PassphraseRequiredError(ConfigError):
    """The key is encrypted and no passphrase, or a wrong one, was given."""


@dataclass(frozen=True)
class SigningKey:
    """A private key in memory. Signs with ECDSA P-256 / SHA-256; never prints itself."""

    name: str
    private: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r}, {self.fingerprint})"

    @property
    def public(self) -> p256.PublicKey:
        """The public half."""
        return self.private.public_key()

    @property
    def public_pem(self) -> str:
        """The public half in PEM (SubjectPublicKeyInfo)."""
        return p256.public_pem(self.public)

    @property
    def fingerprint(self) -> str:
        """`SHA256:…`, as `ssh-keygen -l` prints it."""
        return p256.fingerprint(self.public)

    def sign(self, message: bytes) -> bytes:
        """DER signature over `message`, ECDSA with SHA-256."""
        return self.private.sign(message, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True)
class KeyInfo:
    """What `embhub key list` shows of a key."""

    name: str
    fingerprint: str
    encrypted: bool
    path: Path


def generate(name: str = "default", *, passphrase: str | None = None, folder: Path | None = None) -> SigningKey:
    """A new key on disk, mode 0600, encrypted if a passphrase is given.

    Raises:
        ConfigError: a key of this name exists (it is never overwritten), or the folder cannot be written.
        UsageError: not a name for a key, or an empty passphrase.
    """
    path = path_of(name, folder)
    if record_of(path) is not None:
        raise ConfigError(f"a key {name} exists already", "choose another name; keys are never overwritten")
    if passphrase == "":
        raise UsageError("the passphrase is empty", "give one, or none at all for a key without encryption")
    key = SigningKey(name, ec.generate_private_key(ec.SECP256R1()))
    encryption = (
        serialization.NoEncryption()
        if passphrase is None
        else serialization.BestAvailableEncryption(passphrase.encode("utf-8"))
    )
    form = serialization.PrivateFormat.PKCS8
    create(path, key.private.private_bytes(serialization.Encoding.PEM, form, encryption))
    write_atomic(path.with_suffix(".pub"), key.public_pem.encode("ascii"))
    return key


def load(name: str = "default", *, passphrase: str | None = None, folder: Path | None = None) -> SigningKey:
    """A key from disk.

    Raises:
        PassphraseRequiredError: it is encrypted and the passphrase is missing or wrong.
        ConfigError: there is no such key, others can read it, it is not a P-256 key, or `NAME.pub` is another key's.
        UsageError: not a name for a key.
    """
    path = path_of(name, folder)
    key = _decode(_read(path), name=name, passphrase=passphrase)
    public = path.with_suffix(".pub")
    if public.exists() and p256.fingerprint(p256.read_public(public.read_bytes()[:MAX_BYTES])) != key.fingerprint:
        raise ConfigError(f"{public} is not the public half of {path}", "somebody changed it: remove the .pub file")
    return key


def list_keys() -> list[KeyInfo]:
    """Every key of this site, by name.

    Raises:
        ConfigError: others can read a key, or it is damaged.
    """
    home = _folder()
    found = sorted(path for path in home.glob("*.pem") if _NAME.fullmatch(path.stem)) if home.is_dir() else []
    return [_describe(path) for path in sorted([*found, *_places_of_external(home)])]


def public_pem(name: str = "default") -> str:
    """The public half in PEM: what a registry's administrator needs. No passphrase is needed.

    Raises:
        ConfigError: there is no such key, or an encrypted one lost its `.pub` file.
        UsageError: not a name for a key.
    """
    return p256.public_pem(_public(path_of(name)))


def record_of(path: Path) -> external_keys.Record | None:
    """What is kept of a key that is held elsewhere; None where its PEM file is at `path`. Raises ConfigError."""
    return None if path.exists() else external_keys.read(path.with_name(path.stem + external_keys.SUFFIX))


def _places_of_external(home: Path) -> list[Path]:
    """Where the PEM files of keys held elsewhere would be."""
    found = home.glob(f"*{external_keys.SUFFIX}") if home.is_dir() else []
    names_found = [path.name.removesuffix(external_keys.SUFFIX) for path in found]
    return [home / f"{name}.pem" for name in names_found if _NAME.fullmatch(name)]


def _describe(path: Path) -> KeyInfo:
    if (record := record_of(path)) is not None:
        return KeyInfo(path.stem, p256.fingerprint(record.public), record.needs_pin, path)
    return KeyInfo(path.stem, p256.fingerprint(_public(path)), _encrypted(_read(path)), path)


def _public(path: Path) -> p256.PublicKey:
    if (record := record_of(path)) is not None:
        return record.public
    data = _read(path)
    if not _encrypted(data):
        return _decode(data, name=path.stem, passphrase=None).public
    beside = path.with_suffix(".pub")
    if not beside.exists():
        raise ConfigError(f"{beside} is missing", f"make it again: openssl pkey -in {path} -pubout -out {beside}")
    return p256.read_public(beside.read_bytes()[:MAX_BYTES])


def _encrypted(data: bytes) -> bool:
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data


def _decode(data: bytes, *, name: str, passphrase: str | None) -> SigningKey:
    if _encrypted(data) and not passphrase:
        raise PassphraseRequiredError(f"the key {name} is encrypted", "give its passphrase")
    secret = passphrase.encode("utf-8") if passphrase and _encrypted(data) else None
    try:
        private = serialization.load_pem_private_key(data, password=secret)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if _encrypted(data):
            raise PassphraseRequiredError(f"the passphrase does not open the key {name}", "try again") from error
        raise ConfigError(f"the key {name} is not a private key in PEM", "make one with `embhub key new`") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise ConfigError(f"the key {name} is not an ECDSA P-256 key", "make one with `embhub key new`")
    return SigningKey(name, private)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode & 0o777
            data = stream.read(MAX_BYTES)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no key {path.stem} in {path.parent}", "make one with `embhub key new`") from error
    except OSError as error:
        raise ConfigError(f"cannot read the key {path}: {error.strerror}") from error
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(f"others can read the key {path} (mode {mode:04o})", f"chmod 600 {path}")
    return data


def create(path: Path, data: bytes) -> None:
    """Write a private file that must not exist yet, and leave none behind on failure. Raises ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"cannot write in {path.parent}: {error.strerror}", "check EMBHUB_HOME") from error
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        hint = "choose another name; keys are never overwritten"
        raise ConfigError(f"a key {path.stem} exists already: {path}", hint) from error
    except OSError as error:
        raise ConfigError(f"cannot write the key {path}: {error.strerror}", "check EMBHUB_HOME") from error
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ConfigError(f"cannot write the key {path}: {error.strerror}", "free some space") from error


def path_of(name: str, folder: Path | None = None) -> Path:
    """Where the key of this name is, or would be; UsageError where it is not a name for a key."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise UsageError(f"{name[:60]!r} is not a name for a key", "use lower-case letters, digits, '-', '_', '.'")
    return _folder(folder) / f"{name}.pem"


def _folder(folder: Path | None = None) -> Path:
    return folder if folder is not None else config.paths().config / "keys"
