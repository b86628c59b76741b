"""Files of JSON in the state folder that only this user reads: each remembers one thing, and never starts afresh."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from embhub.durable import write_atomic
from embhub.errors import ConfigError
from embhub.site import config

T = TypeVar("T")


@dataclass(frozen=True)
class Book(Generic[T]):
    """`state/NAME.json`, of at most `most_bytes`, which pydantic reads as a `kind`; {} where it is missing.

    `lost` and `hint` are said where it cannot be read: to forget in silence is what a rollback needs.
    """

    name: str
    kind: Any
    most_bytes: int
    lost: str
    hint: str

    @property
    def path(self) -> Path:
        """Where it is; lock it to read, change and write."""
        return config.paths().state / f"{self.name}.json"

    def read(self) -> T:
        """What it holds. Raises ConfigError where it cannot be read, is too large or of another kind."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            data = b"{}"
        except OSError as error:
            raise self.unreadable() from error
        if len(data) > self.most_bytes:
            raise self.unreadable()
        try:
            found: T = TypeAdapter(self.kind).validate_json(data)
        except ValueError as error:  # pydantic's ValidationError is one
            raise self.unreadable() from error
        return found

    def write(self, memory: T) -> None:
        """Write all of it, in the order of its members. Raises ConfigError."""
        plain = TypeAdapter(self.kind).dump_python(memory, mode="json")
        write_atomic(self.path, json.dumps(plain, indent=1).encode(), mode=0o600)

    def unreadable(self) -> ConfigError:
        """What `read` raises, for whoever finds that the content cannot be true."""
        return ConfigError(f"{self.lost} cannot be read: {self.path}", self.hint)
