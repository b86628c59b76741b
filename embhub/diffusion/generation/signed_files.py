"""C2PA manifests in the images of a run: what they say, and when they are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embhub.builtin_bases import NAMES
from embhub.client.pulling.opening import Opened
from embhub.formats.synthetic_mark import GENERATED, SourceType
from embhub.images.c2pa_manifests import statement
from embhub.images.c2pa_manifests.statement import Statement

if TYPE_CHECKING:
    from embhub.images.c2pa_manifests.signing import ManifestSigner


def check(signer: ManifestSigner | None, prompts: Sequence[str | None]) -> None:
    """Refuse prompts that a manifest must not say. Raises PrivacyError."""
    if signer is not None:
        statement.check_prompts([one for one in prompts if one])


def sign(
    signer: ManifestSigner | None, out: Path, files: Sequence[str], *, opened: Sequence[Opened],
    base: tuple[str, str | None], prompt: dict[str, Any], source_type: SourceType = GENERATED, mode: int = 0o644,
) -> dict[str, Any]:  # fmt: skip
    """Put manifests into the images of a run, where a key is named; returns what its manifest.json says of it.

    `base` are its name and the digest of its fingerprint.

    Raises:
        ConfigError: the key does not sign, or a file cannot be written.
    """
    if signer is None:
        return {}
    shown = [statement.describe_embedding(item.embedding, release_of(item)) for item in opened]
    said = Statement({"base": describe_base(*base), **prompt, "embeddings": shown}, source_type)
    signer.sign_images(out, files, said, mode=mode)
    return {"c2pa": signer.facts()}


def describe_base(name: str, digest: str | None) -> dict[str, str]:
    """A base by the digest of its fingerprint, and by name where it is built in: other names may be paths."""
    return {**({"name": name} if name in NAMES else {}), **({"fingerprint": digest} if digest else {})}


def release_of(opened: Opened) -> str | None:
    """The release that was verified, as `namespace/name version`."""
    verified = opened.verified
    return f"{verified.repository} {verified.version}" if verified is not None else None
