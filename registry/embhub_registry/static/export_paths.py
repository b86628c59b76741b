"""Which paths the files of an export have, exactly, and when each is put in place. `layout` writes them.

An increment comes from anywhere, and a web server may run what lies in its folder: what is not here is not taken.
"""

from __future__ import annotations

import re

from embhub.formats.names import repository_fault
from embhub.log import tiles
from embhub.log.errors import MalformedLogError
from embhub_registry.people.names import RESERVED, is_commit, is_ref
from embhub_registry.repositories.proposal import limit_of
from embhub_registry.static import items, nginx_part
from embhub_registry.static.layout import INDEX

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIXED = {
    "README.txt": items.LISTS, nginx_part.PATH: items.LISTS, f"api/models/{INDEX}": items.LISTS,
    "embhub/v1/trust": items.TRUST, "embhub/v1/advisories": items.TRUST, "log/checkpoint": items.CHECKPOINT,
}  # fmt: skip
_OF_A_REPOSITORY = {INDEX: items.LISTS, "commits/main": items.REVISIONS, "refs": items.REVISIONS}


def stage_of(path: str) -> int | None:
    """When a file of an export is put in place (`items`); None where no export has a file of this path.

    The list of all files names itself nowhere, so it has none.
    """
    if not items.is_path(path):
        return None
    if path in _FIXED:
        return _FIXED[path]
    match path.split("/"):
        case ["log", *rest]:
            return items.TILES if _is_tile("/".join(rest)) else None
        case ["embhub", "v1", "status", namespace, name]:
            return items.STANDING if _is_repository(namespace, name) else None
        case ["embhub", "v1", "audits" | "designs" | "evaluations", digest]:
            return items.STANDING if _DIGEST.fullmatch(digest) else None
        case ["api", "models", namespace, name, *rest]:
            return _of_repository("/".join(rest)) if _is_repository(namespace, name) else None
        case [namespace, name, "resolve", commit, *rest] if is_commit(commit) and _is_repository(namespace, name):
            return items.FILES if limit_of("/".join(rest)) is not None else None
    return None


def is_json(path: str) -> bool:
    """Whether an export's file of this path is made by `items.of_json`; the path has a stage."""
    return path.startswith(("api/models/", "embhub/v1/")) and (path not in _FIXED or path == f"api/models/{INDEX}")


def _of_repository(path: str) -> int | None:
    """The stage of a file below `api/models/NAMESPACE/NAME`."""
    if path in _OF_A_REPOSITORY:
        return _OF_A_REPOSITORY[path]
    kind, _, which = path.partition("/")
    return items.REVISIONS if kind in ("revision", "tree") and (is_commit(which) or is_ref(which)) else None


def _is_repository(namespace: str, name: str) -> bool:
    return namespace not in RESERVED and repository_fault(f"{namespace}/{name}") is None


def _is_tile(name: str) -> bool:
    try:
        level = tiles.parse_path(name).level
    except MalformedLogError:
        return False
    return level is None or level < tiles.HEIGHT
