"""What a registry's list says of a repository. Unverified: for people to choose from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from embhub.faults import plain


@dataclass(frozen=True)
class Listing:
    """One line of a search."""

    repository: str
    commit: str
    modified: str
    tags: tuple[str, ...] = field(default=())

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> Listing:
        """A row of the answer, as a registry wrote it; nonsense raises what nonsense raises."""
        modified = str(datetime.fromisoformat(said)) if (said := row.get("lastModified")) else ""
        tags = tuple(map(plain, row.get("tags") or ()))
        return cls(plain(row["id"]), plain(row.get("sha") or ""), modified, tags)
