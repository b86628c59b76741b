"""The privacy ledger's entries, replayed: which trainings read whom, what each is charged, and which caps hold.

A training is charged all the steps that it may still take until it is settled, and then those that it announced.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from embhub.accounting.curves import EVERYTHING, NOTHING, Curve, gaussian_curve, unstate
from embhub.accounting.lineage import Charge
from embhub.accounting.losses import Mechanism
from embhub.errors import ConfigError, UsageError
from embhub.site.files import write_atomic
from embhub.site.ledger import Entry, LedgerTampered
from embhub.site.patients import ledger_number, tidy

Unit = Literal["patient", "image"]
Ids = NDArray[np.uint64]
_DIGEST = re.compile(r"[0-9a-f]{64}")
_RESTORE = "restore the folder from a backup: without it nobody can tell whose budget was spent"


@dataclass(frozen=True)
class Spending:
    """One training in the ledger. `q` and `sigma` are None for a training without privacy.

    `planned` steps are what it may take in all, `announced` what it said it would take; `settled` when it is over.
    `stated` is for a release from elsewhere, whose own ledger counted `trainings`: their curve as its claim states it,
    null for infinite. It takes the place of the curve of the steps.
    """

    run: str
    at: str
    units: str
    count: int
    unit: Unit
    mechanism: str
    q: float | None
    sigma: float | None
    delta: float | None
    planned: int
    announced: int = 0
    settled: bool = False
    released: tuple[str, ...] = ()
    stated: tuple[float | None, ...] | None = None
    trainings: int = 1

    def opening(self) -> dict[str, Any]:
        """What the entry says that reserves it."""
        names = ("run", "units", "count", "unit", "mechanism", "q", "sigma", "delta", "planned")
        told = {name: getattr(self, name) for name in names}
        return told if self.stated is None else told | {"stated": list(self.stated), "trainings": self.trainings}

    @property
    def charged(self) -> int:
        """Steps that count: all that are planned until it is settled."""
        return self.announced if self.settled else self.planned

    @property
    def curve(self) -> Curve:
        """What it costs each of its units; infinite for a training without privacy that took a step."""
        if self.charged == 0:
            return NOTHING
        if self.stated is not None:
            return unstate(self.stated)
        if self.q is None or self.sigma is None:
            return EVERYTHING
        return gaussian_curve(q=self.q, sigma=self.sigma, steps=self.charged)

    @property
    def parameters(self) -> Mechanism | None:
        """Rate, noise and steps that it is charged with; None where they are not known, or there is no privacy."""
        if self.stated is not None or self.q is None or self.sigma is None:
            return None
        return Mechanism(self.q, self.sigma, self.charged)


@dataclass(frozen=True)
class Cap:
    """No unit's epsilon may exceed this at `delta`; `units` None means everybody at this site."""

    epsilon: float
    delta: float
    units: str | None


@dataclass(frozen=True)
class Account:
    """All trainings in the order of their reservations, and the caps that hold."""

    runs: dict[str, Spending]
    caps: tuple[Cap, ...]

    @property
    def costly(self) -> list[Spending]:
        """Those that cost something: without the ones that were settled before their first step."""
        return [item for item in self.runs.values() if item.charged]


class UnitSets:
    """Sets of keyed ids on disk, each under its SHA-256: `sets/<digest>`, sorted 64-bit numbers."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder, self._key = folder, key

    def keyed(self, units: Iterable[str], *, unit: Unit, issuer: str) -> Ids:
        """HMAC-SHA256(site key, kind | issuer | id), the first 64 bits of each, sorted and without doubles.

        An id that `embhub.site.patients` keyed before, with whatever issuer, is taken as it is.

        Raises:
            UsageError: there are none, or one is empty.
        """
        names = {tidy(name) for name in units}
        if not names or "" in names:
            raise UsageError(f"no {unit}s are named, or one has no name", "every image needs a patient id")
        start = hmac.new(self._key, f"{unit}\0{issuer}\0".encode(), hashlib.sha256)
        found = []
        for name in names:
            if unit == "patient" and (number := ledger_number(name)) is not None:
                found.append(number)
                continue
            mac = start.copy()
            mac.update(name.encode("utf-8", "surrogatepass"))
            found.append(int.from_bytes(mac.digest()[:8]))
        return np.unique(np.array(found, dtype=np.uint64))

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
            LedgerTampered: it is not there, or was changed.
        """
        try:
            data = (self._folder / digest).read_bytes()
        except OSError as error:
            raise LedgerTampered(f"a set of patients is missing from {self._folder}", _RESTORE) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise LedgerTampered(f"a set of patients in {self._folder} was changed", _RESTORE)
        return np.frombuffer(data, dtype="<u8").astype(np.uint64)

    def charges(self, spendings: Sequence[Spending]) -> list[Charge]:
        """Spendings with their units; each set is read once."""
        held = {digest: self.load(digest) for digest in {item.units for item in spendings}}
        return [
            Charge(held[item.units], item.curve, bool(item.released), item.trainings, item.parameters)
            for item in spendings
        ]


def digest_of(ids: Ids) -> str:
    """The name of a set: SHA-256 of its sorted ids, eight bytes each, little end first."""
    return hashlib.sha256(ids.astype("<u8").tobytes()).hexdigest()


def replay(entries: Sequence[Entry], *, key_id: str) -> Account:
    """What the entries come to.

    Raises:
        ConfigError: the ledger belongs to another site key, or a newer embhub wrote it.
    """
    runs: dict[str, Spending] = {}
    caps: dict[str | None, Cap] = {}
    for entry in entries:
        body = entry.body
        if entry.number == 0:
            _check_opening(entry, key_id)
        elif entry.kind == "reserved":
            runs[body["run"]] = Spending(at=entry.at, **body)
        elif entry.kind == "resumed":
            runs[body["run"]] = replace(runs[body["run"]], planned=body["planned"], settled=False)
        elif entry.kind == "announced":
            runs[body["run"]] = replace(runs[body["run"]], announced=body["steps"])
        elif entry.kind == "settled":
            runs[body["run"]] = replace(runs[body["run"]], settled=True)
        elif entry.kind == "released":
            run = runs[body["run"]]
            runs[body["run"]] = replace(run, released=(*run.released, body["digest"]))
        elif entry.kind == "capped":
            caps.pop(body["units"], None)
            if body["epsilon"] is not None:
                caps[body["units"]] = Cap(body["epsilon"], body["delta"], body["units"])
        else:
            raise ConfigError(f"the privacy ledger has an entry of the kind {entry.kind!r}", "use a newer embhub")
    return Account(runs, tuple(caps.values()))


def opening(key_id: str) -> dict[str, Any]:
    """The body of the first entry, which binds the ledger to the site's key."""
    return {"schema": "embhub.ledger/1", "key": key_id}


def _check_opening(entry: Entry, key_id: str) -> None:
    if entry.kind != "opened" or entry.body.get("schema") != "embhub.ledger/1":
        raise ConfigError("the privacy ledger is of another form", "use a newer embhub")
    if entry.body.get("key") != key_id:
        raise ConfigError("the privacy ledger was kept under another site key", "restore that key from a backup")


def check_digest(digest: str) -> str:
    """Raise UsageError unless this is a SHA-256 in lower-case hex."""
    if not _DIGEST.fullmatch(digest):
        raise UsageError(f"{digest[:80]!r} is no SHA-256", "name the file's digest, 64 characters of lower-case hex")
    return digest
