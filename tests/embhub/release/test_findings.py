"""What is found of a release beside refusals: who published, approved and audited it, and how fresh the keyring is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from embhub.refusals import (
    CardMismatchError,
    DigestMismatchError,
    MalformedBundleError,
    RollbackError,
    UnknownSignerError,
)
from embhub.release import demands, policy, verification
from embhub.release import files as release_files
from embhub.release.checks import approvals
from embhub.release.demands import PolicyRefusedError
from embhub.release.files import Release
from embhub.release.policy import Policy
from embhub.release.verification import Verified
from embhub.site.memory.seen import Accepted, Sighting
from embhub.site.signing.keys import SigningKey
from embhub.trust import bundle, statement
from embhub.trust import keyring as keyrings
from embhub.trust.keyring import Trust
from tests.support.judging import GOOD, TRUST, UNAUDITED, judge
from tests.support.releases import (
    NOW,
    ORIGIN,
    REGISTRY,
    REPOSITORY,
    SITE,
    STRANGER,
    edited_card,
    make_export,
    make_key,
    make_keyring,
    make_trust,
    member,
    replaced,
    resigned,
)
from tests.support.stamped import RING, opened, stamped

APPROVER = make_key("approver")
MEMBERS = [member("radboud", [(SITE, "publish"), (APPROVER, "approve")])]


def found(verified: Verified, check: str) -> list[tuple[str, str]]:
    return [(finding.outcome, finding.text) for finding in verified.findings if finding.check == check]


def with_files(files: Mapping[str, bytes], release: Release = GOOD) -> Release:
    return Release.from_files({**release.files, **files})


# ── publisher and statement ────────────────────────────────────────────────────────────────────────────────────────


def test_a_card_that_names_another_publisher_is_said() -> None:
    assert found(judge(GOOD), "publisher") == []
    other = resigned(replaced(GOOD, card=edited_card(GOOD, publisher="Erasmus MC")))
    ((outcome, text),) = found(judge(other), "publisher")
    assert outcome == "note" and "'Erasmus MC'" in text and "signed by Radboud (radboud)" in text


def test_a_statement_about_other_numbers_is_refused() -> None:
    signed = GOOD.publish_bundle.statement
    for numbers, good in ((GOOD.embedding.numbers, True), ("ab" * 32, False)):
        data = bundle.to_json(statement.sign(replace(signed, numbers=numbers), key=SITE))
        if good:
            judge(replaced(GOOD, publish_bundle=data))
        else:
            with pytest.raises(DigestMismatchError, match="numbers"):
                judge(replaced(GOOD, publish_bundle=data))


def test_an_older_version_that_was_accepted_is_taken_from_files_and_not_by_name() -> None:
    versions = {"1.0.0": Accepted(version="1.0.0", digest=GOOD.embedding.digest)}
    versions["1.1.0"] = Accepted(version="1.1.0", digest="0" * 64)
    seen = {(REGISTRY, REPOSITORY): Sighting(versions)}
    assert judge(GOOD, seen=seen, repository=None).version == "1.0.0"
    with pytest.raises(RollbackError):
        judge(GOOD, seen=seen)


def test_a_missing_card_is_not_called_a_changed_one() -> None:
    with pytest.raises(CardMismatchError, match="is missing"):
        judge(replaced(GOOD, card=None))
    with pytest.raises(CardMismatchError, match="not the one that was signed"):
        judge(replaced(GOOD, card=edited_card(GOOD, limitations="none at all")))


# ── audits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_audit_that_a_stranger_registered_is_refused() -> None:
    assert GOOD.audit_bundle is not None
    foreign = bundle.to_json(statement.sign(GOOD.audit_bundle.statement, key=STRANGER))
    files = {release_files.AUDIT_DESIGN: foreign, release_files.AUDIT_RESULT: foreign}
    with pytest.raises(UnknownSignerError):
        judge(with_files(files))
    judge(with_files(files, UNAUDITED))  # there is no report of which it could be


def test_a_further_attestation_is_listed_or_refused() -> None:
    name = "attestations/other.sigstore.json"
    unknown = statement.Statement(GOOD.embedding.digest, "https://slsa.dev/provenance/v1", {"buildType": "x"})
    data = bundle.to_json(statement.sign(unknown, key=STRANGER))
    assert any("slsa.dev" in finding.text for finding in judge(with_files({name: data})).findings)
    with pytest.raises(MalformedBundleError):
        judge(with_files({name: b"{}"}))


# ── approvals ──────────────────────────────────────────────────────────────────────────────────────────────────────


def approval(release: Release = GOOD, *, key: SigningKey = APPROVER, **changes: Any) -> dict[str, bytes]:
    """The file of an approval of all files, or of what `changes` say."""
    digests = {name: release_files.digest(data) for name, data in release.files.items()}
    facts: dict[str, Any] = {
        "registry": ORIGIN, "repository": REPOSITORY, "version": "1.0.0", "kind": "signed", "approver": "0" * 16,
        "created": NOW, **changes,
    }  # fmt: skip
    signed = statement.sign(approvals.build(digests, **facts), key=key)
    return {release_files.approval_bundle(1): bundle.to_json(signed)}


def approved(files: Mapping[str, bytes], release: Release = GOOD) -> Verified:
    demanded = Policy("careful", policy.parse("approved,approved-by-key"))
    return judge(with_files(files, release), trust=make_trust(make_keyring(members=MEMBERS)), policy=demanded)


def test_an_approval_counts_and_meets_the_demand() -> None:
    verified = approved(approval())
    (one,) = verified.approvals
    assert (one.kind, one.namespace, one.fingerprint) == ("signed", "radboud", APPROVER.fingerprint)
    ((outcome, text),) = found(verified, "approval")
    assert outcome == "ok" and APPROVER.fingerprint in text


@pytest.mark.parametrize(
    "files",
    [
        {},
        approval(key=STRANGER),
        approval(key=SITE),
        approval(kind="registry"),
        approval(UNAUDITED),
        approval(version="1.0.1"),
        approval(repository="radboud/other"),
        approval(registry="elsewhere.example.org"),
    ],
    ids=["none", "stranger", "publisher", "registry", "other-files", "version", "repository", "origin"],
)
def test_what_approves_something_else_meets_no_demand_and_says_so(files: dict[str, bytes]) -> None:
    with pytest.raises(PolicyRefusedError) as caught:
        approved(files)
    assert caught.value.unmet == ("approved", "approved-by-key")
    assert caught.value.verified.approvals == ()
    assert [outcome for outcome, _ in found(caught.value.verified, "approval")] == ["warning"] * len(files)


# ── dates ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_date_is_in_the_future_from_one_hour_on() -> None:
    hour = timedelta(hours=1)
    assert found(judge(GOOD, now=NOW - hour), "created") == []
    assert found(judge(GOOD, now=NOW + hour), "created") == []
    ((outcome, text),) = found(judge(GOOD, now=NOW - hour - timedelta(seconds=1)), "created")
    assert outcome == "warning" and "check the clocks" in text


def freshness_of(trust: Trust, now: datetime = NOW) -> tuple[str, str]:
    """The finding's outcome and the state, which have to be about the same keyring and moment."""
    verified = judge(GOOD, trust=trust, now=now)
    ((outcome, text),) = found(verified, "freshness")
    assert text.startswith(verified.freshness)
    return outcome, verified.freshness


def test_how_fresh_the_keyring_is_is_found_and_held_against_a_demand() -> None:
    fresh, missing = opened(stamped(RING)), opened(keyrings.parse_export(make_export(RING)))
    assert freshness_of(fresh) == ("ok", "fresh")
    assert freshness_of(fresh, NOW + timedelta(days=8)) == ("warning", "stale")
    assert freshness_of(missing) == ("warning", "unknown")
    assert freshness_of(TRUST) == ("note", "unknown"), "this registry promised no timestamp"
    demanded = Policy("careful", policy.parse("fresh"))
    demands.hold(judge(GOOD, trust=fresh), demanded)
    for trust, now in ((fresh, NOW + timedelta(days=8)), (missing, NOW)):
        with pytest.raises(PolicyRefusedError, match="the keyring is the current one"):
            verification.verify(GOOD, trust=trust, now=now, policy=demanded)


# ── what is shown of foreign names ─────────────────────────────────────────────────────────────────────────────────


def from_folder(more: Mapping[str, bytes]) -> Verified:
    return verification.verify(with_files(more), trust=TRUST, now=NOW)


def test_five_names_that_no_signature_covers_are_shown_cut_to_sixty_characters() -> None:
    names = ["x" * 61, *(f"y{number}" for number in range(5))]
    ((_, text),) = found(from_folder(dict.fromkeys(names, b"x")), "others")
    assert text == f"no signature covers 6 further files: {'x' * 60}, y0, y1, y2, y3"
    ((_, text),) = found(from_folder({"z": b"x"}), "others")
    assert text == "no signature covers 1 further file: z"
