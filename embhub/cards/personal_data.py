"""Signs of a person in a text or a file name.

Conservative where a shape is unmistakable (identifiers, addresses, birth dates, titles), and bounded by a list of
common given names where it is not ("Amsterdam, Netherlands" is no patient). It finds carelessness, not
concealment: passing it proves nothing. A report names the kind and the place, never the value, since a report travels
further than the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from embhub.cards.card_schema import Card
from embhub.cards.readme import to_readme

MOST_FINDINGS = 20

# Common ones of several languages, without everyday words of English or of imaging: `max`, `mark`, `iris`, `rose` and
# their like would hit projections, eyes and sentences.
_NAMES = """
aaron abdul abigail adam adele adriana agnes ahmed aisha alan albert alessandro alejandro alex alexander alexandra
alfred alice alicia amanda amelia amina ana anastasia anders andrea andreas andrew andrzej angela anita anna anne
annemarie anneke annika antonio antonia arthur astrid barbara bart beatrice benjamin bernard bernd bert birgit bjorn
bram brenda brian brigitte camille carlos carmen carol caroline catherine cecilia charles charlotte chloe christa
christian christiane christina christine christoph christopher clara claudia claus cornelia cornelis daniel daniela
danielle david deborah denise dennis diana diego dieter dimitri dirk dmitri dolores dominik donald dorothea dorothy
douglas edith eduardo edward elena elisabeth elizabeth ella emilia emily emma enrico eric erik erika ernst esther
eugene eva evelyn fatima felix fernando filip florian francesca francesco francis francisco frank franz frederic
frederik friedrich fritz gabriel gabriela geert george georg georgios gerald gerard gerda gerhard giovanni giulia
giuseppe gordon greta guido guillaume gunther gustav hannah hans harald harold hassan heather heidi heike heinrich
heinz helen helena helga helmut hendrik henri henry herbert hermann hiroshi horst howard hugo ibrahim igor ingrid
irena irene isaac isabel isabella ivan jack jacob jacqueline jacques jakob jakub james jane janet javier jean
jeffrey jennifer jens jeremy jessica joan joanna johan johann johanna johannes john jonas jonathan jorge jose josef
joseph joshua juan juergen julia julian julie jurgen karen karin karl katarzyna kate katharina katherine kathleen
katrin keith kenneth kevin khaled kimberly klaas klaus koen konrad krzysztof lars laura lauren laurent lawrence
leila lena leon leonardo lieke linda lisa lise louis louise lucas lucia luigi luis lukas magdalena manfred manuel
marcel marcin marco margaret margarethe maria marian marianne marie marieke marija mario marion marta martha martijn
martin martina mary matteo matthew matthias maurice mehmet melissa michael michaela michel michelle miguel mikhail
mohamed mohammed monica monika muhammad mustafa nadia nancy natalia natalie natasha nathan nicholas nicola nicolas
nicole niels nikolai nina norbert olga oliver olivia omar oscar otto pablo pamela paolo patricia patrick paul paula
pauline pavel pedro peter petra philip philippe pierre pieter piotr rachel rafael rainer ralf ralph raymond rebecca
regina renate renee ricardo richard rita robert roberto roger roland rolf ronald rosa rosemarie rudolf ruth ruud
samantha samuel sandra sara sarah sebastian sergei sergio sharon sibylle siegfried sigrid simone sofia sonja sophia
sophie stefan stefanie stephan stephanie stephen steven stijn susan susanne svetlana sven sylvia tanja tatiana
teresa theodor theresa thomas thorsten timothy tobias torsten ulrich ulrike ursula uwe valentina valerie vanessa
vera veronica victoria vincent virginia vladimir volker walter waltraud wang wei werner wilhelm willem william
wolfgang xavier yasmin yusuf yvonne zhang zofia
"""
_GIVEN_NAMES = frozenset(_NAMES.split())

_NAMED_AFTER = """
kellgren lawrence
charcot marie tooth
marie struempell
marie strumpell
nancy index
nancy score
thomas splint
spetzler martin
weber christian
hand schueller christian
hand schuller christian
jakob creutzfeldt
creutzfeldt jakob
pierre robin sequence
pierre robin syndrome
alexander disease
christian disease
"""
_BETWEEN = r"[\s_.-]*"
_SPELLINGS = "|".join(_BETWEEN.join(words.split()) for words in _NAMED_AFTER.strip().splitlines())
_EPONYMS = re.compile(rf"(?i:(?<![a-z])(?:{_SPELLINGS})(?![a-z]))")
"""Scales and diseases of imaging that are named after people, and hold a given name of the list."""

_DATE = (
    r"(?:(?:19|20)\d\d[-./](?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])[-./](?:0?[1-9]|1[0-2])[-./](?:19|20)\d\d)(?!\d)"
)
_BORN = r"(?i:\b(?:born|birth|birthdate|d\.?o\.?b|geb|geboren|né|née|nacid[oa]|nat[oa])\b)"
_RECORD = r"(?i:(?<![a-z])(?:mrn|medical record|record|accession|dossier|ipp)(?![a-z]))"
_PATIENT = r"(?i:(?<![a-z])(?:patient|pat|pid|case|study)(?![a-z]))"
_NUMBER = r"(?i:[\s._-]*(?:no|nr|number|id|num)\b)?[\s._:#=-]{0,3}[A-Za-z]{0,3}0*"

_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("an e-mail address", re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")),
    ("a DICOM UID", re.compile(r"(?<![\d.])[0-2](?:\.(?:0|[1-9]\d*)){6,}(?!\d)|(?<![\d.])1\.2\.840\.\d+(?:\.\d+)+")),
    ("a date of birth", re.compile(rf"{_BORN}\D{{0,20}}{_DATE}|{_DATE}\D{{0,20}}{_BORN}")),
    ("a person's name", re.compile(r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Herr|Frau|Mme|Sra?|Mevr|Dhr)\b\.? [A-ZÀ-Þ][a-zß-ÿ]+")),
    ("a person's name", re.compile(r"(?<![A-Za-z])[A-Za-zÀ-ÿ'-]{2,40}\^[A-Za-zÀ-ÿ'-]+")),
    ("a record number", re.compile(rf"{_RECORD}{_NUMBER}\d{{4,}}|{_PATIENT}{_NUMBER}[1-9]\d{{5,}}")),
    ("a record number", re.compile(r"(?<![\w.,:/-])0*[1-9]\d{7,}(?![\w,:/-])(?!\.\d)")),
    ("an NHS number", re.compile(r"(?<![\d-])\d{3}[ -]\d{3}[ -]\d{4}(?![\d-])")),
    ("a social security number", re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")),
    (
        "a telephone number",
        re.compile(
            r"(?<![\w.])\+\d{1,3}(?:[ ./()-]{0,2}\d{2,4}){3,5}|(?i:\b(?:tel|phone|telefon|fax)\b)\D{0,4}\d[\d ()/-]{5,}"
        ),
    ),
)
_WORD = re.compile(r"[A-ZÀ-ÖØ-Þ][A-Za-zÀ-ÿ'’]+(?:-[A-ZÀ-Þ][a-zß-ÿ]+)?")
_INSTITUTION = re.compile(
    r"(?:[^\w'-]{1,3}[\w'-]{1,30}){0,2}?[^\w'-]{1,3}(?:Hospital|University|Universit\w+|Institut\w*|Clinic|Klinik\w*|Cent(?:er|re)|"
    r"College|Foundation|School|Medical|Archive|Award|Data\w*|Tropical|Disease|Syndrome|Sign)\b"
)

# A file name has no sentence round it: shapes that would be noise in prose say enough here.
_OLD_DATE = re.compile(r"(?<!\d)19\d\d[-._]?(?:0[1-9]|1[0-2])[-._]?(?:0[1-9]|[12]\d|3[01])(?!\d)")
_DIGITS = re.compile(r"(?<!\d)0*([1-9]\d{6,})(?!\d)")
_RECENT_DATE = re.compile(r"20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{6})?")

# Fields of the card where a name, a code or an address is what was asked for.
# An ORCID iD names an author by their own will; its form leaves room for nothing else, and neither does a ROR's.
_PUBLIC_FIELDS = frozenset({"schema", "authors", "orcid", "publisher", "ror", "licence_link", "vectors"})
_OF_BASES = ("base_model.id", "base_model.fingerprint", "base_model.family", "base_model.licence")
_MAILBOX = frozenset({"an e-mail address", "a telephone number"})


def personal_data(text: str) -> list[str]:
    """The first signs of a person in `text`, each as `kind at line N, column M`; empty when none is seen."""
    found = [(match.start(), kind) for kind, pattern in _SHAPES for match in pattern.finditer(text)]
    found += [(place, "a person's name") for place in _find_names(text)]
    return list(dict.fromkeys(f"{kind} at {_place(text, place)}" for place, kind in sorted(found)[:MOST_FINDINGS]))


def personal_data_in_card(card: Card) -> list[str]:
    """Signs of a person in what the card says in free text, each as `kind in field`.

    Authors and publisher may be named, a contact may be a mailbox, and codes of a code system are numbers.
    """
    found: list[str] = []
    for field, value in card.to_dict().items():
        if field in _PUBLIC_FIELDS:
            continue
        for place, text in _texts(value, field):
            if place.endswith((".code", ".system", ".sha256", ".embedding")) or place.startswith(_OF_BASES):
                continue
            kinds = [_kind(finding) for finding in personal_data(text)]
            found += [f"{kind} in {place}" for kind in kinds if not (field == "contact_role" and kind in _MAILBOX)]
    return list(dict.fromkeys(found))


def personal_data_in_release(card: Card, *, readme: bytes, training: Mapping[str, Any]) -> list[str]:
    """Signs of a person in all that a release says: card, training facts, and what README.md says beyond the card."""
    found = personal_data_in_card(card)
    rendered = set(to_readme(card).decode("utf-8").splitlines())
    for number, line in enumerate(readme.decode("utf-8", "replace").splitlines(), start=1):
        if line not in rendered:
            found += [f"{_kind(finding)} in line {number} of README.md" for finding in personal_data(line)]
    for fact, value in training.items():
        found += [f"{_kind(finding)} in the training fact {fact}" for finding in personal_data(str(value))]
    return list(dict.fromkeys(found))


def looks_like_patient(name: str) -> str | None:
    """The kind of personal data that a file name or relative path seems to carry, None when none is seen."""
    for part in re.split(r"[/\\]", name):
        stem = re.sub(r"(\.[A-Za-z]{2,4}){1,2}$", "", part)
        for kind, pattern in _SHAPES:
            if kind != "a telephone number" and pattern.search(stem):
                return kind
        if _OLD_DATE.search(stem):
            return "a date of birth"
        if any(not _RECENT_DATE.fullmatch(match[1]) for match in _DIGITS.finditer(stem)):
            return "a record number"
        words = re.findall(r"[A-ZÀ-Þ]?[a-zß-ÿ]+|[A-ZÀ-Þ]+(?![a-zß-ÿ])", _EPONYMS.sub(" ", stem))
        if any(word.lower() in _GIVEN_NAMES for word in words):
            return "a person's name"
    return None


def _find_names(text: str) -> list[int]:
    """Places of `Given Family` and `Family, Given` for common given names, institutions named after people apart."""
    places = []
    for first, second in pairwise(_WORD.finditer(text)):
        between = text[first.end() : second.start()]
        given = {" ": first, ", ": second, ",": second}.get(between)
        if given is not None and given[0].lower() in _GIVEN_NAMES and not _INSTITUTION.match(text, second.end()):
            institution = _INSTITUTION.match(text, first.end())
            if not (institution and institution.end() <= second.end()):
                places.append(first.start())
    return places


def _texts(value: Any, place: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(place, value)]
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in [(place, key), *_texts(item, f"{place}.{key}")]]
    if isinstance(value, list):
        return [pair for item in value for pair in _texts(item, place)]
    return []


def _kind(finding: str) -> str:
    return finding.split(" at line ")[0]


def _place(text: str, offset: int) -> str:
    line = text.count("\n", 0, offset) + 1
    return f"line {line}, column {offset - text.rfind(chr(10), 0, offset)}"
