"""Page one and the form in other languages: complete, with the figures of the English page, and marked."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import main
from embhub.audits.report import Suite
from embhub.errors import UsageError
from embhub.evidence import languages, page
from embhub.evidence.document import Evidence, Ledger
from embhub.evidence.gathering import describe_privacy
from embhub.evidence.pack import read_report, write_pack
from embhub.evidence.sections.concerns import Concern, list_concerns
from embhub.evidence.sections.guarantee import guarantee
from embhub.pages.messages import ENGLISH, Day, Figure, Language, Message, message
from embhub.release import at_the_site
from tests.support.browsers import broken_rules, chromium, new_page, width_of
from tests.support.claims import make_claim, site_total
from tests.support.packs import NOW, make_site

VOID = {"meta", "br", "link", "img", "hr", "input"}
Case = tuple[Suite, Any, dict[str, Any]]
CASES: dict[str, Case] = {
    "plain": ("quick", "none", {}),
    "leak": ("standard", "none", {"shift": 3.0}),
    "code": ("mechanism", make_claim(), {}),
    "refuted": ("mechanism", make_claim(), {"shift": 5.0}),
    "image": ("mechanism", make_claim(unit="image", max_images_per_unit=1), {"card": False}),
    "weak": ("standard", make_claim(sigma=1.6), {}),
}


class Pseudo(languages.Translation):
    """Brackets round every sentence that went through the catalogue; what is outside was not translated."""

    def __init__(self) -> None:
        self.code = "de"

    def find(self, said: Message) -> str:
        return f"⟦{Language.find(self, said)}⟧"

    def write_figure(self, figure: Figure) -> str:
        return str(figure)

    def write_day(self, day: Day) -> str:
        return str(day)


class Shown(HTMLParser):
    """Pieces of text, each with its language, and whether it is code; text of one class of paragraph left out."""

    def __init__(self, source: str, *, without: str = "") -> None:
        super().__init__()
        self.stack: list[tuple[str, str, bool, bool]] = [("", "en", False, True)]
        self.pieces: list[tuple[str, str, bool]] = []
        self.without = without
        self.feed(re.sub(r"<style>.*?</style>", "", source, flags=re.S))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        given = dict(attrs)
        _, language, code, kept = self.stack[-1]
        left_out = bool(self.without) and given.get("class") == self.without
        self.stack.append((tag, given.get("lang", language) or "", code or tag == "code", kept and not left_out))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        _, language, code, kept = self.stack[-1]
        if data.strip() and kept:
            self.pieces.append((data, language, code))

    def text(self, *languages: str) -> str:
        """What is in one of the languages; digests and versions left out."""
        said = " ".join(data for data, language, _ in self.pieces if language in languages)
        return re.sub(r"\b[0-9a-f]{64}\b|\b\d+\.\d+\.\d+\b", "", said)


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Path, Evidence]]]:
    """A pack of each case, in every language."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(tmp_path_factory.mktemp("home")))
        made = {}
        for name, (suite, claim, more) in CASES.items():
            folder = tmp_path_factory.mktemp(name)
            file = make_site(folder, suite, claim=claim, **more)
            made[name] = (file, write_pack(file, folder / "pack", now=NOW, languages=languages.CODES))
        yield made


def read(file: Path, code: str = "en") -> str:
    name = "index.html" if code == "en" else f"index.{code}.html"
    return (file.parent / "pack" / name).read_text()


def page_one_and_form(source: str) -> str:
    """Those two sections of a page."""
    return "".join(re.findall(r'<section class="(?:cover|form)">.*?</section>', source, flags=re.S))


def figures(text: str, language: Language) -> Counter[str]:
    """The numbers in a text as English writes them, and its dates as ISO 8601 writes them."""
    for day in ("2026-11-20", "2027-11-20"):  # as one number, so that a wrong date is one too
        text = text.replace(language.write_day(Day(day)), f" {day.replace('-', 'D')} ")
    group, decimal = language.write_figure(Figure(",")), language.write_figure(Figure("."))
    found = re.findall(rf"\d(?:[\dD]|{re.escape(group)}(?=\d{{3}})|{re.escape(decimal)}(?=\d)|e-(?=\d))*", text)
    return Counter(number.replace(group, "").replace(decimal, ".") for number in found)


@pytest.mark.parametrize("code", languages.CODES)
@pytest.mark.parametrize("case", CASES)
def test_figures_and_digests_are_the_same_in_every_language(
    packs: dict[str, tuple[Path, Evidence]], case: str, code: str
) -> None:
    file, made = packs[case]
    english = Shown(page_one_and_form(read(file))).text("en", "")
    other = Shown(read(file, code), without="translation")
    language = languages.load(code)
    expected = figures(english, ENGLISH)
    assert expected["2027D11D20"] == 2 and sum(expected.values()) > 20
    assert figures(other.text(code), language) + figures(other.text("en", ""), ENGLISH) == expected
    if made.privacy.epsilon:
        epsilon = language.write_figure(Figure(f"{made.privacy.epsilon:g}"))
        assert re.search(rf"[Ee]psilon (de |van |von )?{re.escape(epsilon)}\b", other.text(code))
    for digest in (made.sign_off.embedding_sha256, made.sign_off.report_sha256, made.sign_off.card_sha256 or ""):
        assert read(file).count(digest) and digest in page_one_and_form(read(file, code))


@pytest.mark.parametrize("case", CASES)
def test_no_text_of_page_one_or_of_the_form_is_untranslated(packs: dict[str, tuple[Path, Evidence]], case: str) -> None:
    """Outside the brackets there is no word but code, quotations in English, and what people wrote on the card."""
    file, made = packs[case]
    report = read_report(file, None)[0]
    release = at_the_site.read(file)
    concerns = list_concerns(release, report, card_fault=made.card.fault)
    assert tuple(concern.in_english for concern in concerns) == made.concerns
    source = page.render_translation(made, report, concerns=concerns, language=Pseudo())
    depth, outside = 0, ""
    for data, language, code in Shown(source).pieces:
        for letter in data:
            depth += {"⟦": 1, "⟧": -1}.get(letter, 0)
            if not depth and letter != "⟧" and language == "de" and not code:
                outside += letter
        outside += " "
    assert not re.findall(r"[^\W\d_]+", outside), outside


def test_what_a_check_says_is_a_quotation_in_english(packs: dict[str, tuple[Path, Evidence]]) -> None:
    file, made = packs["refuted"]
    for code in languages.CODES:
        pieces = Shown(read(file, code)).pieces
        assert made.privacy.refuted is not None
        assert {language for data, language, _ in pieces if data.startswith(made.privacy.refuted)} == {"en"}


@pytest.mark.parametrize("code", languages.CODES)
def test_a_translation_is_marked_and_stands_alone(packs: dict[str, tuple[Path, Evidence]], code: str) -> None:
    file, made = packs["plain"]
    source = html.unescape(read(file, code))
    assert f'<html lang="{code}">' in source and '<html lang="en">' in read(file)
    sections = re.findall(r"<section.*?</section>", source, flags=re.S)
    marked = languages.load(code).say("Translation. No native reader has checked it.")
    assert len(sections) == 2 and all(marked in part for part in sections)
    assert all("No native reader has checked it. The English text in index.html" in part for part in sections)
    assert "native reader" not in read(file)
    assert f"{made.audit.verdict}</code>" in sections[0] and f"{made.audit.verdict}</code>" not in read(file)
    assert "http" not in source and "<script" not in source


def test_a_pack_is_replaced_with_its_translations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, pack = make_site(tmp_path, "quick"), tmp_path / "pack"
    asked = ["audit", str(file), "--reuse", "--report", str(pack)]
    assert main([*asked, "--language", "de", "--language", "fr"]) == 0
    assert {path.name for path in pack.glob("*.html")} == {"index.html", "index.de.html", "index.fr.html"}
    with_translations = (pack / "index.html").read_text()
    assert main(asked) == 0
    assert {path.name for path in pack.glob("*.html")} == {"index.html"}
    shown = re.compile(r"made .{10} by")
    assert shown.sub("", (pack / "index.html").read_text()) == shown.sub("", with_translations)
    capsys.readouterr()
    assert main([*asked, "--language", "xx"]) == 2
    refused = capsys.readouterr().err
    assert all(f"'{code}'" in refused for code in languages.CODES)
    assert main(["audit", str(file), "--language", "de"]) == 2
    assert "--language needs --report" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no translation into 'xx'"):
        write_pack(file, pack, languages=["xx"])


def test_units_of_other_claims_and_ledgers_are_translated() -> None:
    """Sentences that the cases above do not reach, each in the language and with its figure."""
    image = make_claim(unit="image", max_images_per_unit=1)
    german = languages.load("de")
    for claim, people in ((make_claim(), "Patienten"), (image, "Bildern")):
        both = guarantee(describe_privacy(claim, ledger=Ledger(trainings=2, epsilon=3.25)), german)
        assert f"Trainings dieser Einrichtung an diesen {people} beträgt Epsilon 3,25." in both[1].text
        none = guarantee(describe_privacy(claim, ledger=Ledger(trainings=2, epsilon=None)), german)
        assert f"an diesen {people} zusammen gibt es keine Garantie:" in none[2].text
        counted = claim.model_copy(update={"composition": site_total(trainings=12)})
        one = "ein Bild, das" if claim is image else "einen Patienten, der"
        text = guarantee(describe_privacy(counted), german)[1].text
        assert f"12 Trainings mit Differential Privacy: Für {one} in allen" in text
    assert Concern(message("Signing will be refused:"), "x").in_english == "Signing will be refused: x."


@pytest.mark.parametrize("case", CASES)
def test_french_words_are_elided_before_what_a_placeholder_holds(
    packs: dict[str, tuple[Path, Evidence]], case: str
) -> None:
    """As in "à partir d'images", where the two words are of two messages."""
    said = Shown(read(packs[case][0], "fr")).text("fr")
    assert not re.findall(r"\b(?:de|que|le|la) (?:images?|au moins|une?|epsilon|audit)\b", said)


def test_translated_pages_in_a_browser(packs: dict[str, tuple[Path, Evidence]]) -> None:
    """A telephone's width needs no sideways scrolling, page one and the form print on three sheets, axe is content."""
    said: list[str] = []
    with chromium() as browser:
        narrow = new_page(browser, said, viewport={"width": 390, "height": 844})
        for code in languages.CODES:
            narrow.goto((packs["code"][0].parent / "pack" / f"index.{code}.html").as_uri())
            assert width_of(narrow) == 390
            assert broken_rules(narrow) == []
            printed = narrow.pdf(prefer_css_page_size=True)
            assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 3, code
    assert said == []
