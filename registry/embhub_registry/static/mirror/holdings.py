"""What a mirror holds: releases that verified, by repository and commit, and the files of each in a store by digest."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embhub.durable import write_atomic
from embhub.errors import ConfigError
from embhub.release.files import Release
from embhub_registry.database.releases.repositories import Entry
from embhub_registry.storage.stores.blobs import MissingBlobError, git_oid
from embhub_registry.storage.stores.folder_blobs import FolderBlobs

FILE = "held.json"


@dataclass(frozen=True)
class HeldRelease:
    """One release: what it says, its files, and by which state of the registry it was judged last."""

    version: str
    digest: str
    numbers: str
    created: str
    judged: str
    files: tuple[Entry, ...]
    summary: Mapping[str, Any]
    tags: tuple[str, ...]
    text: str


@dataclass
class HeldRepository:
    """The releases of one repository by commit, oldest first; the commit of `main`; and what is not fetched again."""

    main: str = ""
    releases: dict[str, HeldRelease] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    yanked: list[dict[str, Any]] = field(default_factory=list)


class Holdings:
    """Everything that a mirror holds. Call `save` when the files that are served are in place."""

    def __init__(self, folder: Path) -> None:
        self._path, self.blobs = folder / FILE, FolderBlobs(folder / "blobs")
        (folder / "blobs").mkdir(parents=True, exist_ok=True)
        self.repositories = _read(self._path)

    def put(self, release: Release) -> tuple[Entry, ...]:
        """Store the files of a release; their places."""
        return tuple(
            Entry(path, self.blobs.put(data), len(data), git_oid(data)) for path, data in sorted(release.files.items())
        )

    def release(self, held: HeldRelease) -> Release | None:
        """A release, read from the store; None where one of its files is lost or damaged."""
        try:
            return Release.from_files({entry.path: self.blobs.get(entry.digest) for entry in held.files})
        except MissingBlobError:
            return None

    def forget_lost(self) -> frozenset[str]:
        """Forget each release of which the store lost a file, to be fetched again; the repositories of these."""
        stored, lost = set(self.blobs.stored()), set[str]()
        for name, held in self.repositories.items():
            whole = {
                commit: release
                for commit, release in held.releases.items()
                if all(entry.digest in stored for entry in release.files)
            }
            if len(whole) < len(held.releases):
                lost.add(name)
            held.releases = whole
        return frozenset(lost)

    def digests(self) -> list[str]:
        """The embeddings that are held, by their SHA-256."""
        found = {release.digest for held in self.repositories.values() for release in held.releases.values()}
        return sorted(found)

    def embeddings(self) -> dict[str, tuple[str, frozenset[str]]]:
        """Of each embedding that is held the digest of its numbers, and the repositories that hold these numbers."""
        numbers, names = dict[str, str](), defaultdict[str, set[str]](set)
        for name, held in self.repositories.items():
            for release in held.releases.values():
                numbers[release.digest] = release.numbers
                names[release.numbers].add(name)
        return {digest: (numbers[digest], frozenset(names[numbers[digest]])) for digest in sorted(numbers)}

    def save(self) -> None:
        """Note what is held.

        Raises:
            ConfigError: the folder cannot be written.
        """
        write_atomic(self._path, json.dumps(self.repositories, sort_keys=True, default=vars).encode(), mode=0o600)

    def sweep(self) -> None:
        """Remove every file that nothing holds any more; not while a round stores some that it will hold."""
        used = {
            entry.digest
            for held in self.repositories.values()
            for release in held.releases.values()
            for entry in release.files
        }
        for digest in set(self.blobs.stored()) - used:
            self.blobs.delete(digest)


def _read(path: Path) -> dict[str, HeldRepository]:
    try:
        said = json.loads(path.read_bytes())
        return {name: _repository(held) for name, held in said.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read", "remove it: the mirror then fetches everything again") from error


def _repository(said: Mapping[str, Any]) -> HeldRepository:
    found = {}
    for commit, row in said["releases"].items():
        files = tuple(Entry(**entry) for entry in row["files"])
        found[commit] = HeldRelease(**{**row, "files": files, "tags": tuple(row["tags"])})
    ordered = dict(sorted(found.items(), key=lambda pair: (pair[1].created, pair[0])))
    return HeldRepository(said["main"], ordered, dict(said["refused"]), list(said["yanked"]))
