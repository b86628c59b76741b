"""How an increment is refused."""

from __future__ import annotations

from embhub.errors import UsageError


def refused(reason: str) -> UsageError:
    """The refusal of an increment that does not continue the export that is there."""
    return UsageError(
        f"the increment does not continue this export: {reason}",
        "nothing was changed; ask whoever made the increment, or copy a whole export into a new folder",
    )
