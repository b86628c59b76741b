"""Which paths the files of an export have, exactly, how large each may be, and when it is put in place.

`layout` writes them. An increment comes from anywhere, and a web server may run what lies in its folder: what is not
here, or is larger, is not taken.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from embhub.client.wire import guard
from embhub.formats.names import repository_fault
from embhub.log import notes, tiles
from embhub.log.errors import MalformedLogError
from embhub.trust import advisories, keyring
from embhub_registry.people.names import RESERVED, is_commit, is_ref
from embhub_registry.repositories.proposal import limit_of
from embhub_registry.static import items, nginx_part
from embhub_registry.static.layout import ADVISORIES, INDEX, README_PATH, TRUST

LARGEST_JSON = 4 * guard.LARGEST_ANSWER
"""Bytes of a list or status file: 256 registered audits of one embedding, each with two bundles, take as many. A client
reads a quarter of that at once, or less."""


class Place(NamedTuple):
    """When a file of an export is put in place (`items`), and the most bytes that it may have."""

    stage: int
    limit: int


_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIXED = {
    README_PATH: Place(items.LISTS, 16_000),
    nginx_part.PATH: Place(items.LISTS, items.LARGEST_MANIFEST // 2),  # each line stands for ten paths or more
    f"api/models/{INDEX}": Place(items.LISTS, LARGEST_JSON),
    TRUST: Place(items.TRUST, keyring.EXPORT_BYTES),
    ADVISORIES: Place(items.TRUST, advisories.MAX_BYTES),
    "log/checkpoint": Place(items.CHECKPOINT, notes.MAX_BYTES),
}
_OF_A_REPOSITORY = {INDEX: items.LISTS, "commits/main": items.REVISIONS, "refs": items.REVISIONS}


def place_of(path: str) -> Place | None:
    """Where a file of an export belongs; None where no export has a file of this path.

    The list of all files names itself nowhere, so it has none.
    """
    if not items.is_path(path):
        return None
    if path in _FIXED:
        return _FIXED[path]
    match path.split("/"):
        case ["log", *rest]:
            return _of_the_log("/".join(rest))
        case ["embhub", "v1", "status", namespace, name]:
            return Place(items.STANDING, LARGEST_JSON) if _is_repository(namespace, name) else None
        case ["embhub", "v1", "audits" | "designs" | "evaluations" | "base-reports", digest]:
            return Place(items.STANDING, LARGEST_JSON) if _DIGEST.fullmatch(digest) else None
        case ["api", "models", namespace, name, *rest]:
            return _of_repository("/".join(rest)) if _is_repository(namespace, name) else None
        case [namespace, name, "resolve", commit, *rest] if is_commit(commit) and _is_repository(namespace, name):
            limit = limit_of("/".join(rest))
            return Place(items.FILES, limit) if limit is not None else None
    return None


def is_json(path: str) -> bool:
    """Whether an export's file of this path is made by `items.of_json`; the path has a place."""
    return path.startswith(("api/models/", "embhub/v1/")) and (path not in _FIXED or path == f"api/models/{INDEX}")


def _of_repository(path: str) -> Place | None:
    """The place of a file below `api/models/NAMESPACE/NAME`."""
    kind, _, which = path.partition("/")
    named = kind in ("revision", "tree") and (is_commit(which) or is_ref(which))
    stage = items.REVISIONS if named else _OF_A_REPOSITORY.get(path)
    return Place(stage, LARGEST_JSON) if stage is not None else None


def _is_repository(namespace: str, name: str) -> bool:
    return namespace not in RESERVED and repository_fault(f"{namespace}/{name}") is None


def _of_the_log(name: str) -> Place | None:
    try:
        tile = tiles.parse_path(name)
    except MalformedLogError:
        return None
    if tile.level is None:
        return Place(items.TILES, tile.width * (tiles.LARGEST_BUNDLE // tiles.WIDTH))
    return Place(items.TILES, tile.width * (tiles.LARGEST // tiles.WIDTH)) if tile.level < tiles.HEIGHT else None
