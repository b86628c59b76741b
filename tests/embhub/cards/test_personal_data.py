"""Signs of a person are found, named and never repeated; medical prose and ordinary file names pass."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.cards import card
from embhub.cards.personal_data import (
    looks_like_patient,
    personal_data,
    personal_data_in_card,
    personal_data_in_release,
)
from embhub.cards.readme import to_readme
from tests.support import cards
from tests.support.quick import others_thorough

SEEN = [
    ("mail jane.doe@hospital.example", "e-mail"),
    ("patient Jane Smith, left lung", "name"),
    ("Smith, Jane", "name"),
    ("seen by Dr. Mueller", "name"),
    ("Mrs Jones had a scan", "name"),
    ("Herr Schulze", "name"),
    ("DOE^JANE", "name"),
    ("born 12.04.1956", "birth"),
    ("DOB: 1956-04-12", "birth"),
    ("1956-04-12 (geb.)", "birth"),
    ("MRN 0012345", "record"),
    ("accession no. A12345678", "record"),
    ("patient id 483920", "record"),
    ("see 483920184", "record"),
    ("NHS 943 476 5919", "NHS"),
    ("SSN 078-05-1120", "social security"),
    ("call +31 24 361 11 11", "telephone"),
    ("tel. 024-3611111", "telephone"),
    ("1.2.840.113619.2.55.3.604688119.971.1", "UID"),
    ("2.25.329800735698586629295641978511506172918.1.2.3.4.5", "UID"),
]

PASSES = [
    "Clinically significant prostate cancer on axial T2-weighted MRI, 3 T, Siemens Skyra.",
    "Amsterdam, Netherlands; Radboud University, Nijmegen.",
    "Robert Koch Institute and St. Thomas Hospital data, Johns Hopkins.",
    "Trained for 5000 steps on 100 images, learning rate 0.005, 512 x 512 px, January 2024.",
    "GDPR Art. 9(2)(j); ethics 2016-3045; doi:10.17632/rscbjbr9sj.2; arXiv 2411.14639; ISO 8601.",
    "MR imaging of the knee, MS lesions, patient positioning: Supine. Case 12 of 30, patient 0001.",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "Crohn disease, Hodgkin lymphoma, Parkinson, and Alice in Wonderland syndrome.",
    "axial t2 prostate mri, {}",
    "https://creativecommons.org/licenses/by/4.0/",
    "ages 50-64: 41; 2015-2020; version 1.0.0; RID343; CID 7050 113100",
]


@pytest.mark.parametrize(("text", "kind"), SEEN)
def test_a_sign_of_a_person_is_named_and_not_repeated(text: str, kind: str) -> None:
    found = personal_data(f"First line.\n{text}")
    assert any(kind in finding for finding in found)
    assert all("line 2" in finding for finding in found)
    values = [word for word in text.split() if any(char.isdigit() for char in word) or "@" in word or "^" in word]
    assert not any(value in finding for value in values for finding in found)


@pytest.mark.parametrize("text", PASSES)
def test_medical_prose_passes(text: str) -> None:
    assert personal_data(text) == []


HOSTILE = [
    "1.",
    "a@",
    "a.",
    "a",
    "Jane ",
    "Jane, ",
    "+12 ",
    "a^",
    "'",
    "-",
    "0",
    "1",
    "born ",
    "born 12.",
    "Dr ",
    "patient 0",
    "A-a",
    "Ab ",
]


@given(st.text(max_size=300))
def test_any_text_is_read_quickly_and_without_an_error(text: str) -> None:
    assert isinstance(personal_data(text), list)
    looks_like_patient(text)


@pytest.mark.parametrize("piece", others_thorough(HOSTILE, HOSTILE[::3]))
def test_hostile_text_takes_no_more_than_a_moment(piece: str) -> None:
    """Time grows with the length, not with its square."""
    text = piece * (80_000 // len(piece))
    start = time.process_time()
    personal_data(text)
    looks_like_patient(text)
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "name",
    [
        "Smith_Jane.png",
        "jane-smith-mri.jpg",
        "JaneSmith.dcm",
        "DOE^JOHN.dcm",
        "scans/MRN0012345/slice1.png",
        "19560412_ct.png",
        "1956-04-12.png",
        "patient_4839201.png",
        "4839201.png",
        "1.2.840.113619.2.55.3.604688119.971.1.dcm",
        "jane.doe@hospital.example.png",
        "078-05-1120.png",
        "DrMueller/Dr Mueller 1.png",
    ],
)
def test_file_names_that_look_like_patients(name: str) -> None:
    kind = looks_like_patient(name)
    assert kind
    assert name not in kind


@pytest.mark.parametrize(
    "name",
    [
        "bacteria-0001.jpg",
        "images/normal-0123.jpeg",
        "person1000_bacteria_2931.jpeg",
        "patient00001/study1/view1_frontal.jpg",
        "00000013_005.png",
        "IMG_20240131_101500.jpg",
        "ProstateX-0001_t2_axial.nii.gz",
        "csPCa_012.tiff",
        "max_projection_left_lung.png",
        "a.png",
        "",
    ],
)
def test_ordinary_file_names_pass(name: str) -> None:
    assert looks_like_patient(name) is None


def test_a_sound_card_passes_and_its_readme_too() -> None:
    found = card.parse(cards.complete())
    assert personal_data_in_card(found) == []
    assert to_readme(found)


def complete_base(revision: str) -> dict[str, Any]:
    return {**cards.complete()["base_model"], "revision": revision}


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"description": "The lesion of Jane Smith."}, "description"),
        ({"labels": {"source": "Dr. Mueller", "annotators": "two"}}, "labels.source"),
        ({"population": {"sex": {"Jane Smith": 12}}}, "population.sex"),
        ({"limitations": "Ask jane@hospital.example."}, "limitations"),
        ({"base_model": complete_base("for Jane Smith, MRN 1234567")}, "base_model.revision"),
        ({"contact_role": "Dr. Mueller"}, "contact_role"),
        ({"finding": [{"system": "local", "code": "x", "display": "MRN 0012345"}]}, "finding"),
        (
            {"evaluation": [{"task": "t", "dataset": "of Jane Smith", "metric": "AUC", "value": 0.5}]},
            "evaluation",
        ),
    ],
)
def test_a_person_in_a_card_is_found_with_the_field(change: dict[str, Any], place: str) -> None:
    found = personal_data_in_card(card.parse(cards.complete(**change)))
    assert found and all(place in finding for finding in found)


def test_a_mailbox_as_contact_and_named_authors_are_what_was_asked_for() -> None:
    named = cards.complete(contact_role="data-office@hospital.example, +31 24 361 11 11", authors=["Jane Smith"])
    assert personal_data_in_card(card.parse(named)) == []


def test_a_release_is_read_beyond_its_card() -> None:
    found = card.parse(cards.complete(authors=["Jane Smith"]))
    readme = to_readme(found)
    assert (
        personal_data_in_release(found, readme=readme, training={"caption": "a scan of {}", "tool": "MRN 12345678"})
        != []
    )
    assert personal_data_in_release(found, readme=readme, training={"caption": "a scan of {}", "steps": 5000}) == []
    edited = readme + b"\nThanks to patient John Miller.\n"
    number = edited.count(b"\n")
    assert personal_data_in_release(found, readme=edited, training={}) == [
        f"a person's name in line {number} of README.md"
    ]
    told = personal_data_in_release(found, readme=readme, training={"caption": "mri of Jane Smith, {}"})
    assert told == ["a person's name in the training fact caption"]


def test_given_names_among_apostrophes_take_no_time() -> None:
    text = ("John Smith" + "'-" * 32 + " ") * 2_000
    started = time.process_time()
    personal_data(text)
    assert time.process_time() - started < 1.5


@pytest.mark.parametrize(
    "name",
    ["kellgren-lawrence-4", "Kellgren_Lawrence 2", "KellgrenLawrence3.png", "spetzler-martin-3", "nancy-index-1"],
)
def test_scales_named_after_people_are_no_names(name: str) -> None:
    assert looks_like_patient(name) is None


@pytest.mark.parametrize(
    "name", ["kellgren-lawrence-4-martin", "thomas_kellgren-lawrence", "lawrence-4", "spetzler martina"]
)
def test_a_name_beside_a_scale_is_still_seen(name: str) -> None:
    assert looks_like_patient(name) == "a person's name"


def test_eponyms_take_no_time() -> None:
    started = time.process_time()
    looks_like_patient("kellgren" + "-_. " * 20_000)
    looks_like_patient("hand schuller " * 5_000)
    assert time.process_time() - started < 1.5
