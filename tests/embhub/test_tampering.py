"""A release as a lying registry, a thief of files or a careless publisher could leave it: each has its own refusal."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.artifact import embedding
from embhub.errors import ArtifactError, PrivacyError, VerificationError
from embhub.refusals import (
    AuditMismatchError,
    BadSignatureError,
    CardMismatchError,
    ClaimMismatchError,
    DigestMismatchError,
    FileTooLargeError,
    MalformedBundleError,
    MalformedStatementError,
    MissingAuditError,
    ReleaseRefusedError,
    UnknownSignerError,
    UnreadableArtifactError,
    UnsignedError,
    WrongNamespaceError,
    WrongPredicateError,
    WrongRepositoryError,
    WrongRoleError,
)
from embhub.release import files as release_files
from embhub.release import verification
from embhub.release.files import Release
from embhub.site.signing.keys import SigningKey
from embhub.trust import bundle, dsse
from tests.support.claims import altered, make_claim, make_private_release, with_header_claim
from tests.support.judging import GOOD, OTHER, TRUST, UNAUDITED, judge
from tests.support.quick import examples, quick
from tests.support.releases import (
    AUDITOR,
    NOW,
    OTHER_SITE,
    REPOSITORY,
    SITE,
    STRANGER,
    WITHDRAWER,
    edited_card,
    edited_report,
    make_embedding,
    make_release,
    make_report,
    replaced,
    resigned,
)


def edit_byte(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


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
    lie = result.model_copy(update={"order": "".join(reversed(result.order or ""))})
    attacks = tuple(lie if attack.name == lie.name else attack for attack in GOOD.audit.attacks)
    return resigned(replaced(GOOD, audit=edited_report(GOOD, attacks=attacks)))


PUBLISH, AUDIT = GOOD.files[release_files.PUBLISH_BUNDLE], GOOD.files[release_files.AUDIT_BUNDLE]
HEADER_BYTE, TENSOR_BYTE = 20, len(GOOD.files[release_files.EMBEDDING]) - 9

TAMPERED: dict[str, tuple[Callable[[], Release], type[ReleaseRefusedError]]] = {
    # files edited after signing
    "tensor": (
        lambda: replaced(GOOD, embedding=edit_byte(GOOD.files[release_files.EMBEDDING], TENSOR_BYTE)),
        DigestMismatchError,
    ),
    "header": (
        lambda: replaced(GOOD, embedding=edit_byte(GOOD.files[release_files.EMBEDDING], HEADER_BYTE)),
        UnreadableArtifactError,
    ),
    "length": (lambda: replaced(GOOD, embedding=GOOD.files[release_files.EMBEDDING] + b"\0"), UnreadableArtifactError),
    "pickle": (lambda: replaced(GOOD, embedding=b"\x80\x02}q\x00."), UnreadableArtifactError),
    "no embedding": (lambda: replaced(GOOD, embedding=None), UnreadableArtifactError),
    "card": (lambda: replaced(GOOD, card=GOOD.files[release_files.CARD] + b"\n"), CardMismatchError),
    "no card": (lambda: replaced(GOOD, card=None), CardMismatchError),
    "report": (lambda: replaced(GOOD, audit=GOOD.files[release_files.AUDIT] + b" "), AuditMismatchError),
    "report dropped": (lambda: replaced(GOOD, audit=None), MissingAuditError),
    "report and attestation dropped": (lambda: replaced(GOOD, audit=None, audit_bundle=None), MissingAuditError),
    "attestation dropped": (lambda: replaced(GOOD, audit_bundle=None), MissingAuditError),
    "attestation without report": (lambda: replaced(UNAUDITED, audit_bundle=AUDIT), MissingAuditError),
    "publish bundle dropped": (lambda: replaced(GOOD, publish_bundle=None), UnsignedError),
    "publish bundle cut": (lambda: replaced(GOOD, publish_bundle=PUBLISH[:-10]), MalformedBundleError),
    "audit bundle cut": (lambda: replaced(GOOD, audit_bundle=AUDIT[:-10]), MalformedBundleError),
    # whole files of other releases
    "embedding of another release": (
        lambda: replaced(GOOD, embedding=OTHER.files[release_files.EMBEDDING]),
        DigestMismatchError,
    ),
    "publish bundle of another release": (
        lambda: replaced(GOOD, publish_bundle=OTHER.files[release_files.PUBLISH_BUNDLE]),
        DigestMismatchError,
    ),
    "audit bundle of another release": (
        lambda: replaced(GOOD, audit_bundle=OTHER.files[release_files.AUDIT_BUNDLE]),
        AuditMismatchError,
    ),
    "report and attestation of another release": (
        lambda: replaced(
            GOOD, audit=OTHER.files[release_files.AUDIT], audit_bundle=OTHER.files[release_files.AUDIT_BUNDLE]
        ),
        AuditMismatchError,
    ),
    "card of another release": (
        lambda: replaced(GOOD, card=edited_card(GOOD, description="Another description.")),
        CardMismatchError,
    ),
    "bundles swapped": (lambda: replaced(GOOD, publish_bundle=AUDIT, audit_bundle=PUBLISH), WrongPredicateError),
    "publish bundle as audit bundle": (lambda: replaced(GOOD, audit_bundle=PUBLISH), WrongPredicateError),
    "release of another repository": (lambda: make_release(repository="radboud/other"), WrongRepositoryError),
    # keys
    "stranger's key": (lambda: resigned(GOOD, key=STRANGER), UnknownSignerError),
    "another member's key": (lambda: resigned(GOOD, key=OTHER_SITE), WrongNamespaceError),
    "auditor's key": (lambda: resigned(GOOD, key=AUDITOR), WrongNamespaceError),
    "withdrawal key": (lambda: resigned(GOOD, key=WITHDRAWER), WrongRoleError),
    "audit by a stranger": (lambda: resigned(GOOD, audit_key=STRANGER), UnknownSignerError),
    "audit by another publisher": (lambda: resigned(GOOD, audit_key=OTHER_SITE), WrongNamespaceError),
    "audit by the withdrawal key": (lambda: resigned(GOOD, audit_key=WITHDRAWER), WrongRoleError),
    # what was signed contradicts itself
    "relative repository": (with_statement(repository="../radboud/x"), MalformedStatementError),
    "reserved namespace": (with_statement(repository="api/x"), MalformedStatementError),
    "no version": (with_statement(version=""), MalformedStatementError),
    "time without a form": (with_statement(created="yesterday"), MalformedStatementError),
    "audit says false": (with_statement(audit=False), MalformedStatementError),
    "another version than the card": (
        lambda: resigned(GOOD, publish={"version": "1.0.1"}, vouched={"version": "1.0.1"}),
        CardMismatchError,
    ),
    "another version than the audit's": (with_statement(version="1.0.1"), AuditMismatchError),
    "another card digest": (with_statement(card={"sha256": "0" * 64}), CardMismatchError),
    "another report digest": (with_statement(audit={"sha256": "0" * 64}), AuditMismatchError),
    "another base": (with_statement(base={"sha256": "0" * 64}), ClaimMismatchError),
    "no base": (with_statement(base=None), ClaimMismatchError),
    "a privacy claim": (with_statement(privacy={"epsilon": 1}), ClaimMismatchError),
    "another recipe": (with_statement(recipe={"steps": 1}), ClaimMismatchError),
    "card with another token": (with_card(token="<other>"), CardMismatchError),
    "card with other vectors": (
        with_card(vectors=[{"encoder": "text_encoder", "count": 9, "dim": 32}]),
        CardMismatchError,
    ),
    "card with another base": (
        with_card(base_model={**GOOD.card.to_dict()["base_model"], "fingerprint": "0" * 64}),
        ClaimMismatchError,
    ),
    "card with another verdict": (
        with_card(audit={"verdict": "no-leak-detected", "suite": "quick", "power": "much"}),
        CardMismatchError,
    ),
    "signed README with more than its card": (
        lambda: resigned(replaced(GOOD, card=GOOD.files[release_files.CARD] + b"\nMr. John Smith, born 1956-03-02.\n")),
        CardMismatchError,
    ),
    "signed README with other front matter": (
        lambda: resigned(
            replaced(GOOD, card=GOOD.files[release_files.CARD].replace(b"tags:", b"extra: MRN 1234567\ntags:", 1))
        ),
        CardMismatchError,
    ),
    "card that denies the audit it was signed with": (
        with_card(audit={"verdict": "not-audited", "suite": "none", "power": "no audit was run"}),
        CardMismatchError,
    ),
    "card with another power": (
        with_card(audit={**GOOD.card.to_dict()["audit"], "power": "would have seen an AUC of 0.501"}),
        CardMismatchError,
    ),
    "card of fewer patients than were attacked": (with_card(n_patients="20-59"), CardMismatchError),
    "card without an audit that names a suite": (
        lambda: resigned(
            replaced(
                UNAUDITED,
                card=edited_card(UNAUDITED, audit={"verdict": "not-audited", "suite": "standard", "power": "0.501"}),
            )
        ),
        CardMismatchError,
    ),
    "group that the report's count gives away": (
        with_card(n_patients="50-100", n_images="50-100", population={"sex": {"female": 53, "male": "<10"}}),
        CardMismatchError,
    ),
    "card that is no card": (lambda: resigned(replaced(GOOD, card=b"# no front matter\n")), CardMismatchError),
    "card of an audit that never was": (
        lambda: resigned(replaced(GOOD, audit=None, audit_bundle=None)),
        CardMismatchError,
    ),
    "report that is no report": (lambda: resigned(replaced(GOOD, audit=b"{}")), AuditMismatchError),
    "report of another embedding": (
        with_report(artifact=OTHER.audit.artifact if OTHER.audit else None),
        AuditMismatchError,
    ),
    "report of another base": (
        with_report(base=make_report(make_embedding(base=None)).base),
        AuditMismatchError,
    ),
    "scores that do not give the figures": (invented_report, AuditMismatchError),
    "attested figures that are not the report's": (with_vouched(headline={"auc": 0.5}), AuditMismatchError),
    "attested report that is another": (with_vouched(report={"sha256": "0" * 64}), AuditMismatchError),
    "audit attested for another repository": (with_vouched(repository="radboud/other"), AuditMismatchError),
    "audit attested for another version": (with_vouched(version="0.9.0"), AuditMismatchError),
    "statement that is no JSON": (with_payload(b"hello"), MalformedStatementError),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampered(name: str) -> None:
    make, expected = TAMPERED[name]
    with pytest.raises(ReleaseRefusedError) as caught:
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
    with pytest.raises(BadSignatureError):
        judge(replaced(GOOD, publish_bundle=json.dumps(document).encode()))


def test_signature_of_another_key_under_our_hint() -> None:
    theirs = json.loads(resigned(GOOD, key=STRANGER).files[release_files.PUBLISH_BUNDLE])
    ours = json.loads(PUBLISH)
    ours["dsseEnvelope"]["signatures"][0]["sig"] = theirs["dsseEnvelope"]["signatures"][0]["sig"]
    with pytest.raises(BadSignatureError):
        judge(replaced(GOOD, publish_bundle=json.dumps(ours).encode()))


@pytest.mark.parametrize("claimed", [SITE, OTHER_SITE, WITHDRAWER, AUDITOR], ids=lambda key: key.fingerprint[:12])
@pytest.mark.parametrize("name", [release_files.PUBLISH_BUNDLE, release_files.AUDIT_BUNDLE])
def test_nobody_is_named_as_signer_of_what_they_did_not_sign(name: str, claimed: SigningKey) -> None:
    """A bundle names a key as it likes. Before the signature was checked, that is nothing to tell anybody."""
    forged = resigned(GOOD, key=STRANGER, audit_key=STRANGER)
    document = json.loads(forged.files[name])
    document["verificationMaterial"]["publicKey"]["hint"] = claimed.fingerprint
    document["dsseEnvelope"]["signatures"][0]["keyid"] = claimed.fingerprint
    which = "publish_bundle" if name == release_files.PUBLISH_BUNDLE else "audit_bundle"
    with pytest.raises(BadSignatureError) as caught:
        judge(replaced(GOOD, **{which: json.dumps(document).encode()}))
    told = [
        finding
        for finding in caught.value.findings
        if name == release_files.PUBLISH_BUNDLE or finding.check == "auditor"
    ]
    assert not [finding for finding in told if finding.check in ("signer", "signature", "auditor")]
    text = " ".join([caught.value.message, *(finding.text for finding in told)])
    assert "signed by" not in text and "'s key" not in text and "publishing key" not in text


@pytest.mark.parametrize("name", release_files.LIMITS)
def test_oversized_file(name: str) -> None:
    huge = Release({**GOOD.files, name: b"\0" * (release_files.LIMITS[name] + 1)})
    with pytest.raises(FileTooLargeError):
        verification.verify(huge, trust=TRUST, now=NOW)


@settings(max_examples=examples(150), deadline=None)
@given(st.sampled_from(sorted(GOOD.files)), st.data())
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
    assert name in (release_files.PUBLISH_BUNDLE, release_files.AUDIT_BUNDLE)
    assert verified.embedding.data == GOOD.files[release_files.EMBEDDING]
    assert identities(edited) == identities(GOOD)


@pytest.mark.parametrize("release", quick([GOOD], thorough=[make_private_release()]), ids=["plain", "with a claim"])
def test_a_changed_byte_of_the_embedding_is_nobodys_fault_but_the_ways(release: Release) -> None:
    """What the header says is believed, or held against its publisher, only once the signature covers it."""
    raw = release.files[release_files.EMBEDDING]
    length = int.from_bytes(raw[:8], "little")
    rules: dict[str, set[type[ReleaseRefusedError]]] = {"lead": set(), "header": set(), "numbers": set()}
    for place in range(len(raw)):
        part = "lead" if place < 8 else "header" if place < 8 + length else "numbers"
        changed = replaced(release, embedding=edit_byte(raw, place))
        with pytest.raises(ReleaseRefusedError) as caught:
            judge(changed)
        assert "publisher" not in caught.value.hint.partition("if it stays so")[0], place
        rules[part].add(type(caught.value))
    assert rules["numbers"] == {DigestMismatchError}
    assert rules["header"] == {DigestMismatchError, UnreadableArtifactError}  # the latter where the container is broken


@pytest.mark.parametrize("changes", ["epsilon", "token", "nan"])
def test_a_readable_container_with_other_bytes_is_a_digest_mismatch(changes: str) -> None:
    release = make_private_release()
    raw = release.files[release_files.EMBEDDING]
    edited = {
        "epsilon": with_header_claim(release.embedding, altered(make_claim(), epsilon=0.5)),
        "token": raw.replace(b"<cspca>", b"<cspc >"),
        "nan": raw[:-1] + b"\x7f",
    }[changes]
    assert edited != raw
    with pytest.raises((ArtifactError, PrivacyError)):
        embedding.parse(edited)
    with pytest.raises(DigestMismatchError):
        judge(replaced(release, embedding=edited))


def test_a_stranger_cannot_put_a_broken_claim_into_a_publishers_mouth() -> None:
    """Embedding and statement both changed: the signature is what is wrong, and the publisher said nothing."""
    release = make_private_release()
    files = dict(release.files)
    files[release_files.EMBEDDING] = with_header_claim(release.embedding, altered(make_claim(), epsilon=0.5))
    forged = resigned(Release.from_files(files), key=STRANGER)
    with pytest.raises(UnknownSignerError):
        judge(forged)


def identities(release: Release) -> tuple[str, str]:
    assert release.audit_bundle is not None
    return release.publish_bundle.envelope.identity, release.audit_bundle.envelope.identity


@given(st.dictionaries(st.sampled_from(release_files.FILES), st.binary(max_size=200)))
def test_arbitrary_files_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ReleaseRefusedError):
        verification.verify(Release.from_files(files), trust=TRUST, now=NOW)
