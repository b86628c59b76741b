"""Keys to sign with, wherever they are: a file here, an OpenSSH agent, a PKCS #11 token."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.site.signing import external_keys, keys, pkcs11_keys, ssh_agent
from embhub.site.signing.keys import PassphraseRequiredError, SigningKey
from embhub.site.signing.pkcs11_keys import TokenKey
from embhub.site.signing.ssh_agent import AgentKey
from embhub.trust import p256

ExternalKey = AgentKey | TokenKey


def open_key(
    name: str = "default", *, passphrase: str | None = None, folder: Path | None = None
) -> SigningKey | ExternalKey:
    """A key to sign with: from disk, or held elsewhere. The passphrase of a token is its PIN.

    Raises:
        PassphraseRequiredError: it is encrypted, or in a token, and the passphrase is missing or wrong.
        ConfigError: as `keys.load`; or the agent or token is not there, or holds another key.
        UsageError: not a name for a key.
    """
    record = keys.record_of(keys.path_of(name, folder))
    if record is None:
        return keys.load(name, passphrase=passphrase, folder=folder)
    if record.needs_pin and not passphrase:
        raise PassphraseRequiredError(f"the key {name} is in a token", "give its PIN")
    key = _find(record.uri, name=name, pin=passphrase)
    if key.fingerprint != p256.fingerprint(record.public):
        raise ConfigError(f"another key is at {record.uri} than the key {name}", "add it under a name of its own")
    return key


def add_external(name: str, uri: str, *, pin: str | None = None) -> ExternalKey:
    """Give a name to a key that an OpenSSH agent (`agent:SHA256:…`) or a PKCS #11 token (`pkcs11:…`) holds.

    Raises:
        PassphraseRequiredError: it needs a PIN, and none was given.
        ConfigError: a key of this name exists, the one of `uri` is not there, or the file cannot be written.
        UsageError: not a name for a key, or not such a URI.
    """
    path = keys.path_of(name)
    place = path.with_name(f"{name}{external_keys.SUFFIX}")
    if path.exists() or place.exists():
        raise ConfigError(f"a key {name} exists already", "choose another name; keys are never overwritten")
    if uri.startswith("pkcs11:") and not pin:
        raise PassphraseRequiredError(f"the key {name} is in a token", "give its PIN")
    key = _find(uri, name=name, pin=pin)
    document = {"schema": external_keys.SCHEMA, "uri": uri, "public_key_pem": key.public_pem}
    write_atomic(place, json.dumps(document, indent=1).encode() + b"\n", mode=0o600)
    return key


def open_uri(uri: str, *, name: str, pin: Callable[[], str]) -> ExternalKey:
    """The key that a URI names, ready to sign, though nothing of it is kept here; `pin` is asked for a token's.

    Raises:
        UsageError: neither kind of URI.
        ConfigError: the key is not there, or the PIN is wrong.
    """
    return _find(uri, name=name, pin=pin() if uri.startswith("pkcs11:") else None)


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
