"""Sets of keyed ids on disk: whom a training read, which pictures are whose, and how ids look when folded."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.ledger.chain import LedgerTamperedError
from embhub.site.memory.patients import folded_number, ledger_number, tidy

Unit = Literal["patient", "image"]
UNITS: tuple[Unit, ...] = ("patient", "image")
Ids = NDArray[np.uint64]
NO_PAIRS: Ids = np.empty((0, 2), dtype=np.uint64)
_RESTORE = "restore the folder from a backup: without it, the patients whose budget was spent are unknown"


class UnitSets:
    """Sets of keyed ids on disk, each under its SHA-256: `sets/<digest>`, sorted 64-bit numbers."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder, self._key = folder, key

    def keyed(self, units: Iterable[str], *, unit: Unit) -> Ids:
        """HMAC-SHA256(site key, kind | id), the first 64 bits of each, sorted and without doubles.

        An id that `embhub.site.memory.patients` keyed before, with whatever issuer, is taken as it is.

        Raises:
            UsageError: there are none, or one is empty.
        """
        names = {tidy(name) for name in units}
        if not names or "" in names:
            raise UsageError(f"no {unit}s are named, or one has no name", "every image needs a patient id")
        return np.unique(np.array([self.number(name, unit=unit) for name in names], dtype=np.uint64))

    def number(self, name: str, *, unit: Unit) -> int:
        """One id as a set holds it."""
        name = tidy(name)
        if unit == "patient" and (known := ledger_number(name)) is not None:
            return known
        message = f"{unit}\0\0".encode() + name.encode("utf-8", "surrogatepass")
        return int.from_bytes(hmac.new(self._key, message, hashlib.sha256).digest()[:8])

    def pairs(self, pictures: Iterable[tuple[str, str]]) -> Ids:
        """Pictures and whose they are, (N, 2): digest of a picture's pixels and id of its patient, both keyed.

        Sorted, without doubles. An id may be any that `keyed` takes.
        """
        found = {
            (self.number(picture, unit="image"), self.number(patient, unit="patient")) for picture, patient in pictures
        }
        return np.array(sorted(found), dtype=np.uint64).reshape(-1, 2)

    def likenesses(self, folded: Iterable[tuple[str, str]]) -> Ids:
        """Folded ids and ids, (N, 2): `embhub.site.memory.patients.likeness` of an id, and the id, both as numbers."""
        found = {(folded_number(like), self.number(patient, unit="patient")) for patient, like in folded}
        return np.array(sorted(found), dtype=np.uint64).reshape(-1, 2)

    def save(self, ids: Ids) -> str:
        """Write a set before an entry names it; the same set again is the same file.

        Raises:
            ConfigError: the folder cannot be written.
        """
        digest = digest_of(ids)
        if not (self._folder / digest).exists():
            write_atomic(self._folder / digest, ids.astype("<u8").tobytes(), mode=0o600)
        return digest

    def load(self, digest: str) -> Ids:
        """A set that an entry names.

        Raises:
            LedgerTamperedError: it is not there, or was changed.
        """
        try:
            data = (self._folder / digest).read_bytes()
        except OSError as error:
            raise LedgerTamperedError(f"a set of patients is missing from {self._folder}", _RESTORE) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise LedgerTamperedError(f"a set of patients in {self._folder} was changed", _RESTORE)
        return np.frombuffer(data, dtype="<u8").astype(np.uint64)

    def load_pairs(self, digest: str | None) -> Ids:
        """A set of pairs that an entry names, (N, 2); none at all for None.

        Raises:
            LedgerTamperedError: as `load`, or it holds no pairs.
        """
        if digest is None:
            return NO_PAIRS
        numbers = self.load(digest)
        if len(numbers) % 2:
            raise LedgerTamperedError(f"a set of pairs in {self._folder} was changed", _RESTORE)
        return numbers.reshape(-1, 2)


def digest_of(ids: Ids) -> str:
    """The name of a set: SHA-256 of its sorted ids, eight bytes each, little end first."""
    return hashlib.sha256(ids.astype("<u8").tobytes()).hexdigest()
