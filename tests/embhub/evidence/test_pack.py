"""The evidence pack as a folder: every suite, with and without a card and a claim; whole or not at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.audits.report import SUITES, AuditReport, Suite
from embhub.errors import ArtifactError, ConfigError, UsageError
from embhub.evidence import folders
from embhub.evidence.document import Evidence
from embhub.evidence.pack import write_pack
from embhub.formats import safe_yaml
from embhub.release import at_the_site, signing
from embhub.release import files as release_files
from tests.support.claims import make_claim
from tests.support.packs import NOW, make_site
from tests.support.quick import others_thorough
from tests.support.releases import ORIGIN, SITE, make_embedding, make_report, make_sheet, record_of

EVERY = [(suite, claim) for suite in SUITES for claim in (False, True) if claim or suite != "mechanism"]


@pytest.mark.parametrize("card", others_thorough((True, False), (True,)), ids=["card", "no-card"])
@pytest.mark.parametrize(
    ("suite", "claimed"),
    others_thorough(EVERY, [("quick", False), ("standard", True), ("mechanism", True)]),
)
def test_every_suite_with_and_without_card_and_claim(tmp_path: Path, suite: Suite, claimed: bool, card: bool) -> None:
    file = make_site(tmp_path, suite, claim=make_claim() if claimed else "none", card=card)
    made = write_pack(file, tmp_path / "pack", now=NOW)
    names = {path.relative_to(tmp_path / "pack").as_posix() for path in (tmp_path / "pack").rglob("*.*")}
    report = AuditReport.parse(at_the_site.beside(file, at_the_site.AUDIT).read_bytes())
    curves = {f"sacro/{result.name}.json" for result in report.attacks if result.on_coins}
    assert names == {"index.html", "evidence.json", *curves}
    written = (tmp_path / "pack" / "evidence.json").read_bytes()
    assert Evidence.parse(written) == made and made.to_bytes() == written
    assert (made.audit.suite, made.audit.verdict) == (suite, report.verdict)
    assert (made.privacy.claim == "none") is not claimed
    assert made.audit.leaves_the_site is (not claimed or suite == "mechanism")
    if card:
        release = at_the_site.read(file)
        assert made.sign_off.card_sha256 == release_files.digest(release.files[release_files.CARD])
    else:
        assert made.sign_off.card_sha256 is None and any("no complete card" in text for text in made.concerns)
    assert not list(tmp_path.glob(".pack*"))


def test_the_form_is_bound_to_what_is_published(tmp_path: Path) -> None:
    """The digests on the form are those of the files that `push` would send, and an edited card has another."""
    file = make_site(tmp_path, "quick")
    before = write_pack(file, tmp_path / "pack", now=NOW)
    held = at_the_site.read(file).files
    for row in before.shipment.files:
        assert row.sha256 == (release_files.digest(held[row.name]) if row.name in held else None)
    page = (tmp_path / "pack" / "index.html").read_text()
    assert all(digest in page for digest in (before.sign_off.card_sha256 or "?", before.sign_off.embedding_sha256))
    card = at_the_site.beside(file, at_the_site.CARD)
    card.write_bytes(card.read_bytes().replace(b"one scanner", b"one scanner."))
    after = write_pack(file, tmp_path / "pack", now=NOW)  # replaces the earlier one
    assert after.sign_off.card_sha256 != before.sign_off.card_sha256
    assert after.sign_off.card_sha256 is not None
    assert after.sign_off.card_sha256 in (tmp_path / "pack" / "index.html").read_text()


def add_sheet(file: Path, copy_check: str) -> None:
    """Have the card record a sheet of samples."""
    card = at_the_site.beside(file, at_the_site.CARD)
    record = record_of(make_sheet(), embedding.read(file), copy_check=copy_check)
    card.write_bytes(safe_yaml.dump({**safe_yaml.load(card.read_bytes()), "samples": record}))


@pytest.mark.parametrize("suite", ["quick", "mechanism"])
def test_what_leaves_is_what_is_signed(tmp_path: Path, suite: Suite) -> None:
    """The list is made before the signatures are: the same files, and for all that is there the same bytes."""
    file = make_site(tmp_path, suite, claim=make_claim() if suite == "mechanism" else "none")
    add_sheet(file, "not-run" if suite == "mechanism" else "no-copies-found")
    without = write_pack(file, tmp_path / "pack").concerns
    assert "Signing will be refused: the card records a samples.png" in without[0]
    at_the_site.beside(file, at_the_site.SHEET).write_bytes(make_sheet())
    made = write_pack(file, tmp_path / "pack", now=NOW)
    assert made.concerns == () and "generated, not taken" in (tmp_path / "pack" / "index.html").read_text()
    signed = signing.assemble(file, registry=ORIGIN, repository="radboud/prostate-cspca", key=SITE, now=NOW).files
    assert [row.name for row in made.shipment.files] == [name for name in release_files.FILES if name in signed]
    for row in made.shipment.files:
        assert row.sha256 is None or (row.sha256, row.bytes) == (
            release_files.digest(signed[row.name]),
            len(signed[row.name]),
        )
    assert {row.name for row in made.shipment.files if row.sha256 is None} == {
        release_files.PUBLISH_BUNDLE,
        release_files.AUDIT_BUNDLE,
        release_files.MODEL_BUNDLE,
    }
    assert made.sign_off.card_sha256 == release_files.digest(signed[release_files.CARD])


def test_what_signing_would_refuse_is_said_first(tmp_path: Path) -> None:
    file = make_site(tmp_path, "quick")
    assert write_pack(file, tmp_path / "sound", now=NOW).concerns == ()
    artifact = make_embedding()
    report = make_report(artifact, shift=3.0)  # a leak, which the card does not tell
    at_the_site.beside(file, at_the_site.AUDIT).write_bytes(report.to_bytes())
    concerns = write_pack(file, tmp_path / "pack", now=NOW).concerns
    assert any("Signing will be refused" in text and "leak-detected" in text for text in concerns)
    page = (tmp_path / "pack" / "index.html").read_text()
    assert page.index("To be resolved before sign-off") < page.index("What a verdict means")


def test_scores_of_patients_beside_a_claim_stay(tmp_path: Path) -> None:
    """As `audit` leaves them: under a name that `sign` does not take along, and found by the pack."""
    file = make_site(tmp_path, "standard", claim=make_claim(), card=False)
    at_the_site.beside(file, at_the_site.AUDIT).rename(at_the_site.beside(file, at_the_site.SITE_AUDIT))
    made = write_pack(file, tmp_path / "pack", now=NOW)
    assert any("pack stay at the site" in text for text in made.concerns)
    assert not made.audit.leaves_the_site
    assert release_files.AUDIT not in {row.name for row in made.shipment.files}


def test_an_edited_report_is_told(tmp_path: Path) -> None:
    file = make_site(tmp_path, "quick", shift=3.0)
    path = at_the_site.beside(file, at_the_site.AUDIT)
    edited = AuditReport.parse(path.read_bytes()).model_copy(update={"verdict": "insufficient-evidence"})
    path.write_bytes(edited.to_bytes())
    concerns = write_pack(file, tmp_path / "pack", now=NOW).concerns
    assert any("contradicts itself" in text for text in concerns)


def test_refusals(tmp_path: Path) -> None:
    file = make_site(tmp_path, "quick")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="no evidence pack"):
        write_pack(file, tmp_path / "other", now=NOW)
    assert (tmp_path / "other" / "thesis.tex").exists()
    with pytest.raises(UsageError, match="no audit report"):
        write_pack(file, tmp_path / "pack", report=tmp_path / "absent.json")
    strange = tmp_path / "strange.json"
    strange.write_bytes(make_report(make_embedding(seed=3)).to_bytes())
    with pytest.raises(ArtifactError, match="another embedding"):
        write_pack(file, tmp_path / "pack", report=strange)
    assert not (tmp_path / "pack").exists()


def test_a_crash_leaves_the_earlier_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_site(tmp_path, "quick")
    write_pack(file, tmp_path / "pack", now=NOW)
    before = (tmp_path / "pack" / "index.html").read_bytes()
    written: list[Path] = []

    def fail(path: Path, data: bytes) -> None:
        if written:
            raise ConfigError("the disk is full")
        written.append(path)

    monkeypatch.setattr(folders, "write_atomic", fail)
    for place in ("pack", "new"):
        written.clear()
        with pytest.raises(ConfigError, match="full"):
            write_pack(file, tmp_path / place, now=NOW)
    assert (tmp_path / "pack" / "index.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["pack"]


def test_the_command_takes_the_report_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_site(tmp_path, "standard")
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    assert main(["audit", str(file), "--reuse", "--report", str(tmp_path / "pack")]) == 0
    said = capsys.readouterr().out
    assert "no-leak-detected" in said and str(tmp_path / "pack" / "index.html") in said
    assert main(["audit", str(file), "--reuse"]) == 2
    assert main(["audit", str(file), "--reuse", "--report", str(file)]) != 0


def test_evidence_is_read_strictly(tmp_path: Path) -> None:
    made = write_pack(make_site(tmp_path, "quick"), tmp_path / "pack", now=NOW)
    changed = {**json.loads(made.to_bytes()), "more": 1}
    with pytest.raises(ArtifactError, match="no evidence"):
        Evidence.parse(json.dumps(changed).encode())
    assert re.fullmatch(r"embhub\.evidence/1", json.loads(made.to_bytes())["schema"])


def test_the_form_asks_what_a_controller_decides_and_invents_no_answer(tmp_path: Path) -> None:
    """Purpose comes from the card; nothing else is filled in, with a card or without."""
    file = make_site(tmp_path, "quick")
    made = write_pack(file, tmp_path / "pack", now=NOW)
    names = [field.name for field in made.form]
    assert names == ["DPIA reference", "Purpose of the release", "Recipients", "Retention", "Residual risk",
                     "Next review"]  # fmt: skip
    answered = {field.name: field.from_card for field in made.form if field.from_card}
    assert answered == {"Purpose of the release": at_the_site.read(file).card.intended_use}
    assert made.audit_again_by in made.form[-1].asks
    page = (tmp_path / "pack" / "index.html").read_text().partition("Sign-off")[2]
    assert all(f"<b>{name}</b>" in page for name in names) and 'The card says: <span lang="">research' in page
    at_the_site.beside(file, at_the_site.CARD).unlink()
    assert not any(field.from_card for field in write_pack(file, tmp_path / "pack", now=NOW).form)


def test_a_pack_made_before_the_form_had_fields_can_be_replaced(tmp_path: Path) -> None:
    file = make_site(tmp_path, "quick")
    made = write_pack(file, tmp_path / "pack", now=NOW)
    old = {name: value for name, value in json.loads(made.to_bytes()).items() if name != "form"}
    (tmp_path / "pack" / "evidence.json").write_text(json.dumps(old))
    assert write_pack(file, tmp_path / "pack", now=NOW).form == made.form
