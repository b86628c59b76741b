"""What a release is worth once the key that signed it was lost, stolen or replaced."""

from __future__ import annotations

import json
from typing import Any

import pytest

from embhub.refusals import ReleaseRefusedError, RevokedKeyError
from embhub.release import policy as policies
from embhub.release import verification
from embhub.release.demands import PolicyRefusedError
from embhub.release.files import Release
from embhub.release.verification import STANDARD, STRICT, Policy, Verified
from embhub.trust.keyring import Trust
from tests.support import releases
from tests.support.releases import (
    AUDITOR,
    NOW,
    OTHER_SITE,
    REPOSITORY,
    SITE,
    WITHDRAWER,
    make_keyring,
    make_release,
    make_trust,
    member,
    resigned,
)

GOOD = make_release()  # says that it was signed at NOW, 10:30
COUNTERSIGNED = resigned(GOOD, audit_key=AUDITOR)
AFTER, BEFORE = "2026-11-20T12:00:00Z", "2026-11-20T09:00:00Z"


def revoking(*rows: tuple[Any, str, str]) -> Trust:
    """A keyring that revokes (key, reason, date)."""
    revoked = [{"fingerprint": key.fingerprint, "date": date, "reason": reason} for key, reason, date in rows]
    return make_trust(make_keyring(version=2, revoked=revoked))


def judge(release: Release, trust: Trust | list[Trust], *, policy: Policy = STANDARD) -> Verified:
    return verification.verify(release, trust=trust, policy=policy, repository=REPOSITORY, now=NOW)


def said(verified: Verified, check: str = "revocation") -> tuple[str, str]:
    (found,) = [(finding.outcome, finding.text) for finding in verified.findings if finding.check == check]
    return found


def refused(release: Release, trust: Trust | list[Trust], *, policy: Policy = STANDARD) -> RevokedKeyError:
    with pytest.raises(ReleaseRefusedError) as caught:
        judge(release, trust, policy=policy)
    assert type(caught.value) is RevokedKeyError
    assert caught.value.rule == "revoked-key" and caught.value.exit_code == 4
    assert caught.value.hint and caught.value.findings[-1].check == "revoked-key"
    return caught.value


@pytest.mark.parametrize("date", [AFTER, BEFORE])
@pytest.mark.parametrize("policy", [STANDARD, STRICT], ids=lambda policy: policy.name)
def test_what_a_stolen_key_signed_is_refused_whatever_its_date(policy: Policy, date: str) -> None:
    refusal = refused(GOOD, revoking((SITE, "stolen", date)), policy=policy)
    assert SITE.fingerprint in refusal.message and "not to be trusted" in refusal.message
    assert "embhub sign" in refusal.hint


def test_a_countersignature_stands_in_for_a_stolen_key_and_says_for_what() -> None:
    verified = judge(COUNTERSIGNED, revoking((SITE, "stolen", AFTER)))
    outcome, text = said(verified)
    assert outcome == "warning" and "nki countersigned" in text and "not for the card" in text
    assert (verified.signer.revoked_on, verified.signer.revoked_as) == (AFTER, "stolen")
    refused(COUNTERSIGNED, revoking((SITE, "stolen", AFTER)), policy=STRICT)


def test_an_auditor_of_the_same_house_does_not_stand_in() -> None:
    house = member("radboud", [(SITE, "publish"), (AUDITOR, "audit")])
    revoked = [{"fingerprint": SITE.fingerprint, "date": AFTER, "reason": "stolen"}]
    inside = releases.replaced(
        COUNTERSIGNED, audit_bundle=COUNTERSIGNED.files[releases.AUDITOR_BUNDLE], auditor_bundle=None
    )
    refused(inside, make_trust(make_keyring(members=[house], revoked=revoked)))


@pytest.mark.parametrize(("reason", "outcome"), [("lost", "warning"), ("superseded", "note")])
def test_what_a_lost_or_replaced_key_signed_before_stays_good_and_back_dating_is_named(
    reason: str, outcome: str
) -> None:
    verified = judge(GOOD, revoking((SITE, reason, AFTER)))
    how, text = said(verified)
    assert how == outcome
    assert "stays good" in text and "no transparency log dates" in text and "back-dated" in text
    assert f"was {reason} on".replace("superseded", "replaced") in text
    document = json.loads(json.dumps(verified.to_json()))
    assert document["signer"]["revoked_as"] == reason and document["signer"]["revoked_on"] == AFTER
    assert "revocation" in [finding["check"] for finding in document["findings"]]


@pytest.mark.parametrize("reason", ["lost", "superseded"])
def test_a_signature_that_is_younger_than_the_revocation_is_refused(reason: str) -> None:
    refusal = refused(GOOD, revoking((SITE, reason, BEFORE)))
    assert BEFORE in refusal.message and "2026-11-20T10:30:00Z" in refusal.message


def test_signed_anew_by_another_key_of_the_namespace_it_is_good_again() -> None:
    keys = [(SITE, "publish"), (OTHER_SITE, "publish")]
    revoked = [{"fingerprint": SITE.fingerprint, "date": AFTER, "reason": "stolen"}]
    trust = make_trust(make_keyring(members=[member("radboud", keys)], revoked=revoked))
    refused(GOOD, trust)
    verified = judge(resigned(GOOD, key=OTHER_SITE), trust)
    assert verified.signer.revoked_as is None
    assert "revocation" not in [finding.check for finding in verified.findings]


def test_a_stolen_auditors_key_vouches_for_nothing_and_takes_nothing_from_what_the_publisher_signed() -> None:
    stolen = revoking((AUDITOR, "stolen", AFTER))
    verified = judge(COUNTERSIGNED, stolen)
    outcome, text = said(verified, "auditor-revocation")
    assert outcome == "warning" and "left out" in text and "must sign its attestation anew" in text
    assert AUDITOR.fingerprint in text and "insufficient-evidence" in text, "who, and what it said"
    assert not verified.independent and verified.audit_status == "consistent" and verified.countersigners == ()
    assert verified.auditor is not None and verified.auditor.namespace == "radboud", "the site's own audit stands"
    assert [audit.namespace for audit in verified.audits] == ["radboud"]
    assert [row["namespace"] for row in verified.to_json()["left_out_audits"]] == ["nki"]
    assert "countersigned by" not in " ".join(finding.text for finding in verified.findings if finding.outcome == "ok")
    for policy in (STRICT, STANDARD.demanding(policies.parse("countersigned"))):
        with pytest.raises(PolicyRefusedError) as caught:
            judge(COUNTERSIGNED, stolen, policy=policy)
        assert {"confirmed", "countersigned"} & set(caught.value.unmet)


def test_a_leak_that_a_stolen_auditors_key_reported_is_not_passed_over() -> None:
    """Whoever can have a key called stolen would otherwise silence what the auditor found."""
    own_report = {"report": {"sha256": "0" * 64}, "headline": {"verdict": "leak-detected"}}  # kept by the auditor
    signed = resigned(GOOD, audit_key=AUDITOR, vouched=own_report)
    found = judge(signed, revoking((AUDITOR, "stolen", AFTER)))
    assert [audit.verdict for audit in found.left_out] == ["leak-detected"]
    assert "leak-detected" in said(found, "auditor-revocation")[1]
    with pytest.raises(PolicyRefusedError) as caught:
        judge(signed, revoking((AUDITOR, "stolen", AFTER)), policy=STANDARD.demanding(policies.parse("no-leak")))
    assert "nki" in caught.value.message and "revoked since" in caught.value.message


def test_two_stolen_keys_leave_nothing() -> None:
    both = revoking((SITE, "stolen", AFTER), (AUDITOR, "stolen", AFTER))
    refused(COUNTERSIGNED, both)


def test_a_lost_auditors_key_is_told() -> None:
    verified = judge(COUNTERSIGNED, revoking((AUDITOR, "lost", AFTER)))
    assert verified.independent and said(verified, "auditor-revocation")[0] == "warning"
    later = judge(COUNTERSIGNED, revoking((AUDITOR, "lost", BEFORE)))
    assert not later.independent and "left out" in said(later, "auditor-revocation")[1]


def test_a_key_that_did_not_sign_matters_to_nobody() -> None:
    trust = revoking((WITHDRAWER, "stolen", BEFORE), (OTHER_SITE, "stolen", BEFORE))
    assert {finding.outcome for finding in judge(GOOD, trust).findings} == {"ok", "note"}


def test_of_several_keyrings_the_one_that_revokes_is_heard() -> None:
    for trusts in (
        [make_trust(), revoking((SITE, "stolen", AFTER))],
        [revoking((SITE, "stolen", AFTER)), make_trust()],
    ):
        refused(GOOD, trusts)


def test_another_fault_is_still_found_behind_a_lost_key() -> None:
    files = {**GOOD.files, "README.md": GOOD.files["README.md"] + b"\n"}
    with pytest.raises(ReleaseRefusedError) as caught:
        judge(Release.from_files(files), revoking((SITE, "lost", AFTER)))
    assert caught.value.rule == "card-mismatch"
