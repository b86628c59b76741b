"""Images of a data set that has one manifest for all: `manifest.c2pa` covers `manifest.csv`, which lists digests."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from functools import lru_cache
from pathlib import Path

from embhub.images.c2pa_manifests.reading import MAX_BYTES, Manifest, ManifestReader
from embhub.images.manifests.manifest import NAME as TABLE

SIDECAR = "manifest.c2pa"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LEVELS = 2
"""A data set's images lie in folders of its folder."""


class Tables:
    """Finds the manifest of the data set that an image lies in. Each data set is read once."""

    def __init__(self, reader: ManifestReader) -> None:
        self._reader = reader
        self._read = lru_cache(maxsize=16)(self._read_table)

    def find(self, image: Path) -> Manifest | None:
        """The manifest of the data set that lists this very file; None where there is none.

        One that is not whole is returned for every image beside it.
        """
        for folder in list(image.parents)[:_LEVELS]:
            if (folder / SIDECAR).is_file() and (folder / TABLE).is_file():
                manifest, listed = self._read(folder)
                if manifest.state != "whole":
                    return manifest
                return manifest if _digest(image) in listed else Manifest("broken", why=_NOT_LISTED)
        return None

    def _read_table(self, folder: Path) -> tuple[Manifest, frozenset[bytes]]:
        manifest = self._reader.read(folder / TABLE, sidecar=folder / SIDECAR)
        if manifest.state != "whole":
            return manifest, frozenset()
        rows = csv.DictReader(io.StringIO((folder / TABLE).read_bytes().decode("utf-8", "replace"), newline=""))
        try:
            found = [str(row.get("sha256")) for row in rows]
        except csv.Error:
            return Manifest("broken", why="the table of the data set cannot be read"), frozenset()
        return manifest, frozenset(bytes.fromhex(one) for one in found if _DIGEST.fullmatch(one))


_NOT_LISTED = "the manifest of its data set does not list this file"


def _digest(image: Path) -> bytes:
    try:
        if image.stat().st_size > MAX_BYTES:
            return b""
        with image.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""
