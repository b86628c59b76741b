"""The files that a mirror serves: the layout of a static export, of what it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from embhub.errors import RegistryError
from embhub.formats import search_words, strict_json
from embhub.log import merkle
from embhub.log.checkpoints import SignedCheckpoint
from embhub.log.errors import MalformedLogError
from embhub.log.tiles import Tile, TileReader
from embhub.trust import kinds
from embhub_registry.database.releases.placement import facets_of
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.static import items, layout, nginx_part, writing
from embhub_registry.static.items import Item
from embhub_registry.static.layout import Shelf
from embhub_registry.static.mirror.fetching import Statements
from embhub_registry.static.mirror.holdings import HeldRepository, Holdings

_LARGEST_TRUST = 8_000_000
Audits = Mapping[str, Statements]
"""By an embedding's SHA-256."""


def write(
    site: Path, holdings: Holdings, *, registry: str, trust: bytes, checkpoint: SignedCheckpoint,
    read: Callable[[Tile], bytes], audits: Audits,
) -> None:  # fmt: skip
    """Exchange the files in `site`. Raises ConfigError; then they are as they were."""
    shelves = list(_shelves(holdings))
    listed, _ = layout.of_list(shelves)
    found = [
        *(item for shelf in shelves for item in layout.of_repository(shelf, holdings.blobs.get)),
        *_of_statements(audits),
        *layout.of_log(checkpoint.to_bytes(), checkpoint.size, read, held=_tiles_in(site, checkpoint, read)),
        *layout.of_trust(trust, _advisories(trust)), listed, nginx_part.write(shelves),
        layout.readme(),
    ]  # fmt: skip
    kept = items.without_clashes(item for item in found if items.is_path(item.path))
    said = f"{checkpoint.size}:{checkpoint.root.hex()}"
    writing.put([*kept, items.manifest(kept, registry=registry, checkpoint=said)], site)


def _of_statements(audits: Audits) -> Iterator[Item]:
    for digest, said in audits.items():
        yield layout.of_statements(kinds.AUDIT, digest, said.audits, nearly=list(said.nearly))
    for digest, said in audits.items():
        if said.designs:
            yield layout.of_statements(kinds.DESIGN, digest, said.designs)
    for digest, said in audits.items():
        if said.evaluations:
            yield layout.of_statements(kinds.EVALUATION, digest, said.evaluations)


def audits_in(site: Path, digests: Iterable[str]) -> Audits:
    """The audits that are served, of these embeddings."""
    return {digest: _statements(site, digest) for digest in digests}


def _tiles_in(
    site: Path, checkpoint: SignedCheckpoint, read: Callable[[Tile], bytes]
) -> Callable[[str], tuple[str, int] | None] | None:
    """The tiles that are served, each looked at once: the copy of a large log is not read again at each refresh.

    They are those of the list in `site`, if that is of the same log: a new log has other tiles under the same paths.
    """
    try:
        listed = items.read_manifest((site / items.MANIFEST).read_bytes())
        text, _, root = listed.checkpoint.partition(":")
        size = int(text)
        if not 0 < size <= checkpoint.size:
            return None
        served = merkle.root_at(size, TileReader(checkpoint.size, read).node)
    except (OSError, ValueError, RegistryError, MalformedLogError):
        return None
    if served.hex() != root:
        return None

    def held(path: str) -> tuple[str, int] | None:
        try:
            data = (site / path).read_bytes() if path in listed.files else b""
        except OSError:
            return None
        digest = hashlib.sha256(data).hexdigest()
        return (digest, len(data)) if listed.files.get(path) == digest else None

    return held


def _statements(site: Path, digest: str) -> Statements:
    audits, designs, evaluations = (_said(site, kind, digest) for kind in ("audits", "designs", "evaluations"))
    return Statements(
        audits.get("audits", []), designs.get("designs", []), evaluations.get("evaluations", []),
        audits.get("nearly", []),
    )  # fmt: skip


def _said(site: Path, kind: str, digest: str) -> Mapping[str, Any]:
    path = site / "embhub/v1" / kind / digest
    said: Mapping[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    return said


def _advisories(trust: bytes) -> bytes | None:
    """The signed list of withdrawals alone, from the document that holds it too."""
    envelope = strict_json.read_object(trust, limit=_LARGEST_TRUST).get("advisories")
    return None if envelope is None else json.dumps(envelope, separators=(",", ":")).encode()


def _shelves(holdings: Holdings) -> Iterator[Shelf]:
    """Every repository, in the order of their newest releases."""
    named = [(name, held) for name, held in holdings.repositories.items() if held.releases or held.yanked]
    ordered = sorted(named, key=lambda pair: (_newest(pair[1]), pair[0]))
    for position, (name, held) in enumerate(ordered, 1):
        yield _shelf(name, held, position)


def _newest(held: HeldRepository) -> str:
    return max((release.created for release in held.releases.values()), default="")


def _shelf(name: str, held: HeldRepository, position: int) -> Shelf:
    namespace, _, short = name.partition("/")
    dates = {commit: release.created for commit, release in held.releases.items()}
    versions = {release.version: commit for commit, release in held.releases.items()}
    shown = held.releases.get(held.main)
    first, last = min(dates.values(), default=""), max(dates.values(), default="")
    repository = Repository(
        0, namespace, short, False, first, last, 0, shown.summary if shown else {}, position=position
    )
    return Shelf(
        repository, shown.tags if shown else (), search_words.plain(shown.text) if shown else "",
        facets_of(shown.summary.get("release") or {}) if shown else [],
        {commit: release.files for commit, release in held.releases.items()},
        {**versions, **({"main": held.main} if shown else {})}, held.yanked, {"main": "branch"}, dates,
    )  # fmt: skip
