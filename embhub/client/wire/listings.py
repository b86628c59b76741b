"""What a registry's list says of a repository. Unverified: for people to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from embhub.formats.plain_text import plain


@dataclass(frozen=True)
class Listing:
    """One line of a search. Unverified.

    Attributes:
        repository: `namespace/name`.
        commit: The newest commit, or empty.
        modified: When it was stored (ISO 8601, UTC), or empty.
        tags: Tags of the card.
        audit: Verdict and who supports it; empty before the first release.
        version: The newest version; this and what follows is empty before the first release.
        verdict: Verdict of the audit alone.
        confirmation: `countersigned`, `self-declared` or `none`.
        privacy: `none`, or the privacy claim in a few words.
        base: Name of the base model.
        modality: DICOM modality codes.
        description: What the card says that the embedding generates.
    """

    repository: str
    commit: str
    modified: str
    tags: tuple[str, ...] = field(default=())
    audit: str = ""
    version: str = ""
    verdict: str = ""
    confirmation: str = ""
    privacy: str = ""
    base: str = ""
    modality: tuple[str, ...] = ()
    description: str = ""

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Listing:
        """Read one row of a registry's answer.

        Args:
            row: The row, as the registry wrote it.

        Returns:
            The listing.

        Raises:
            ValueError: The row is malformed.
            KeyError: The row names no repository.
            TypeError: A value has the wrong type.
        """
        modified = _iso(said) if (said := row.get("lastModified")) else ""
        tags = tuple(map(plain, row.get("tags") or ()))
        release = row.get("embhub")
        return cls(plain(row["id"]), plain(row.get("sha") or ""), modified, tags, _audit(release), **_facts(release))


def _iso(said: str) -> str:
    return datetime.fromisoformat(said).astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _facts(release: object) -> dict[str, Any]:
    """What the summary of an embhub registry says; another host has none."""
    if not isinstance(release, Mapping):
        return {}
    said = {name: release.get(name) for name in ("version", "confirmation", "privacy", "base", "description")}
    codes = release.get("modality")
    return {
        "verdict": _text(release.get("audit")),
        "modality": tuple(map(plain, codes)) if isinstance(codes, list) else (),
        **{name: _text(value) for name, value in said.items()},
    }


def _text(value: object) -> str:
    return plain(value) if isinstance(value, str) else ""


def _audit(release: object) -> str:
    """`leak-detected, countersigned by nki`, or `…, self-declared`; a host that is no embhub registry says nothing."""
    if not isinstance(release, Mapping) or not isinstance(release.get("audit"), str):
        return ""
    verdict, whose = plain(release["audit"]), release.get("confirmation")
    if whose == "countersigned":
        return f"{verdict}, countersigned by {', '.join(map(plain, release.get('auditors') or ()))}"
    return f"{verdict}, self-declared" if whose == "self-declared" else verdict
