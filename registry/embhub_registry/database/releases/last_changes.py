"""Which commit last changed each file and folder of a revision, as `git log -1 -- PATH` would answer."""

from __future__ import annotations

from collections.abc import Iterable, Set

from embhub_registry.database.connection import Connection
from embhub_registry.database.releases import repositories
from embhub_registry.database.releases.repositories import Entry, Revision

REACH = 2000  # commits that are looked through; a path that did not change in so many gets the oldest of them


def find(
    db: Connection, repository_id: int, revision: Revision, *, hidden: Set[str] = frozenset(), reach: int = REACH
) -> dict[str, Revision]:  # fmt: skip
    """Path -> the newest commit, at `revision` or before it, at which the path's content became what it is there.

    Files and the folders above them are paths. A folder changes with anything in it, also when a file in it is deleted.
    Commits in `hidden` are passed over, as if the one before them had been the last.
    """
    wanted = _contents(repositories.entries(db, repository_id, revision.id))
    found: dict[str, Revision] = {}
    newer = revision
    for _ in range(reach):
        older = _before(db, repository_id, newer, hidden)
        before = _contents(repositories.entries(db, repository_id, older.id)) if older else {}
        changed = [path for path, content in wanted.items() if before.get(path) != content]
        found |= dict.fromkeys(changed, newer)
        for path in changed:
            del wanted[path]
        if older is None or not wanted:
            break
        newer = older
    return found | dict.fromkeys(wanted, newer)


def _before(db: Connection, repository_id: int, revision: Revision, hidden: Set[str]) -> Revision | None:
    """The nearest earlier commit that is not hidden."""
    parent = revision.parent
    while parent is not None:
        found = repositories.find_revision(db, repository_id, parent)
        if found is None or found.id not in hidden:
            return found
        parent = found.parent
    return None


def _contents(entries: Iterable[Entry]) -> dict[str, frozenset[tuple[str, str]]]:
    """Each file and folder with all that is in it: a file's own path and digest, or those of the files below."""
    inside: dict[str, set[tuple[str, str]]] = {}
    for entry in entries:
        steps = entry.path.split("/")
        for depth in range(1, len(steps) + 1):
            inside.setdefault("/".join(steps[:depth]), set()).add((entry.path, entry.digest))
    return {path: frozenset(files) for path, files in inside.items()}
