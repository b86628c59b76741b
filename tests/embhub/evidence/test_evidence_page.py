"""The page of the pack: it stands alone, promises nothing, and its words follow from the figures."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from embhub.artifact import embedding
from embhub.audits.report import SUITES, Suite, build
from embhub.evidence import page
from embhub.evidence.document import Evidence, Ledger
from embhub.evidence.gathering import describe_privacy
from embhub.evidence.pack import read_report, write_pack
from embhub.evidence.sections import histogram
from embhub.evidence.sections.coverage import list_coverage
from embhub.evidence.sections.guarantee import guarantee, per_hundred
from embhub.formats import safe_yaml
from embhub.ledger import budget
from embhub.privacy import epsilon as figures
from embhub.privacy import rdp
from embhub.privacy.claim import Claim, PrivacyClaim
from embhub.privacy.composition import state
from embhub.privacy.reconstruction import most_rebuilt
from embhub.release import at_the_site
from embhub.release.checks.consistency import base_digest
from tests.support.claims import make_claim, site_total
from tests.support.packs import NOW, make_site
from tests.support.quick import others_thorough
from tests.support.releases import make_embedding


class Text(HTMLParser):
    """Tags, attributes and visible text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(re.sub(r"<style>.*?</style>", "", source, flags=re.S))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def read(folder: Path, suite: Suite, claim: Claim = "none", **more: Any) -> tuple[str, Text, Evidence]:
    made = write_pack(make_site(folder, suite, claim=claim, **more), folder / "pack", now=NOW)
    source = (folder / "pack" / "index.html").read_text()
    return source, Text(source), made


@pytest.mark.parametrize("suite", others_thorough(SUITES, ("quick", "mechanism")))
def test_it_stands_alone_and_promises_nothing(tmp_path: Path, suite: Suite) -> None:
    source, shown, made = read(tmp_path, suite, make_claim())
    assert not {"script", "link", "img", "iframe", "object", "form"} & shown.tags
    assert not [name for name in shown.attributes if name in ("src", "href") or name.startswith("on")]
    assert "http" not in source.replace("http://www.w3.org/2000/svg", "")
    for text in (shown.text, made.to_bytes().decode()):
        assert not re.search(r"anonym|PHI-free|guaranteed safe|GDPR.compliant", text, re.I)
        assert re.search(r"not legal advice", text, re.I)


def test_every_statement_on_rules_is_dated_and_no_advice(tmp_path: Path) -> None:
    source, _, made = read(tmp_path, "quick")
    dated = made.regulation.not_advice
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", made.regulation.as_of) and made.regulation.as_of in dated
    assert "Not legal advice" in dated
    sections = [part for part in source.split("<section") if "What the card says" not in part]  # people said that
    naming = [part for part in sections if re.search(r"EDPB|GDPR|HIPAA|NIST|AI Act", part)]
    assert len(naming) == 4 and all(dated in part for part in naming)


def test_the_row_on_marks_of_synthetic_images_says_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    """AI Act, Article 50(2): in the document and, beside its date, in the section on rules of the page."""
    source, _, made = read(tmp_path, "quick")
    (rule,) = [rule for rule in made.regulation.rules if "Article 50(2)" in rule.source]
    assert "secondary sources" in rule.source and "machine-readable" in rule.asks
    assert "embhub research detect" in rule.here and "Whether the article applies" in rule.missing
    (section,) = [part for part in source.split("<section") if "Article 50(2)" in part]
    words = html.unescape(re.sub(r"<[^>]+>", " ", section))
    assert all(" ".join(text.split()) in " ".join(words.split()) for text in (rule.asks, rule.here, rule.missing))
    assert made.regulation.not_advice in words


def test_page_one_answers_the_six_questions_in_order(tmp_path: Path) -> None:
    _, shown, made = read(tmp_path, "quick")
    asked = (
        "leave the hospital?", "The audit: insufficient evidence",
        "Can an attacker find out who was in the training data?",
        "How thorough was the audit?", "Is there a privacy guarantee?", "What leaves the hospital?",
        "Which attacks were not tested?",
        "When is the next audit due?", "What a verdict means", "The controller decides, not this tool.",
        "byte by byte", "Sign-off",
    )  # fmt: skip
    places = [shown.text.index(text) for text in asked]
    assert places == sorted(places)
    headline = made.audit.attacks[0]
    assert f"{headline.auc * 100:.0f} times in a hundred" in shown.text
    assert f"{made.audit.power.smallest_auc * 100:.0f} times in a hundred" in shown.text
    assert "No. It was trained without differential privacy" in shown.text
    assert "learned from images of 300 patients" in shown.text
    assert made.audit_again_by == "2027-11-20"


@pytest.mark.parametrize(("suite", "shift", "words"), [
    ("quick", 3.0, "The audit: leak detected"),
    ("standard", 0.0, "The audit: no leak detected"),
])  # fmt: skip
def test_verdicts(tmp_path: Path, suite: Suite, shift: float, words: str) -> None:
    assert words in read(tmp_path, suite, shift=shift)[1].text


def test_a_mechanism_audit_says_that_the_file_was_not_attacked(tmp_path: Path) -> None:
    source, shown, made = read(tmp_path, "mechanism", make_claim())
    assert "of the code, not of the file: bounded by the claim" in shown.text
    assert "did not attack the file" in shown.text
    tried = {row.family: row.status for row in made.coverage}
    assert tried["membership inference"] == "not tried"
    assert tried["errors in the differential-privacy code"] == "tried"
    places = [source.index(words) for words in ("2.00 claimed</text>", "<details>", "<h3>All attacks", "</details>")]
    assert places == sorted(places)


def test_curves_of_an_audit_of_the_file_are_not_folded(tmp_path: Path) -> None:
    source, _, _ = read(tmp_path, "quick")
    assert "<h3>All attacks" in source and "<details>" not in source and "claimed</text>" not in source


@pytest.mark.parametrize("suite", others_thorough(SUITES, ("quick", "mechanism")))
def test_no_kind_of_attack_is_called_tried_that_the_report_does_not_hold(tmp_path: Path, suite: Suite) -> None:
    _, _, made = read(tmp_path, suite, make_claim())
    run = {*(figures.name for figures in made.audit.attacks), *made.audit.found_nothing}
    named = {row.family for row in made.coverage if row.source.startswith("EDPB")}
    assert named == {
        "membership inference", "attribute inference", "exfiltration", "regurgitation of training data",
        "model inversion", "reconstruction",
    }  # fmt: skip
    for row in made.coverage:
        assert set(row.by) <= run and bool(row.by) == (row.status != "not tried")
    tried = {row.family: row.status for row in made.coverage}
    assert tried["membership inference"] == {"quick": "partly", "mechanism": "not tried"}.get(suite, "tried")
    assert tried["regurgitation of training data"] == ("partly" if suite == "thorough" else "not tried")


def test_epsilon_for_one_person_is_a_bound_that_the_code_computes(tmp_path: Path) -> None:
    claim = make_claim()
    source, shown, made = read(tmp_path, "mechanism", claim)
    rate = rdp.largest_tpr(claim.epsilon, delta=claim.delta, fpr=0.01)
    assert (
        "whoever would have named a given patient with probability 1 % had she not taken part, names her with at most"
        f" {per_hundred(rate)} % if she did. What finding, hospital and years give away by themselves is not bounded."
        in shown.text
    )
    assert all(sentence in shown.text for sentence in made.privacy.words)
    for limit in made.privacy.limits:
        allowed = rdp.largest_tpr(claim.epsilon, delta=claim.delta, fpr=limit.named_without)
        assert limit.named_with_at_most == allowed
        assert float(per_hundred(allowed)) >= allowed * 100 > limit.named_without * 100
        assert f"<th>{limit.named_without * 100:g} %</th><td>{per_hundred(allowed)} %</td>" in source


def test_the_pack_bounds_reconstruction_from_the_same_parameters(tmp_path: Path) -> None:
    claim = make_claim()
    together = site_total(claim.curve)
    source, _, made = read(tmp_path / "two", "mechanism", make_claim(composition=together))
    assert [row.candidates for row in made.privacy.reconstruction] == [10, 100, 1000, 10_000]
    for row in made.privacy.reconstruction:
        assert row.rebuilt_at_most == most_rebuilt(claim.parameters, chance=row.chance_without)
        assert row.together_at_most is not None and row.together_at_most > row.rebuilt_at_most > row.chance_without
        said = re.search(rf"1 in {row.candidates:,}</th><td>([\d.]+) %</td><td>([\d.]+) %</td>", source)
        assert said and float(said[1]) >= 100 * row.rebuilt_at_most > 0.9 * float(said[1])
        assert float(said[2]) >= 100 * row.together_at_most
    tried = {row.family: row for row in made.coverage}["reconstruction"]
    assert tried.status == "not tried" and "section 2" in tried.note
    _, shown, made = read(tmp_path / "plain", "mechanism", make_claim(composition=site_total(claim.curve, plain=1)))
    assert {row.together_at_most for row in made.privacy.reconstruction} == {None}, "nothing bounds a plain training"
    _, shown, made = read(tmp_path / "none", "quick")
    assert made.privacy.reconstruction == () and "2302.07225" not in shown.text


def test_a_claim_that_the_audit_contradicts_is_no_guarantee(tmp_path: Path) -> None:
    _, shown, made = read(tmp_path, "mechanism", make_claim(), shift=5.0)
    assert made.privacy.refuted and made.audit.verdict == "leak-detected"
    assert "No. An epsilon of 2 is claimed, and this audit contradicts it" in shown.text
    assert "Yes, of a stated size" not in shown.text
    assert any("claim does not hold" in text for text in made.concerns)


def test_a_leak_that_another_attack_found_is_what_page_one_shows(tmp_path: Path) -> None:
    artifact = make_embedding()
    even = [float(number) for number in range(80)]
    above = [number + 100 for number in even]
    scores = {"loss-difference": (even, even), "loss": (above, even), "blind": (above, even)}
    report = build(artifact_digest=artifact.digest, base_digest=base_digest(artifact), suite="quick", scores=scores)
    file = make_site(tmp_path, "quick", card=False)
    at_the_site.beside(file, at_the_site.AUDIT).write_bytes(report.to_bytes())
    made = write_pack(file, tmp_path / "pack", now=NOW)
    text = Text((tmp_path / "pack" / "index.html").read_text()).text
    assert made.audit.verdict == "leak-detected"
    assert "the attack that decided the verdict (loss) picks the right one 100 times in a hundred" in text
    assert "or less counts as a detection" in text and "loss (decided the verdict)" in text
    assert any("differ in their images alone" in concern for concern in made.concerns)


def test_trainings_together_are_said_with_the_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By this site's own ledger, for the patients of this file: nothing of it stands in the signed claim."""
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    claim, patients = make_claim(), ["p1", "p2"]
    site = make_site(tmp_path / "two", "mechanism", claim=claim)
    for _ in range(2):
        with budget.reserve(
            patients, unit="patient", mechanism="dp-sgd", q=claim.sampling.q, sigma=claim.sigma, steps=claim.steps
        ) as run:
            run.spend(claim.steps)
    run.release(embedding.read(site).digest)
    made = write_pack(site, tmp_path / "pack", now=NOW)
    text = Text((tmp_path / "pack" / "index.html").read_text()).text
    assert made.privacy.ledger is not None and made.privacy.ledger.trainings == 2
    both = figures.publish(figures.compose(claim.parameters * 2, delta=claim.delta))
    assert made.privacy.together_epsilon == pytest.approx(both, abs=3e-4)
    assert f"epsilon is {made.privacy.together_epsilon:g}." in text
    with budget.reserve(patients[:1], unit="patient", mechanism="none", steps=1) as plain:
        plain.spend()
    made = write_pack(site, tmp_path / "pack", now=NOW)
    text = Text((tmp_path / "pack" / "index.html").read_text()).text
    assert made.privacy.together == ()
    assert "There is no guarantee for all of this site's trainings on these patients together" in text
    assert any("no bound on what all of them together reveal" in concern for concern in made.concerns)


def answer(claim: Claim, **more: Any) -> str:
    return " ".join(part.text for part in guarantee(describe_privacy(claim, refuted=None, **more)))


def test_page_one_calls_a_weak_guarantee_weak() -> None:
    ten = Ledger(trainings=10, epsilon=7.3)
    assert "Yes, of a stated size" in answer(make_claim())
    assert "Yes, but a weak one" in answer(make_claim(sigma=1.6))
    assert "Yes, but a weak one" in answer(make_claim(), ledger=ten)


def test_an_image_claim_says_what_patients_have(tmp_path: Path) -> None:
    claim = make_claim(unit="image", max_images_per_unit=1)
    assert isinstance(claim, PrivacyClaim) and state(claim.curve) == claim.rdp
    _, shown, _ = read(tmp_path, "mechanism", claim, card=False)
    assert "A patient with several images has less" in shown.text


def test_what_people_wrote_is_escaped(tmp_path: Path) -> None:
    file = make_site(tmp_path, "quick")
    card = at_the_site.beside(file, at_the_site.CARD)
    hostile = "<script>alert(1)</script>"
    card.write_bytes(safe_yaml.dump({**safe_yaml.load(card.read_bytes()), "limitations": hostile}))
    made = write_pack(file, tmp_path / "pack", now=NOW)
    assert hostile in made.card.says.values()
    report = read_report(file, None)[0]
    assert hostile not in page.render(made, report) and "&lt;script&gt;" in page.render(made, report)


def test_histograms_add_up_to_each_side(tmp_path: Path) -> None:
    report = read_report(make_site(tmp_path, "standard"), None)[0]
    drawn = [result for result in report.attacks if result.on_coins]
    for result in (*drawn, drawn[0].model_copy(update={"order": "(mn)"})):
        drawing = ElementTree.fromstring(histogram.draw(result))
        bars = [float(node.get("height") or 0) for node in drawing.iter() if node.tag.endswith("rect")]
        assert bars and max(bars) <= 104.1 and all(bar > 0 for bar in bars)


def test_a_sheet_that_passed_the_copy_check_counts_as_tried(tmp_path: Path) -> None:
    """Section 4 never says "not tried" of what section 1 says was checked."""
    report = read_report(make_site(tmp_path, "quick"), None)[0]
    for copy_checked, status in ((False, "not tried"), (True, "partly")):
        rows = {row.family: row for row in list_coverage(report, copy_checked=copy_checked)}
        found = rows["regurgitation of training data"]
        assert (found.status, "copy-check" in found.by) == (status, copy_checked)


def test_the_form_compares_all_three_digests(tmp_path: Path) -> None:
    _, shown, _ = read(tmp_path, "quick")
    assert "sha256sum DIR/README.md DIR/learned_embeds.safetensors DIR/audit.json" in shown.text
    assert "push --message" not in shown.text
