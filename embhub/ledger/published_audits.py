"""A published audit tells of patients on both sides, trained on and kept back: the ledger charges them.

    remember_sides(report_digest, members, nonmembers, unit="patient")  # when the report is written
    charge_audit(release)  # when it is signed: from then on it can leave

What it tells is not bounded by any epsilon, so everybody in it is charged as infinite. Reports on made-up canaries are
about nobody, and charge nobody.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable

import numpy as np

from embhub.errors import UsageError
from embhub.ledger import budget
from embhub.ledger.books import Books, ledger_exists, open_books
from embhub.ledger.budget import BudgetExceededError
from embhub.ledger.caps import excess
from embhub.ledger.spending import AUDIT, Account, Sides, Spending, check_digest
from embhub.ledger.unit_sets import NO_PAIRS, UNITS, Unit
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.site.memory import runs

_NAMELESS = re.compile(r"image \d+")  # what a record of a training calls an image whose source names no patients
_UNKNOWN = (
    "this audit report covers patients unknown to this site: the privacy ledger counts it, but can charge nobody; run"
    " the audit here, so that both groups are known"
)


def remember_sides(
    report_digest: str,
    members: Iterable[tuple[str, str] | list[str]],
    nonmembers: Iterable[tuple[str, str] | list[str]],
    *,
    unit: Unit,
) -> None:
    """Write down, under the site's key, whom an audit report shows; it costs them nothing until the report is signed.

    Args:
        report_digest: SHA-256 (hex) of the report's bytes.
        members, nonmembers: patient id and digest of the pixels (hex) of each image, as `Comparison.facts()` of
            `embhub.images.member_split` lists them.
        unit: with `image` the ids are no patients', and the pictures alone count.

    Raises:
        UsageError: no such digest, a side without images, or an image without a digest.
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be written.
    """
    sides = [[(str(name), str(digest)) for name, digest in side] for side in (members, nonmembers)]
    if unit not in UNITS or not all(sides) or not all(digest for side in sides for _, digest in side):
        raise UsageError("a side of the audit names no image", "give patient and picture of every image of both")
    images = [*sides[0], *sides[1]]
    check_digest(report_digest)
    with open_books() as books:
        if report_digest in books.account().sides:
            return
        names = {name if unit == "patient" else digest for name, digest in images}
        ids = books.sets.keyed(names, unit=unit)
        links = books.sets.pairs((digest, name) for name, digest in images) if unit == "patient" else NO_PAIRS
        body = {"report": report_digest, "unit": unit, "units": books.sets.save(ids), "count": len(ids)}
        pictures = {"pictures": books.sets.save(links)} if len(links) else {}
        books.ledger.append("sides", body | pictures)


def charge_audit(release: Release, *, known_only: bool = False, on_note: Callable[[str], None] | None = None) -> None:
    """Charge both sides of a release's audit report as infinite, once for each report.

    Args:
        known_only: charge nothing where this site knows neither side: another site's release passes through.
        on_note: told where nobody could be charged.

    Raises:
        BudgetExceededError: a cap holds for somebody on either side; nothing was charged.
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read or written.
    """
    report = release.audit
    if report is None or report.unit not in UNITS or (known_only and not ledger_exists()):
        return
    digest, file = release_files.digest(release.files[release_files.AUDIT]), release.embedding.digest
    with open_books() as books:
        account = books.settle_dead()
        if any((item.report, item.file) == (digest, file) for item in account.runs.values()):
            return
        shown = account.sides.get(digest) or _by_record(books, digest, file, split=str(report.design.split))
        if shown is None and known_only:
            return
        shown = shown or Sides(digest, report.unit, books.sets.save(np.empty(0, dtype=np.uint64)), 0)
        spending = Spending(
            run=secrets.token_hex(8), at="", units=shown.units, count=shown.count, unit=shown.unit, mechanism=AUDIT,
            q=None, sigma=None, delta=None, planned=1, pictures=shown.pictures, file=file, report=digest,
        )  # fmt: skip
        _check_caps(account, books, spending)
        run = budget.begin(books, spending)
    with run:
        run.spend(1)
    if on_note and not shown.count:
        on_note(_UNKNOWN)


def _by_record(books: Books, digest: str, file: str, *, split: str) -> Sides | None:
    """Both sides by this site's record of the training, where the audit took them and they are named patients."""
    run = runs.find(file)
    if run is None or "caller" in split:
        return None
    names = {sample.patient_id for sample in (*run.members, *run.holdout)}
    if not names or any(map(_NAMELESS.fullmatch, names)):
        return None
    ids = books.sets.keyed(names, unit="patient")
    return Sides(digest, "patient", books.sets.save(ids), len(ids))


def _check_caps(account: Account, books: Books, spending: Spending) -> None:
    if over := excess(account, books.sets, spending):
        raise BudgetExceededError(
            over, "publish it without this report (`--suite mechanism` uses no patient), or lift the cap knowingly"
        )
