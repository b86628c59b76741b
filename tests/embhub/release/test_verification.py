"""What is decided of a release, on what evidence, and in which words."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any, Literal

import pytest

from embhub.audits.report import build
from embhub.refusals import CardMismatchError, DigestMismatchError, RollbackError, UnknownSignerError
from embhub.release import demands, verification
from embhub.release import files as release_files
from embhub.release.checks import consistency
from embhub.release.demands import PolicyRefusedError
from embhub.release.files import Release
from embhub.release.signing import attest_audit
from embhub.release.verification import STANDARD, STRICT, Verified
from embhub.site.memory.seen import Accepted, Sighting
from embhub.trust import kinds
from embhub.trust.keyring import Trust
from tests.support.judging import GOOD, OTHER, TRUST, UNAUDITED, judge
from tests.support.releases import (
    AUDITOR,
    AUDITOR_BUNDLE,
    NOW,
    ORIGIN,
    REGISTRY,
    REPOSITORY,
    SITE,
    STRANGER,
    edited_card,
    make_embedding,
    make_keyring,
    make_release,
    make_report,
    make_trust,
    member,
    replaced,
    resigned,
)
from tests.support.vouching import vouched


def check(verified: Verified, name: str) -> tuple[str, str]:
    found = [(finding.outcome, finding.text) for finding in verified.findings if finding.check == name]
    assert len(found) == 1, name
    return found[0]


def test_good_release_says_what_was_decided_and_why() -> None:
    verified = judge(GOOD)
    assert verified.embedding.data == GOOD.files[release_files.EMBEDDING]
    assert verified.card == GOOD.card
    assert verified.report == GOOD.audit
    assert (verified.repository, verified.version, verified.policy) == (REPOSITORY, "1.0.0", STANDARD)
    assert verified.signer == verification.Signer("radboud", "Radboud", SITE.fingerprint, "publish", REGISTRY)
    assert verified.auditor == verified.signer
    assert not verified.independent
    assert (verified.log_index, verified.checkpoint) == (None, None)
    assert [finding.check for finding in verified.findings] == [
        *("structure", "digest", "signer", "signature", "repository", "embedding", "version"),
        *("auditor", "audit", "verdict"),
        *("card", "card-audit", "base", "privacy", "samples", "withdrawn", "model-signature", "freshness", "log"),
    ]
    assert SITE.fingerprint in check(verified, "signer")[1]
    assert "log was not asked" in check(verified, "log")[1]
    assert {finding.outcome for finding in verified.findings} == {"ok", "note"}


def test_decision_prints_as_json() -> None:
    document = json.loads(json.dumps(judge(GOOD).to_json()))
    assert document["verified"] is True
    assert document["digest"] == GOOD.embedding.digest
    assert document["signer"]["fingerprint"] == SITE.fingerprint
    assert document["findings"][0] == {"check": "structure", "outcome": "ok", "text": document["findings"][0]["text"]}


def test_without_a_name_the_signed_one_is_reported() -> None:
    verified = judge(GOOD, repository=None)
    assert verified.repository == REPOSITORY
    assert check(verified, "repository")[0] == "note"


def test_without_an_audit_the_standard_policy_warns_and_the_strict_one_refuses() -> None:
    assert check(judge(UNAUDITED, policy=STANDARD), "audit")[0] == "warning"
    with pytest.raises(PolicyRefusedError, match="countersigned") as caught:
        judge(UNAUDITED, policy=STRICT)
    assert caught.value.unmet == ("no-leak", "confirmed", "witnessed")


def test_independent_auditor_is_told_from_the_site() -> None:
    verified = judge(resigned(GOOD, audit_key=AUDITOR))
    assert verified.independent
    assert verified.auditor is not None and verified.auditor.role == "audit"
    assert "countersigned by nki" in check(verified, "auditor")[1]


def test_auditor_of_the_publishers_own_house_is_not_independent() -> None:
    house = member("radboud", [(SITE, "publish"), (AUDITOR, "audit")])
    signed = resigned(GOOD, audit_key=AUDITOR)
    inside = replaced(signed, audit_bundle=signed.files[AUDITOR_BUNDLE], auditor_bundle=None)
    verified = judge(inside, trust=make_trust(make_keyring(members=[house])))
    assert verified.auditor is not None and verified.auditor.role == "audit"
    assert not verified.independent
    assert "not independently" in check(verified, "auditor")[1]


def test_audit_may_come_after_the_release() -> None:
    report = make_report(UNAUDITED.embedding)
    attestation = attest_audit(
        report,
        report_digest=release_files.digest(report.to_bytes()),
        registry=ORIGIN,
        repository=REPOSITORY,
        version="1.0.0",
        key=AUDITOR,
        now=NOW,
    )
    later = replaced(UNAUDITED, audit=report.to_bytes(), auditor_bundle=attestation)
    assert demands.hold(vouched(judge(later)), STRICT).independent


@pytest.mark.parametrize(
    "population",
    [
        {"sex": {"female": "40-44", "male": "15-19"}},
        {"sex": {"female": 41, "male": "<10", "unknown": "<10"}},
    ],
)
def test_groups_that_the_report_does_not_give_away(population: dict[str, Any]) -> None:
    judge(make_release(n_patients="50-100", population=population))


@pytest.mark.parametrize("unit", ["patient", "image"])
def test_a_count_that_the_report_contradicts_when_it_attacked_everybody(unit: Literal["patient", "image"]) -> None:
    assert GOOD.audit is not None
    whole = GOOD.audit.design.model_copy(update={"split": f"by {unit}, held out before training"})

    def counting(number: int) -> bytes:
        return edited_card(GOOD, **({"n_images": 65, "n_patients": 60} | {f"n_{unit}s": number}))

    scores = {name: ([float(place) for place in range(60)], [place + 0.5 for place in range(60)])
              for name in GOOD.audit.tried}  # fmt: skip
    built = build(
        artifact_digest=GOOD.embedding.digest, base_digest=GOOD.audit.base.digest, suite="quick", scores=scores,
        design=whole, unit=unit,
    )  # fmt: skip
    vouched = {"headline": json.loads(json.dumps(consistency.headline(built)))}

    def with_card(card: bytes) -> Release:
        return resigned(replaced(GOOD, audit=built.to_bytes(), card=card), vouched=vouched)

    judge(with_card(edited_card(GOOD)))
    with pytest.raises(CardMismatchError, match=f"65 {unit}s"):
        judge(with_card(counting(65)))
    judge(with_card(counting(64)))  # a report counts in fives
    part = replaced(GOOD, card=counting(65))
    judge(resigned(part))  # the caller named whom to attack: some of them, perhaps


def test_detected_leak_is_said_and_not_refused() -> None:
    leaking = make_release(artifact=make_embedding(seed=9))
    report = make_report(leaking.embedding, shift=3.0)
    assert report.verdict == "leak-detected"
    summary = {**leaking.card.to_dict()["audit"], "verdict": "leak-detected"}
    files = replaced(leaking, audit=report.to_bytes(), card=edited_card(leaking, audit=summary))
    figures = json.loads(json.dumps(consistency.headline(report)))
    verified = judge(resigned(files, vouched={"headline": figures}))
    assert check(verified, "verdict")[0] == "warning"


def test_base_without_fingerprint_is_a_warning() -> None:
    assert check(judge(make_release(artifact=make_embedding(base=None))), "base")[0] == "warning"


def test_date_in_the_future_is_a_warning_not_a_decision() -> None:
    assert check(judge(GOOD, now=NOW - timedelta(days=2)), "created")[0] == "warning"


def test_files_that_no_signature_covers_are_named() -> None:
    verified = verification.verify(
        Release.from_files({**GOOD.files, "notes/\u202eevil\n.txt": b"x"}), trust=TRUST, now=NOW
    )
    outcome, text = check(verified, "others")
    assert outcome == "note"
    assert text.isascii() and "\n" not in text


def test_copy_of_the_embedding_must_be_the_embedding() -> None:
    good = Release.from_files({**GOOD.files, "cspca.safetensors": GOOD.files[release_files.EMBEDDING]})
    assert verification.verify(good, trust=TRUST, now=NOW)
    swapped = Release.from_files({**GOOD.files, "cspca.safetensors": OTHER.files[release_files.EMBEDDING]})
    with pytest.raises(DigestMismatchError, match="cspca"):
        verification.verify(swapped, trust=TRUST, now=NOW)


def remembered(
    version: str, *, digest: str = GOOD.embedding.digest, repository: str = REPOSITORY, registry: str = REGISTRY
) -> dict[tuple[str, str], Sighting]:
    return {(registry, repository): Sighting({version: Accepted(version=version, digest=digest)})}


def test_older_version_than_seen_is_a_rollback() -> None:
    for older in ("1.0.0", "0.9.9"):
        assert judge(GOOD, seen=remembered(older))
    for newer in ("1.0.1", "1.10.0"):
        with pytest.raises(RollbackError):
            judge(GOOD, seen=remembered(newer))
        with pytest.raises(RollbackError):
            judge(GOOD, seen=remembered(newer), repository=None)
        assert judge(GOOD, seen=remembered(newer, repository="radboud/other"))
        assert judge(GOOD, seen=remembered(newer, registry="https://other.example.org"))


def test_other_bytes_under_a_version_that_was_seen() -> None:
    assert judge(GOOD, seen=remembered("1.0.0"))
    with pytest.raises(RollbackError, match="another embedding"):
        judge(GOOD, seen=remembered("1.0.0", digest=OTHER.embedding.digest))


def test_nobody_is_trusted() -> None:
    with pytest.raises(UnknownSignerError, match="no registry is trusted"):
        judge(GOOD, trust=[])


def test_one_of_several_keyrings_suffices() -> None:
    stranger: Trust = make_trust(make_keyring(members=[member("umcg", [(STRANGER, "publish")])]))
    assert judge(GOOD, trust=[stranger, TRUST]).signer.fingerprint == SITE.fingerprint


def test_key_that_left_the_keyring_counts_no_more() -> None:
    with pytest.raises(UnknownSignerError):
        judge(GOOD, trust=make_trust(make_keyring(version=2, members=[])))


def test_auditor_of_another_registry_does_not_count() -> None:
    elsewhere = make_trust(make_keyring(members=[member("nki", [(AUDITOR, "audit")])]))
    here = make_trust(make_keyring(members=[member("radboud", [(SITE, "publish")])]))
    with pytest.raises(UnknownSignerError):
        judge(resigned(GOOD, audit_key=AUDITOR), trust=[here, elsewhere])


def test_fast_enough_to_be_always_on() -> None:
    def once() -> float:
        # of this process alone: a busy machine is no failure
        fresh, trust = Release.from_files(GOOD.files), make_trust()
        start = time.process_time()
        verification.verify(fresh, trust=trust, now=NOW)
        return time.process_time() - start

    assert min(once() for _ in range(10)) < 0.05


@pytest.mark.thorough
def test_verification_imports_nothing_heavy() -> None:
    heavy = ["torch", "diffusers", "transformers", "click", "starlette", "huggingface_hub"]
    code = f"import sys, embhub.release.verification; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_predicates_are_absolute_uris() -> None:
    assert all(kind.startswith("https://") for kind in (kinds.PUBLISH.type, kinds.AUDIT.type))
