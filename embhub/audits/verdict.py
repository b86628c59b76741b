"""From the figures of an audit to one of four verdicts, and to words that do not promise more than the figures do.

The rule, fixed beforehand (docs/explanation/audits.md):

* `leak-detected`: the headline attack's one-sided rank test has p at most 2.5 %, or any other attack has p at most
  2.5 % divided by the number of other attacks. At most one audit in twenty says so of a file that leaks nothing.
* `no-leak-detected` is an equivalence result about this recipe on half of these patients, with these attacks: the
  coins are the randomisation, and every one counts. For every attack on coins the one-sided upper limits of the AUC and
  of the true-positive rate at 1 % false positives lie below bounds that were fixed beforehand and stand in the report.
  Their level is 5 % / (k (k + 1)) in audit k of one recipe at a site, 5 % over all of them. An attack on the file
  itself can find a leak, and rules none out.
* `insufficient-evidence`: everything else. So it is for the quick suite, for fewer than 8 shadows, where the caller
  named members and non-members, and where an attack does worse than guessing by the joint permutation of all coins.

The `mechanism` suite tries the privatising code, not the file: `leak-detected` where its canaries refute the claimed
epsilon, at `ALPHA` for each of its two kinds, else `bounded-by-claim`: the claim is the evidence. A detection needs no
minimum of units; finding nothing does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

ALPHA = 0.025  # chance that the headline attack alone gives a false alarm (one-sided); the others share as much
FALSE_ALARMS = 2 * ALPHA  # of the whole rule
BELOW_CHANCE = 0.01  # chance that attacks which only guess count as worse than guessing, all of them together
FEWEST_PATIENTS = 100  # trained on and held out together, from which on a clean verdict is within reach
LEVEL = 0.05  # chance of a false clean verdict, over all audits of one recipe at a site
FEWEST_SHADOWS = 8  # shadows that are attacked, below which finding nothing means nothing
LARGEST_AUC, LARGEST_TPR = 0.6, 0.1  # the bounds of `no-leak-detected`, unless stricter ones are fixed beforehand

BLIND = "blind"  # the baseline that checks the split

Suite = Literal["quick", "standard", "thorough", "mechanism"]
Verdict = Literal["leak-detected", "no-leak-detected", "insufficient-evidence", "bounded-by-claim"]


def _confidence(attempt: int) -> str:
    """In per cent, rounded down: that both limits hold, on the AUC and on the rate, each of which has `level_of`."""
    return f"{math.floor(10_000 * (1 - 2 * level_of(attempt)) + 1e-6) / 100:g}"


def level_of(attempt: int) -> float:
    """The level of the upper limits of audit number `attempt`: over all attempts it sums to `LEVEL`."""
    return LEVEL / (attempt * (attempt + 1))


class Limits(Protocol):
    """What is read of an attack's upper limits."""

    @property
    def auc(self) -> float: ...
    @property
    def tpr(self) -> float | None: ...


class Result(Protocol):
    """What is read of an attack's result (embhub.audits.attack_figures.AttackResult)."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def models(self) -> int: ...
    @property
    def auc(self) -> float: ...
    @property
    def auc_interval(self) -> tuple[float, float]: ...
    @property
    def upper_limits(self) -> Limits | None: ...
    @property
    def p_value(self) -> float: ...


class Bounds(Protocol):
    """The largest leak that `no-leak-detected` lets pass."""

    @property
    def auc(self) -> float: ...
    @property
    def tpr(self) -> float: ...


class Design(Protocol):
    """What is read of an audit's design (embhub.audits.report.Design)."""

    @property
    def shadows(self) -> int: ...
    @property
    def split(self) -> str: ...
    @property
    def bounds(self) -> Bounds: ...


class Power(Protocol):
    """What is read of the power (embhub.audits.attack_figures.Power)."""

    @property
    def smallest_auc(self) -> float: ...


class Decision(NamedTuple):
    """A verdict, the attack that decided, the p-value at which it would have been a detection, and words."""

    verdict: Verdict
    attack: str
    limit: float | None
    statement: str


def limits_of_detection(headline: str, tried: Iterable[str]) -> dict[str, float]:
    """The p-value from which down each attack is a detection: half of the level the headline's, half the others'."""
    names = [name for name in tried if name != BLIND]
    return {name: ALPHA / max(1, len(names) - 1) for name in names} | {headline: ALPHA}


def decide(
    headline: Result, results: Sequence[Result], found_nothing: Sequence[str], *, suite: str, unit: str,
    units: tuple[int, int], power: Power, design: Design, attempt: int, below: float | None,
) -> Decision:  # fmt: skip
    """Apply the rule above to the headline attack and to the others.

    Args:
        headline: the attack fixed in advance, one of `results`.
        results: attacks with figures.
        found_nothing: names of those without, `blind` among them where it saw no difference.
        units: the published counts of the sides.
        attempt: which audit of this recipe it is.
        below: joint p-value of "no attack on coins does worse than guessing"; None where it was not computed.
    """
    attacks = [result for result in results if result.kind == "attack"]
    limits = limits_of_detection(headline.name, [*(result.name for result in results), *found_nothing])
    found = [result for result in attacks if result.p_value <= limits[result.name]]
    if found:
        first = headline if headline in found else min(found, key=lambda result: result.p_value)
        text = _describe_leak(first, limits[first.name], unit)
        if doubt := next(_doubts_about_split(results, found_nothing), None):
            text += f" But {doubt}. A split that is not random would show as a leak too."
        return Decision("leak-detected", first.name, limits[first.name], text)
    size = _describe_size(units, unit, design)
    if reasons := list(_doubts(attacks, suite=suite, design=design, below=below)):
        text = (
            "Insufficient evidence: no attack succeeded, but this is not evidence of safety: "
            f"{'; '.join(reasons)}. With {size} the headline attack would have seen an AUC of "
            f"{power.smallest_auc:.2f} four times in five."
        )
        return Decision("insufficient-evidence", headline.name, ALPHA, text)
    limited = [result.upper_limits for result in attacks if result.upper_limits is not None]
    rate = max(limit.tpr or 0.0 for limit in limited)
    text = (
        f"No leak was detected by this recipe on half of these {unit}s, with these attacks: with a confidence of "
        f"{_confidence(attempt)} % no attack on the shadows has an AUC above "
        f"{max(limit.auc for limit in limited):.2f} or finds more than {rate:.1%} of the {unit}s trained on at 1 % "
        "false alarms. The bounds, fixed beforehand, were "
        f"{design.bounds.auc:.2f} and {design.bounds.tpr:.0%}; {size} were attacked. A smaller leak, or one that other "
        "attacks find, remains possible."
    )
    return Decision("no-leak-detected", headline.name, ALPHA, text)


class Guessed(NamedTuple):
    """So many made-up units had a coin each, and guessing the coins refuted every smaller epsilon than `shown`."""

    coins: int
    shown: float


def decide_mechanism(guessed: Mapping[str, Guessed], *, headline: str, claimed: float) -> Decision:
    """The verdict on a privatising mechanism from the epsilon that canaries showed and the one that is claimed.

    `guessed` holds the made-up vectors under the headline's name; made-up patients may stand beside them.
    """
    vectors, others = guessed[headline], [found for name, found in guessed.items() if name != headline]
    tried = f"{vectors.coins} made-up vectors went through the privatising code with this file's parameters"
    shown = f"an epsilon of at least {vectors.shown:.2f}"
    for patients in others:
        tried += f" and {patients.coins} made-up patients through private trainings"
        shown += f" for the vectors and {patients.shown:.2f} for the patients"
    most = max(guessed, key=lambda name: guessed[name].shown)
    if guessed[most].shown > claimed:
        text = (
            f"Leak detected: {tried}, and guessing which took part showed {shown}, where {claimed:.2f} is claimed. "
            f"Code that does what the claim says gives such a result in at most {100 * ALPHA * len(guessed):g} % of"
            " audits."
        )
        return Decision("leak-detected", most, None, text)
    text = (
        f"Bounded by the claim: {tried}, and guessing which took part showed {shown}, which the claimed {claimed:.2f} "
        "allows. This tries the code of this installation, not the one that trained the file; no patient's image was "
        "looked at, and the file itself was not attacked."
    )
    if not others:
        text += " Private trainings of made-up patients were not tried."
    return Decision("bounded-by-claim", headline, None, text)


def _doubts(
    attacks: Sequence[Result],
    *,
    suite: str,
    design: Design,
    below: float | None,
) -> Iterator[str]:
    """Why finding nothing shows nothing, a clause each."""
    if suite == "quick":
        yield "the quick suite misses leaks that attacks with shadow embeddings see"
    elif design.shadows < FEWEST_SHADOWS:
        yield f"fewer than {FEWEST_SHADOWS} shadows were trained"
    if design.split.endswith("by the caller"):
        yield "the caller named members and non-members, so nothing shows that these are the patients"
    if suite != "quick" and (below is None or below <= BELOW_CHANCE):
        yield "an attack on the shadows does worse than guessing beyond chance: a leak turned round"
    if suite != "quick":
        yield from _doubts_about_limits(attacks, design.bounds)


def _doubts_about_split(results: Sequence[Result], found_nothing: Sequence[str]) -> Iterator[str]:
    blind = [result for result in results if result.kind == "baseline"]
    if not blind and BLIND not in found_nothing:
        yield "no blind baseline checked the split"
    elif any(not result.auc_interval[0] <= 0.5 <= result.auc_interval[1] for result in blind):
        yield "the two sides differ by pixels alone, without the embedding, so the split is not random"


def _doubts_about_limits(attacks: Sequence[Result], bounds: Bounds) -> Iterator[str]:
    limits = {result.name: result.upper_limits for result in attacks if result.upper_limits is not None}
    if wide := [name for name, limit in limits.items() if limit.auc >= bounds.auc]:
        yield f"an AUC of {bounds.auc:.2f} is not ruled out for {_list(wide)}"
    if unknown := [name for name, limit in limits.items() if limit.tpr is None]:
        yield f"too few coins fell out to bound what {_list(unknown)} finds at 1 % false alarms"
    known = {name: limit.tpr for name, limit in limits.items() if limit.tpr is not None}
    if high := [name for name, tpr in known.items() if tpr >= bounds.tpr]:
        yield f"finding {bounds.tpr:.0%} at 1 % false alarms is not ruled out for {_list(high)}"


def _describe_size(units: tuple[int, int], unit: str, design: Design) -> str:
    members, nonmembers = units
    if design.shadows:
        return f"{members + nonmembers} {unit}s, in or out of each of {design.shadows} embeddings by coins,"
    return f"{members} {unit}s inside and {nonmembers} outside the training set"


def _describe_leak(found: Result, limit: float, unit: str) -> str:
    low, high = found.auc_interval
    holder = "a patient's image" if unit == "patient" else "an image"
    return (
        f"Leak detected: the attack {found.name} tells training {unit}s from others (AUC {found.auc:.2f}, 95 % "
        f"interval {low:.2f} to {high:.2f}; p = {found.p_value:.2g}, where {limit:.2g} or less is a detection; at most "
        f"{FALSE_ALARMS:.0%} of audits of a file that leaks nothing say so). Who holds {holder} could tell, better "
        "than by guessing, whether it was used for training."
    )


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
