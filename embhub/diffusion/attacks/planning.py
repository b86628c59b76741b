"""An audit before it runs: its entry in the site's ledger, and what seals its sides and its random seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embhub.artifact import embedding as artifact_module
from embhub.artifact.claimed import check_derived
from embhub.artifact.embedding import Embedding
from embhub.audits.report import Bounds, Suite
from embhub.errors import PrivacyError, UsageError
from embhub.images.member_split import Comparison, choose_sides, compare
from embhub.ledger import audit_attempts
from embhub.ledger.audit_attempts import AuditAttempt, AuditPlan
from embhub.ledger.books import open_books
from embhub.options.audit import AuditOptions
from embhub.options.precision import Precision
from embhub.privacy.claim import PrivacyClaim
from embhub.site.memory import runs
from embhub.site.memory import secret as site_secret

WITH_SHADOWS = ("standard", "thorough")


def plan(file: Path, chosen: AuditOptions) -> AuditPlan:
    """Write down that an audit of a file will run as `chosen` says. The audit itself then goes on under this entry.

    Raises:
        UsageError: the suite uses no patient, an earlier audit is to be repeated, or as `audit`.
        PrivacyError: the result would have to stay at the site: the file makes a privacy claim, or a cap holds.
        ArtifactError: as `audit`.
    """
    if chosen.suite == "mechanism":
        raise UsageError("the mechanism suite tests made-up canaries and is not registered", "use another suite")
    if chosen.replay is not None:
        raise UsageError("an audit that is repeated was fixed before", "leave out --replay, or do not register it")
    target, bounds = artifact_module.read(file), Bounds(auc=chosen.auc_bound, tpr=chosen.tpr_bound)
    check_derived(target, chosen.suite)
    _check_it_may_leave(target)
    sides = compare(*choose_sides(runs.find(target.digest), chosen.members, chosen.nonmembers))
    sealed = seal(sides, bounds, chosen.precision, chosen.suite)
    shadows = chosen.shadows if chosen.suite in WITH_SHADOWS else 0
    attempt = begin(target, chosen.suite, shadows, sealed, None)
    return AuditPlan(attempt, bounds.model_dump(), commit(sealed, attempt))


def _check_it_may_leave(target: Embedding) -> None:
    """A result goes into the log whatever it is: so it must be one that may be published."""
    if isinstance(target.privacy, PrivacyClaim):
        raise PrivacyError(
            "the file makes a privacy claim, so an audit of its patients stays at the site, and so does its verdict",
            "register no audit of it; `--suite mechanism` tests the claim",
        )
    with open_books() as books:
        if books.account().caps:
            raise PrivacyError(
                "a cap holds for patients of this site, and the verdict of a registered audit is published",
                "audit without --register, or lift the cap knowingly",
            )


def seal(sides: Comparison, bounds: Bounds, precision: Precision | None, suite: Suite) -> dict[str, Any]:
    """What is fixed of an audit before it runs: whom it compares, and how. It stays at the site."""
    sealed: dict[str, Any] = {**sides.facts(), "bounds": bounds.model_dump()}
    if precision:
        sealed["precision"] = precision
    if suite in WITH_SHADOWS:  # an audit whose references were no targets has another entry, and is not replayed so
        sealed["shadows"] = "each in turn"
    return sealed


def _commit_recipe(target: Embedding) -> str:
    """The keyed commitment to the recipe, which has no seed.

    A report states how many audits it had, so nothing of the patients is in it: with them, a number that begins anew
    would show that a patient left or came.
    """
    return site_secret.commit({"recipe": dict(target.training)})


def commit(sealed: Mapping[str, Any], attempt: AuditAttempt) -> str:
    """The keyed commitment to these facts, to the file, and to the id from which every seed follows."""
    return site_secret.commit({**sealed, "embedding": attempt.file, "audit": attempt.id})


def begin(target: Embedding, suite: Suite, shadows: int, sealed: Mapping[str, Any], replay: int | None) -> AuditAttempt:
    """The entry of this audit in the ledger: a new one, one that was interrupted, or the one to replay.

    Raises:
        UsageError: no audit of that number, or it was of another suite, number of shadows, bounds or images.
    """
    sides = site_secret.commit({**sealed, "embedding": target.digest})
    if replay is None:
        cohort = _commit_recipe(target) if sealed else ""
        return audit_attempts.begin_audit(target.digest, suite=suite, shadows=shadows, sides=sides, cohort=cohort)
    made = audit_attempts.audits_of(target.digest)
    found = next((attempt for attempt in made if attempt.number == replay), None)
    if found is None:
        raise UsageError(f"this site made no audit {replay} of this file", f"its audits are 1 to {len(made)}")
    if (found.suite, found.shadows, found.sides) != (suite, shadows, sides):
        raise UsageError(
            f"audit {replay} of this file was another one: suite {found.suite}, {found.shadows} shadows",
            "give the suite, shadows, bounds and images that it had, and use the version of embhub that made it",
        )
    return found
