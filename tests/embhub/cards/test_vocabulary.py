"""The card's word lists."""

from __future__ import annotations

import pytest

from embhub.cards.vocabulary import CODE_SYSTEMS, HUB_LICENCES, MODALITIES, check_code, check_licence, hub_licence


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("cc-by-4.0", "CC-BY-4.0"),
        ("apache-2.0 or mit", "Apache-2.0 OR MIT"),
        ("LicenseRef-creativeml-openrail-m", "LicenseRef-creativeml-openrail-m"),
    ],
)
def test_licences_get_their_spdx_spelling(written: str, canonical: str) -> None:
    assert check_licence(written) == canonical


@pytest.mark.parametrize("written", ["", "free", "CC BY 4.0", "LicenseRef-", "MIT AND", "(" * 5000])
def test_what_is_no_licence(written: str) -> None:
    with pytest.raises(ValueError, match="SPDX"):
        check_licence(written)


@pytest.mark.parametrize(
    ("licence", "word"),
    [
        ("CC-BY-4.0", "cc-by-4.0"),
        ("LicenseRef-CreativeML-OpenRAIL-M", "creativeml-openrail-m"),
        ("Apache-2.0 OR MIT", "other"),
        ("LicenseRef-Own", "other"),
    ],
)
def test_the_hubs_word_for_a_licence(licence: str, word: str) -> None:
    assert hub_licence(licence) == word


@pytest.mark.parametrize(
    ("system", "code"),
    [
        ("RadLex", "RID343"),
        ("SNOMED CT", "399068003"),
        ("ICD-10", "C61"),
        ("ICD-10", "J18.9"),
        ("ICD-11", "2C82.0"),
        ("ICD-O", "C61.9"),
        ("ICD-O", "8140/3"),
        ("local", "phantom-7"),
    ],
)
def test_codes_have_the_shape_of_their_system(system: str, code: str) -> None:
    check_code(system, code)
    for wrong in ("", f"{code} ", f" {code}", "prostate cancer", "../x"):
        with pytest.raises(ValueError, match=system):
            check_code(system, wrong)


def test_every_modality_is_a_code_string() -> None:
    """DICOM CS: at most 16 characters, upper case."""
    assert all(code.isupper() and len(code) <= 16 for code in MODALITIES)
    assert "RadLex" in CODE_SYSTEMS


@pytest.mark.parametrize("word", sorted(HUB_LICENCES - {"cc", "bsd", "gpl", "lgpl", "gfdl"}))
def test_every_licence_of_the_hub_is_understood_and_goes_back_as_it_came(word: str) -> None:
    canonical = check_licence(word)
    assert check_licence(canonical) == canonical
    assert hub_licence(canonical) == word


@pytest.mark.parametrize("word", ["cc", "bsd", "gpl", "lgpl", "gfdl", "GPL"])
def test_a_family_of_licences_is_asked_which_one(word: str) -> None:
    with pytest.raises(ValueError, match="which one"):
        check_licence(word)
