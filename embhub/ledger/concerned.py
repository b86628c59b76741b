"""Which trainings, files and audits the privacy ledger charges one patient for: where an erasure has to begin."""

from __future__ import annotations

from dataclasses import dataclass

from embhub.ledger.books import ledger_exists, open_books
from embhub.ledger.linking import all_links, reached
from embhub.ledger.spending import WITHOUT
from embhub.ledger.unit_sets import Unit
from embhub.site.memory.patients import folded_number, key_patient, ledger_number, likeness


@dataclass(frozen=True)
class Charged:
    """A file that a patient's images were read for. `private`: trained with differential privacy, for each `unit`."""

    digest: str
    private: bool
    unit: Unit = "patient"


@dataclass(frozen=True)
class Found:
    """What the ledger says of one patient.

    `unfinished` counts trainings that left no file, `audits` the published reports whose figures include the patient,
    `alike` other ids that differ from this one by case, leading zeros or issuer alone. `studies` are the digests of
    studies of several sites whose file this site did not sign: whether there is one, only others know.
    """

    files: tuple[Charged, ...] = ()
    unfinished: int = 0
    audits: tuple[str, ...] = ()
    alike: int = 0
    studies: tuple[str, ...] = ()


def find(patient_id: str, *, issuer: str = "") -> Found:
    """Look one patient up, by pictures too where a training knew those alone.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read.
    """
    like, number = likeness(patient_id), ledger_number(key_patient(patient_id, issuer=issuer))
    if not ledger_exists() or number is None:
        return Found()
    with open_books() as books:
        account, sets = books.account(), books.sets
        spendings = list(account.runs.values())
        links = all_links(sets, spendings)
        files: dict[str, Charged] = {}
        unfinished, studies = 0, dict[str, None]()
        for item in spendings:
            if item.file is not None or number not in reached(sets, item, spendings, unit="patient"):
                continue
            if item.study and not item.released:
                studies[item.study] = None
            else:
                unfinished += not item.released and bool(item.charged)
            for digest in item.released:
                files[digest] = Charged(digest, item.mechanism != WITHOUT, item.unit)
        own = {"patient": {number}, "image": {int(picture) for picture, patient in links if int(patient) == number}}
        audits = dict.fromkeys(
            side.report for side in account.sides.values() if own[side.unit] & set(sets.load(side.units).tolist())
        )
        for item in spendings:
            if item.report is not None and number in reached(sets, item, spendings, unit="patient"):
                audits[item.report] = None
        alike = set()
        if like is not None:
            folded = folded_number(like)
            for digest in {item.folded for item in spendings if item.folded}:
                alike |= {int(who) for shape, who in sets.load_pairs(digest) if int(shape) == folded}
    return Found(tuple(files.values()), unfinished, tuple(audits), len(alike - {number}), tuple(studies))


def is_private(file_digest: str) -> bool:
    """Whether the ledger knows a training with differential privacy that made this file.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read.
    """
    if not ledger_exists():
        return False
    with open_books() as books:
        made = [item for item in books.account().runs.values() if file_digest in item.released]
    return any(item.mechanism != WITHOUT for item in made)


def published() -> dict[str, tuple[tuple[str, str, str], ...]]:
    """Repository, version and registry of each release that this site made, by the embedding's SHA-256.

    The registry is "" where an earlier version of the program sent it, which did not write that down.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read.
    """
    found: dict[str, tuple[tuple[str, str, str], ...]] = {}
    if ledger_exists():
        with open_books() as books:
            for item in books.account().published:
                if item.on:
                    continue
                release = (item.repository, item.version, item.registry)
                found[item.file] = (*found.get(item.file, ()), release)
    return found


def ports() -> dict[str, str]:
    """Published ports, and the file that each was made from, by SHA-256.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read.
    """
    if not ledger_exists():
        return {}
    with open_books() as books:
        return {item.file: item.source for item in books.account().published if item.source}


def on_the_hub() -> dict[str, tuple[str, ...]]:
    """Where on the public Hub a release of this site was published too (`hub:OWNER/NAME`), by its SHA-256.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read.
    """
    found: dict[str, tuple[str, ...]] = {}
    if ledger_exists():
        with open_books() as books:
            for item in books.account().published:
                if item.on and item.on not in found.get(item.file, ()):
                    found[item.file] = (*found.get(item.file, ()), item.on)
    return found
