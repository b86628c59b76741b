"""The privacy ledger's entries, replayed: which trainings read whom, what each is charged, and which caps hold.

A training is charged all the steps that it may still take until it is settled, and then those that it announced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from embhub.errors import ConfigError, UsageError
from embhub.ledger.chain import Entry
from embhub.ledger.unit_sets import Unit
from embhub.privacy.loss_distribution import Mechanism
from embhub.privacy.rdp import EVERYTHING, NOTHING, Curve, gaussian_curve, unstate

WITHOUT: Final = "none"  # the mechanism of a training without privacy
AUDIT: Final = "audit"  # of a published audit that has figures of patients
_SELDOM = ("plain", "pictures", "folded", "file", "report", "mechanisms", "study", "announced", "settled")
_DIGEST = re.compile(r"[0-9a-f]{64}")
AUDIT_BEGUN, AUDIT_ENDED = "audit", "audited"  # entries that cost nothing: `embhub.ledger.audit_attempts` reads them

HEAD = "head"  # what a release showed of this ledger: `embhub.ledger.release_heads` reads it


@dataclass(frozen=True)
class Spending:
    """One training in the ledger. `q` and `sigma` are None for a training without privacy, and for a published audit.

    `planned` steps are what it may take in all, `announced` what it said it would take; `settled` when it is over.
    `stated` is for a release from elsewhere, whose own ledger counted `trainings`: their curve as its claim states it,
    null for infinite, `mechanisms` where it lists them, and `plain` trainings beside, for which nothing is bounded. It
    takes the place of the curve of the steps. `pictures` and `folded` name sets of pairs: which picture is whose, and
    ids as they look when folded.
    `report` and `file` are the digests of a published audit report and of the embedding that it is about.
    `study` is the digest of a study of several sites: it is announced and settled from its first entry on, so that
    nothing takes a step of it back. `sigma` is then what another site of it is left with.
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
    mechanisms: tuple[tuple[float, float, int], ...] | None = None
    trainings: int = 1
    plain: int = 0
    pictures: str | None = None
    folded: str | None = None
    file: str | None = None
    report: str | None = None
    study: str | None = None

    def opening(self) -> dict[str, Any]:
        """What the entry says that reserves it."""
        names = ("run", "units", "count", "unit", "mechanism", "q", "sigma", "delta", "planned")
        told = {name: getattr(self, name) for name in names}
        if self.stated is not None:
            told |= {"stated": list(self.stated), "trainings": self.trainings}
        seldom = {name: getattr(self, name) for name in _SELDOM}
        return told | {name: value for name, value in seldom.items() if value}

    @property
    def charged(self) -> int:
        """Steps that count: all that are planned until it is settled."""
        return self.announced if self.settled else self.planned

    @property
    def curve(self) -> Curve:
        """What it costs each of its units; infinite for a training without privacy that took a step."""
        if self.charged and self.plain:
            return EVERYTHING
        return self.private_curve

    @property
    def private_curve(self) -> Curve:
        """The same without what `plain` counts: what its private trainings cost whoever was in all of them."""
        if self.charged == 0:
            return NOTHING
        if self.stated is not None:
            return unstate(self.stated)
        if self.q is None or self.sigma is None:
            return EVERYTHING
        return gaussian_curve(q=self.q, sigma=self.sigma, steps=self.charged)

    @property
    def parameters(self) -> tuple[Mechanism, ...] | None:
        """Rate, noise and steps that it is charged with; None where they are not known, or there is no privacy."""
        if self.plain or (self.stated is not None and self.mechanisms is None):
            return None
        return self.private_parameters

    @property
    def private_parameters(self) -> tuple[Mechanism, ...] | None:
        """The same without what `plain` counts."""
        if self.stated is not None:
            return None if self.mechanisms is None else tuple(Mechanism(*item) for item in self.mechanisms)
        if self.q is None or self.sigma is None:
            return None
        return (Mechanism(self.q, self.sigma, self.charged),)


@dataclass(frozen=True)
class Cap:
    """No unit's epsilon may exceed this at `delta`; `units` None means everybody at this site."""

    epsilon: float
    delta: float
    units: str | None


@dataclass(frozen=True)
class Sides:
    """Whom an audit report shows: written down by the audit, charged once the report is signed."""

    report: str
    unit: Unit
    units: str
    count: int
    pictures: str | None = None


@dataclass(frozen=True)
class Stated:
    """What the last claim for a unit said of the whole ledger: no later one says less."""

    unit: Unit
    trainings: int
    plain: int
    rdp: tuple[float | None, ...]
    mechanisms: tuple[tuple[float, float, int], ...] | None = None


@dataclass(frozen=True)
class Published:
    """A file that was made ready to be sent, or sent, as a version of a repository.

    `on` is where else than at the repository's registry: `hub:OWNER/NAME` on the public Hub. `source` is the file that
    a port was made from, by its header: it may have been made on another machine, whose records are not here.
    `registry` is the one that it was signed for, "" in entries of earlier versions.
    """

    file: str
    repository: str
    version: str
    on: str = ""
    source: str = ""
    registry: str = ""


@dataclass(frozen=True)
class Account:
    """All trainings in the order of their reservations, and the caps that hold.

    `opened` is when the ledger was. `sides` are by the digest of their report, `stated` by unit. `joined` are the runs
    that this site was charged for as it joined a study, by the study's digest.
    """

    runs: dict[str, Spending]
    caps: tuple[Cap, ...]
    opened: str = ""
    sides: dict[str, Sides] = field(default_factory=dict)
    stated: dict[Unit, Stated] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    joined: dict[str, str] = field(default_factory=dict)

    @property
    def costly(self) -> list[Spending]:
        """Those that cost something: without the ones that were settled before their first step."""
        return [item for item in self.runs.values() if item.charged]

    def run_of_study(self, digest: str) -> str | None:
        """The run that counts a study of several sites, joined here or trained elsewhere; None where there is none."""
        return next((item.run for item in self.runs.values() if item.study == digest), None)


def replay(entries: Sequence[Entry], *, key_id: str) -> Account:
    """What the entries come to.

    Raises:
        ConfigError: the ledger belongs to another site key, or a newer embhub wrote it.
    """
    runs: dict[str, Spending] = {}
    caps: dict[str | None, Cap] = {}
    sides: dict[str, Sides] = {}
    stated: dict[Unit, Stated] = {}
    published: list[Published] = []
    joined: dict[str, str] = {}
    for entry in entries:
        body = entry.body
        if entry.number == 0:
            _check_opening(entry, key_id)
        elif entry.kind == "reserved":
            run = runs[body["run"]] = Spending(at=entry.at, **_known(Spending, body))
            if run.study and run.settled:  # from its first entry on: a release from elsewhere that names a study is not
                joined[run.study] = run.run
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
        elif entry.kind == "sides":
            sides[body["report"]] = Sides(**_known(Sides, body))
        elif entry.kind == "stated":
            told = Stated(**_known(Stated, body))
            listed = (
                None if told.mechanisms is None else tuple((q, sigma, steps) for q, sigma, steps in told.mechanisms)
            )
            stated[told.unit] = replace(told, rdp=tuple(told.rdp), mechanisms=listed)
        elif entry.kind == "published":
            published.append(Published(**_known(Published, body)))
        elif entry.kind not in (AUDIT_BEGUN, AUDIT_ENDED, HEAD):
            raise ConfigError(f"the privacy ledger has an entry of the kind {entry.kind!r}", "use a newer embhub")
    opened = entries[0].at if entries else ""
    return Account(runs, tuple(caps.values()), opened, sides, stated, tuple(published), joined)


def _known(kind: type, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body of an entry, where it says nothing that this version does not know.

    Raises:
        ConfigError: a newer embhub wrote it; left out, too little might be counted.
    """
    if unknown := sorted(set(body) - {item.name for item in fields(kind)}):
        raise ConfigError(f"the privacy ledger says {unknown[0]!r} of a training", "use a newer embhub")
    return body


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
        raise UsageError(f"{digest[:80]!r} is no SHA-256", "pass the file's digest, 64 characters of lower-case hex")
    return digest
