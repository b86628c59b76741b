"""Who answers for a registry: a server, or a folder on this machine that holds the same files."""

from __future__ import annotations

from embhub.client.wire.folder_client import FolderClient
from embhub.client.wire.http_client import RegistryClient
from embhub.site import config

Client = RegistryClient | FolderClient


def open_client(registry: str, token: str | None) -> Client:
    """A client of the registry at a checked address. A folder is sent no access token."""
    folder = config.folder_of(registry)
    return RegistryClient(registry, token) if folder is None else FolderClient(registry, folder)
