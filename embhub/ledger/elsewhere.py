"""Releases that were trained where this site's ledger was not: patients are charged for them by their claims."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from embhub.artifact.embedding import Embedding
from embhub.errors import PrivacyError, UsageError
from embhub.ledger import budget
from embhub.ledger.books import open_books
from embhub.ledger.caps import excess
from embhub.ledger.linking import count_alike
from embhub.ledger.spending import WITHOUT, Spending
from embhub.ledger.unit_sets import Ids, UnitSets
from embhub.privacy.claim import DEFAULT_DELTA, Claim, PrivacyClaim
from embhub.privacy.composition import Composition, epsilon_of
from embhub.privacy.rdp import ORDERS


class Charged(NamedTuple):
    """Under which run it stands in the ledger, and what it costs, in words."""

    run: str
    words: str


def count(units: Iterable[str], release: Embedding, *, on_note: Callable[[str], None] | None = None) -> Charged:
    """Charge patients for a release that was trained elsewhere, by its claim or as infinite.

    A claim with a `composition` is charged with all that its own ledger counted: for no outsider can tell which of it
    these patients were in. Where that ledger holds trainings without privacy the charge is infinite. What this ledger
    holds of it too is then counted twice, never too little. The claim of a study of several sites is charged by the
    larger of its figures. No cap refuses what is spent already: left out, later
    claims would say too little.

    Args:
        on_note: told where this brings a patient above a cap.

    Raises:
        UsageError: the ledger has it already.
        PrivacyError: its claim protects images; nobody can tell which of them were of which patient.
        LedgerTamperedError, ConfigError: as `embhub.ledger.budget.reserve`.
    """
    claim = release.privacy
    if isinstance(claim, PrivacyClaim) and claim.unit != "patient":
        raise PrivacyError(
            "the claim protects single images, and the ledger is asked to charge patients",
            "count it where the images are, by training there",
        )
    names = list(units)
    with open_books() as books:
        account, sets = books.settle_dead(), books.sets
        of_study = claim.study.digest if isinstance(claim, PrivacyClaim) and claim.study else None
        known = [item.run for item in account.runs.values() if release.digest in item.released]
        if of_study and (joined := account.run_of_study(of_study)):
            known.append(joined)
        if known:
            raise UsageError(
                f"this embedding is in the ledger already, as the run {known[0]}", "nothing was counted twice"
            )
        spending = _spent_elsewhere(claim, sets, sets.keyed(names, unit="patient"))
        spending = replace(spending, folded=budget.save_folded(sets, names))
        over = excess(account, sets, spending)
        alike = count_alike(account, sets, spending)
        run = budget.begin(books, spending)
    with run:
        run.spend(run.planned)
        run.release(release.digest)
    if over and on_note:
        on_note(f"this exceeds the cap, but is recorded because it is already spent: {over}")
    if alike and on_note:
        on_note(budget.alike_words(alike))
    return Charged(run.run, run.words if spending.stated is None else _stated_words(spending))


def _spent_elsewhere(claim: Claim, sets: UnitSets, ids: Ids) -> Spending:
    begun = Spending(
        run=secrets.token_hex(8), at="", units=sets.save(ids), count=len(ids), unit="patient",
        mechanism=WITHOUT, q=None, sigma=None, delta=None, planned=1,
    )  # fmt: skip
    if not isinstance(claim, PrivacyClaim):
        return begun
    (weakest,) = claim.weakest
    begun = replace(
        begun, mechanism=claim.mechanism, q=weakest.q, sigma=weakest.sigma, delta=claim.delta, planned=weakest.steps,
        study=claim.study.digest if claim.study else None,
    )  # fmt: skip
    counted = claim.composition
    if counted is None:
        return begun
    plain = counted.plain if isinstance(counted, Composition) else 0
    listed = counted.mechanisms if isinstance(counted, Composition) else None
    begun = replace(begun, stated=counted.rdp or (None,) * len(ORDERS), mechanisms=listed)
    return replace(begun, trainings=counted.trainings, plain=plain)


def _stated_words(spending: Spending) -> str:
    curve = replace(spending, announced=spending.planned, settled=True).curve
    epsilon = epsilon_of(curve, spending.parameters, delta=spending.delta or DEFAULT_DELTA)
    if math.isinf(epsilon):
        return "infinite: according to its claim, the ledger of its origin has trainings without differential privacy"
    return f"epsilon {epsilon:g}: everything that the ledger of its origin had counted, according to its claim"
