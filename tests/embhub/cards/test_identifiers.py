"""Identifiers in a citation: a mistyped one is refused, a right one names an author, and neither lets anything by."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from embhub.cards import card, identifiers
from embhub.cards.card import BadCardError
from embhub.cards.personal_data import personal_data_in_card
from tests.support import cards
from tests.support.quick import examples

# As their registries print them: an example of ORCID's own, and institutions of three continents.
REAL_ORCIDS = ["0000-0002-1825-0097", "0000-0001-5109-3700", "0000-0002-1694-233X"]
REAL_RORS = ["05wg1m734", "03xjwb503", "02mhbdp94", "00f54p054"]
BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


@st.composite
def orcids(draw: st.DrawFn) -> str:
    digits = draw(st.text("0123456789", min_size=15, max_size=15))
    whole = digits + identifiers.orcid_checksum(digits)
    return "-".join(whole[at : at + 4] for at in range(0, 16, 4))


@st.composite
def rors(draw: st.DrawFn) -> str:
    coded = "0" + draw(st.text(BASE32, min_size=6, max_size=6))
    return coded + identifiers.ror_checksum(coded)


def read(**changes: Any) -> card.Card:
    return card.parse(cards.complete(authors=["Jane Smith", "Department of Radiology"], **changes))


@pytest.mark.parametrize("text", REAL_ORCIDS)
def test_real_orcids_are_taken(text: str) -> None:
    assert identifiers.check_orcid(text) == identifiers.check_orcid(f"https://orcid.org/{text}")


@pytest.mark.parametrize("text", REAL_RORS)
def test_real_rors_are_taken(text: str) -> None:
    assert identifiers.check_ror(text) == identifiers.check_ror(f"https://ror.org/{text}") == f"https://ror.org/{text}"


@given(orcids(), st.integers(0, 15), st.sampled_from("0123456789X"))
def test_one_wrong_digit_of_an_orcid_is_seen(text: str, place: int, wrong: str) -> None:
    assert identifiers.check_orcid(text).endswith(text)
    at = place + place // 4  # past the hyphens
    changed = text[:at] + wrong + text[at + 1 :]
    if changed != text:
        with pytest.raises(ValueError, match="ORCID"):
            identifiers.check_orcid(changed)


@given(orcids(), st.integers(0, 14))
def test_two_swapped_digits_of_an_orcid_are_seen(text: str, place: int) -> None:
    plain = list(text.replace("-", ""))
    plain[place], plain[place + 1] = plain[place + 1], plain[place]
    changed = "-".join("".join(plain[at : at + 4]) for at in range(0, 16, 4))
    if changed != text:
        with pytest.raises(ValueError, match="ORCID"):
            identifiers.check_orcid(changed)


@given(rors(), st.integers(1, 8), st.sampled_from(BASE32))
def test_one_wrong_character_of_a_ror_is_seen(text: str, place: int, wrong: str) -> None:
    assert identifiers.check_ror(text).endswith(text)
    changed = text[:place] + wrong + text[place + 1 :]
    if changed != text:
        with pytest.raises(ValueError, match="ROR"):
            identifiers.check_ror(changed)


@given(st.text(max_size=60))
@example("https://orcid.org/0000-0002-1825-0097\n")
@example("٠٠٠٠-0002-1825-0097")
@example("0000-0002-1825-0097 born 1960-01-02")
@example("https://ror.org/05wg1m734?patient=12345678")
def test_no_other_text_is_an_identifier(text: str) -> None:
    for check in (identifiers.check_orcid, identifiers.check_ror):
        with pytest.raises(ValueError):
            check(text)


@pytest.mark.parametrize("text", ["10.5281/zenodo.1234567", "doi:10.1000/182", "https://doi.org/10.1109/5.771073"])
def test_a_doi_has_one_spelling(text: str) -> None:
    assert read(doi=text).doi == text.removeprefix("doi:").removeprefix("https://doi.org/")


@pytest.mark.parametrize(
    "text",
    ["11.5281/a", "10.12/a", "10.5281/", "10.5281/a b", "10.5281/}\\x{", "10.5281/a\n", "10.5281/<b>", "zenodo.1"],
)
def test_other_texts_are_no_doi(text: str) -> None:
    with pytest.raises(BadCardError, match="doi"):
        read(doi=text)


@settings(max_examples=examples(25))
@given(orcids(), rors())
def test_who_agreed_to_be_named_is_no_finding(orcid: str, ror: str) -> None:
    found = read(orcid={"Jane Smith": orcid}, ror=ror, doi="10.5281/zenodo.12345678")
    assert personal_data_in_card(found) == []
    assert card.parse(found.to_dict()) == found
    assert f"https://orcid.org/{orcid}" in card.to_readme(found).decode()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"orcid": {"John Doe": REAL_ORCIDS[0]}}, "not among the authors"),
        ({"orcid": {"Jane Smith": REAL_ORCIDS[0], "Department of Radiology": REAL_ORCIDS[0]}}, "two authors"),
        ({"orcid": {"Jane Smith": "0000-0002-1825-0098"}}, "checksum"),
        ({"orcid": {}}, "orcid"),
        ({"orcid": REAL_ORCIDS[0]}, "orcid"),
        ({"ror": "https://ror.org/05wg1m735"}, "checksum"),
        ({"ror": "https://evil.example/05wg1m734"}, "ROR"),
    ],
)
def test_what_names_nobody_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadCardError, match=problem):
        read(**changes)


def test_a_doi_is_searched_like_any_text() -> None:
    assert personal_data_in_card(read(doi="10.1234/mrn-0012345")) == ["a record number in doi"]


def test_a_card_without_them_says_nothing_of_them() -> None:
    assert not {"orcid", "ror", "doi"} & set(read().to_dict())
    assert b"ORCID" not in card.to_readme(read()) and b"DOI" not in card.to_readme(read())
