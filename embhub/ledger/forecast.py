"""The site's total after a private training, said and asked about before the ledger is charged."""

from __future__ import annotations

from collections.abc import Callable

from embhub.errors import PrivacyError
from embhub.ledger.books import open_books
from embhub.ledger.publications import Confirm
from embhub.ledger.site_total import foresee
from embhub.ledger.spending import Spending
from embhub.ledger.unit_sets import Unit
from embhub.privacy.choices import Mechanism
from embhub.privacy.composition import Composition
from embhub.privacy.fields import MAX_DELTA
from embhub.privacy.mechanisms import Mechanism as Parameters
from embhub.privacy.wording import is_large, total_after


def tell_total(
    plan: Parameters, *, unit: Unit, mechanism: Mechanism, delta: float, run: str, say: Callable[[str], None],
    warn: Callable[[str], None], confirm: Confirm | None, question: str = "Train nevertheless?",
    hint: str = "choose a smaller --epsilon",
) -> Composition:  # fmt: skip
    """Say what a claim will state of the whole site after a training; nothing is charged.

    Args:
        plan: sampling rate, noise and steps of the training.
        run: its name in the ledger where an interrupted one is resumed, else "".
        say, warn: the one hears the total, the other a total that is weak.
        confirm: asked where the total rules out hardly any attack; None where there is nobody to ask.
        question, hint: what whoever is asked decides, and what else can be done.

    Raises:
        PrivacyError: whoever was asked said no.
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be read or written.
    """
    training = Spending(
        run=run, at="", units="", count=0, unit=unit, mechanism=mechanism, q=plan.q, sigma=plan.sigma, delta=delta,
        planned=plan.steps,
    )  # fmt: skip
    with open_books() as books:
        total = foresee(books.settle_dead(), training, delta=delta)
    told = total_after(total, unit=unit, delta=delta)
    if not is_large(total.epsilon_at(MAX_DELTA), delta=MAX_DELTA):
        say(told)
        return total
    weak = f"{told}. That is weak: it rules out hardly any attack"
    if confirm and not confirm(f"{weak}. {question}"):
        raise PrivacyError(f"nothing was trained or charged: {weak}", hint)
    warn(weak)
    return total
