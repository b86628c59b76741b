"""Damage done to a registry's stored objects, wherever they are: in its folder, or in an object store."""

from __future__ import annotations

from embhub_registry.storage.blobs import BlobStore
from embhub_registry.storage.folder_blobs import FolderBlobs
from embhub_registry.storage.s3_blobs import OBJECTS, S3Blobs


def write_over(blobs: BlobStore, digest: str, data: bytes) -> None:
    """Put other bytes under an object's name."""
    if isinstance(blobs, FolderBlobs):
        blobs.path(digest).write_bytes(data)
    else:
        assert isinstance(blobs, S3Blobs)
        blobs.store.overwrite(OBJECTS + digest, data)


def lose(blobs: BlobStore, digest: str) -> None:
    """Take an object away behind the registry's back."""
    if isinstance(blobs, FolderBlobs):
        blobs.path(digest).unlink()
    else:
        assert isinstance(blobs, S3Blobs)
        blobs.store.delete(OBJECTS + digest)
