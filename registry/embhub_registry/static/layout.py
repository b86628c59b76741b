"""Where each thing lies, so that clients who ask a registry's addresses find files: no query, no header, no program.

An address that is a file for one client and a folder for another is a folder with an `index.html`: web servers answer
the one by a redirect to the other, which clients follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from embhub.client.wire import static_list
from embhub.log import tiles
from embhub.log.tiles import Tile
from embhub.trust.kinds import Kind
from embhub_registry.database.releases.repositories import Entry, Repository
from embhub_registry.static import items
from embhub_registry.static.items import Item
from embhub_registry.wire.hub_api import hf_answers, model_list

INDEX = "index.html"
README_PATH, TRUST, ADVISORIES = "README.txt", "embhub/v1/trust", "embhub/v1/advisories"
MOST_LISTED = 6_000_000  # bytes of the list, which clients read in one piece
_COUNTERS = ("downloads", "downloadsAllTime", "likes", "trendingScore", "_id")
ReadBlob = Callable[[str], bytes]
README = b"""This folder is a registry of embhub as files. Any web server can serve it, and so can a folder or a stick:

    python -m http.server --directory THIS-FOLDER
    embhub pull --registry http://127.0.0.1:8000 NAMESPACE/NAME
    embhub pull --registry /path/of/THIS-FOLDER NAMESPACE/NAME

What is here is verified by `embhub pull` as what a registry serves: by the root key that a person confirmed.
embhub/v1/static.json lists the files; log/checkpoint says how new they are.
"""


@dataclass(frozen=True)
class Shelf:
    """One repository as it is shown: its files by commit, and the names of commits.

    `commits` come oldest first, `dates` says when. `names` are branches, tags and versions, `main` among them; `tagged`
    says which are branches or tags. `yanked` are the rows of its status.
    """

    repository: Repository
    tags: Sequence[str]
    words: str
    facets: Sequence[tuple[str, str]]
    commits: Mapping[str, Sequence[Entry]]
    names: Mapping[str, str]
    yanked: Sequence[Mapping[str, Any]] = ()
    tagged: Mapping[str, str] = field(default_factory=dict)
    dates: Mapping[str, str] = field(default_factory=dict)


def of_repository(shelf: Shelf, read: ReadBlob) -> Iterator[Item]:
    """Every file of one repository."""
    name = shelf.repository.full_name
    for commit, entries in shelf.commits.items():
        for entry in entries:
            yield Item(
                f"{name}/resolve/{commit}/{entry.path}", entry.digest, entry.size, _reader(read, entry.digest),
                items.FILES, final=True,
            )  # fmt: skip
    api = f"api/models/{name}"
    taken = {row["revision"]: row for row in shelf.yanked}
    for which, commit in {**{commit: commit for commit in shelf.commits}, **shelf.names}.items():
        said = _info(shelf, commit, taken)
        tree = hf_answers.tree(shelf.commits[commit], "", recursive=True, last={})
        yield items.of_json(f"{api}/revision/{which}", said, stage=items.REVISIONS)
        yield items.of_json(f"{api}/tree/{which}", tree, stage=items.REVISIONS)
    if (head := shelf.names.get("main")) is not None:
        yield items.of_json(f"{api}/{INDEX}", _info(shelf, head, taken), stage=items.LISTS)
    history = [_commit(commit, shelf.dates.get(commit, "")) for commit in reversed(list(shelf.commits))]
    yield items.of_json(f"{api}/commits/main", history, stage=items.REVISIONS)
    yield items.of_json(f"{api}/refs", _refs(shelf), stage=items.REVISIONS)
    status = {"repository": name, "yanked": list(shelf.yanked), "tombstone": None}
    yield items.of_json(f"embhub/v1/status/{name}", status, stage=items.STANDING)


def of_statements(kind: Kind, digest: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> Item:
    """A list of signed statements about this digest, as the registry answers; `more` stands beside the rows."""
    said = {kind.listed.about: digest, kind.listed.name: list(rows), **more}
    return items.of_json(f"embhub/v1/{kind.listed.name}/{digest}", said, stage=items.STANDING)


def of_list(shelves: Iterable[Shelf]) -> tuple[Item, int]:
    """The list that a search reads, newest first; and how many repositories it has no room for."""
    rows, room, left = list[dict[str, Any]](), MOST_LISTED, 0
    for shelf in sorted(shelves, key=lambda shelf: shelf.repository.position, reverse=True):
        if shelf.repository.hidden or "main" not in shelf.names:
            continue
        row = _plain(hf_answers.model(shelf.repository, shelf.tags, sha=shelf.names["main"]))
        row["cardData"], _ = model_list.shorten(row["cardData"])
        row[static_list.MARK] = static_list.mark(shelf.words, shelf.facets)
        size = items.of_json("", row, stage=0).size
        if left or size > room:
            left += 1
            continue
        rows.append(row)
        room -= size
    return items.of_json(f"api/models/{INDEX}", rows, stage=items.LISTS), left


def of_log(
    checkpoint: bytes,
    size: int,
    read: Callable[[Tile], bytes],
    *,
    held: Callable[[str], tuple[str, int] | None] | None = None,
) -> Iterator[Item]:
    """The log's files: tiles first, then the checkpoint over them.

    Args:
        checkpoint: the newest one.
        size: of its log, in entries.
        read: a tile.
        held: the digest and size of a whole tile that is in place already, by its path; None where it has to be read.
    """
    for tile in tiles.all_of(size):
        path = f"log/{tile.path}"
        if tile.width == tiles.WIDTH and held is not None and (kept := held(path)) is not None:
            yield Item(path, *kept, partial(read, tile), items.TILES, final=True, in_place=True)
            continue
        data = read(tile)
        if tile.width == tiles.WIDTH:  # never changes, and is read again when it is written: a log may be large
            digest = hashlib.sha256(data).hexdigest()
            yield Item(path, digest, len(data), partial(read, tile), items.TILES, final=True)
        else:
            yield items.of_bytes(path, data, stage=items.TILES)
    yield items.of_bytes("log/checkpoint", checkpoint, stage=items.CHECKPOINT)


def of_trust(trust: bytes, advisories: bytes | None) -> Iterator[Item]:
    """What sites pin, and what was withdrawn."""
    yield items.of_bytes(TRUST, trust, stage=items.TRUST)
    if advisories is not None:
        yield items.of_bytes(ADVISORIES, advisories, stage=items.TRUST)


def readme() -> Item:
    """What a person finds in the folder."""
    return items.of_bytes(README_PATH, README, stage=items.LISTS)


def _reader(read: ReadBlob, digest: str) -> Callable[[], bytes]:
    return lambda: read(digest)


def _info(shelf: Shelf, commit: str, taken: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    said = _plain(hf_answers.model(shelf.repository, shelf.tags, sha=commit, entries=shelf.commits[commit], blobs=True))
    if commit in taken:
        told = {name: taken[commit][name] for name in ("reason", "date", "by", "scope")}
        said["embhub"] = {**(said["embhub"] or {}), "yanked": told}
    return said


def _commit(commit: str, date: str) -> dict[str, Any]:
    """One line of a history, without what people wrote."""
    return {"id": commit, "title": "", "message": "", "date": date, "authors": []}


def _plain(said: dict[str, Any]) -> dict[str, Any]:
    """Without what a running registry counts: nobody counts the downloads of a file."""
    return {name: value for name, value in said.items() if name not in _COUNTERS}


def _refs(shelf: Shelf) -> dict[str, Any]:
    answer: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": []}
    for kind, prefix in (("branch", "refs/heads/"), ("tag", "refs/tags/")):
        names = sorted(name for name, is_a in shelf.tagged.items() if is_a == kind and name in shelf.names)
        answer["branches" if kind == "branch" else "tags"] = [
            {"name": name, "ref": prefix + name, "targetCommit": shelf.names[name]} for name in names
        ]
    return answer
