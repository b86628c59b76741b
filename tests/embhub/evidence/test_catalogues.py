"""The catalogues: every sentence of page one and of the form, with the same placeholders and figures."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from functools import cache
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_keywords, parse_mapping_cfg
from babel.messages.pofile import read_po

from embhub.errors import UsageError
from embhub.evidence import languages
from embhub.pages.messages import ENGLISH, Day, counted, figure, message

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "embhub/evidence/catalogues"
FEWEST = 100  # sentences; fewer, and the keywords find nothing


@cache
def extracted() -> frozenset[str | tuple[str, ...]]:
    """What the code and the templates say, by the keywords of `make translations`."""
    keywords = re.search(r"^KEYWORDS := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert keywords
    with (FOLDER / "babel.cfg").open() as stream:
        methods, options = parse_mapping_cfg(stream)
    found = extract_from_dir(
        ROOT / "embhub",
        methods,
        options,
        keywords=parse_keywords(word for word in shlex.split(keywords[1]) if word != "-k"),
    )
    return frozenset(text for _, _, text, _, _ in found)


@cache
def catalogue(code: str) -> Catalog:
    with (FOLDER / f"{code}.po").open("rb") as stream:
        return read_po(stream, locale=code)


def pairs(code: str) -> list[tuple[str, str]]:
    """Each English sentence beside its translation, plural forms one by one."""
    found: list[tuple[str, str]] = []
    for said in catalogue(code):
        if not said.id:
            continue
        english = [said.id] if isinstance(said.id, str) else list(said.id)
        other = [said.string] if isinstance(said.string, str) else list(said.string or ())
        assert len(english) == len(other), said.id
        found += zip(english, other, strict=True)
    return found


def placeholders(text: str) -> Counter[str]:
    """The names in braces; a format or a conversion there is an error."""
    names: Counter[str] = Counter()
    for _, name, form, conversion in Formatter().parse(text):
        assert not form and not conversion, text
        if name is not None:
            names[name] += 1
    return names


def test_there_is_a_catalogue_for_each_language() -> None:
    assert {path.stem for path in FOLDER.glob("*.po")} == set(languages.CODES)
    assert len(extracted()) > FEWEST


@pytest.mark.parametrize("code", languages.CODES)
def test_no_sentence_is_untranslated_and_none_is_left_over(code: str) -> None:
    held = {said.id for said in catalogue(code) if said.id}
    assert held == extracted(), "run `make translations`, then translate what is new"
    assert not [said.id for said in catalogue(code) if said.fuzzy and said.id]
    assert not [english for english, text in pairs(code) if not text.strip()]


@pytest.mark.parametrize("code", languages.CODES)
def test_placeholders_and_spaces_at_the_edges_are_those_of_the_english_sentence(code: str) -> None:
    for english, text in pairs(code):
        assert placeholders(english) == placeholders(text), english
        assert bool(english[-1:].isspace()) == bool(text[-1:].isspace()), english
        if english[:1].isspace():
            assert text[:1].isspace(), english


@pytest.mark.parametrize("code", languages.CODES)
def test_figures_and_marks_in_a_sentence_are_those_of_the_english_one(code: str) -> None:
    for english, text in pairs(code):
        assert sorted(re.findall(r"\d+", english)) == sorted(re.findall(r"\d+", text)), english
        for mark in ("%", "SHA-256", "README.md", "evidence.json", "index.html", "--suite mechanism"):
            assert english.count(mark) == text.count(mark), (mark, english)
        if english[-1] in ".:?":
            assert text[-1] == english[-1], english


@pytest.mark.parametrize("code", languages.CODES)
def test_a_sentence_denies_what_the_english_one_denies(code: str) -> None:
    """A lost "not" would turn a privacy statement round; of several in one sentence it finds the loss of all."""
    denial = {
        "de": r"\b(nicht|kein\w*|niemand|weder|nein|ohne)\b|\bunzureichend",
        "nl": r"\b(niet|geen|nee|zonder|noch)\b|\bonvoldoende",
        "fr": r"\b(ne|non|aucun\w*|ni|sans)\b|\bn['’]|\binsuffisant",
    }[code]
    for english, text in pairs(code):
        if re.search(r"\b(not|no|nothing|cannot|without|neither|none)\b", english, re.I):
            assert re.search(denial, text, re.I), (english, text)


def test_unknown_languages_are_refused_with_the_list() -> None:
    with pytest.raises(UsageError, match="no translation into 'xx'") as refused:
        languages.load("xx")
    assert all(code in (refused.value.hint or "") for code in languages.CODES)


def test_without_babel_the_refusal_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "find_spec", lambda name: None)
    languages.check([])
    with pytest.raises(UsageError, match="translations need Babel") as refused:
        languages.check(["de"])
    assert "[languages]" in (refused.value.hint or "")


def test_a_language_exchanges_separators_and_writes_dates_its_own_way() -> None:
    said = message("{auc} times in a hundred", auc=figure(1234.5, ",.1f"))
    shown = {code: languages.load(code).say(said) for code in languages.CODES}
    assert ENGLISH.say(said) == "1,234.5 times in a hundred"
    assert shown["de"] == "in 1.234,5 von hundert Fällen"
    assert shown["nl"] == "1.234,5 van de honderd keer"
    assert shown["fr"] == "1\u202f234,5 fois sur cent"
    due = message("on {day} at the latest", day=Day("2027-11-20"))
    assert languages.load("de").say(due) == "spätestens am 20. November 2027"
    assert languages.load("nl").say(due) == "uiterlijk op 20 november 2027"
    assert languages.load("fr").say(due) == "le 20 novembre 2027 au plus tard"
    assert languages.load("fr").write_day(Day("2027-03-01")) == "1er mars 2027"


def test_numbers_choose_the_plural() -> None:
    for number, german in ((1, "1 Angriff"), (2, "2 Angriffe"), (1000, "1.000 Angriffe")):
        said = counted("{number} attack", "{number} attacks", number)
        assert languages.load("de").say(said) == german
        assert ENGLISH.say(said) == f"{number:,} attack{'s' if number > 1 else ''}"
