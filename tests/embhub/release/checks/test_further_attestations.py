"""Attestations that this version does not know: listed, never a reason to refuse, unless their signer says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from embhub.refusals import (
    CriticalAttestationError,
    FileTooLargeError,
    MalformedBundleError,
    ReleaseRefusedError,
    WrongPredicateError,
)
from embhub.release import files as release_files
from embhub.release import verification
from embhub.release.files import Release
from embhub.trust import bundle, statement
from embhub.trust.statement import Statement
from embhub_registry.admission import rules as admission
from tests.support.proposals import propose, refusal
from tests.support.releases import NOW, SITE, STRANGER, SigningKey, make_release, make_trust

GOOD = make_release()
SLSA = "https://slsa.dev/provenance/v1"
NAME = "attestations/slsa.sigstore.json"


def attestation(kind: str = SLSA, *, key: SigningKey = STRANGER, **predicate: Any) -> bytes:
    """A well-formed bundle of any predicate type."""
    return bundle.to_json(statement.sign(Statement(GOOD.embedding.digest, kind, predicate), key=key))


def with_files(**more: bytes) -> Release:
    return Release.from_files({**GOOD.files, **{f"attestations/{name}": data for name, data in more.items()}})


def judged(release: Release) -> list[str]:
    verified = verification.verify(release, trust=make_trust(), now=NOW)
    return [finding.text for finding in verified.findings if finding.check == "attestation"]


def in_another_form(**changes: Any) -> bytes:
    """What a later version, or a signer with a certificate, could write."""
    return json.dumps({**json.loads(attestation()), **changes}).encode()


LATER = {
    "another predicate type": (attestation(), SLSA),
    "a certificate": (in_another_form(verificationMaterial={"certificate": {"rawBytes": "AA=="}}), SLSA),
    "log entries": (
        in_another_form(verificationMaterial={"publicKey": {"hint": "x"}, "tlogEntries": [{"logIndex": "1"}]}), SLSA,
    ),
    "a later bundle": (in_another_form(mediaType="application/vnd.dev.sigstore.bundle.v0.4+json"), SLSA),
    "no statement": (in_another_form(dsseEnvelope={"payload": "e30=", "signatures": []}), "does not read"),
    "a bare signature": (in_another_form(dsseEnvelope=None, messageSignature={"signature": "AA=="}), "does not read"),
    "critical, but false": (attestation(critical=False), SLSA),
}  # fmt: skip


@pytest.mark.parametrize("case", LATER)
def test_what_is_not_known_is_listed_by_client_and_registry_and_refused_by_neither(case: str) -> None:
    data, said = LATER[case]
    release = with_files(**{"slsa.sigstore.json": data})
    (text,) = judged(release)
    assert text.startswith(f"{NAME}: ") and said in text and text.endswith("not checked by this version")
    assert release.others == ()
    assert admission.admit(propose(release.files)).version == "1.0.0"


def test_a_log_proof_beside_a_bundle_is_listed() -> None:
    release = with_files(**{"publish.tlog-proof": b"c2sp.org/tlog-proof@v1\n"})
    assert judged(release) == [
        "attestations/publish.tlog-proof: a transparency log's proof, not checked by this version"
    ]
    assert admission.admit(propose(release.files)).version == "1.0.0"


REFUSED = {
    "critical": (attestation(critical=True), CriticalAttestationError),
    "critical, in a later form": (
        attestation(critical=True).replace(b"bundle.v0.3+json", b"bundle.v9"),
        CriticalAttestationError,
    ),
    "no JSON": (b"\x80", MalformedBundleError),
    "no bundle": (b"{}", MalformedBundleError),
    "nested deeply": (b"[" * 60_000, MalformedBundleError),
    "a second publish statement": (GOOD.files[release_files.PUBLISH_BUNDLE], WrongPredicateError),
    "an audit under no auditor's name": (GOOD.files[release_files.AUDIT_BUNDLE], WrongPredicateError),
    "a model signature in another place": (GOOD.files[release_files.MODEL_BUNDLE], WrongPredicateError),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_critical_malformed_or_misplaced_is_refused_by_client_and_registry(case: str) -> None:
    data, error = REFUSED[case]
    release = with_files(**{"slsa.sigstore.json": data})
    with pytest.raises(error) as caught:
        judged(release)
    assert NAME in caught.value.message and caught.value.exit_code == 4
    assert refusal(release.files).rule == error.rule


@pytest.mark.parametrize("name", [release_files.PUBLISH_BUNDLE, release_files.AUDIT_BUNDLE, release_files.MODEL_BUNDLE])
def test_an_unknown_statement_does_not_take_a_known_place(name: str) -> None:
    with pytest.raises(ReleaseRefusedError):
        judged(Release.from_files({**GOOD.files, name: attestation(key=SITE)}))


@pytest.mark.parametrize(
    "name",
    ["../x.sigstore.json", ".x.sigstore.json", "a/b.sigstore.json", "X.sigstore.json", "x.json", "x y.sigstore.json"],
)
def test_only_safe_names_are_attestations(name: str) -> None:
    path = f"attestations/{name}"
    assert release_files.limit_of(path) is None
    assert Release.from_files({**GOOD.files, path: attestation()}).others == (path,)
    assert refusal({**GOOD.files, path: attestation()}).rule == "known-files"


def test_they_are_bounded_in_number_and_size(tmp_path: Path) -> None:
    most = {f"a{n}.sigstore.json": attestation() for n in range(release_files.MOST_ATTESTATIONS - 3)}
    release = with_files(**most)
    assert len(judged(release)) == 29
    release.to_folder(tmp_path / "full")
    (tmp_path / "full/attestations/more.sigstore.json").write_bytes(attestation())
    with pytest.raises(FileTooLargeError):
        Release.from_folder(tmp_path / "full")
    with pytest.raises(FileTooLargeError):
        with_files(**most, **{"more.sigstore.json": attestation()})
    full = {**release.files, "attestations/more.sigstore.json": attestation()}
    assert refusal(full).rule == "known-files"
    with pytest.raises(FileTooLargeError):
        with_files(**{"big.sigstore.json": b" " * (bundle.MAX_BYTES + 1)})
    assert refusal({**GOOD.files, NAME: b" " * (bundle.MAX_BYTES + 1)}).rule == "file-size"


def test_a_folder_keeps_them(tmp_path: Path) -> None:
    release = with_files(**{"slsa.sigstore.json": attestation(), "publish.tlog-proof": b"proof"})
    release.to_folder(tmp_path / "release")
    again = Release.from_folder(tmp_path / "release")
    assert again.files == release.files and again.others == ()
