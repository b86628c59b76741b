"""What a policy demands of a release beyond good signatures: named demands, and whether each is met. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from embhub.checks import attested
from embhub.checks.refusals import Finding, PolicyRefusal
from embhub.errors import UsageError
from embhub.privacy import PrivacyClaim

if TYPE_CHECKING:
    from embhub.verification import Verified

CHECK = "policy"
YANKS, AUDITS = "yanks", "audits"  # what a registry can be asked, and may leave unanswered
# Up to here an epsilon is a reasonable guarantee (Ponomareva et al., How to DP-fy ML, JAIR 2023, section 5.2.1): beyond
# it a claim stands in for no auditor. A site that wants less says `epsilon<=4`.
LARGEST_EPSILON = 10.0
NAMES = ("countersigned", "confirmed", "no-leak", "not-yanked", "epsilon<=X")
_EPSILON = re.compile(r"epsilon\s*<=\s*(\d{1,6}(?:\.\d{1,6})?)")
_HINT = (
    "the signatures are good: this is a policy's decision, not tampering. Ask the publisher, or choose another release"
)


@dataclass(frozen=True)
class Demand:
    """One demand by its name; `limit` is the largest epsilon that `epsilon` allows."""

    name: str
    limit: float | None = None

    def __str__(self) -> str:
        return self.name if self.limit is None else f"epsilon<={self.limit:g}"


@dataclass(frozen=True)
class Policy:
    """How much a site asks for beyond signatures, which no policy does without.

    `countersigned_suffices`: whether an independent auditor may stand in for a publisher whose key was stolen.
    """

    name: str
    demands: tuple[Demand, ...] = ()
    countersigned_suffices: bool = True

    def demanding(self, more: Iterable[Demand]) -> Policy:
        """The same policy with more demands; its name says which."""
        new = tuple(demand for demand in dict.fromkeys(more) if demand not in self.demands)
        if not new:
            return self
        name = " + ".join([self.name, *map(str, new)])
        return replace(self, name=name, demands=(*self.demands, *new))


STANDARD = Policy("standard")
STRICT = Policy("strict", (Demand("not-yanked"), Demand("no-leak"), Demand("confirmed")), countersigned_suffices=False)


def parse(words: str | Iterable[str]) -> tuple[Demand, ...]:
    """Demands from `countersigned,no-leak,epsilon<=4` or from a list of such words.

    Raises:
        UsageError: a word that is no demand.
    """
    listed = words.split(",") if isinstance(words, str) else list(words)
    return tuple(dict.fromkeys(_parse_one(word) for word in listed))


def _parse_one(word: object) -> Demand:
    text = word.strip() if isinstance(word, str) else ""
    if text in NAMES[:-1]:
        return Demand(text)
    if found := _EPSILON.fullmatch(text):
        limit = float(found[1])
        if limit > 0:
            return Demand("epsilon", limit)
    raise UsageError(f"there is no demand {str(word)[:60]!a}", f"demands are {', '.join(NAMES)}, such as epsilon<=4")


def hold(verified: Verified, policy: Policy) -> Verified:
    """The release under `policy`, with a finding for each demand.

    Raises:
        PolicyRefusal: a demand is not met.
    """
    findings, unmet = [], []
    for demand in policy.demands:
        problems = tuple(_CHECKS[demand.name](verified, demand))
        if problems:
            unmet.append((str(demand), "; ".join(problems)))
            findings.append(Finding(CHECK, "failed", f"{demand}: {'; '.join(problems)}"))
        else:
            findings.append(Finding(CHECK, "ok", f"{demand}: met"))
    judged = replace(verified, policy=policy, findings=(*verified.findings, *findings))
    if unmet:
        said = "; ".join(dict.fromkeys(reason for _, reason in unmet))
        what = f"the policy {policy.name} refuses {verified.repository} {verified.version}: {said}"
        raise PolicyRefusal(what, _HINT, unmet=tuple(name for name, _ in unmet), verified=judged)
    return judged


def refuse_unpinned(verified: Verified, *, commit: str) -> None:
    """A release that was taken back is fetched by its commit only, so that nobody gets it by accident.

    Raises:
        PolicyRefusal: it was taken back.
    """
    yank = verified.yanked
    if yank is None:
        return
    said = yank.to_json()
    finding = Finding(CHECK, "failed", "yanked, and requested without a commit")
    raise PolicyRefusal(
        f"{verified.repository} {verified.version} was yanked on {said['date']}: {said['reason']}",
        f"nothing was written; to pull it nevertheless, name its commit: {verified.repository}@{commit}",
        unmet=("not-yanked",),
        verified=replace(verified, findings=(*verified.findings, finding)),
    )


def _not_yanked(verified: Verified, _: Demand) -> Iterator[str]:
    if verified.yanked is not None:
        said = verified.yanked.to_json()
        yield f"it was yanked on {said['date']}: {said['reason']}"
    elif YANKS in verified.unanswered:
        yield "the registry did not answer whether it is yanked"


def _no_leak(verified: Verified, _: Demand) -> Iterator[str]:
    report = verified.report
    if report is not None and report.verdict == attested.LEAK:
        yield f"its audit says {verified.audit_in_words()}"
    yield from (audit.in_words() for audit in verified.others if audit.verdict == attested.LEAK)
    yield from _vanished(verified)
    if report is None and not verified.others and not _bounded(verified):
        yield "it has no audit, and no privacy claim bounds what it reveals"


def _countersigned(verified: Verified, _: Demand) -> Iterator[str]:
    if not verified.independent:
        yield "no independent auditor countersigned its audit"
    yield from _vanished(verified)


def _confirmed(verified: Verified, _: Demand) -> Iterator[str]:
    if verified.independent or _bounded(verified):
        yield from _vanished(verified)
        return
    claim = verified.embedding.privacy
    weak = ""
    if isinstance(claim, PrivacyClaim):
        weak = f", and its privacy claim (epsilon {claim.epsilon:g} for each {claim.unit}) does not stand in for that"
    yield f"no independent auditor countersigned its audit{weak}"
    yield from _vanished(verified)


def _epsilon(verified: Verified, demand: Demand) -> Iterator[str]:
    claim, limit = verified.embedding.privacy, demand.limit or math.inf
    if not isinstance(claim, PrivacyClaim):
        yield "it makes no privacy claim, so no epsilon bounds what it reveals"
    elif claim.unit != "patient":
        yield f"its privacy claim protects each {claim.unit}, not each patient"
    elif not claim.epsilon <= limit:
        yield f"its privacy claim says epsilon {claim.epsilon:g}"


def _vanished(verified: Verified) -> Iterator[str]:
    yield from (lost.in_words() for lost in verified.lost)
    if AUDITS in verified.unanswered:
        yield "the registry did not say who else audited these bytes"


def _bounded(verified: Verified) -> bool:
    """Whether a claim for each patient, recomputed when it was read, limits what the file tells."""
    claim = verified.embedding.privacy
    return isinstance(claim, PrivacyClaim) and claim.unit == "patient" and claim.epsilon <= LARGEST_EPSILON


_CHECKS = {
    "countersigned": _countersigned, "confirmed": _confirmed, "no-leak": _no_leak, "not-yanked": _not_yanked,
    "epsilon": _epsilon,
}  # fmt: skip
