"""Auditors' attestations side by side: none replaced, each checked, the worst verdict said."""

from __future__ import annotations

from typing import Any

import pytest

from embhub.errors import PolicyError
from embhub.refusals import (
    AuditMismatchError,
    BadSignatureError,
    MissingAuditError,
    ReleaseRefusedError,
    UnknownSignerError,
    WrongNamespaceError,
)
from embhub.release import demands, policy, signing, verification
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.release.verification import Verified
from tests.support import releases
from tests.support.releases import AUDITOR, NOW, SITE, STRANGER, SigningKey, make_key, make_release, make_report
from tests.support.vouching import vouched

SECOND = make_key("second auditor")
RING = releases.make_keyring(
    members=[
        releases.member("radboud", [(SITE, "publish")]),
        releases.member("nki", [(AUDITOR, "audit")]),
        releases.member("umcu", [(SECOND, "audit")]),
    ]
)
TRUST = releases.make_trust(RING)
GOOD = make_release()
NKI, UMCU = release_files.audit_bundle_of("nki"), release_files.audit_bundle_of("umcu")


def attest(key: SigningKey, *, shift: float = 0.0, own: bool = False, **changes: Any) -> bytes:
    """An attestation of the release's report, or of the auditor's `own` one in which `shift` decides."""
    report = make_report(GOOD.embedding, seed=7, shift=shift) if own else GOOD.audit
    assert report is not None
    facts = {
        "report_digest": release_files.digest(report.to_bytes()), "registry": releases.ORIGIN,
        "repository": releases.REPOSITORY, "version": "1.0.0", "key": key, "now": NOW,
    }  # fmt: skip
    return signing.attest_audit(report, **{**facts, **changes})


def judge(files: dict[str, bytes], policy: policy.Policy = policy.STANDARD) -> Verified:
    release = Release.from_files({**GOOD.files, **files})
    return verification.verify(release, trust=TRUST, now=NOW, policy=policy)


def test_two_auditors_countersign_beside_the_publishers_own() -> None:
    verified = demands.hold(vouched(judge({NKI: attest(AUDITOR), UMCU: attest(SECOND)})), policy.STRICT)
    assert [(item.path, item.audit.namespace) for item in verified.audit_files] == [
        (release_files.AUDIT_BUNDLE, "radboud"), (NKI, "nki"), (UMCU, "umcu"),
    ]  # fmt: skip
    assert verified.independent and verified.audit_in_words() == "insufficient-evidence, countersigned by nki and umcu"
    assert "not independently" not in " ".join(finding.text for finding in verified.findings)


def test_a_friendly_auditor_does_not_hide_the_leak_that_another_found() -> None:
    files = {NKI: attest(AUDITOR), UMCU: attest(SECOND, own=True, shift=3.0)}
    verified = judge(files)
    assert verified.verdict == "leak-detected" and "leak-detected by umcu" in verified.audit_in_words()
    assert verified.to_json()["verdict"] == "leak-detected"
    assert [audit.namespace for audit in verified.others] == ["umcu"]
    assert any(f.outcome == "warning" and "umcu" in f.text and "leak-detected" in f.text for f in verified.findings)
    with pytest.raises(PolicyError, match="umcu"):
        judge(files, policy.STRICT)
    again = verified.told(yanked=None, others=verified.others, remembered=(), asked=False)
    assert again.findings == verified.findings and again.others == verified.others, "said once"


def test_an_auditors_own_report_does_not_countersign_the_publishers() -> None:
    verified = judge({UMCU: attest(SECOND, own=True)})
    assert not verified.independent and verified.audit_status == "consistent"


def test_an_audit_of_a_release_without_report() -> None:
    plain = make_release(audited=False)
    assert GOOD.audit is not None
    late = signing.attest_audit(
        GOOD.audit, report_digest=release_files.digest(GOOD.files[release_files.AUDIT]), registry=releases.ORIGIN,
        repository=releases.REPOSITORY, version="1.0.0", key=AUDITOR, now=NOW,
    )  # fmt: skip
    with_report = Release.from_files({**plain.files, release_files.AUDIT: GOOD.files[release_files.AUDIT], NKI: late})
    verified = verification.verify(with_report, trust=TRUST, now=NOW)
    assert verified.independent and verified.verdict == "insufficient-evidence"
    alone = Release.from_files({**plain.files, NKI: late})
    assert verification.verify(alone, trust=TRUST, now=NOW).verdict == "insufficient-evidence"
    unattested = Release.from_files({**plain.files, release_files.AUDIT: GOOD.files[release_files.AUDIT]})
    with pytest.raises(MissingAuditError):
        verification.verify(unattested, trust=TRUST, now=NOW)


REFUSED: dict[str, tuple[dict[str, bytes], type[ReleaseRefusedError]]] = {
    "under another auditor's name": ({NKI: attest(SECOND)}, WrongNamespaceError),
    "by the publisher under an auditor's name": ({NKI: attest(SITE)}, WrongNamespaceError),
    "by the publisher under its own name": (
        {release_files.audit_bundle_of("radboud"): attest(SITE)}, WrongNamespaceError,
    ),
    "in the publisher's place": ({release_files.AUDIT_BUNDLE: attest(AUDITOR)}, WrongNamespaceError),
    "by a stranger": ({NKI: attest(STRANGER)}, UnknownSignerError),
    "of another version": ({NKI: attest(AUDITOR, version="2.0.0")}, AuditMismatchError),
    "of another repository": ({NKI: attest(AUDITOR, repository="radboud/other")}, AuditMismatchError),
    "other figures for the same report": (
        {NKI: attest(AUDITOR, own=True, report_digest=release_files.digest(GOOD.files[release_files.AUDIT]))},
        AuditMismatchError,
    ),
    "signature of another": (
        {NKI: attest(STRANGER).replace(STRANGER.fingerprint.encode(), AUDITOR.fingerprint.encode())}, BadSignatureError,
    ),
    "the second one is bad": ({NKI: attest(AUDITOR), UMCU: attest(AUDITOR)}, WrongNamespaceError),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_known_attestation_that_fails_is_refused(case: str) -> None:
    files, error = REFUSED[case]
    with pytest.raises(error) as caught:
        judge(files)
    assert caught.value.exit_code == 4


def test_the_publishers_own_is_not_replaced_by_an_auditors() -> None:
    files = {name: data for name, data in GOOD.files.items() if name != release_files.AUDIT_BUNDLE}
    with pytest.raises(MissingAuditError):
        verification.verify(Release.from_files({**files, NKI: attest(AUDITOR)}), trust=TRUST, now=NOW)


def test_an_auditor_whose_key_was_stolen_vouches_for_nothing() -> None:
    row = {"fingerprint": AUDITOR.fingerprint, "date": "2026-11-19T00:00:00Z", "reason": "stolen"}
    document = {**RING.model_dump(mode="json", by_alias=True), "revoked": [row]}
    trust = releases.make_trust(
        releases.make_keyring(**{k: v for k, v in document.items() if k in ("members", "revoked")})
    )
    release = Release.from_files({**GOOD.files, NKI: attest(AUDITOR)})
    verified = verification.verify(release, trust=trust, now=NOW)
    assert not verified.independent and [audit.namespace for audit in verified.left_out] == ["nki"]
    (said,) = [finding for finding in verified.findings if finding.check == "auditor-revocation"]
    assert said.outcome == "warning" and NKI in said.text


def test_signing_anew_keeps_what_others_attested() -> None:
    release = Release.from_files({**GOOD.files, NKI: attest(AUDITOR), UMCU: attest(SECOND)})
    anew = signing.sign_anew(release, key=SITE, now=NOW)
    assert (anew.files[NKI], anew.files[UMCU]) == (release.files[NKI], release.files[UMCU])
    assert verification.verify(anew, trust=TRUST, now=NOW).independent
