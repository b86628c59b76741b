"""From the figures of an audit to one of three verdicts, and to words that do not promise more than the figures do.

The rule, fixed beforehand (docs/explanation/audits.md):

* `leak-detected`: the headline attack's one-sided rank test has p at most 2.5 %, or any other attack has p at most
  2.5 % divided by the number of other attacks. At most one audit in twenty says so of a file that leaks nothing.
* `no-leak-detected` is an equivalence result. For every attack the one-sided 95 % upper limits of the AUC and of the
  true-positive rate at 1 % false positives lie below bounds that were fixed beforehand and stand in the report.
* `insufficient-evidence`: everything else. So it is for the quick suite, for fewer than 50 units a side or fewer than
  8 shadows, without a blind baseline whose interval holds 0.5, where an attack lies below chance, and where the
  caller named the sides.

The `mechanism` suite tries the privatising code, not the file: `leak-detected` where its canaries refute the claimed
epsilon, at `ALPHA` for each of its two kinds, else `insufficient-evidence`. A detection needs no minimum of units;
finding nothing does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

ALPHA = 0.025  # chance that the headline attack alone gives a false alarm (one-sided); the others share as much
FALSE_ALARMS = 2 * ALPHA  # of the whole rule
FEWEST_UNITS = 50  # units a side below which finding nothing means nothing
FEWEST_SHADOWS = 8  # shadows that are attacked, below which finding nothing means nothing
LARGEST_AUC, LARGEST_TPR = 0.6, 0.1  # the bounds of `no-leak-detected`, unless stricter ones are fixed beforehand

Suite = Literal["quick", "standard", "thorough", "mechanism"]
Verdict = Literal["leak-detected", "no-leak-detected", "insufficient-evidence"]


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
    def units(self) -> tuple[int, int]: ...
    @property
    def auc(self) -> float: ...
    @property
    def auc_interval(self) -> tuple[float, float]: ...
    @property
    def upper_limits(self) -> Limits: ...
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
    def reference_shadows(self) -> int: ...
    @property
    def target_shadows(self) -> int: ...
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


def in_turn(design: Design) -> bool:
    """Whether each shadow was attacked with all the others as references; else references were trained apart."""
    return 0 < design.reference_shadows == design.target_shadows - 1


def decide(
    headline: Result, results: Sequence[Result], *, suite: str, unit: str, power: Power, design: Design
) -> Decision:
    """Apply the rule above to the headline attack and to the others."""
    attacks = [result for result in results if result.kind == "attack"]
    limits = {result.name: ALPHA / max(1, len(attacks) - 1) for result in attacks} | {headline.name: ALPHA}
    found = [result for result in attacks if result.p_value <= limits[result.name]]
    if found:
        first = headline if headline in found else min(found, key=lambda result: result.p_value)
        text = _describe_leak(first, limits[first.name], unit)
        if doubt := next(_doubts_about_split(results), None):
            text += f" But {doubt}. A split that is not random would show as a leak too."
        return Decision("leak-detected", first.name, limits[first.name], text)
    size = _describe_size(headline, unit)
    if reasons := list(_doubts(headline, attacks, results, suite=suite, unit=unit, design=design)):
        text = (
            "Insufficient evidence: no attack succeeded, but this is not evidence of safety: "
            f"{'; '.join(reasons)}. With {size} the headline attack would have seen an AUC of "
            f"{power.smallest_auc:.2f} four times in five."
        )
        return Decision("insufficient-evidence", headline.name, ALPHA, text)
    worst = max(attacks, key=lambda result: result.upper_limits.auc)
    rate = max(result.upper_limits.tpr or 0.0 for result in attacks)
    text = (
        f"No leak was detected: with 95 % confidence no attack here has an AUC above {worst.upper_limits.auc:.2f} or "
        f"finds more than {rate:.1%} of the {unit}s trained on at 1 % false alarms. The bounds, fixed beforehand, were "
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
        tried += f" and {patients.coins} made-up patients through trainings of their own"
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
        f"Insufficient evidence: {tried}, and guessing which took part showed {shown}, which the claimed {claimed:.2f} "
        "allows. This tries the code of this installation, not the one that trained the file; no patient's image was "
        "looked at, and the file itself was not attacked."
    )
    if not others:
        text += " Whole trainings of made-up patients were not tried."
    return Decision("insufficient-evidence", headline, None, text)


def _doubts(
    headline: Result,
    attacks: Sequence[Result],
    results: Sequence[Result],
    *,
    suite: str,
    unit: str,
    design: Design,
) -> Iterator[str]:
    """Why finding nothing shows nothing, a clause each."""
    if suite == "quick":
        yield "the quick suite misses leaks that attacks with shadow embeddings see"
    elif in_turn(design):
        if min(design.target_shadows, headline.models) < FEWEST_SHADOWS:
            yield f"fewer than {FEWEST_SHADOWS} shadows were trained"
    elif min(design.reference_shadows, design.target_shadows, headline.models) < FEWEST_SHADOWS:
        yield f"fewer than {FEWEST_SHADOWS} reference and {FEWEST_SHADOWS} target shadows were trained"
    if min(headline.units) < FEWEST_UNITS:
        yield f"fewer than {FEWEST_UNITS} {unit}s a side are too few to find nothing in"
    if design.split.endswith("by the caller"):
        yield "the caller named the sides, so nobody knows that they were split at random"
    yield from _doubts_about_split(results)
    if below := [result.name for result in attacks if result.auc_interval[1] < 0.5]:
        yield f"the AUC of {_list(below)} lies below 0.5 beyond its interval: a leak turned round, or a broken split"
    if suite != "quick":
        yield from _doubts_about_limits(attacks, design.bounds, unit)


def _doubts_about_split(results: Sequence[Result]) -> Iterator[str]:
    blind = [result for result in results if result.kind == "baseline"]
    if not blind:
        yield "no blind baseline checked the split"
    elif any(not result.auc_interval[0] <= 0.5 <= result.auc_interval[1] for result in blind):
        yield "the two sides differ by pixels alone, without the embedding, so the split is not random"


def _doubts_about_limits(attacks: Sequence[Result], bounds: Bounds, unit: str) -> Iterator[str]:
    if wide := [result.name for result in attacks if result.upper_limits.auc >= bounds.auc]:
        yield f"an AUC of {bounds.auc:.2f} is not ruled out for {_list(wide)}"
    if unknown := [result.name for result in attacks if result.upper_limits.tpr is None]:
        yield f"too few {unit}s were kept out to bound what {_list(unknown)} finds at 1 % false alarms"
    known = {result.name: result.upper_limits.tpr for result in attacks if result.upper_limits.tpr is not None}
    if high := [name for name, tpr in known.items() if tpr >= bounds.tpr]:
        yield f"finding {bounds.tpr:.0%} at 1 % false alarms is not ruled out for {_list(high)}"


def _describe_size(headline: Result, unit: str) -> str:
    members, nonmembers = headline.units
    size = f"{members} {unit}s inside and {nonmembers} outside the training set"
    if headline.models > 1:
        size += f" of each of {headline.models} embeddings trained by the same recipe"
    return size


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
