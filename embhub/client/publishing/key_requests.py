"""Asking a registry's operator to add a key of this site to the keyring."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from embhub.client.account import origins
from embhub.client.publishing.push import AskPassphrase, load_key
from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.formats import names
from embhub.trust import key_request
from embhub.trust.keyring import Role


@dataclass(frozen=True)
class Requested:
    """What was asked for, and where the file is that asks for it."""

    registry: str
    namespace: str
    role: str
    fingerprint: str
    file: Path


def request(
    namespace: str, *, role: Role = "publish", key: str | None = None, registry: str | None = None,
    out: Path | None = None, ask_passphrase: AskPassphrase | None = None,
) -> Requested:  # fmt: skip
    """Write a request, signed by the key, that the operator adds it to the registry's keyring.

    Args:
        registry: address of the registry; the request counts at no other.
        out: the file to write  [default: `NAMESPACE.ROLE.key-request.json`].

    Raises:
        UsageError: not a namespace, or no registry is set.
        ConfigError: there is no such key, its passphrase is missing, or the file cannot be written.
    """
    if fault := names.namespace_fault(namespace):
        raise UsageError(fault, "for example radboud")
    origin = origins.to_sign_for(registry)
    signer = load_key(key, ask_passphrase)
    file = out or Path(f"{namespace}.{role}.key-request.json")
    write_atomic(file, key_request.write(origin, namespace, role, key=signer, now=datetime.now(UTC)))
    return Requested(origin, namespace, role, signer.fingerprint, file)
