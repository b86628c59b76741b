"""Demands of a policy: what each takes and refuses, and that a policy's refusal is told apart from tampering."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.artifact.embedding import Embedding
from embhub.errors import PolicyError, UsageError, VerificationError
from embhub.privacy.claim import PrivacyClaim
from embhub.refusals import Finding, Outcome
from embhub.release import demands, verification
from embhub.release import policy as policies
from embhub.release.checks.attested import Attested
from embhub.release.checks.yanks import Yank
from embhub.release.demands import PolicyRefusedError
from embhub.release.files import Release
from embhub.release.policy import STANDARD, STRICT, Demand
from embhub.release.verification import Verified
from tests.support import study_records
from tests.support.between import make_leaking_release
from tests.support.releases import (
    AUDITOR,
    NOW,
    OTHER_SITE,
    REGISTRY,
    REPOSITORY,
    edited_card,
    make_release,
    make_trust,
    resigned,
)  # fmt: skip
from tests.support.releases import replaced as with_files
from tests.support.showroom import make_claim
from tests.support.showroom import make_release as make_claimed
from tests.support.vouching import vouched

PLAIN = make_release()
UNAUDITED = make_release(audited=False)
COUNTERSIGNED = resigned(PLAIN, audit_key=AUDITOR)
LEAKING = make_leaking_release()
CLAIMED = make_claimed(
    REPOSITORY, seed=6, claim=make_claim(), audited=False, n_patients="400-500", n_images="400-900",
    max_images_per_patient=2,
)  # fmt: skip
BOTH = ("no-leak", "confirmed")
YANK = Yank(revision="0" * 40, version="1.0.0", reason="wrong labels", date="2026-11-20T10:00:00Z")
LEAK = Attested(
    namespace="nki", own=False, repository=REPOSITORY, version="0.9.0", verdict="leak-detected",
    created="2026-11-19T00:00:00Z", registry=REGISTRY,
)  # fmt: skip


def judge(release: Release) -> Verified:
    return verification.verify(release, trust=make_trust(), now=NOW)


def unmet(verified: Verified, words: str) -> tuple[str, ...]:
    """The demands of `words` that are not met."""
    try:
        held = demands.hold(verified, STANDARD.demanding(policies.parse(words)))
    except PolicyRefusedError as refusal:
        assert refusal.exit_code == 8 and not isinstance(refusal, VerificationError)
        assert {finding.check for finding in refusal.findings if finding.outcome == "failed"} == {"policy"}
        return refusal.unmet
    assert [finding.outcome for finding in held.findings if finding.check == "policy"]
    return ()


def strict(verified: Verified) -> tuple[str, ...]:
    """What `strict` misses, where the site's witnesses vouched for the log."""
    try:
        demands.hold(vouched(verified), STRICT)
    except PolicyRefusedError as refusal:
        return refusal.unmet
    return ()


def test_strict_takes_what_an_independent_auditor_confirmed() -> None:
    assert strict(judge(COUNTERSIGNED)) == ()
    assert strict(judge(PLAIN)) == ("confirmed",)
    assert strict(judge(UNAUDITED)) == ("no-leak", "confirmed")


def test_strict_asks_for_witnesses_whatever_is_known_of_the_log() -> None:
    verified = judge(COUNTERSIGNED)
    outcomes: tuple[Outcome | None, ...] = ("note", "warning", "failed", None)
    for outcome in outcomes:
        said = () if outcome is None else (Finding("log-witnesses", outcome, "unknown"),)
        with pytest.raises(PolicyRefusedError) as caught:
            demands.hold(replace(verified, findings=(*verified.findings, *said)), STRICT)
        assert caught.value.unmet[-1] == "witnessed"
    assert unmet(vouched(verified), "witnessed") == () and unmet(verified, "witnessed") == ("witnessed",)


def test_strict_refuses_what_leaks_whoever_says_so() -> None:
    assert strict(judge(LEAKING)) == ("no-leak", "confirmed")
    assert strict(judge(resigned(LEAKING, audit_key=AUDITOR))) == ("no-leak",)
    told = judge(COUNTERSIGNED).told(yanked=None, others=(LEAK,), remembered=())
    assert strict(told) == ("no-leak",)


def test_strict_takes_a_recomputed_claim_without_audit_and_countersignature() -> None:
    verified = judge(CLAIMED)
    assert verified.report is None and strict(verified) == ()
    assert strict(replace(verified, yanked=YANK)) == ("not-yanked",)
    assert strict(verified.told(yanked=None, others=(LEAK,), remembered=())) == ("no-leak",)


def test_a_claim_that_hardly_limits_anything_confirms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = judge(CLAIMED)
    claim = verified.embedding.privacy
    assert isinstance(claim, PrivacyClaim)
    for change, missed in (({"epsilon": 10.0}, ()), ({"epsilon": 10.1}, BOTH), ({"unit": "image"}, BOTH)):
        weak = claim.model_copy(update=change)

        def weakened(_: Embedding, weak: PrivacyClaim = weak) -> PrivacyClaim:
            return weak

        monkeypatch.setattr(Embedding, "privacy", property(weakened))
        assert strict(verified) == missed
    assert unmet(verified, "epsilon<=10") == ("epsilon<=10",), "a bound for single images is none for patients"


def test_single_demands() -> None:
    assert unmet(judge(CLAIMED), "countersigned,no-leak,epsilon<=4.2") == ("countersigned",)
    assert unmet(judge(CLAIMED), "epsilon<=0.5") == ("epsilon<=0.5",)
    assert unmet(judge(CLAIMED), f"epsilon<={make_claim().epsilon:g}") == ()
    assert unmet(judge(PLAIN), "epsilon<=100") == ("epsilon<=100",)
    of_study = verification.verify(study_records.release(), trust=study_records.trust(), now=NOW)
    assert unmet(of_study, "epsilon<=5") == ("epsilon<=5",), "the larger of both figures counts"
    assert unmet(of_study, "epsilon<=5.5") == ()
    assert unmet(judge(COUNTERSIGNED), "countersigned,no-leak,not-yanked") == ()
    assert unmet(replace(judge(COUNTERSIGNED), yanked=YANK), "not-yanked,countersigned") == ("not-yanked",)


def test_an_auditor_of_the_signers_own_namespace_countersigns_nothing() -> None:
    house = resigned(PLAIN, audit_key=OTHER_SITE)
    with pytest.raises(VerificationError):
        judge(house)
    assert unmet(judge(PLAIN), "countersigned") == ("countersigned",)


def test_an_audit_that_went_is_missed_under_every_demand_that_rests_on_audits() -> None:
    verified = judge(COUNTERSIGNED)
    gone = verified.told(yanked=None, others=(), remembered=(LEAK.model_copy(update={"namespace": "umcu"}),))
    assert any("umcu" in f.text and f.outcome == "warning" for f in gone.findings), "standard warns, by name"
    assert unmet(gone, "no-leak") and unmet(gone, "countersigned") and not unmet(gone, "not-yanked")
    newer = LEAK.model_copy(update={"verdict": "insufficient-evidence", "created": "2026-11-20T00:00:00Z"})
    revised = verified.told(yanked=None, others=(newer,), remembered=(LEAK,))
    assert not unmet(revised, "no-leak"), "an auditor may revise their own word"
    replayed = verified.told(
        yanked=None, others=(newer.model_copy(update={"created": "2026-11-18T00:00:00Z"}),), remembered=(LEAK,)
    )
    assert unmet(replayed, "no-leak") == (), "the release's own countersignature of nki is younger"
    other = replayed.told(
        yanked=None, others=(), remembered=(LEAK.model_copy(update={"created": "2027-01-01T00:00:00Z"}),)
    )
    assert unmet(other, "no-leak")


def test_silence_of_the_registry_does_not_meet_a_demand() -> None:
    verified = judge(COUNTERSIGNED)
    silent = verified.told(yanked=None, others=(), remembered=(), unanswered=(policies.YANKS, policies.AUDITS))
    assert unmet(silent, "not-yanked,no-leak") == ("not-yanked", "no-leak")
    assert unmet(silent, "epsilon<=4") == ("epsilon<=4",)


def test_tampering_is_said_before_any_demand() -> None:
    tampered = with_files(PLAIN, card=edited_card(PLAIN, limitations="none at all"))
    with pytest.raises(VerificationError) as caught:
        verification.verify(tampered, trust=make_trust(), now=NOW, policy=STRICT)
    assert caught.value.exit_code == 4
    with pytest.raises(PolicyError):
        verification.verify(PLAIN, trust=make_trust(), now=NOW, policy=STRICT)


@pytest.mark.parametrize(
    "words", ["", "no-leaks", "epsilon", "epsilon<4", "epsilon<=0", "epsilon<=-1", "epsilon<=nan", ","]
)
def test_words_that_are_no_demand(words: str) -> None:
    with pytest.raises(UsageError, match="there is no demand"):
        policies.parse(words)


@given(st.lists(st.sampled_from(["countersigned", "confirmed", "no-leak", "not-yanked", "epsilon<=4"]), min_size=1))
def test_demands_are_read_once_each_and_print_as_they_are_written(words: list[str]) -> None:
    read = policies.parse(", ".join(words))
    assert [str(demand) for demand in read] == list(dict.fromkeys(words))
    assert policies.parse([str(demand) for demand in read]) == read


@given(st.text(max_size=30))
def test_arbitrary_words(text: str) -> None:
    try:
        assert all(isinstance(demand, Demand) for demand in policies.parse(text))
    except UsageError as error:
        assert error.message.isprintable()
