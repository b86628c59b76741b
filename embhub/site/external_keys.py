"""Signing keys that are not files here: in an OpenSSH agent, or in a PKCS #11 token. `NAME.external.json` names one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.formats import strict_json
from embhub.site import pkcs11_keys, ssh_agent
from embhub.site.pkcs11_keys import TokenKey
from embhub.site.ssh_agent import AgentKey
from embhub.trust import p256

SCHEMA = "embhub.external-key/1"
SUFFIX = ".external.json"
MAX_BYTES = 8_192
ExternalKey = AgentKey | TokenKey


@dataclass(frozen=True)
class Record:
    """What is kept of such a key: where it is, and its public half. No secret."""

    uri: str
    public_key_pem: str

    @property
    def public(self) -> p256.PublicKey:
        """The public half."""
        return p256.read_public(self.public_key_pem)

    @property
    def needs_pin(self) -> bool:
        """Whether a PIN must be given to sign."""
        return self.uri.startswith("pkcs11:")


def is_uri(text: str) -> bool:
    """Whether a text names a key held elsewhere, not a file."""
    return text.startswith(("agent:", "pkcs11:"))


def open_uri(uri: str, *, name: str, pin: Callable[[], str]) -> ExternalKey:
    """The key that a URI names, ready to sign, though nothing of it is kept here; `pin` is asked for a token's.

    Raises:
        UsageError: neither kind of URI.
        ConfigError: the key is not there, or the PIN is wrong.
    """
    return _find(uri, name=name, pin=pin() if uri.startswith("pkcs11:") else None)


def add(path: Path, uri: str, *, pin: str | None) -> ExternalKey:
    """Find the key of `agent:SHA256:…` or `pkcs11:…`, and keep where it is under `path`.

    Raises:
        UsageError: neither kind of URI.
        ConfigError: the key is not there, the PIN is wrong, or the file cannot be written.
    """
    key = _find(uri, name=path.name.removesuffix(SUFFIX), pin=pin)
    document = {"schema": SCHEMA, "uri": uri, "public_key_pem": key.public_pem}
    write_atomic(path, json.dumps(document, indent=1).encode() + b"\n", mode=0o600)
    return key


def read(path: Path) -> Record | None:
    """The record of a key, None where there is no such file.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        with path.open("rb") as stream:
            document = strict_json.read_object(stream.read(MAX_BYTES + 1), limit=MAX_BYTES)
        members = strict_json.exact(document, {"schema", "uri", "public_key_pem"}, what="the key's file")
        if members["schema"] != SCHEMA or not all(isinstance(value, str) for value in members.values()):
            raise strict_json.JsonError(f"it is not {SCHEMA}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except strict_json.JsonError as error:
        raise ConfigError(f"{path} is damaged: {error}", "remove it, then `embhub key add-external`") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    return Record(members["uri"], members["public_key_pem"])


def open_record(record: Record, *, name: str, pin: str | None) -> ExternalKey:
    """The key that a record names, ready to sign.

    Raises:
        ConfigError: it is not there, the PIN is wrong, or another key is in its place.
    """
    key = _find(record.uri, name=name, pin=pin)
    if key.fingerprint != p256.fingerprint(record.public):
        raise ConfigError(f"another key is at {record.uri} than the key {name}", "add it under a name of its own")
    return key


def _find(uri: str, *, name: str, pin: str | None) -> ExternalKey:
    kind, _, rest = uri.partition(":")
    if kind == "agent":
        return ssh_agent.find(rest, name=name)
    if kind == "pkcs11":
        pkcs11_keys.parse(uri)
        return pkcs11_keys.find(uri, pin=pin or "", name=name)
    raise UsageError(
        "the key's URI begins neither with agent: nor with pkcs11:", "such as agent:SHA256:…, see ssh-add -l"
    )
