"""Every rule refuses what it names, with its remedy; a whole release passes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embhub.artifact import embedding
from embhub.refusals import ReleaseRefusedError
from embhub.release.files import AUDIT, AUDIT_BUNDLE, CARD, EMBEDDING, PUBLISH_BUNDLE, SAMPLES, Release
from embhub_registry.admission import rules as admission
from embhub_registry.admission import rules_page as admission_page
from embhub_registry.http_errors import RequestDeniedError
from tests.support import releases
from tests.support.proposals import propose, refusal, resigned

DOCUMENT = Path(__file__).parents[3] / "docs/reference/admission-rules.md"


@pytest.fixture(scope="module")
def release() -> Release:
    return releases.make_release()


def test_a_whole_release_is_admitted(release: Release) -> None:
    admitted = admission.admit(propose(release.files))
    assert admitted.version == "1.0.0"
    assert admitted.verified is not None and admitted.verified.signer.fingerprint == releases.SITE.fingerprint


def test_a_repository_without_weights_takes_small_files() -> None:
    assert admission.admit(propose({CARD: b"# Soon\n", ".gitattributes": b""})).version is None


@pytest.mark.parametrize(
    ("path", "rule"),
    [
        ("notes.txt", "known-files"),
        ("images/scan.png", "known-files"),
        ("attestations/other.json", "known-files"),
        ("model.bin", "weights-format"),
        ("pytorch_model.PT", "weights-format"),
        ("other.safetensors", "weights-format"),
    ],
)
def test_unknown_files(path: str, rule: str) -> None:
    assert refusal({path: b"x"}).rule == rule
    with pytest.raises(RequestDeniedError) as caught:
        admission.check_announced(path, 1)
    assert caught.value.rule == rule


def test_sizes(release: Release) -> None:
    assert refusal({EMBEDDING: b"\0" * 1_000_001}).rule == "file-size"
    assert refusal({CARD: b"x" * 300_000}).rule == "file-size"
    with pytest.raises(RequestDeniedError, match="1,000,001 bytes"):
        admission.check_announced(EMBEDDING, 1_000_001)
    admission.check_announced(EMBEDDING, 1_000_000)


def mutated(release: Release, **files: bytes | None) -> dict[str, bytes]:
    return dict(releases.replaced(release, **files).files)


def bad_weights(release: Release) -> dict[str, bytes]:
    return mutated(release, embedding=release.files[EMBEDDING] + b"\0")


def pickled(release: Release) -> dict[str, bytes]:
    return mutated(release, embedding=b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00}\x94.")


def without_card(release: Release) -> dict[str, bytes]:
    return mutated(release, card=None)


def card_without_front_matter(release: Release) -> dict[str, bytes]:
    return mutated(release, card=b"# Only words\n")


def person_in_card(release: Release) -> dict[str, bytes]:
    return resigned(
        release, card=releases.edited_card(release, limitations="Made from the scans of patient no 12345678")
    )


def without_base(release: Release) -> dict[str, bytes]:
    return dict(releases.make_release(artifact=releases.make_embedding(base=None)).files)


def edited_audit(release: Release) -> dict[str, bytes]:
    assert release.audit is not None
    better = release.audit.attacks[0].model_copy(update={"auc": 0.5, "auc_interval": (0.45, 0.55)})
    report = releases.edited_report(release, attacks=(better, *release.audit.attacks[1:]))
    return resigned(release, audit=report)


def edited_verdict(release: Release) -> dict[str, bytes]:
    return resigned(release, audit=releases.edited_report(release, verdict="no-leak-detected"))


def dropped_audit(release: Release) -> dict[str, bytes]:
    return mutated(release, audit=None, audit_bundle=None)


def unsigned(release: Release) -> dict[str, bytes]:
    return mutated(release, publish_bundle=None, audit_bundle=None)


def by_a_stranger(release: Release) -> dict[str, bytes]:
    return dict(releases.make_release(key=releases.STRANGER).files)


def by_another_member(release: Release) -> dict[str, bytes]:
    return dict(releases.make_release(key=releases.OTHER_SITE).files)


def by_an_auditor(release: Release) -> dict[str, bytes]:
    return dict(releases.resigned(release, key=releases.AUDITOR).files)


def edited_readme(release: Release) -> dict[str, bytes]:
    return mutated(release, card=releases.edited_card(release, limitations="none at all"))


def other_weights(release: Release) -> dict[str, bytes]:
    return mutated(release, embedding=releases.make_embedding(seed=9).data)


def other_repository(release: Release) -> dict[str, bytes]:
    return dict(releases.make_release(repository="radboud/other").files)


def broken_bundle(release: Release) -> dict[str, bytes]:
    return mutated(release, publish_bundle=b"{}")


def sheet_alone(release: Release) -> dict[str, bytes]:
    return mutated(release, samples=releases.make_sheet())


def record_alone(release: Release) -> dict[str, bytes]:
    return mutated(releases.make_release(sheet=releases.make_sheet()), samples=None)


def another_sheet(release: Release) -> dict[str, bytes]:
    return mutated(releases.make_release(sheet=releases.make_sheet()), samples=releases.make_sheet(seed=1))


def sheet_of(sheet: bytes, **changes: Any) -> Callable[[Release], dict[str, bytes]]:
    """Signed by a publisher who checks nothing."""

    def make(release: Release) -> dict[str, bytes]:
        record = releases.record_of(sheet, release.embedding, **changes)
        return resigned(release, samples=sheet, card=releases.edited_card(release, samples=record))

    return make


def suspected_sheet(release: Release) -> dict[str, bytes]:
    good = sheet_of(releases.make_sheet())(release)
    return resigned(release, samples=good[SAMPLES], card=good[CARD].replace(b"no-copies-found", b"copies-suspected"))


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (bad_weights, "weights-format"),
        (pickled, "weights-format"),
        (without_card, "card-mismatch"),
        (card_without_front_matter, "card"),
        (person_in_card, "personal-data"),
        (without_base, "base-model"),
        (edited_audit, "audit-mismatch"),
        (edited_verdict, "audit-mismatch"),
        (dropped_audit, "audit-missing"),
        (unsigned, "unsigned"),
        (by_a_stranger, "unknown-signer"),
        (by_another_member, "wrong-namespace"),
        (by_an_auditor, "wrong-namespace"),
        (edited_readme, "card-mismatch"),
        (other_weights, "digest-mismatch"),
        (other_repository, "wrong-repository"),
        (broken_bundle, "bundle-malformed"),
        (sheet_alone, "samples"),
        (record_alone, "samples"),
        (another_sheet, "samples"),
        (sheet_of(releases.make_sheet(), embedding="ab" * 32), "samples"),
        (sheet_of(releases.make_sheet(dpi=(72, 72))), "samples"),
        (sheet_of(releases.make_sheet() + b"hidden"), "samples"),
        (sheet_of(releases.make_sheet(size=(16, 2049))), "samples"),
        (suspected_sheet, "card"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_each_rule_refuses(release: Release, make: Callable[[Release], dict[str, bytes]], rule: str) -> None:
    files = make(release)
    started = time.process_time()
    assert refusal(files).rule == rule
    assert time.process_time() - started < 1.0


def test_an_import_may_name_its_base_alone() -> None:
    rows = {"emb_params": releases.make_embedding().tensors["emb_params"]}
    facts = {"tool": admission.IMPORTED, "vectors": 8}
    imported = embedding.build(rows, token="<cspca>", base=None, base_name="stable-diffusion-2", training=facts)
    assert admission.admit(propose(releases.make_release(artifact=imported).files)).version == "1.0.0"


def test_a_readme_says_no_more_than_its_card(release: Release) -> None:
    assert refusal(resigned(release, card=release.files[CARD] + b"\nCertified safe.\n")).rule == "card-mismatch"


def test_an_audit_is_asked_for_where_the_registry_says_so(release: Release) -> None:
    bare = releases.make_release(audited=False)
    assert refusal(bare.files, audit_required=True).rule == "audit-missing"
    assert admission.admit(propose(bare.files)).version == "1.0.0"
    assert admission.admit(propose(release.files, audit_required=True)).version == "1.0.0"


def test_versions_grow(release: Release) -> None:
    assert refusal(release.files, versions=("1.0.0",)).rule == "rollback"
    assert refusal(release.files, versions=("1.0.0", "1.10.0", "1.9.0")).message.count("1.10.0") == 1
    assert admission.admit(propose(release.files, versions=("0.9.0", "0.10.0"))).version == "1.0.0"


def test_the_same_statement_may_gain_an_auditors_attestation(release: Release) -> None:
    before = {path: hashlib.sha256(data).hexdigest() for path, data in release.files.items()}
    counter = releases.resigned(release, audit_key=releases.AUDITOR)
    files = {**release.files, releases.AUDITOR_BUNDLE: counter.files[releases.AUDITOR_BUNDLE]}
    admitted = admission.admit(propose(files, before=before, versions=("1.0.0",)))
    assert admitted.verified is not None and admitted.verified.independent


@pytest.mark.parametrize("held", [{PUBLISH_BUNDLE}, {PUBLISH_BUNDLE, CARD}, {PUBLISH_BUNDLE, EMBEDDING}])
def test_a_statement_alone_does_not_bring_its_release_back(release: Release, held: set[str]) -> None:
    before = {path: hashlib.sha256(release.files[path]).hexdigest() for path in held}
    assert refusal(release.files, before=before, versions=("1.0.0", "2.0.0")).rule == "rollback"


@pytest.mark.parametrize("path", [AUDIT, PUBLISH_BUNDLE, AUDIT_BUNDLE, SAMPLES])
def test_what_speaks_of_weights_needs_them(release: Release, path: str) -> None:
    assert refusal({path: release.files.get(path, b"a sheet")}).rule == "weights-missing"


def test_what_was_published_keeps_its_weights() -> None:
    assert refusal({}, versions=("1.0.0",)).rule == "weights-missing"
    assert refusal({CARD: b"# Soon\n"}, versions=("1.0.0",)).rule == "weights-missing"


def test_what_is_replaced_is_the_present_embedding(release: Release) -> None:
    present = {EMBEDDING: release.embedding.digest, PUBLISH_BUNDLE: "0" * 64, AUDIT: "1" * 64}
    later = releases.make_release(
        artifact=releases.make_embedding(seed=2), version="1.1.0", replaces=release.embedding.digest
    )
    assert admission.admit(propose(later.files, before=present, versions=("1.0.0",))).version == "1.1.0"
    astray = releases.make_release(artifact=releases.make_embedding(seed=2), version="1.1.0", replaces="ab" * 32)
    assert refusal(astray.files, before=present, versions=("1.0.0",)).rule == "replaces"


def test_the_page_of_rules_is_written_from_the_rules() -> None:
    assert DOCUMENT.read_text() == admission_page.render(), "python -m embhub_registry.admission.rules_page writes it"


def test_every_rule_says_what_it_demands_and_what_to_do() -> None:
    for rule in admission.RULES:
        assert rule.name == rule.name.lower() and rule.says.endswith(".") and rule.remedy and callable(rule.check)
    checks = {refusal.rule for refusal in subclasses(ReleaseRefusedError)}
    assert set(admission.REMEDIES) <= checks


def subclasses(kind: type[ReleaseRefusedError]) -> set[type[ReleaseRefusedError]]:
    """Every refusal of the core."""
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_rule_is_seen_to_refuse() -> None:
    """A rule without a refusal in these tests could be deleted unnoticed."""
    here = Path(__file__).parents[2]
    tested = "".join(path.read_text() for path in [*here.rglob("test_*.py"), here / "support/hostile_files.py"])
    assert [
        rule.name for rule in admission.RULES if f'"{rule.name}"' not in tested and rule.name != "attestation"
    ] == []
