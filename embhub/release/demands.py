"""Whether a verified release meets what a policy demands; a refusal names every demand that it does not meet. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from embhub.errors import PolicyError
from embhub.privacy.claim_or_none import is_claim
from embhub.refusals import Finding
from embhub.release.checks import attested, ledger_heads, preregistered
from embhub.release.policy import AUDITS, DESIGNS, LARGEST_EPSILON, YANKS, Demand, Policy
from embhub.trust import freshness

if TYPE_CHECKING:
    from embhub.release.verified import Verified

CHECK = "policy"
_HINT = (
    "the signatures are good: this is a policy's decision, not tampering. Ask the publisher, or choose another release"
)
_OWN_HINT = (
    "the signatures are good, and what is missing is this site's own: name witnesses of the registry's log, see"
    " docs/how-to/watch-a-log.md"
)


class PolicyRefusedError(PolicyError):
    """A release whose signatures are good and which the policy does not take.

    `unmet` names the demands that were not met, `findings` lists every check, `verified` is what was refused.
    """

    rule: ClassVar[str] = "policy"

    def __init__(self, message: str, hint: str, *, unmet: tuple[str, ...], verified: Verified) -> None:
        super().__init__(message, hint)
        self.unmet = unmet
        self.verified = verified

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every check that was made, the demands that were not met last."""
        return self.verified.findings


def hold(verified: Verified, policy: Policy) -> Verified:
    """The release under `policy`, with a finding for each demand.

    Raises:
        PolicyRefusedError: a demand is not met.
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
        names = tuple(name for name, _ in unmet)
        own = names == ("witnessed",) and _names_no_witnesses(verified)
        raise PolicyRefusedError(what, _OWN_HINT if own else _HINT, unmet=names, verified=judged)
    return judged


def refuse_unpinned(verified: Verified, *, commit: str) -> None:
    """A release that was taken back is fetched by its commit only, so that nobody gets it by accident.

    Raises:
        PolicyRefusedError: it was taken back.
    """
    refuse_taken_back(
        verified,
        hint=f"nothing was written; to pull it nevertheless, name its commit: {verified.repository}@{commit}",
    )


def refuse_taken_back(verified: Verified, *, hint: str) -> None:
    """Refuse a release that was yanked or withdrawn, as far as that is known here.

    Raises:
        PolicyRefusedError: it was taken back.
    """
    yank = verified.yanked
    if yank is None and not verified.withdrawn:
        return
    said = f"was yanked on {yank.to_json()['date']}: {yank.to_json()['reason']}" if yank else "is withdrawn: "
    said += "" if yank else "; ".join(advisory.sentence for advisory in verified.withdrawn)
    finding = Finding(CHECK, "failed", "yanked or withdrawn, and requested without a commit")
    raise PolicyRefusedError(
        f"{verified.repository} {verified.version} {said}",
        hint,
        unmet=("not-yanked",),
        verified=replace(verified, findings=(*verified.findings, finding)),
    )


def _not_yanked(verified: Verified, _: Demand) -> Iterator[str]:
    if verified.yanked is not None:
        said = verified.yanked.to_json()
        yield f"it was yanked on {said['date']}: {said['reason']}"
    yield from (advisory.sentence for advisory in verified.withdrawn)
    if verified.yanked is None and YANKS in verified.unanswered:
        yield "the registry did not answer whether it is yanked"


def _no_leak(verified: Verified, _: Demand) -> Iterator[str]:
    report = verified.report
    if report is not None and report.verdict == attested.LEAK:
        yield f"its audit says {verified.audit_in_words()}"
    yield from (audit.in_words() for audit in verified.others if audit.verdict == attested.LEAK)
    for audit in verified.left_out:
        if audit.verdict == attested.LEAK:
            yield f"{audit.in_words()}, with a key that was revoked since: nobody can tell whether it is the auditor's"
    for finding in verified.findings:
        if finding.check == preregistered.LEAKS:
            yield finding.text
    if DESIGNS in verified.unanswered:
        yield "it is not known whether a registered audit of these bytes found a leak"
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
    if is_claim(claim):
        claimed = f"epsilon {claim.largest_epsilon:g} for each {claim.unit}"
        weak = f", and its privacy claim ({claimed}) does not stand in for that"
    yield f"no independent auditor countersigned its audit{weak}"
    yield from _vanished(verified)


def _known_signer(verified: Verified, _: Demand) -> Iterator[str]:
    if verified.unexpected is not None:
        yield f"{verified.unexpected.in_words()}; `embhub trust refresh` shows the keys and asks for a confirmation"
    for namespace, change in verified.unexpected_auditors:
        yield f"the auditor {namespace}: {change.in_words()}; `embhub trust refresh` asks for a confirmation"


def _fresh(verified: Verified, _: Demand) -> Iterator[str]:
    for finding in verified.findings:
        if finding.check in (freshness.CHECK, _WITHHELD) and finding.outcome == "warning":
            yield f"whether the keyring is the current one: {finding.text}; `embhub trust refresh` asks for it"


_WITNESSES, _WITHHELD = "log-witnesses", "log-newer-keyring"
_LOGGED = ("log", "log-signatures", _WITNESSES, "log-audit", "log-keyring")


def _logged(verified: Verified, _: Demand) -> Iterator[str]:
    """Where the registry keeps a log. The log's policy of the site says whether witnesses are asked for."""
    for finding in verified.findings:
        if finding.check in _LOGGED and finding.outcome == "warning":
            what = {"log-audit": "its audit", "log-keyring": "the keyring"}.get(finding.check, "it")
            yield f"whether {what} is in the transparency log: {finding.text}"


def _witnessed(verified: Verified, _: Demand) -> Iterator[str]:
    """A quorum of the witnesses that this site named. Nobody else names them, least of all the registry."""
    said = [finding for finding in verified.findings if finding.check == _WITNESSES]
    if not said:
        yield "no checkpoint of the transparency log shows it here, so no witness vouches for it"
    if _names_no_witnesses(verified):
        yield (
            "this site's log policy names no quorum of witnesses, so nobody vouches that the registry shows everybody"
            " the same log: `embhub log policy --witness KEY` names one, and `embhub log watch --cosign` makes one"
        )
    for finding in said:
        if finding.outcome not in ("ok", "note"):
            yield f"whether it is in the transparency log: {finding.text}"


def _names_no_witnesses(verified: Verified) -> bool:
    return any(finding.check == _WITNESSES and finding.outcome == "note" for finding in verified.findings)


def _preregistered(verified: Verified, _: Demand) -> Iterator[str]:
    """Met by the log alone: `embhub.client.log.logged_designs` says so once it was read."""
    said = [finding for finding in verified.findings if finding.check == preregistered.CHECK]
    if not said:
        yield "it has no audit that was registered before it ran"
    for finding in said:
        if finding.outcome != "ok":
            yield f"whether its audit was registered before it ran, and no other was dropped: {finding.text}"


def _one_ledger(verified: Verified, _: Demand) -> Iterator[str]:
    said = [finding for finding in verified.findings if finding.check == ledger_heads.CHECK]
    if not said:
        yield "it shows no privacy ledger of its publisher"
    yield from (finding.text for finding in said if finding.outcome == "warning")


def _approved(verified: Verified, _: Demand) -> Iterator[str]:
    from embhub.release.checks import approvals

    yield from approvals.missing(verified.approvals, by_key=False)


def _approved_by_key(verified: Verified, _: Demand) -> Iterator[str]:
    from embhub.release.checks import approvals

    yield from approvals.missing(verified.approvals, by_key=True)


def _epsilon(verified: Verified, demand: Demand) -> Iterator[str]:
    claim, limit = verified.embedding.privacy, demand.limit or math.inf
    if not is_claim(claim):
        yield "it makes no privacy claim, so no epsilon bounds what it reveals"
    elif claim.unit != "patient":
        yield f"its privacy claim protects each {claim.unit}, not each patient"
    elif not claim.largest_epsilon <= limit:
        yield f"its privacy claim says epsilon {claim.largest_epsilon:g}"


def _vanished(verified: Verified) -> Iterator[str]:
    yield from (lost.in_words() for lost in verified.lost)
    if AUDITS in verified.unanswered:
        yield "the registry did not say who else audited these bytes"


def _bounded(verified: Verified) -> bool:
    """Whether a claim for each patient, recomputed when it was read, limits what the file tells."""
    claim = verified.embedding.privacy
    return is_claim(claim) and claim.unit == "patient" and claim.largest_epsilon <= LARGEST_EPSILON


_CHECKS = {
    "countersigned": _countersigned, "confirmed": _confirmed, "no-leak": _no_leak, "not-yanked": _not_yanked,
    "known-signer": _known_signer, "fresh": _fresh, "logged": _logged, "witnessed": _witnessed,
    "preregistered": _preregistered, "one-ledger": _one_ledger, "approved": _approved,
    "approved-by-key": _approved_by_key, "epsilon": _epsilon,
}  # fmt: skip
