"""Everything that a registry holds or held, for its operator."""

from __future__ import annotations

from typing import Any

from embhub_registry.database.releases import repositories
from embhub_registry.database.standing import tombstones, yanks
from embhub_registry.repositories import repos
from embhub_registry.storage.folder import Registry


def list_all(registry: Registry) -> dict[str, Any]:
    """Repositories with a word on each (public, private, gated, yanked), and those that were deleted."""
    db = registry.database.connection()
    rows = []
    for found in repositories.all_repositories(db):
        head = repositories.find_ref(db, found.id, repos.MAIN)
        yanked = yanks.of(db, found.id)
        seen_as = "private" if found.private else "gated" if found.gated else "public"
        state = "yanked" if any(row.revision == head for row in yanked) else seen_as
        version = (found.summary.get("release") or {}).get("version")
        rows.append({"repository": found.full_name, "state": state, "version": version, "yanked": len(yanked)})
    deleted = [
        {"repository": stone.full_name, "reason": stone.reason, "date": stone.created, "releases": stone.releases}
        for stone in tombstones.find_all(db)
    ]
    return {"repositories": rows, "deleted": deleted}
