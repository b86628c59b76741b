"""The intake sheet of a receiving site: verified first, from public data, offline for a folder."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from embhub.__main__ import main
from embhub.errors import ConfigError, PolicyError, UsageError, VerificationError
from embhub.evidence.intake_document import Intake
from embhub.evidence.intake_sheet import intake
from embhub.evidence.languages import CODES, load
from embhub.evidence.pack import write_pack
from embhub.evidence.sections.guarantee import PORTED
from embhub.pages.messages import figure
from embhub.release import files as release_files
from embhub.release.files import Release
from tests.support import hostile
from tests.support.claims import make_claim, make_private_release, site_total
from tests.support.packs import NOW, make_site
from tests.support.ports import make_ported_release
from tests.support.releases import ROOT, edited_card, make_export, make_release, make_sheet, replaced, resigned


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    """A site that trusts the registry's keyring and has no network."""
    del home
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMBHUB_REGISTRY", "http://127.0.0.1:9")
    (tmp_path / "export.json").write_bytes(make_export())
    assert main(["trust", "add", "export.json", "--fingerprint", ROOT.fingerprint]) == 0
    return tmp_path


def pulled(folder: Path, release: Release) -> str:
    release.to_folder(folder / "pulled")
    return str(folder / "pulled")


def first_page(file: Path) -> str:
    """The text of a page's first section."""
    section = file.read_text().partition('<section class="cover">')[2].partition("</section>")[0]
    return html.unescape(re.sub(r"[ \n]+", " ", re.sub(r"<[^>]+>", "", section)))


def test_a_folder_gives_a_sheet_without_a_network(receiver: Path) -> None:
    release = make_release(sheet=make_sheet())
    made = intake.write_intake(pulled(receiver, release), receiver / "sheet", now=NOW)
    assert sorted(path.name for path in (receiver / "sheet").iterdir()) == ["index.html", "intake.json"]
    written = (receiver / "sheet" / "intake.json").read_bytes()
    assert Intake.parse(written) == made and made.to_bytes() == written
    assert (made.publisher.namespace, made.publisher.name) == ("radboud", "Radboud")
    assert (made.countersigned, made.source.registry, made.source.commit) == (False, None, None)
    assert release.audit is not None and made.audit is not None
    assert (made.audit.verdict, made.audit.statement) == (release.audit.verdict, release.audit.statement)
    for name, digest in ((release_files.EMBEDDING, made.subject.sha256), (release_files.CARD, made.card_sha256),
                         (release_files.AUDIT, made.report_sha256)):  # fmt: skip
        assert digest == release_files.digest(release.files[name])
    assert "verified" not in {found.outcome for found in made.checks} and len(made.checks) > 5


def test_the_page_says_who_what_and_what_is_left_to_decide(receiver: Path) -> None:
    release = make_release()
    made = intake.write_intake(pulled(receiver, release), receiver / "sheet", now=NOW)
    source = (receiver / "sheet" / "index.html").read_text()
    text = html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", source)))
    assert "Radboud, namespace radboud" in text and "The publisher alone. No independent auditor did." in text
    assert "It was trained without differential privacy" in text
    assert "The registry was not asked" in text and release.card.licence in text and release.card.licence_link in text
    assert all(
        part in text for part in (*made.limits, made.subject.sha256, made.card_sha256, release.card.out_of_scope)
    )
    assert {field.name for field in made.form if field.from_card} == {"Purpose here"}
    assert not re.search(r"<(script|link|img|iframe|form)\b|\b(src|href)=", source)
    assert not re.search(r"anonym|guaranteed safe|GDPR.compliant", text, re.I) and "Not legal advice" in text


def test_the_privacy_claim_is_recomputed(receiver: Path) -> None:
    made = intake.write_intake(pulled(receiver, make_private_release(make_claim())), receiver / "sheet", now=NOW)
    assert made.privacy.epsilon == pytest.approx(2, abs=0.01) and made.privacy.limits
    page = (receiver / "sheet" / "index.html").read_text()
    assert "differential privacy, epsilon" in page and "named without taking part" in page
    assert "claimed</text>" not in page, "there is no audit"
    audit = write_pack(make_site(receiver / "a", "mechanism", claim=make_claim()), receiver / "pack", now=NOW).audit
    assert "2.00 claimed</text>" in intake.render(made.model_copy(update={"audit": audit}))


@pytest.mark.parametrize("plain", [0, 1, 4])
def test_page_one_says_what_the_publishers_site_spent_in_all(receiver: Path, plain: int) -> None:
    total = site_total(make_claim().curve, trainings=12, plain=plain)
    target = pulled(receiver, make_private_release(make_claim(composition=total)))
    intake.write_intake(target, receiver / "sheet", now=NOW, languages=CODES)
    text = first_page(receiver / "sheet" / "index.html")
    assert "As of 2026-11-20 the training site counts 12 trainings with differential privacy" in text
    assert f"for a patient in all of them, epsilon is {total.epsilon:g}." in text
    assert ("There is no guarantee for all of the training site's trainings together:" in text) is (plain > 0)
    assert (f"by the file's claim, {plain} other training" in text) is (plain > 0)
    for code in CODES:
        other = first_page(receiver / "sheet" / f"index.{code}.html")
        epsilon = re.escape(load(code).write_figure(figure(total.epsilon, "g")))
        assert re.search(rf"\b12 [Tte]\w+ .+ [Ee]psilon (is |vaut )?{epsilon}\b", other)
        assert (re.search(rf" {plain} (weitere|andere|autre)", other) is not None) is (plain > 0)


def test_page_one_of_a_port_says_when_the_claim_holds(receiver: Path) -> None:
    target = pulled(receiver, make_ported_release(make_private_release(make_claim())))
    intake.write_intake(target, receiver / "sheet", now=NOW, languages=CODES)
    assert PORTED in first_page(receiver / "sheet" / "index.html")
    for code in CODES:
        translated = load(code).say(PORTED)
        assert translated != PORTED and translated in first_page(receiver / "sheet" / f"index.{code}.html")


def test_a_release_without_an_audit_says_so(receiver: Path) -> None:
    made = intake.write_intake(pulled(receiver, make_release(audited=False)), receiver / "sheet", now=NOW)
    assert made.audit is None and made.report_sha256 is None
    page = (receiver / "sheet" / "index.html").read_text()
    assert "Leakage about the publisher" in page and "was not measured" in page


def test_text_of_a_card_is_escaped(receiver: Path) -> None:
    release = make_release()
    card = edited_card(release, limitations="none <script>alert(1)</script>")
    intake.write_intake(pulled(receiver, resigned(replaced(release, card=card))), receiver / "sheet", now=NOW)
    assert "<script>" not in (receiver / "sheet" / "index.html").read_text()


def test_what_does_not_verify_gets_no_sheet(receiver: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = make_release()
    target = pulled(receiver, replaced(release, card=release.files[release_files.CARD] + b"more\n"))
    assert main(["evidence", target, "--out", "sheet"]) == VerificationError.exit_code
    assert "card-mismatch" in capsys.readouterr().err and not (receiver / "sheet").exists()


def test_a_policy_refuses_before_anything_is_written(receiver: Path) -> None:
    target = pulled(receiver, make_release())
    with pytest.raises(PolicyError):
        intake.write_intake(target, receiver / "sheet", policy="strict")
    assert not (receiver / "sheet").exists()


def test_only_an_earlier_sheet_is_replaced(receiver: Path) -> None:
    target = pulled(receiver, make_release())
    intake.write_intake(target, receiver / "sheet", now=NOW)
    intake.write_intake(target, receiver / "sheet")
    (receiver / "sheet" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no intake sheet"):
        intake.write_intake(target, receiver / "sheet")
    assert (receiver / "sheet" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("code", CODES)
def test_a_translation_is_marked_and_has_what_the_english_page_has(receiver: Path, code: str) -> None:
    """A folder with translations is an earlier sheet as well; English alone is what checks and audits say."""
    target = pulled(receiver, make_private_release(make_claim()))
    made = intake.write_intake(target, receiver / "sheet", now=NOW, languages=[code])
    assert intake.write_intake(target, receiver / "sheet", now=NOW, languages=[code]) == made
    english = (receiver / "sheet" / "index.html").read_text()
    source = (receiver / "sheet" / f"index.{code}.html").read_text()
    assert f'<html lang="{code}">' in source and source.count("No native reader has checked it.") == 2
    assert not re.search(r"<(script|link|img|iframe|form)\b|\b(src|href)=", source)
    for digest in (made.subject.sha256, made.card_sha256, made.publisher.fingerprint):
        assert digest in source and digest in english
    language = load(code)
    text = html.unescape(source)
    assert all(language.say(line) in text and line not in text for line in (*made.limits, *made.decide))
    assert all(f"<b>{language.say(field.name)}</b>" in text for field in made.form)
    outside = re.sub(r'<(span|div) lang="en">.*?</\1>|<style>.*?</style>', "", source, flags=re.S)
    assert not re.search(r"\b(the|and|this)\b", re.sub(r"<[^>]+>", " ", outside)), "English outside its marks"


def test_unknown_languages_are_refused_before_anything_is_written(receiver: Path) -> None:
    with pytest.raises(UsageError, match="no translation into 'xx'"):
        intake.write_intake(pulled(receiver, make_release()), receiver / "sheet", now=NOW, languages=["xx"])
    assert not (receiver / "sheet").exists()
    words = ["evidence", str(receiver / "pulled"), "--out", "sheet", "--language", "de", "--language", "fr"]
    assert main(words) == 0
    assert {path.name for path in Path("sheet").iterdir()} == {
        "index.html", "index.de.html", "index.fr.html", "intake.json",
    }  # fmt: skip


def test_the_command_from_a_registry(receiver: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hostile.serve() as honest:
        honest.files, honest.export = make_release().files, make_export()
        assert main(["trust", "add", honest.url, "--fingerprint", ROOT.fingerprint]) == 0
        capsys.readouterr()
        words = ["evidence", "radboud/prostate-cspca", "--registry", honest.url, "--out", "sheet", "--json"]
        assert main(words) == 0
    said = json.loads(capsys.readouterr().out)
    made = Intake.parse(Path("sheet/intake.json").read_bytes())
    assert said["signer"] == "radboud" and said["sha256"] == made.subject.sha256 and said["page"].endswith("index.html")
    assert made.source.asked == "radboud/prostate-cspca" and re.fullmatch("[0-9a-f]{40}", made.source.commit or "")
