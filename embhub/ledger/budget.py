"""The site's privacy ledger: what every training has spent, counted for each patient. Nothing of it leaves the site.

    with budget.reserve(patient_ids, unit="patient", mechanism="dp-sgd", q=q, sigma=sigma, steps=1000) as run:
        for step in range(1000):
            if step % 25 == 0:
                run.spend(25)  # on disk before the steps are taken
            ...
        run.settle()
        claim = build_claim(..., steps=run.steps, **run.lineage(delta=1e-5))
        run.release(embedding.digest)

A reservation counts in full from before the first step until it is settled, by `settle`, by leaving the `with` block,
or, after a crash, by the next `reserve`; then the steps that were announced count. So whenever a process dies, no less
is counted than was spent. Patients are known by keyed ids: folders, file names and manifests may change their names.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Literal, Self, TypedDict

from embhub.errors import PrivacyError, UsageError
from embhub.ledger.books import Books, open_books, try_lock, unlock
from embhub.ledger.caps import excess
from embhub.ledger.linking import count_alike
from embhub.ledger.site_total import count_unreleased, state_total
from embhub.ledger.spending import WITHOUT, Account, Spending, check_digest
from embhub.ledger.spent import Spent, spent_by
from embhub.ledger.unit_sets import Unit, UnitSets, digest_of
from embhub.privacy.claim import DEFAULT_DELTA, Mechanism
from embhub.privacy.composition import MOST_TRAININGS, Composition
from embhub.site.memory.patients import likeness


class BudgetExceededError(PrivacyError):
    """The training would bring a patient over a cap; nothing was trained and nothing spent."""


class Lineage(TypedDict):
    """What `privacy.build_claim` takes from the ledger."""

    tuning_runs: int
    composition: Composition


class Reservation:
    """Budget set aside for one training. Use it in a `with` block; `reserve` and `resume` make one."""

    def __init__(self, spending: Spending, lock: int) -> None:
        self._spending, self._lock = spending, lock
        self._open = True

    @property
    def run(self) -> str:
        """Its id, under which a crashed training is resumed; it tells nothing of anybody."""
        return self._spending.run

    @property
    def words(self) -> str:
        """What it costs so far, in words."""
        if self._spending.sigma is None:
            return "infinite: trained without differential privacy"
        return f"{self.steps} of {self.planned} steps of {self._spending.mechanism}"

    @property
    def planned(self) -> int:
        """The most steps that may be announced in all."""
        return self._spending.planned

    @property
    def steps(self) -> int:
        """Steps announced so far, those of earlier attempts included: what a claim has to say."""
        return self._spending.announced

    def spend(self, steps: int = 1) -> int:
        """Say that `steps` further steps are about to be taken; when this returns it is on disk. Returns `self.steps`.

        Raises:
            PrivacyError: more than was reserved, or the reservation is settled: take no step.
            LedgerTamperedError, ConfigError: the ledger was changed or cannot be written: take no step.
        """
        if steps < 1:
            raise UsageError(f"{steps} steps cannot be announced", "announce a positive number of steps")
        total = self._spending.announced + steps
        if not self._open:
            raise PrivacyError(
                f"the run {self.run} is settled", "`embhub.ledger.budget.resume` sets budget aside for more"
            )
        if total > self._spending.planned:
            raise PrivacyError(
                f"{self._spending.planned} steps were reserved for the run {self.run}, and this would be step {total}",
                "reserve more before the first step",
            )
        with open_books() as books:
            books.ledger.append("announced", {"run": self.run, "steps": total})
        self._spending = replace(self._spending, announced=total)
        return total

    def settle(self) -> None:
        """Nothing more will be spent: from now on the announced steps count. Again is no harm.

        Raises:
            LedgerTamperedError, ConfigError: then the whole reservation goes on counting.
        """
        if not self._open:
            return
        with open_books() as books:
            books.ledger.append("settled", {"run": self.run})
        self._open = False
        unlock(self._lock, self.run)

    def release(self, digest: str) -> None:
        """Note which file this training became.

        Raises:
            UsageError: not a SHA-256.
            LedgerTamperedError, ConfigError: it could not be noted; what was spent counts all the same.
        """
        with open_books() as books:
            books.ledger.append("released", {"run": self.run, "digest": check_digest(digest)})

    def lineage(self, *, delta: float = DEFAULT_DELTA) -> Lineage:
        """What the ledger counts for the whole site, this training included, as a claim tells it; it is noted.

        Raises:
            PrivacyError: a training without privacy claims nothing.
            LedgerTamperedError, ConfigError: the ledger was changed or cannot be written.
        """
        if self._spending.sigma is None:
            raise PrivacyError("a training without differential privacy claims nothing", "train with --epsilon")
        with open_books() as books:
            account = books.account()
            unit = self._spending.unit
            return {
                "tuning_runs": min(count_unreleased(account, unit=unit, but=self.run), MOST_TRAININGS - 1),
                "composition": state_total(books, account, unit=unit, delta=delta),
            }

    def spent(self, *, delta: float = DEFAULT_DELTA) -> Spent:
        """What those in this training have spent by all trainings, the worst-off of them. It stays at this site."""
        with open_books() as books:
            return spent_by(books, self._spending, delta=delta)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()


def reserve(
    units: Iterable[str],
    *,
    unit: Unit,
    mechanism: Mechanism | Literal["none"],
    steps: int,
    q: float | None = None,
    sigma: float | None = None,
    delta: float = DEFAULT_DELTA,
    pictures: Iterable[tuple[str, str]] = (),
    on_note: Callable[[str], None] | None = None,
    study: str | None = None,
) -> Reservation:
    """Set budget aside before the first step of a training; on disk when this returns.

    Args:
        units: ids of the patients whose images are read (with `unit` image: a digest of each image). They are kept
            keyed (HMAC-SHA256 under the site's key), never as they are.
        mechanism: what `q`, `sigma` and `steps` belong to; "none" for a training without privacy, which counts as
            infinite once a step was announced.
        steps: the most that will be taken; 1 for dp-agg.
        delta: at which delta its epsilon is stated.
        pictures: digest of the pixels and patient id of each picture whose patient is known. They too are kept keyed,
            so that a picture that was once learned from without an id is charged to its patient.
        on_note: told where ids look like others that the ledger holds, and so may be of the same people.
        study: digest of a study of several sites. All steps are then spent at once, and whatever follows.

    Raises:
        BudgetExceededError: a cap would be exceeded.
        UsageError: no units, parameters that no mechanism has, or a study that was charged before.
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read or written.
    """
    private = mechanism != WITHOUT
    if {q is not None, sigma is not None} != {private} or steps < 1:
        raise UsageError("a private training has q, sigma and steps; one without privacy has steps alone")
    if private and not (0 < (q or 0) <= 1 and 0 < (sigma or 0) < math.inf and 0 < delta < 1):
        raise UsageError(f"no mechanism has q {q}, sigma {sigma} and delta {delta}")
    names = list(units)
    with open_books() as books:
        account, sets = books.settle_dead(), books.sets
        if study is not None and (known := account.run_of_study(study)) is not None:
            raise UsageError(
                f"this site was charged for this study before, as the run {known}", "a site joins a study once"
            )
        ids = sets.keyed(names, unit=unit)
        links = sets.pairs(pictures)
        spending = Spending(
            run=secrets.token_hex(8),
            at="",
            units=sets.save(ids),
            count=len(ids),
            unit=unit,
            mechanism=mechanism,
            q=q,
            sigma=sigma,
            delta=delta if private else None,
            planned=steps,
            pictures=sets.save(links) if len(links) else None,
            folded=save_folded(sets, names) if unit == "patient" else None,
            study=study,
            announced=0 if study is None else steps,
            settled=study is not None,
        )
        _check_caps(account, sets, spending)
        alike = count_alike(account, sets, spending)
        reservation = begin(books, spending)
    if alike and on_note:
        on_note(alike_words(alike))
    return reservation


def resume(run: str, units: Iterable[str], *, steps: int) -> Reservation:
    """Set budget aside for `steps` more steps of a training that stopped or crashed, replayed ones included.

    What was announced before stays spent, whatever a checkpoint says: noise that is drawn afresh is paid again.

    Args:
        units: as at `reserve`, and the same: whoever came since would be charged nothing.

    Raises:
        UsageError: the ledger knows no such run, or it was of other units.
        PrivacyError: the run is still going on in another process.
        BudgetExceededError, LedgerTamperedError, ConfigError: as `reserve`.
    """
    if steps < 1:
        raise UsageError(f"{steps} steps cannot be reserved", "pass a positive number of steps")
    with open_books() as books:
        account = books.account()
        before = account.runs.get(run)
        if before is None:
            raise UsageError(f"the privacy ledger knows no run {run[:40]!r}", "start the training anew")
        if before.units != digest_of(books.sets.keyed(units, unit=before.unit)):
            raise UsageError(
                f"the run {run} was charged to other {before.unit}s than those of now",
                "give the same manifest as then, or start afresh; what was spent stays spent",
            )
        if before.stated is not None or before.study is not None:
            raise UsageError(f"the run {run} was trained elsewhere, or is a study of several sites", "resume it there")
        lock = _lock(run)
        try:
            spending = replace(before, planned=before.announced + steps, settled=False)
            _check_caps(account, books.sets, spending)
            books.ledger.append("resumed", {"run": run, "planned": spending.planned})
        except BaseException:
            unlock(lock, run)
            raise
    return Reservation(spending, lock)


def set_cap(epsilon: float | None, *, delta: float = DEFAULT_DELTA, units: Iterable[str] | None = None) -> None:
    """From now on refuse trainings that bring a patient above `epsilon`; None lifts the cap. Both stay on record.

    Args:
        units: patients whom it holds for; everybody at this site by default.

    Raises:
        UsageError: epsilon is not positive, or delta not between 0 and 1.
        LedgerTamperedError, ConfigError: as `reserve`.
    """
    if epsilon is not None and not (math.isfinite(epsilon) and epsilon > 0 and 0 < delta < 1):
        raise UsageError(
            f"epsilon {epsilon} at delta {delta} is no cap", "epsilon is a positive number, such as 2 or 4"
        )
    with open_books() as books:
        books.account()
        sets = books.sets
        digest = None if units is None else sets.save(sets.keyed(units, unit="patient"))
        books.ledger.append("capped", {"epsilon": epsilon, "delta": delta, "units": digest})


def begin(books: Books, spending: Spending) -> Reservation:
    """Write a spending down and keep it alive; for callers that hold the books."""
    lock = _lock(spending.run)
    try:
        books.ledger.append("reserved", spending.opening())
    except BaseException:
        unlock(lock, spending.run)
        raise
    return Reservation(spending, lock)


def save_folded(sets: UnitSets, names: Iterable[str]) -> str | None:
    """Keep how ids look when folded (`embhub.site.memory.patients.likeness`); None where nobody knows that of any.

    Raises:
        ConfigError: the folder cannot be written.
    """
    pairs = sets.likenesses((name, like) for name in set(names) if (like := likeness(name)))
    return sets.save(pairs) if len(pairs) else None


def alike_words(alike: int) -> str:
    """The warning for so many patients of a training."""
    whose = "1 patient has an id" if alike == 1 else f"{alike:,} patients have ids"
    return (
        f"{whose} that differ{'s' if alike == 1 else ''} only in case, leading zeros or issuer from another in the"
        " privacy ledger: if they are the same people, their losses are not added up; give them the ids of then"
    )


def _check_caps(account: Account, sets: UnitSets, spending: Spending) -> None:
    if over := excess(account, sets, spending):
        raise BudgetExceededError(over, "`embhub budget show` lists what was spent")


def _lock(run: str) -> int:
    if (lock := try_lock(run)) is None:
        raise PrivacyError(f"the run {run} is still going on", "wait for it, or stop that process first")
    return lock
