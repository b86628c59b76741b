"""Who answers for a registry: a server, or a folder with an export, such as a memory stick, read as a server would.

Nothing in the folder is trusted, its names included: what leads out of it, or is no plain file, is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from embhub.client.wire import errors as client_errors
from embhub.client.wire import guard
from embhub.client.wire.http_client import RegistryClient, StatusError
from embhub.formats import strict_json
from embhub.site import config

INDEX = "index.html"
MAP = "embhub/v1/static.json"
_READ_ONLY = "this is a folder of files, and takes no changes; send them to the registry itself"


class FolderClient:
    """Reads the files of one folder; `RegistryClient` has the same methods."""

    def __init__(self, registry: str, folder: Path) -> None:
        self._registry, self._folder = registry, folder

    def read(
        self, path: str, *, limit: int, method: str = "GET", body: bytes | None = None, commit: str | None = None,  # noqa: ARG002  # as RegistryClient
        content_type: str = "",  # noqa: ARG002  # as RegistryClient
    ) -> bytes:  # fmt: skip
        """The file at a path from the registry's root on, at most `limit` bytes of it.

        Raises:
            StatusError: there is no such file, or something was to be changed.
            RegistryError: it is too large. OSError: it cannot be read.
        """
        if method != "GET":
            raise StatusError(405, said=_READ_ONLY)
        file = find_file(self._folder, unquote(path.partition("?")[0]))
        if file is None:
            raise self._absent(path)
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise client_errors.too_large(f"{self._registry}{path}", limit=limit)
        return data

    def ask(self, path: str, *, method: str = "GET", send: Mapping[str, Any] | None = None) -> Any:
        """What a file says in JSON. Raises as `read`, and ValueError."""
        del send
        return strict_json.loads(self.read(path, limit=guard.LARGEST_ANSWER, method=method))

    def _absent(self, path: str) -> StatusError:
        if not self._folder.is_dir():
            raise client_errors.UnreachableError(
                f"{self._registry} cannot be read: there is no such folder", "is the stick mounted?"
            )
        if find_file(self._folder, MAP) is None:
            raise client_errors.NotARegistryError(
                f"{self._registry} holds no export of a registry",
                "name the folder that `embhub-registry export --static` wrote",
            )
        if path.startswith("/api/models/"):
            return StatusError(404, code="RevisionNotFound" if "/revision/" in path else "RepoNotFound")
        return StatusError(404, code="EntryNotFound")


def find_file(folder: Path, path: str) -> Path | None:
    """The plain file at a path below a folder, an `index.html` for a folder's; None where there is none."""
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") or "\0" in part or "\\" in part or len(part) > 250 for part in parts):
        return None
    root = folder.resolve()
    file = root.joinpath(*parts)
    file = (file / INDEX if file.is_dir() else file).resolve()
    return file if file.is_file() and file.is_relative_to(root) else None


Client = RegistryClient | FolderClient


def open_client(registry: str, token: str | None) -> Client:
    """A client of the registry at a checked address. A folder is sent no access token."""
    folder = config.folder_of(registry)
    return RegistryClient(registry, token) if folder is None else FolderClient(registry, folder)
