"""Each demand asked alone of what was found of a release: without a log, a ledger or a registry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from embhub.refusals import Finding, Outcome
from embhub.release import demands, policy
from embhub.release.checks.approvals import Approved
from embhub.release.checks.yanks import Yank
from embhub.release.demands import PolicyRefusedError
from embhub.release.policy import STANDARD
from embhub.release.verification import Verified
from embhub.site.memory.seen import SignerChange
from embhub.trust import advisories
from tests.support.judging import GOOD, judge
from tests.support.releases import AUDITOR, REPOSITORY, resigned

VERIFIED = judge(GOOD)
YANK = Yank(revision="0" * 40, version="1.0.0", reason="wrong labels", date="2026-11-20T10:00:00Z")
WITHDRAWAL = advisories.new(
    scope="bytes", by="operator", namespace="radboud", repository=REPOSITORY, version=None,
    digest=VERIFIED.digest, reason="consent withdrawn", published="2026-11-20T10:00:00Z",
)  # fmt: skip
NEW_KEY = SignerChange("SHA256:new", ())


def refusal(name: str, of: Verified = VERIFIED, **changes: Any) -> PolicyRefusedError | None:
    """The refusal of a release by one demand, or None where it is met."""
    try:
        demands.hold(replace(of, **changes), STANDARD.demanding(policy.parse(name)))
    except PolicyRefusedError as refused:
        assert refused.unmet == (name,)
        return refused
    return None


def is_met(name: str, *found: tuple[str, Outcome]) -> bool:
    return refusal(name, findings=tuple(Finding(check, outcome, "as found") for check, outcome in found)) is None


ASKED = {  # what each demand looks at, and whether it is met where nothing was found
    "fresh": (("freshness", "log-newer-keyring"), True),
    "logged": (("log", "log-signatures", "log-witnesses", "log-audit", "log-keyring"), True),
    "witnessed": (("log-witnesses",), False),
    "preregistered": (("audit-design",), False),
    "one-ledger": (("ledger",), False),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_demand_is_met_by_its_own_findings_alone(name: str) -> None:
    checks, without = ASKED[name]
    assert is_met(name) is without and is_met(name, ("others", "warning"), ("others", "ok")) is without
    for check in checks:
        assert is_met(name, (check, "ok")) and not is_met(name, (check, "warning"))


def test_the_worst_of_several_findings_counts() -> None:
    assert not is_met("one-ledger", ("ledger", "ok"), ("ledger", "warning"))
    assert not is_met("preregistered", ("audit-design", "ok"), ("audit-design", "note"))


def test_a_registered_audit_that_leaked_or_is_not_known_is_a_leak() -> None:
    assert is_met("no-leak") and not is_met("no-leak", ("audit-leak", "warning"))
    assert refusal("no-leak", unanswered=frozenset({policy.DESIGNS})) is not None


@pytest.mark.parametrize(("verdict", "met"), [("leak-detected", False), ("insufficient-evidence", True)])
def test_a_leak_stays_one_though_its_auditors_key_was_revoked(verdict: str, met: bool) -> None:
    (own,) = VERIFIED.audit_files
    left_out = replace(own, audit=own.audit.model_copy(update={"verdict": verdict}), left_out=True)
    assert (refusal("no-leak", audit_files=(own, left_out)) is None) is met


@pytest.mark.parametrize("name", ["countersigned", "confirmed"])
def test_an_auditor_confirms_nothing_while_others_may_have_been_left_out(name: str) -> None:
    countersigned = judge(resigned(GOOD, audit_key=AUDITOR))
    assert refusal(name, countersigned) is None
    assert refusal(name, countersigned, unanswered=frozenset({policy.AUDITS})) is not None


def test_new_keys_of_publisher_and_auditor_are_not_known() -> None:
    assert refusal("known-signer") is None
    assert refusal("known-signer", unexpected=NEW_KEY) is not None
    assert refusal("known-signer", unexpected_auditors=(("nki", NEW_KEY),)) is not None


@pytest.mark.parametrize("name", policy.NAMES[:-1])
def test_every_demand_that_the_help_names_is_read(name: str) -> None:
    assert [str(demand) for demand in policy.parse(name)] == [name]
    assert (refusal(name) is None) is (name in ("no-leak", "not-yanked", "known-signer", "fresh", "logged"))


@pytest.mark.parametrize(("kind", "by_key"), [("registry", False), ("signed", True)])
def test_the_registrys_word_for_an_approval_is_no_approvers_key(kind: Any, by_key: bool) -> None:
    one = Approved(kind, "radboud", "0" * 16, "SHA256:key", "2026-11-20T10:00:00Z", "0" * 64)
    assert refusal("approved", approvals=(one,)) is None
    assert (refusal("approved-by-key", approvals=(one,)) is None) is by_key


def test_what_is_missing_is_the_sites_own_where_it_names_no_witness() -> None:
    named = refusal("witnessed", findings=(Finding("log-witnesses", "warning", "too few"),))
    unnamed = refusal("witnessed", findings=(Finding("log-witnesses", "note", "none named"),))
    assert named is not None and "Ask the publisher" in named.hint
    assert unnamed is not None and "name witnesses" in unnamed.hint and "log policy" in str(unnamed)


def test_what_was_taken_back_is_fetched_by_its_commit_alone() -> None:
    demands.refuse_unpinned(VERIFIED, commit="c" * 40)
    for changes, said in (({"yanked": YANK}, "wrong labels"), ({"withdrawn": (WITHDRAWAL,)}, "consent withdrawn")):
        taken_back = replace(VERIFIED, **changes)
        with pytest.raises(PolicyRefusedError, match=said) as caught:
            demands.refuse_unpinned(taken_back, commit="c" * 40)
        assert caught.value.unmet == ("not-yanked",) and f"{REPOSITORY}@{'c' * 40}" in caught.value.hint
        assert caught.value.findings[-1].outcome == "failed"
        asked = refusal("not-yanked", **changes)
        assert asked is not None and said in asked.message
