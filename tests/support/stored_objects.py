"""Damage done to a registry's stored objects, wherever they are: in its folder, or in PostgreSQL."""

from __future__ import annotations

import pytest

from embhub_registry.storage.stores.blobs import BlobStore
from embhub_registry.storage.stores.database_blobs import DatabaseBlobs
from embhub_registry.storage.stores.folder_blobs import FolderBlobs
from tests.support import postgres

needs_folder = pytest.mark.skipif(postgres.CHOSEN, reason="it is about the files of a folder")


def write_over(blobs: BlobStore, digest: str, data: bytes) -> None:
    """Put other bytes under an object's name."""
    if isinstance(blobs, FolderBlobs):
        blobs.path(digest).write_bytes(data)
    else:
        run(
            blobs,
            "INSERT INTO file_content (digest, content) VALUES (?, ?)"
            " ON CONFLICT (digest) DO UPDATE SET content = excluded.content",
            digest, data,
        )  # fmt: skip


def lose(blobs: BlobStore, digest: str) -> None:
    """Take an object away behind the registry's back."""
    if isinstance(blobs, FolderBlobs):
        blobs.path(digest).unlink()
    else:
        run(blobs, "DELETE FROM file_content WHERE digest = ?1", digest)


def run(blobs: BlobStore, statement: str, *values: str | bytes) -> None:
    """A statement in the database of a registry on PostgreSQL."""
    assert isinstance(blobs, DatabaseBlobs)
    blobs._database.connection().execute(statement, values)
