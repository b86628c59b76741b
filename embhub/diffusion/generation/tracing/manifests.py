"""The layer C2PA of `embhub research detect`: manifests in images and of data sets, in sentences that claim no more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from embhub.client.trusted import roots
from embhub.formats import instants
from embhub.formats.synthetic_mark import SYNTHETIC_TYPES
from embhub.images.c2pa_manifests import certificate
from embhub.images.c2pa_manifests.reading import Manifest, ManifestReader
from embhub.images.c2pa_manifests.tables import SIDECAR, Tables
from embhub.project import how_to_install
from embhub.site.pins import trust_store

_OWN = "this-site"
_NOTHING = "it says nothing about the image"


class ManifestLayer:
    """Checks manifests by the keyrings of this site, its own keys, and authorities that a person names (PEM)."""

    def __init__(self, anchors: Path | None = None) -> None:
        """Raises UsageError where `anchors` are no certificates, ConfigError or VerificationError as the keyrings."""
        self.available = ManifestReader.available()
        now = instants.write(datetime.now(UTC))
        own = roots.vouch_for_own_keys(_OWN, now, origin=f"{_OWN}.invalid")
        pem = certificate.read_anchors(anchors) if anchors is not None else ""
        self._reader = ManifestReader([*trust_store.load_all(), own], anchors=pem)
        self._tables = Tables(self._reader)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.__exit__(kind, value, trace)

    def look(self, file: Path, *, has_manifest: bool) -> Iterator[dict[str, Any]]:
        """What is found about a file, as the fields of a `Hit`; `says_synthetic` only where a manifest is whole."""
        if not self.available:
            if has_manifest or any((folder / SIDECAR).is_file() for folder in list(file.parents)[:2]):
                yield {"says": f"there is a C2PA manifest, which was not checked: {how_to_install('c2pa')}"}
            return
        if has_manifest:
            yield _describe(self._reader.read(file), "the C2PA manifest")
        if (found := self._tables.find(file)) is not None:
            yield _describe(found, "the C2PA manifest of its data set")


def _describe(found: Manifest, what: str) -> dict[str, Any]:
    if found.state != "whole":
        return {"says": f"{what} is not valid: {found.why}; {_NOTHING}", "valid": False}
    origin = found.source_type or "nothing of how it was made"
    return {
        "says": f"{what} says {origin}; {_signer(found)}", "valid": True, "embeddings": found.embeddings,
        "base": found.base, "signer": found.key.namespace if found.key and found.signer == "known" else None,
        "says_synthetic": found.source_type in SYNTHETIC_TYPES,
    }  # fmt: skip


def _signer(found: Manifest) -> str:
    key, named = found.key, found.named or "without a name"
    if found.signer == "known" and key is not None and key.namespace == _OWN:
        return f"signed with a key of this site ({key.fingerprint})"
    if found.signer == "known" and key is not None:
        return f"signed by {key.name or key.namespace} ({key.fingerprint}), by the keyring of {key.registry}"
    if found.signer == "revoked" and key is not None and key.revocation is not None:
        revoked = key.revocation
        return f"signed with a revoked key of {key.namespace} ({revoked.date}, {revoked.reason}): anybody may have it"
    if found.signer == "accepted":
        return f"signed by {named}, whose certificate leads to one of --c2pa-trust"
    return f"the signer is not known here ({named}): anybody can write such a manifest"
