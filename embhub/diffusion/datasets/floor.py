"""Do generated images show their label? By the figure that an embedding's card states, where it states one.

The figure is `agreement`: the share of generated images that a classifier, trained on real images, takes for their
label (docs/how-to/evaluate.md). A label of which less than half agrees teaches a model the wrong thing.
"""

from __future__ import annotations

from collections.abc import Sequence

from embhub.cards.evaluation_on_card import stated_agreement
from embhub.cards.personal_data import personal_data
from embhub.diffusion.datasets.plan import PlannedClass
from embhub.errors import PrivacyError, UsageError

FLOOR = 0.5
_MOST_REASON = 300


class BelowFloorError(UsageError):
    """The images of a label show it in less than half of the cases, by the card of its embedding."""


def check(classes: Sequence[PlannedClass], reason: str | None) -> None:
    """Refuse a label below the floor, unless a person gave a reason, which the data sheet then says.

    Raises:
        BelowFloorError: a label is below, and there is no reason.
        UsageError: a reason that is not one line, or a reason and no such label.
        PrivacyError: the reason looks like it names a person.
    """
    below = [item.label for item in classes if _is_below(item)]
    if reason is not None:
        if not below:
            raise UsageError("no label is below the floor", "leave out --accept-below-floor")
        if not reason.strip() or not reason.isprintable() or len(reason) > _MOST_REASON:
            raise UsageError(f"a reason is one line of at most {_MOST_REASON} characters")
        if personal_data(reason):
            raise PrivacyError("the reason looks like it names a person", "the data sheet says it: leave names out")
    elif below:
        shares = "; ".join(f"{item.label}: {_percent(item)}" for item in classes if _is_below(item))
        raise BelowFloorError(
            f"generated images show their label in less than half of the cases, by the card ({shares})",
            "leave the label out, use another embedding, or say why it is needed: --accept-below-floor REASON",
        )


def share_of(item: PlannedClass) -> float | None:
    """The smallest share that a card of its embeddings states; None where none does."""
    found = [stated_agreement(origin.card) for origin in item.origins if origin.card is not None]
    return min((share for share in found if share is not None), default=None)


def first_line(classes: Sequence[PlannedClass], reason: str | None) -> str:
    """The first line of the data sheet; "" where every label is above the floor. Plain text."""
    below = [f"{item.label} ({_percent(item)})" for item in classes if _is_below(item)]
    unknown = [item.label for item in classes if share_of(item) is None]
    said = []
    if below:
        said.append(
            f"Below the floor: less than half of the images show their label: {', '.join(below)}."
            + (f" The reason given: {reason}." if reason else "")
        )
    if unknown:
        said.append(f"Not measured: whether the images show their label: {', '.join(unknown)}.")
    return " ".join(said)


def _is_below(item: PlannedClass) -> bool:
    share = share_of(item)
    return share is not None and share < FLOOR


def _percent(item: PlannedClass) -> str:
    return f"{100 * (share_of(item) or 0):.0f} %"
