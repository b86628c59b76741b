"""What may follow a release that was attested, withdrawn or signed by a key since revoked: rules asked alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embhub.release.files import AUDIT, AUDIT_BUNDLE, PUBLISH_BUNDLE, digest
from embhub.site.signing.keys import SigningKey
from embhub.trust.keyring import Trust
from embhub_registry.admission.release_order import check_audit_kept, check_keys, check_replaces, check_withdrawn
from tests.support import releases
from tests.support.proposals import propose
from tests.support.releases import AUDITOR, AUDITOR_BUNDLE, SITE

RELEASE = releases.make_release()
COUNTERSIGNED = releases.resigned(RELEASE, audit_key=AUDITOR)
PRESENT = {**RELEASE.files, AUDITOR_BUNDLE: COUNTERSIGNED.files[AUDITOR_BUNDLE]}
ANOTHER = releases.make_report(RELEASE.embedding, seed=7).to_bytes()
ANEW = releases.resigned(RELEASE, audit_key=AUDITOR).files


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {path: digest(data) for path, data in files.items()}


def kept(after: Mapping[str, bytes], *, present: Mapping[str, bytes] = PRESENT, **changes: Any) -> str | None:
    """What is wrong where a member of radboud proposes `after`, unless `changes` say who."""
    facts: dict[str, Any] = {
        "before": digests(present),
        "attested": {path: data for path, data in present.items() if path.startswith("attestations/")},
        "versions": ("1.0.0",), "caller": "radboud", **changes,
    }  # fmt: skip
    return check_audit_kept(propose(after, **facts))


def without(*paths: str) -> dict[str, bytes]:
    return {path: data for path, data in PRESENT.items() if path not in paths}


def test_what_stays_is_kept() -> None:
    assert kept(PRESENT) is None
    assert kept({**PRESENT, AUDIT_BUNDLE: ANEW[AUDIT_BUNDLE]}) is None, "its publisher may sign its own audit anew"
    assert kept({**PRESENT, PUBLISH_BUNDLE: ANEW[PUBLISH_BUNDLE]}) is None, "the statement names the same report"
    assert kept(releases.make_release(artifact=releases.make_embedding(seed=5)).files) is None, "another version"


def test_an_auditors_word_is_the_auditors_or_an_admins_to_remove_and_replace() -> None:
    for after in (without(AUDITOR_BUNDLE), {**PRESENT, AUDITOR_BUNDLE: ANEW[AUDITOR_BUNDLE]}):
        assert "attested by nki, and it would be removed or replaced" in str(kept(after))
        assert kept(after, caller="nki") is None
        assert kept(after, admin=True) is None


def test_the_publishers_audit_is_not_removed() -> None:
    assert "attested by its publisher, and it would be removed" in str(kept(without(AUDIT_BUNDLE)))


def test_a_report_that_was_attested_is_not_exchanged() -> None:
    said = str(kept({**PRESENT, AUDIT: ANOTHER}))
    assert said.startswith("the audit report was attested by its publisher and nki, ")
    assert str(kept(without(AUDIT))).startswith("the audit report was attested by its publisher and nki, ")


def test_a_report_that_its_auditor_alone_attested_is_the_auditors() -> None:
    bare = releases.resigned(releases.replaced(RELEASE, audit=None, audit_bundle=None)).files
    present = {**bare, AUDIT: RELEASE.files[AUDIT], AUDITOR_BUNDLE: PRESENT[AUDITOR_BUNDLE]}
    after = {**present, AUDIT: ANOTHER}
    assert "attested by nki" in str(kept(after, present=present))
    assert kept(after, present=present, caller="nki") is None
    assert kept({**after, AUDITOR_BUNDLE: ANEW[AUDITOR_BUNDLE]}, present=present, caller="nki") is None
    assert kept({**bare, AUDIT: ANOTHER}, present=bare) is None, "there was none"
    about_another = {**present, AUDIT: ANOTHER}  # what nki attested is not the report that is there
    assert kept({**about_another, AUDIT: RELEASE.files[AUDIT]}, present=about_another) is None


def test_a_new_statement_names_the_report_that_was_signed_along() -> None:
    bare = releases.resigned(releases.replaced(RELEASE, audit=None, audit_bundle=None)).files
    said = str(kept({**PRESENT, PUBLISH_BUNDLE: bare[PUBLISH_BUNDLE]}))
    assert said.startswith("this version was signed together with its audit report")


def test_withdrawn_bytes_stay_and_do_not_come_back() -> None:
    assert check_withdrawn(propose(PRESENT, withdrawn="consent withdrawn")) == "consent withdrawn"
    there = propose(PRESENT, withdrawn="consent withdrawn", before=digests(RELEASE.files))
    assert check_withdrawn(there) is None, "an audit may be added to the release that is there"


def test_an_audit_is_added_to_a_release_that_replaced_another() -> None:
    files = releases.make_release(replaces="0" * 64).files
    assert check_replaces(propose(files)) is not None
    assert check_replaces(propose(files, before=digests(files))) is None


def test_a_superseded_key_signs_nothing_new_and_what_it_signed_stays() -> None:
    unaudited = releases.make_release(audited=False).files
    for key, older, files in ((SITE, {}, unaudited), (AUDITOR, RELEASE.files, PRESENT)):
        said = check_keys(propose(files, before=digests(older), trust=superseding(key)))
        assert said is not None and f"key {key.fingerprint} was revoked on 2026-11-20" in said
        assert check_keys(propose(files, before=digests(files), trust=superseding(key))) is None
        assert check_keys(propose(files)) is None


def superseding(key: SigningKey) -> Trust:
    """A keyring that says since when another key stands in for this one, after it signed."""
    row = {"fingerprint": key.fingerprint, "date": "2026-11-20T12:00:00Z", "reason": "superseded"}
    return releases.make_trust(releases.make_keyring(version=2, revoked=[row]))
