"""What a site's ledger says of all its trainings together, for a claim that is signed and published.

Whoever was in them: a patient of an earlier training in this one changes no byte of it. An overlap of cohorts is seen
at this site alone (`embhub.ledger.balance`, caps, the evidence pack).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from embhub.ledger.books import Books
from embhub.ledger.spending import AUDIT, Account, Spending, Stated
from embhub.ledger.unit_sets import Unit
from embhub.privacy.composition import MOST_MECHANISMS, Composition, build_composition, gather
from embhub.privacy.mechanisms import Mechanism
from embhub.privacy.rdp import Curve, compose, gaussian_curve, group_curve, unstate, worst_of


@dataclass(frozen=True)
class _Total:
    trainings: int
    plain: int
    curve: Curve
    mechanisms: tuple[Mechanism, ...] | None


def state_total(books: Books, account: Account, *, unit: Unit, delta: float) -> Composition:
    """All that is counted, and never less than was stated before; noted, so that the next one sees to that.

    Private trainings count whether or not they were released: somebody may have chosen settings by their results. So do
    those without privacy, which may be sent any day. A published audit counts with its file's training, or by itself
    where the file was trained elsewhere.

    Raises:
        LedgerTamperedError, ConfigError: the ledger was changed, or cannot be written.
    """
    total = _never_less(_count(account.costly, unit), account, unit)
    rdp = [None if math.isinf(value) else value for value in total.curve]
    told = Stated(unit, total.trainings, total.plain, tuple(rdp), total.mechanisms)
    if told != account.stated.get(unit):
        books.ledger.append("stated", asdict(told))
    return _write(total, account, delta=delta)


def foresee(account: Account, training: Spending, *, delta: float) -> Composition:
    """What `state_total` will state once this training has taken all its steps; nothing is written down."""
    others = [item for item in account.costly if item.run != training.run]
    return _write(_never_less(_count([*others, training], training.unit), account, training.unit), account, delta=delta)


def _write(total: _Total, account: Account, *, delta: float) -> Composition:
    opened = account.opened[:10]
    return build_composition(
        since=opened,
        as_of=max(opened, datetime.now(UTC).date().isoformat()),
        trainings=total.trainings,
        plain=total.plain,
        curve=total.curve,
        mechanisms=total.mechanisms,
        delta=delta,
    )


def count_unreleased(account: Account, *, unit: Unit, but: str) -> int:
    """Private trainings of this site that led to no file, without the run `but` and studies of several sites.

    Whether a study led to a file, a site that did not sign it does not know.
    """
    return sum(
        item.trainings
        for item in account.costly
        if item.run != but and not item.study and not item.released and _bound(item, unit) is not None
    )


def _count(spendings: Sequence[Spending], unit: Unit) -> _Total:
    bounds = [(item, bound) for item in spendings if (bound := _bound(item, unit)) is not None]
    bounded = {item.run for item, _ in bounds}
    trained = {digest for item in spendings if item.run not in bounded for digest in item.released}
    shown = {item.file for item in spendings if item.mechanism == AUDIT} - trained
    plain = sum(item.plain or int(item.run not in bounded) for item in spendings if item.mechanism != AUDIT)
    trainings = sum(item.trainings for item, _ in bounds)
    curve = compose(bound for _, bound in bounds)
    return _Total(max(1, trainings), plain + len(shown), curve, _list([item for item, _ in bounds], unit))


def _list(spendings: Sequence[Spending], unit: Unit) -> tuple[Mechanism, ...] | None:
    """What all of them did, where each is known by more than a curve and there are not too many kinds."""
    known = [item.private_parameters if item.unit == unit else None for item in spendings]
    listed = gather(one for each in known if each is not None for one in each)
    return listed if None not in known and 0 < len(listed) <= MOST_MECHANISMS else None


def _bound(item: Spending, unit: Unit) -> Curve | None:
    """What a training costs whoever was in it; None where nothing bounds that.

    Where single images were protected, a patient may have had any number of them. One image more or less is at most a
    patient taken out and put in again.
    """
    curve = item.private_curve
    if item.mechanism == AUDIT or all(map(math.isinf, curve)) or (item.unit, unit) == ("image", "patient"):
        return None
    return curve if item.unit == unit else group_curve(curve, size=2)


def _never_less(total: _Total, account: Account, unit: Unit) -> _Total:
    """No less than before: of each kind of training as many steps, at each order as large a loss."""
    before = account.stated.get(unit)
    if before is not None:
        total = _Total(
            max(total.trainings, before.trainings),
            max(total.plain, before.plain),
            worst_of([total.curve, unstate(before.rdp)]),
            _at_least(total.mechanisms, before.mechanisms),
        )
    if total.mechanisms is None:
        return total
    return replace(total, curve=compose(gaussian_curve(q=q, sigma=s, steps=n) for q, s, n in total.mechanisms))


def _at_least(
    now: tuple[Mechanism, ...] | None, before: tuple[tuple[float, float, int], ...] | None
) -> tuple[Mechanism, ...] | None:
    """None where one is: what was bounded by a curve once stays so, for losses could make it look smaller."""
    if now is None or before is None:
        return None
    steps = {(q, sigma): count for q, sigma, count in before}
    steps |= {(q, sigma): max(count, steps.get((q, sigma), 0)) for q, sigma, count in now}
    listed = gather(Mechanism(q, sigma, count) for (q, sigma), count in steps.items())
    return listed if len(listed) <= MOST_MECHANISMS else None
