"""The releases that this site has, by the digest of their embedding: what a generated image can be traced to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from embhub.artifact import base_identity
from embhub.artifact.embedding import Embedding
from embhub.client.pulling import overview
from embhub.client.pulling import pull as pulling
from embhub.errors import EmbhubError
from embhub.release.files import EMBEDDING
from embhub.site.memory import pulled

State = Literal["ok", "withdrawn", "not verified"]
MOST = 1_000
"""Releases that are read."""


@dataclass(frozen=True)
class Known:
    """A release of this site, as far as it can be verified here.

    `base` is the SHA-256 of the base's fingerprint. `repository` and `site` (who signed) are empty where nothing was
    verified. `claim` and `audit` are what card and report say; `reasons` what speaks against using it.
    """

    digest: str
    token: str
    base_name: str
    base: str | None
    repository: str
    site: str
    claim: Any
    audit: str
    state: State
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "reasons": list(self.reasons)}


def known_releases(places: Sequence[Path] = ()) -> dict[str, Known]:
    """Releases in `places` (files or folders, one release each, or folders of those), then those that were pulled here.

    What cannot be read is left out. Nothing is fetched: what is known of withdrawals is what
    `embhub verify --pulled` knows.
    """
    found: dict[str, Known] = {}
    for number, path in enumerate(_files([*places, *pulled.all_folders()])):
        if number >= MOST:
            break
        known = _look(path)
        if known is not None and known.digest not in found:
            found[known.digest] = known
    return found


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir() and not (place / EMBEDDING).exists():
            inner = sorted(place.glob("*.safetensors"))
            yield from inner or sorted(path.parent for path in place.glob(f"*/{EMBEDDING}"))
        elif place.exists():
            yield place


def _look(path: Path) -> Known | None:
    try:
        release = pulling.read_release(path)
        embedding = release.embedding
        facts = overview.describe(release)
    except (EmbhubError, OSError):
        return None
    try:
        verified = pulling.verify_release(release, target=path)
    except EmbhubError as error:
        return _known(embedding, facts, "not verified", reasons=(error.message,))
    reasons = [advisory.sentence for advisory in verified.withdrawn]
    if verified.yanked is not None:
        said = verified.yanked.to_json()
        reasons.append(f"yanked on {said['date']}: {said['reason']}")
    return _known(
        embedding, facts, "withdrawn" if reasons else "ok", reasons=tuple(reasons),
        repository=f"{verified.repository} {verified.version}",
        site=verified.signer.name or verified.signer.namespace,
    )  # fmt: skip


def _known(
    embedding: Embedding, facts: dict[str, Any], state: State, *, reasons: tuple[str, ...] = (), repository: str = "",
    site: str = "",
) -> Known:  # fmt: skip
    base = base_identity.digest(embedding.base) if embedding.base else None
    return Known(
        embedding.digest, embedding.token, embedding.base_name, base, repository, site, facts["privacy"],
        str(facts["audit"]), state, reasons,
    )  # fmt: skip
