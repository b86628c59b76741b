"""What a registry's list says of a repository. Unverified: for people to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from embhub.formats.plain_text import plain


@dataclass(frozen=True)
class Listing:
    """One line of a search. Unverified.

    Attributes:
        repository: `namespace/name`.
        commit: The newest commit, or empty.
        modified: When it was stored, or empty.
        tags: Tags of the card.
        audit: Verdict and who supports it; empty before the first release.
    """

    repository: str
    commit: str
    modified: str
    tags: tuple[str, ...] = field(default=())
    audit: str = ""

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
        modified = str(datetime.fromisoformat(said)) if (said := row.get("lastModified")) else ""
        tags = tuple(map(plain, row.get("tags") or ()))
        return cls(plain(row["id"]), plain(row.get("sha") or ""), modified, tags, _audit(row.get("embhub")))


def _audit(release: object) -> str:
    """`leak-detected, countersigned by nki`, or `…, self-declared`; a host that is no embhub registry says nothing."""
    if not isinstance(release, Mapping) or not isinstance(release.get("audit"), str):
        return ""
    verdict, whose = plain(release["audit"]), release.get("confirmation")
    if whose == "countersigned":
        return f"{verdict}, countersigned by {', '.join(map(plain, release.get('auditors') or ()))}"
    return f"{verdict}, self-declared" if whose == "self-declared" else verdict
