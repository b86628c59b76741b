"""Who made a backup: a signature over what the backup says that it holds, checked before anything else is read.

The key is the registry's backup key, `backup.pem` among its online keys: made by `init` or at the first backup, in no
backup, so that a reader of backups cannot sign another. Its fingerprint is what an operator writes down and hands to
`backup restore`.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from embhub.errors import EmbhubError, UsageError
from embhub.formats import strict_json
from embhub.site.signing import keys
from embhub.trust import dsse, p256
from embhub_registry.operation.backups.backup_file import BadBackupError

NAME = "backup.sig"
LARGEST = 10_000
_TYPE = "application/vnd.embhub.backup+json"  # so that no other signature of any key is one of a backup


class _Seal(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    public_key: str
    signature: str


def seal(manifest: bytes, key: keys.SigningKey) -> bytes:
    """The signature's file for a manifest."""
    signature = base64.b64encode(key.sign(dsse.pae(_TYPE, manifest))).decode("ascii")
    return _Seal(public_key=key.public_pem, signature=signature).model_dump_json(indent=2).encode()


def check(manifest: bytes, sealed: bytes, *, signed_by: str) -> str:
    """Whether the key with the fingerprint `signed_by` signed this manifest; returns the fingerprint.

    Raises:
        BadBackupError: another key did, or the manifest was changed afterwards.
    """
    try:
        found = _Seal.model_validate(strict_json.read_object(sealed, limit=LARGEST))
        signature = base64.b64decode(found.signature, validate=True)
        key = p256.read_public(found.public_key.encode())
    except (strict_json.JsonError, ValidationError, binascii.Error, ValueError, EmbhubError) as error:
        raise BadBackupError(f"its {NAME} cannot be read") from error
    if (signer := p256.fingerprint(key)) != signed_by:
        raise BadBackupError(
            f"it is signed by {signer}, not by {signed_by}",
            "nothing was restored; compare with the fingerprint that `backup make` printed and you wrote down",
        )
    try:
        p256.verify(dsse.pae(_TYPE, manifest), signature=signature, key=key)
    except EmbhubError as error:
        raise BadBackupError(
            "it was changed since it was signed", "nothing was restored; find out who can write where it was kept"
        ) from error
    return signer


def fingerprint_of(named: str) -> str:
    """A fingerprint from itself, or from a file with the public key.

    Raises:
        UsageError: it is neither.
    """
    if named.startswith("SHA256:") and len(named) == len("SHA256:") + 43:
        return named
    try:
        return p256.fingerprint(p256.read_public(Path(named).read_bytes()[:LARGEST]))
    except (OSError, ValueError, EmbhubError) as error:
        raise UsageError(
            f"{named!r} is neither a fingerprint nor a file with a public key",
            "give SHA256:… as `backup make` printed it, or a copy of keys/backup.pub",
        ) from error
