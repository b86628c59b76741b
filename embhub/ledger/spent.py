"""What those have spent who were in one training: by overlap, so for this site's eyes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from embhub.ledger.books import Books, ledger_exists, open_books
from embhub.ledger.linking import charges
from embhub.ledger.spending import Spending
from embhub.ledger.unit_losses import loss_of
from embhub.ledger.unit_sets import Unit


@dataclass(frozen=True)
class Spent:
    """What the units of one training have lost by all that this ledger knows; `epsilon` is None where infinite.

    `trainings` is the most that one of them was in. It tells whether cohorts overlap: never publish it.
    """

    unit: Unit
    trainings: int
    epsilon: float | None


def spent_by(books: Books, spending: Spending, *, delta: float) -> Spent:
    """The same for callers that hold the books.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read.
    """
    spent = charges(books.sets, books.account().costly, unit=spending.unit)
    loss = loss_of(books.sets.load(spending.units), spent, delta=delta)
    return Spent(spending.unit, loss.trainings, None if math.isinf(loss.epsilon) else loss.epsilon)


def spent_on(file_digest: str, *, delta: float) -> Spent | None:
    """What those have spent who were in the training of this file; None where this ledger knows of none.

    Raises:
        LedgerTamperedError, ConfigError: as `spent_by`.
    """
    if not ledger_exists():
        return None
    with open_books() as books:
        runs = books.account().costly
        run = next((item for item in runs if file_digest in item.released), None)
        return None if run is None else spent_by(books, run, delta=delta)
