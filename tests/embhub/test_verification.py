"""A release as a lying registry, a thief of files or a careless publisher could leave it: each has its own refusal."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub import bundle, dsse, statement, verification
from embhub import release as layout
from embhub.checks import consistency
from embhub.checks.refusals import (
    AuditMismatch,
    BadSignature,
    CardMismatch,
    ClaimMismatch,
    DigestMismatch,
    MalformedBundle,
    MalformedStatement,
    MissingAudit,
    Refusal,
    Rollback,
    TooLarge,
    UnknownSigner,
    UnreadableArtifact,
    Unsigned,
    WrongNamespace,
    WrongPredicate,
    WrongRepository,
    WrongRole,
)
from embhub.errors import VerificationError
from embhub.release import Release
from embhub.signing import attest_audit
from embhub.site.seen import Sighting
from embhub.trust import Trust
from embhub.verification import STANDARD, STRICT, Verified
from tests.releases import (
    AUDITOR,
    NOW,
    OTHER_SITE,
    REGISTRY,
    REPOSITORY,
    SITE,
    STRANGER,
    WITHDRAWER,
    edited_card,
    edited_report,
    make_embedding,
    make_keyring,
    make_release,
    make_report,
    make_trust,
    member,
    replaced,
    resigned,
)

GOOD = make_release()
OTHER = make_release(artifact=make_embedding(seed=5))
UNAUDITED = make_release(audited=False)
TRUST = make_trust()


def judge(release: Release, **arguments: Any) -> Verified:
    given: dict[str, Any] = {"trust": TRUST, "now": NOW, "repository": REPOSITORY, **arguments}
    return verification.verify(Release.from_files(release.files), **given)


def check(verified: Verified, name: str) -> tuple[str, str]:
    found = [(finding.outcome, finding.text) for finding in verified.findings if finding.check == name]
    assert len(found) == 1, name
    return found[0]


def edit_byte(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_good_release_says_what_was_decided_and_why() -> None:
    verified = judge(GOOD, policy=STRICT)
    assert verified.embedding.data == GOOD.files[layout.EMBEDDING]
    assert verified.card == GOOD.card
    assert verified.report == GOOD.audit
    assert (verified.repository, verified.version, verified.policy) == (REPOSITORY, "1.0.0", STRICT)
    assert verified.signer == verification.Signer(
        "radboud", "Radboud", SITE.fingerprint, "publish", "https://hub.example.org"
    )
    assert verified.auditor == verified.signer
    assert not verified.independent
    assert (verified.log_index, verified.checkpoint) == (None, None)
    assert [finding.check for finding in verified.findings] == [
        *("structure", "digest", "signer", "signature", "repository", "version", "auditor", "audit", "verdict"),
        *("card", "card-audit", "base", "privacy", "freshness", "log"),
    ]
    assert SITE.fingerprint in check(verified, "signer")[1]
    assert "not logged yet" in check(verified, "log")[1]
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
    with pytest.raises(MissingAudit):
        judge(UNAUDITED, policy=STRICT)


def test_independent_auditor_is_told_from_the_site() -> None:
    verified = judge(resigned(GOOD, audit_key=AUDITOR))
    assert verified.independent
    assert verified.auditor is not None and verified.auditor.role == "audit"
    assert "countersigned: nki" in check(verified, "auditor")[1]


def test_auditor_of_the_publishers_own_house_is_not_independent() -> None:
    house = member("radboud", [(SITE, "publish"), (AUDITOR, "audit")])
    verified = judge(resigned(GOOD, audit_key=AUDITOR), trust=make_trust(make_keyring(members=[house])))
    assert verified.auditor is not None and verified.auditor.role == "audit"
    assert not verified.independent
    assert "nobody independent" in check(verified, "auditor")[1]


def test_audit_may_come_after_the_release() -> None:
    report = make_report(UNAUDITED.embedding)
    attestation = attest_audit(
        report,
        report_digest=layout.digest(report.to_bytes()),
        repository=REPOSITORY,
        version="1.0.0",
        key=AUDITOR,
        now=NOW,
    )
    later = replaced(UNAUDITED, audit=report.to_bytes(), audit_bundle=attestation)
    assert judge(later, policy=STRICT).independent


@pytest.mark.parametrize(
    "population",
    [
        {"sex": {"female": 41, "male": 19}},
        {"sex": {"female": 41, "male": "<10", "unknown": "<10"}},
    ],
)
def test_groups_that_the_report_does_not_give_away(population: dict[str, Any]) -> None:
    judge(make_release(n_patients="50-100", population=population))


def test_a_count_that_the_report_contradicts_when_it_attacked_everybody() -> None:
    assert GOOD.audit is not None
    whole = GOOD.audit.design.model_copy(update={"split": "by patient, kept back before training"})
    judge(resigned(replaced(GOOD, audit=edited_report(GOOD, design=whole))))
    more = replaced(GOOD, audit=edited_report(GOOD, design=whole), card=edited_card(GOOD, n_patients=61))
    with pytest.raises(CardMismatch, match="61 patients"):
        judge(resigned(more))
    part = replaced(GOOD, card=edited_card(GOOD, n_patients=61))
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
    good = Release.from_files({**GOOD.files, "cspca.safetensors": GOOD.files[layout.EMBEDDING]})
    assert verification.verify(good, trust=TRUST, now=NOW)
    swapped = Release.from_files({**GOOD.files, "cspca.safetensors": OTHER.files[layout.EMBEDDING]})
    with pytest.raises(DigestMismatch, match="cspca"):
        verification.verify(swapped, trust=TRUST, now=NOW)


def with_statement(**changes: Any) -> Callable[[], Release]:
    return lambda: resigned(GOOD, publish=changes)


def with_vouched(**changes: Any) -> Callable[[], Release]:
    return lambda: resigned(GOOD, vouched=changes)


def with_card(**changes: Any) -> Callable[[], Release]:
    return lambda: resigned(replaced(GOOD, card=edited_card(GOOD, **changes)))


def with_report(**changes: Any) -> Callable[[], Release]:
    return lambda: resigned(replaced(GOOD, audit=edited_report(GOOD, **changes)))


def with_payload(payload: bytes) -> Callable[[], Release]:
    return lambda: replaced(GOOD, publish_bundle=bundle.to_json(dsse.sign(payload, key=SITE)))


def invented_report() -> Release:
    """Scores of a leak under the figures of none, signed by the site."""
    assert GOOD.audit is not None
    result = GOOD.audit.headline_result
    lie = result.model_copy(update={"member_scores": tuple(score + 5 for score in result.member_scores)})
    attacks = tuple(lie if attack.name == lie.name else attack for attack in GOOD.audit.attacks)
    return resigned(replaced(GOOD, audit=edited_report(GOOD, attacks=attacks)))


PUBLISH, AUDIT = GOOD.files[layout.PUBLISH_BUNDLE], GOOD.files[layout.AUDIT_BUNDLE]
HEADER_BYTE, TENSOR_BYTE = 20, len(GOOD.files[layout.EMBEDDING]) - 9

TAMPERED: dict[str, tuple[Callable[[], Release], type[Refusal]]] = {
    # files edited after signing
    "tensor": (lambda: replaced(GOOD, embedding=edit_byte(GOOD.files[layout.EMBEDDING], TENSOR_BYTE)), DigestMismatch),
    "header": (
        lambda: replaced(GOOD, embedding=edit_byte(GOOD.files[layout.EMBEDDING], HEADER_BYTE)),
        UnreadableArtifact,
    ),
    "length": (lambda: replaced(GOOD, embedding=GOOD.files[layout.EMBEDDING] + b"\0"), UnreadableArtifact),
    "pickle": (lambda: replaced(GOOD, embedding=b"\x80\x02}q\x00."), UnreadableArtifact),
    "no embedding": (lambda: replaced(GOOD, embedding=None), UnreadableArtifact),
    "card": (lambda: replaced(GOOD, card=GOOD.files[layout.CARD] + b"\n"), CardMismatch),
    "no card": (lambda: replaced(GOOD, card=None), CardMismatch),
    "report": (lambda: replaced(GOOD, audit=GOOD.files[layout.AUDIT] + b" "), AuditMismatch),
    "report dropped": (lambda: replaced(GOOD, audit=None), MissingAudit),
    "report and attestation dropped": (lambda: replaced(GOOD, audit=None, audit_bundle=None), MissingAudit),
    "attestation dropped": (lambda: replaced(GOOD, audit_bundle=None), MissingAudit),
    "attestation without report": (lambda: replaced(UNAUDITED, audit_bundle=AUDIT), MissingAudit),
    "publish bundle dropped": (lambda: replaced(GOOD, publish_bundle=None), Unsigned),
    "publish bundle cut": (lambda: replaced(GOOD, publish_bundle=PUBLISH[:-10]), MalformedBundle),
    "audit bundle cut": (lambda: replaced(GOOD, audit_bundle=AUDIT[:-10]), MalformedBundle),
    # whole files of other releases
    "embedding of another release": (
        lambda: replaced(GOOD, embedding=OTHER.files[layout.EMBEDDING]),
        DigestMismatch,
    ),
    "publish bundle of another release": (
        lambda: replaced(GOOD, publish_bundle=OTHER.files[layout.PUBLISH_BUNDLE]),
        DigestMismatch,
    ),
    "audit bundle of another release": (
        lambda: replaced(GOOD, audit_bundle=OTHER.files[layout.AUDIT_BUNDLE]),
        AuditMismatch,
    ),
    "report and attestation of another release": (
        lambda: replaced(GOOD, audit=OTHER.files[layout.AUDIT], audit_bundle=OTHER.files[layout.AUDIT_BUNDLE]),
        AuditMismatch,
    ),
    "card of another release": (
        lambda: replaced(GOOD, card=edited_card(GOOD, description="Another description.")),
        CardMismatch,
    ),
    "bundles swapped": (lambda: replaced(GOOD, publish_bundle=AUDIT, audit_bundle=PUBLISH), WrongPredicate),
    "publish bundle as audit bundle": (lambda: replaced(GOOD, audit_bundle=PUBLISH), WrongPredicate),
    "release of another repository": (lambda: make_release(repository="radboud/other"), WrongRepository),
    # keys
    "stranger's key": (lambda: resigned(GOOD, key=STRANGER), UnknownSigner),
    "another member's key": (lambda: resigned(GOOD, key=OTHER_SITE), WrongNamespace),
    "auditor's key": (lambda: resigned(GOOD, key=AUDITOR), WrongNamespace),
    "withdrawal key": (lambda: resigned(GOOD, key=WITHDRAWER), WrongRole),
    "audit by a stranger": (lambda: resigned(GOOD, audit_key=STRANGER), UnknownSigner),
    "audit by another publisher": (lambda: resigned(GOOD, audit_key=OTHER_SITE), WrongNamespace),
    "audit by the withdrawal key": (lambda: resigned(GOOD, audit_key=WITHDRAWER), WrongRole),
    # what was signed contradicts itself
    "relative repository": (with_statement(repository="../radboud/x"), MalformedStatement),
    "reserved namespace": (with_statement(repository="api/x"), MalformedStatement),
    "no version": (with_statement(version=""), MalformedStatement),
    "time without a form": (with_statement(created="yesterday"), MalformedStatement),
    "audit says false": (with_statement(audit=False), MalformedStatement),
    "another version than the card": (
        lambda: resigned(GOOD, publish={"version": "1.0.1"}, vouched={"version": "1.0.1"}),
        CardMismatch,
    ),
    "another version than the audit's": (with_statement(version="1.0.1"), AuditMismatch),
    "another card digest": (with_statement(card={"sha256": "0" * 64}), CardMismatch),
    "another report digest": (with_statement(audit={"sha256": "0" * 64}), AuditMismatch),
    "another base": (with_statement(base={"sha256": "0" * 64}), ClaimMismatch),
    "no base": (with_statement(base=None), ClaimMismatch),
    "a privacy claim": (with_statement(privacy={"epsilon": 1}), ClaimMismatch),
    "another recipe": (with_statement(recipe={"steps": 1}), ClaimMismatch),
    "card with another token": (with_card(token="<other>"), CardMismatch),
    "card with other vectors": (
        with_card(vectors=[{"encoder": "text_encoder", "count": 9, "dim": 32}]),
        CardMismatch,
    ),
    "card with another base": (
        with_card(base_model={**GOOD.card.to_dict()["base_model"], "fingerprint": "0" * 64}),
        ClaimMismatch,
    ),
    "card with another verdict": (
        with_card(audit={"verdict": "no-leak-detected", "suite": "quick", "power": "much"}),
        CardMismatch,
    ),
    "signed README with more than its card": (
        lambda: resigned(replaced(GOOD, card=GOOD.files[layout.CARD] + b"\nMr. John Smith, born 1956-03-02.\n")),
        CardMismatch,
    ),
    "signed README with other front matter": (
        lambda: resigned(
            replaced(GOOD, card=GOOD.files[layout.CARD].replace(b"tags:", b"extra: MRN 1234567\ntags:", 1))
        ),
        CardMismatch,
    ),
    "card that denies the audit it was signed with": (
        with_card(audit={"verdict": "not-audited", "suite": "none", "power": "no audit was run"}),
        CardMismatch,
    ),
    "card with another power": (
        with_card(audit={**GOOD.card.to_dict()["audit"], "power": "would have seen an AUC of 0.501"}),
        CardMismatch,
    ),
    "card of fewer patients than were attacked": (with_card(n_patients="20-59"), CardMismatch),
    "card without an audit that names a suite": (
        lambda: resigned(
            replaced(
                UNAUDITED,
                card=edited_card(UNAUDITED, audit={"verdict": "not-audited", "suite": "standard", "power": "0.501"}),
            )
        ),
        CardMismatch,
    ),
    "group that the report's count gives away": (
        with_card(n_patients="50-100", n_images="50-100", population={"sex": {"female": 53, "male": "<10"}}),
        CardMismatch,
    ),
    "card that is no card": (lambda: resigned(replaced(GOOD, card=b"# no front matter\n")), CardMismatch),
    "card of an audit that never was": (
        lambda: resigned(replaced(GOOD, audit=None, audit_bundle=None)),
        CardMismatch,
    ),
    "report that is no report": (lambda: resigned(replaced(GOOD, audit=b"{}")), AuditMismatch),
    "report of another embedding": (
        with_report(artifact=OTHER.audit.artifact if OTHER.audit else None),
        AuditMismatch,
    ),
    "report of another base": (
        with_report(base=make_report(make_embedding(base=None)).base),
        AuditMismatch,
    ),
    "scores that do not give the figures": (invented_report, AuditMismatch),
    "attested figures that are not the report's": (with_vouched(headline={"auc": 0.5}), AuditMismatch),
    "attested report that is another": (with_vouched(report={"sha256": "0" * 64}), AuditMismatch),
    "audit attested for another repository": (with_vouched(repository="radboud/other"), AuditMismatch),
    "audit attested for another version": (with_vouched(version="0.9.0"), AuditMismatch),
    "statement that is no JSON": (with_payload(b"hello"), MalformedStatement),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered(name: str) -> None:
    make, expected = TAMPERED[name]
    with pytest.raises(Refusal) as caught:
        judge(make())
    assert type(caught.value) is expected, caught.value
    assert caught.value.exit_code == 4
    assert caught.value.message and caught.value.hint
    assert caught.value.findings[-1].outcome == "failed"
    assert caught.value.findings[-1].check == expected.rule
    assert all(finding.outcome != "failed" for finding in caught.value.findings[:-1])


def test_payload_edited_under_its_signature() -> None:
    document = json.loads(PUBLISH)
    payload = GOOD.publish_bundle.envelope.payload.replace(b'"replaces":null', b'"replaces":"' + b"0" * 64 + b'"')
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(BadSignature):
        judge(replaced(GOOD, publish_bundle=json.dumps(document).encode()))


def test_signature_of_another_key_under_our_hint() -> None:
    theirs = json.loads(resigned(GOOD, key=STRANGER).files[layout.PUBLISH_BUNDLE])
    ours = json.loads(PUBLISH)
    ours["dsseEnvelope"]["signatures"][0]["sig"] = theirs["dsseEnvelope"]["signatures"][0]["sig"]
    with pytest.raises(BadSignature):
        judge(replaced(GOOD, publish_bundle=json.dumps(ours).encode()))


def remembered(
    version: str, *, digest: str = GOOD.embedding.digest, repository: str = REPOSITORY, registry: str = REGISTRY
) -> dict[tuple[str, str], Sighting]:
    return {(registry, repository): Sighting(version=version, digest=digest)}


def test_older_version_than_seen_is_a_rollback() -> None:
    for older in ("1.0.0", "0.9.9"):
        assert judge(GOOD, seen=remembered(older))
    for newer in ("1.0.1", "1.10.0"):
        with pytest.raises(Rollback):
            judge(GOOD, seen=remembered(newer))
        with pytest.raises(Rollback):
            judge(GOOD, seen=remembered(newer), repository=None)
        assert judge(GOOD, seen=remembered(newer, repository="radboud/other"))
        assert judge(GOOD, seen=remembered(newer, registry="https://other.example.org"))


def test_other_bytes_under_a_version_that_was_seen() -> None:
    assert judge(GOOD, seen=remembered("1.0.0"))
    with pytest.raises(Rollback, match="another embedding"):
        judge(GOOD, seen=remembered("1.0.0", digest=OTHER.embedding.digest))


def test_nobody_is_trusted() -> None:
    with pytest.raises(UnknownSigner, match="no registry is trusted"):
        judge(GOOD, trust=[])


def test_one_of_several_keyrings_suffices() -> None:
    stranger: Trust = make_trust(make_keyring(members=[member("umcg", [(STRANGER, "publish")])]))
    assert judge(GOOD, trust=[stranger, TRUST]).signer.fingerprint == SITE.fingerprint


def test_key_that_left_the_keyring_counts_no_more() -> None:
    with pytest.raises(UnknownSigner):
        judge(GOOD, trust=make_trust(make_keyring(version=2, members=[])))


def test_auditor_of_another_registry_does_not_count() -> None:
    elsewhere = make_trust(make_keyring(members=[member("nki", [(AUDITOR, "audit")])]))
    here = make_trust(make_keyring(members=[member("radboud", [(SITE, "publish")])]))
    with pytest.raises(UnknownSigner):
        judge(resigned(GOOD, audit_key=AUDITOR), trust=[here, elsewhere])


@pytest.mark.parametrize("name", layout.LIMITS)
def test_oversized_file(name: str) -> None:
    huge = Release({**GOOD.files, name: b"\0" * (layout.LIMITS[name] + 1)})
    with pytest.raises(TooLarge):
        verification.verify(huge, trust=TRUST, now=NOW)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(layout.FILES), st.data())
def test_no_edited_byte_goes_unnoticed(name: str, data: st.DataObject) -> None:
    raw = GOOD.files[name]
    place = data.draw(st.integers(0, len(raw) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != raw[place]))
    edited = Release({**GOOD.files, name: raw[:place] + bytes([value]) + raw[place + 1 :]})
    try:
        verified = verification.verify(edited, trust=TRUST, now=NOW, repository=REPOSITORY)
    except VerificationError:
        return
    # what can change unnoticed says the same: white space in a bundle's JSON, the older spelling, s of the other half
    assert name in (layout.PUBLISH_BUNDLE, layout.AUDIT_BUNDLE)
    assert verified.embedding.data == GOOD.files[layout.EMBEDDING]
    assert identities(edited) == identities(GOOD)


def identities(release: Release) -> tuple[str, str]:
    assert release.audit_bundle is not None
    return release.publish_bundle.envelope.identity, release.audit_bundle.envelope.identity


@given(st.dictionaries(st.sampled_from(layout.FILES), st.binary(max_size=200)))
def test_arbitrary_files_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(Refusal):
        verification.verify(Release.from_files(files), trust=TRUST, now=NOW)


def test_fast_enough_to_be_always_on() -> None:
    def once() -> float:
        fresh, trust = Release.from_files(GOOD.files), make_trust()
        start = time.perf_counter()
        verification.verify(fresh, trust=trust, now=NOW)
        return time.perf_counter() - start

    assert min(once() for _ in range(10)) < 0.05


def test_verification_imports_nothing_heavy() -> None:
    heavy = ["torch", "diffusers", "transformers", "click", "starlette", "huggingface_hub"]
    code = f"import sys, embhub.verification; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_predicates_are_absolute_uris() -> None:
    assert all(kind.startswith("https://") for kind in (statement.PUBLISH, statement.AUDIT, statement.WITHDRAW))
