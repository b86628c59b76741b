"""From the figures of an audit to one of three verdicts, and to words that do not promise more than the figures do.

The rule, fixed beforehand (docs/explanation/audits.md):

* `leak-detected`: the headline attack's one-sided rank test has p at most 2.5 % (its 95 % AUC interval lies above 0.5),
  or its epsilon bound is above 0, or any other attack has p at most 2.5 % divided by the number of other attacks;
* `insufficient-evidence`: nothing was detected, and the suite is `quick` or there are fewer than 50 units a class;
* `no-leak-detected`: nothing was detected by the `standard` suite on 50 units a class or more.

The `mechanism` suite tries the privatising code, not the file: `leak-detected` where its canaries refute the claimed
epsilon, else `insufficient-evidence`.

A detection needs no minimum of units, since the test is exact for few; finding nothing does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

ALPHA = 0.025  # chance that the headline attack alone cries wolf (one-sided)
FEWEST_UNITS = 50  # units a class below which finding nothing means nothing

Verdict = Literal["leak-detected", "no-leak-detected", "insufficient-evidence"]


class Bound(Protocol):
    """What is read of an epsilon bound."""

    @property
    def lower_bound(self) -> float: ...


class Result(Protocol):
    """What is read of an attack's result (embhub.audit.AttackResult)."""

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
    def p_value(self) -> float: ...
    @property
    def epsilon(self) -> Bound: ...


class Limits(Protocol):
    """What is read of the power (embhub.audit.Power)."""

    @property
    def largest_epsilon(self) -> float: ...
    @property
    def smallest_auc(self) -> float: ...


class Decision(NamedTuple):
    """Verdict and its words."""

    verdict: Verdict
    statement: str


def decide(headline: Result, results: Sequence[Result], *, suite: str, unit: str, power: Limits) -> Decision:
    """Apply the rule above to the headline attack and to the others."""
    others = [result for result in results if result.kind == "attack" and result.name != headline.name]
    found = [headline] if headline.p_value <= ALPHA or headline.epsilon.lower_bound > 0 else []
    found += [result for result in others if result.p_value <= ALPHA / len(others)]
    blind = _describe_blind(results)
    if found:
        return Decision("leak-detected", _describe_leak(found[0], headline, unit) + blind)
    members, nonmembers = headline.units
    size = f"{members} {unit}s inside and {nonmembers} outside the training set"
    if headline.models > 1:
        size += f" of each of {headline.models} embeddings trained by the same recipe"
    limits = (
        f"With {size} it would have seen an AUC of {power.smallest_auc:.2f} four times in five, "
        f"and could have shown an epsilon of {power.largest_epsilon:.2f} at most."
    )
    reasons = []
    if suite == "quick":
        reasons.append("the quick suite misses leaks that attacks with shadow embeddings see")
    if min(members, nonmembers) < FEWEST_UNITS:
        reasons.append(f"fewer than {FEWEST_UNITS} {unit}s a side are too few to find nothing in")
    if reasons:
        text = (
            f"Insufficient evidence: no attack succeeded, but this is not evidence of safety: {', and '.join(reasons)}."
        )
        return Decision("insufficient-evidence", f"{text} {limits}{blind}")
    text = "No leak was detected by these attacks; a smaller leak, or one that other attacks find, remains possible."
    return Decision("no-leak-detected", f"{text} {limits}{blind}")


class Guessed(Bound, Protocol):
    """What is read of guesses at coins (embhub.audits.attack_figures.Coins)."""

    @property
    def coins(self) -> int: ...


def decide_mechanism(vectors: Guessed, patients: Guessed | None, *, claimed: float) -> Decision:
    """The verdict on a privatising mechanism from the epsilon that canaries showed and the one that is claimed.

    `patients` is None where no made-up patients went through trainings.
    """
    tried = f"{vectors.coins} made-up vectors went through the privatising code with this file's parameters"
    shown = f"an epsilon of at least {vectors.lower_bound:.2f}"
    if patients is not None:
        tried += f" and {patients.coins} made-up patients through trainings of their own"
        shown += f" for the vectors and {patients.lower_bound:.2f} for the patients"
    if max(vectors.lower_bound, patients.lower_bound if patients else 0.0) > claimed:
        return Decision(
            "leak-detected",
            f"Leak detected: {tried}, and guessing which took part showed {shown}, where {claimed:.2f} is claimed. "
            "The code does not do what the claim says.",
        )
    return Decision(
        "insufficient-evidence",
        f"Insufficient evidence: {tried}, and guessing which took part showed {shown}, which the claimed {claimed:.2f} "
        "allows. This tries the code of this installation, not the one that trained the file; no patient's image was "
        "looked at, and the file itself was not attacked."
        + ("" if patients else " Whole trainings of made-up patients were not tried."),
    )


def _describe_leak(found: Result, headline: Result, unit: str) -> str:
    low, high = found.auc_interval
    text = (
        f"Leak detected: the attack {found.name} tells training {unit}s from others "
        f"(AUC {found.auc:.2f}, 95 % interval {low:.2f} to {high:.2f}"
    )
    if found.name == headline.name and found.epsilon.lower_bound > 0:
        text += f"; epsilon is at least {found.epsilon.lower_bound:.2f}"
    holder = "a patient's image" if unit == "patient" else "an image"
    return f"{text}). Who holds {holder} could tell, better than by guessing, whether it was used for training."


def _describe_blind(results: Sequence[Result]) -> str:
    telling = any(result.kind == "baseline" and result.auc_interval[0] > 0.5 for result in results)
    if not telling:
        return ""
    return (
        " The images inside and outside the training set differ by pixels alone, without the embedding, "
        "so the split is not random and the figures may show that instead."
    )
