"""Into which folders this site pulled which release: what `embhub verify --pulled` looks through.

Kept in `state/pulled.json`, which only this user can read: it tells what a hospital looked at, and where it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from embhub.durable import locked
from embhub.site.memory.books import Book


class Pulled(BaseModel):
    """One pull: the registry by its name in the keyring, what was signed, and whose key signed it."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    registry: str
    repository: str
    version: str
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    namespace: str
    signer: str
    commit: str
    pulled: str


class _Memory(BaseModel):
    model_config = ConfigDict(extra="ignore", defer_build=True)

    folders: dict[str, Pulled] = {}


BOOK: Book[_Memory] = Book(
    "pulled", _Memory, 16_000_000, "what this site pulled, and where,",
    "restore it from a backup; or remove it, and check folders one by one with `embhub verify --pulled FOLDER`",
)  # fmt: skip


def remember(folder: Path, pulled: Pulled) -> None:
    """Note a pull; a later one into the same folder takes its place.

    Raises:
        ConfigError: what was noted before cannot be read, or the folder cannot be written.
    """
    with locked(BOOK.path):
        memory = BOOK.read()
        memory.folders[str(folder.resolve())] = pulled
        BOOK.write(memory)


def all_folders() -> dict[Path, Pulled]:
    """Every folder that a release was pulled into, whether it is still there or not."""
    return {Path(folder): pulled for folder, pulled in sorted(BOOK.read().folders.items())}
