"""`export --static`: a registry, or what of it is new, as files in a folder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from embhub.errors import UsageError
from embhub_registry.static import increments, writing
from embhub_registry.static.collecting import collect
from embhub_registry.storage.folder import Registry


def export(registry: Registry, folder: Path, *, since: str | None, include: Collection[str] = ()) -> dict[str, Any]:
    """Write the export, or with `since` an increment, to `folder`; what it holds.

    Raises:
        UsageError: the folder holds other things, `since` is not known, or the registry is closed.
        ConfigError: the folder cannot be written. What was there before stays.
    """
    if folder.absolute().is_relative_to(registry.folder.absolute()):
        raise UsageError(f"{folder} is inside the registry's own folder", "choose a folder outside --dir")
    held = increments.since(since, registry.folder, include=include) if since is not None else None
    found = collect(registry, include=include)
    done = writing.put(found.files, folder) if held is None else increments.write(found.files, held, folder)
    increments.note(found.files, found.checkpoint, registry.folder, include=include)
    registry.audit_log.write("exported", checkpoint=found.checkpoint, include=sorted(include), since=bool(held))
    return {
        "dir": str(folder), "checkpoint": found.checkpoint, "repositories": found.repositories,
        "releases": found.releases, "cosigned_by": list(found.cosigned_by), "unlisted": found.unlisted, **asdict(done),
    }  # fmt: skip


def warnings(result: dict[str, Any]) -> list[str]:
    """What an operator should know of an export."""
    found = []
    if not result["checkpoint"]:
        found.append("this registry keeps no transparency log, so nobody sees how old the export is: `log begin`")
    elif not result["cosigned_by"]:
        found.append("no witness cosigned the checkpoint, so its age is not shown: see docs/how-to/watch-a-log.md")
    if result["unlisted"]:
        found.append(f"{result['unlisted']:,} repositories have no room in the list of a search; `pull` finds them")
    return found
