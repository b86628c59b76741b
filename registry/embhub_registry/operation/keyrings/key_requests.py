"""Reading the file of `key add`: a request that the key signed itself, or a bare public key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embhub.errors import UsageError
from embhub.refusals import WrongRegistryError
from embhub.trust import key_request, p256
from embhub.trust.keyring import Role

_BARE = (
    "warning: a bare public key proves nothing about who holds it. Ask for a request that the key signs:"
    " `embhub key request NAMESPACE`"
)


@dataclass(frozen=True)
class Asked:
    """Which key is to do what in which namespace, and what the operator should be told."""

    namespace: str
    role: Role
    key: p256.PublicKey
    remarks: tuple[str, ...] = ()


def read(file: Path, *, origin: str, namespace: str | None = None, role: Role | None = None) -> Asked:
    """The file of `embhub key request` or of `embhub key export`.

    `namespace` and `role` are what the operator named; a request has its own, which have to agree.

    Raises:
        UsageError: the file cannot be read, a bare key comes without namespace and role, or a request is for another
            namespace or role than the operator named.
        WrongRegistryError: the request was written for another registry.
        VerificationError: it is neither, or the key did not sign the request.
    """
    data = _read(file)
    if not key_request.is_request(data):
        if namespace is None or role is None:
            raise UsageError("a bare public key names no namespace and no role", "add --namespace and --role")
        return Asked(namespace, role, p256.read_public(data), (_BARE,))
    asked = key_request.parse(data)
    if asked.registry != origin:
        raise WrongRegistryError(
            f"the request is for the registry {asked.registry}, this is {origin}",
            "the site writes one for this registry: embhub key request NAMESPACE --registry URL",
        )
    for what, wanted, said in (("namespace", namespace, asked.namespace), ("role", role, asked.role)):
        if wanted is not None and wanted != said:
            raise UsageError(f"the request is for the {what} {said}, not {wanted}", f"omit --{what}, or ask the site")
    key = p256.read_public(asked.public_key_pem)
    remark = f"requested on {asked.created} by the holder of {asked.fingerprint}; compare it with them by telephone"
    return Asked(asked.namespace, asked.role, key, (remark,))


def public_key(file: Path) -> p256.PublicKey:
    """The key of either kind of file, whose namespace and role the caller knows.

    Raises:
        UsageError: it cannot be read.
        VerificationError: it is neither.
    """
    data = _read(file)
    if not key_request.is_request(data):
        return p256.read_public(data)
    return p256.read_public(key_request.parse(data).public_key_pem)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(key_request.MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", "give the file of `embhub key request`") from error
