"""README.md: deterministic, valid for the Hub, and the card comes back out of it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from hypothesis import given, settings

from embhub.cards import card
from embhub.cards.readme import PRIVACY_WORDS, BadReadmeError, read_front_matter, to_readme
from embhub.errors import ArtifactError
from tests.support import cards
from tests.support.quick import examples


@settings(max_examples=examples(40))
@given(cards.cards())
def test_the_card_comes_back(values: dict[str, Any]) -> None:
    found = card.parse(values)
    readme = to_readme(found)
    assert card.from_readme(readme) == found
    assert to_readme(card.from_readme(readme)) == readme


@settings(max_examples=examples(40))
@given(cards.cards())
def test_the_hub_reads_the_same_front_matter(values: dict[str, Any]) -> None:
    found = card.parse(values)
    theirs = ModelCard(to_readme(found).decode())
    assert isinstance(theirs.data, ModelCardData) and theirs.data.tags is not None
    assert theirs.data.library_name == "diffusers"
    assert theirs.data.pipeline_tag == "text-to-image"
    assert theirs.data.tags[:2] == ["embhub", "textual-inversion"]
    assert theirs.data.to_dict()["embhub"]["token"] == found.token
    assert theirs.text.lstrip().startswith("# ")


def _front(**changes: Any) -> dict[str, Any]:
    text = to_readme(card.parse(cards.complete(**changes))).decode()
    values: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return values


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("cc-by-4.0", {"license": "cc-by-4.0"}),
        ("LicenseRef-creativeml-openrail-m", {"license": "creativeml-openrail-m"}),
        ("LicenseRef-Own", {"license": "other", "license_name": "licenseref-own"}),
    ],
)
def test_the_licence_is_one_that_the_hub_knows(licence: str, expected: dict[str, str]) -> None:
    front = _front(licence=licence)
    assert {key: front[key] for key in expected} == expected
    assert ("license_link" in front) == (front["license"] == "other")


def test_facets_for_searching() -> None:
    front = _front()
    assert front["base_model"] == "stabilityai/stable-diffusion-2-base"
    assert front["tags"] == [
        "embhub",
        "textual-inversion",
        "modality:MR",
        "anatomy:prostate",
        "finding:prostate-cancer",
    ]
    assert front["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.8


def test_a_base_that_is_not_on_the_hub_is_not_named_as_if_it_were() -> None:
    assert "base_model" not in _front(base_model=cards.complete()["base_model"] | {"id": "builtin"})


def test_it_says_in_plain_words_what_a_reader_must_know() -> None:
    text = to_readme(card.parse(cards.complete())).decode()
    for words in (
        PRIVACY_WORDS,
        "`<cspca>`",
        "not for the care of patients",
        "Augmenting training sets in research.",
        "Diagnosis, or any decision about a patient.",
        "One scanner",
        "LicenseRef-creativeml-openrail-m",
        "insufficient-evidence",
        "not evidence of safety",
        "contains no image file",
        "100 of 50-100 patients",
        "50-64: 41; 65-79: &lt;10; male: 80; Europe",
        "Siemens, 2015-2020",
        "- classification, PROSTATEx: AUC 0.8 [0.7, 0.9]",
    ):
        assert words in text
    assert "anonym" not in text.lower()
    assert "holds no image" not in text  # nobody can promise that of numbers learned from images


def test_the_text_of_a_schema_is_frozen() -> None:
    """Releases carry these bytes, and `verify` compares: other words would void every card that was ever signed."""
    found = card.parse(cards.complete())
    assert found.schema_ == "embhub.card/1"
    assert hashlib.sha256(to_readme(found)).hexdigest() == (
        "4e99bdb220963b2c8b2727701e099a3ff9bdd6334beba135a990f6ee8f2c94f9"
    )


def test_what_a_person_wrote_stays_text() -> None:
    hostile = "<script>alert(1)</script> [x](javascript:1) ![y](http://z) | # `a` *b*"
    body = to_readme(card.parse(cards.complete(description=hostile, publisher="# H | x"))).decode().split("---\n", 2)[2]
    assert "<script" not in body
    assert "](javascript" not in body.replace("\\]", "")
    assert "| Publisher | \\# H \\| x |" in body


def test_an_edited_text_still_gives_the_card() -> None:
    found = card.parse(cards.complete())
    assert card.from_readme(to_readme(found) + b"\nMore.\n") == found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# no front matter\n",
        b"---\nlicense: mit\n---\n# x\n",
        b"---\nembhub: 3\n---\n",
        b"---\n- a\n---\n",
        b"---\nembhub: &a {x: *a}\n---\n",
        b"---\nembhub: {}\nembhub: {}\n---\n",
        b"---\nembhub: {}\n",
        b"\xff---\n",
        b"---\n" + b"x" * 250_000 + b"\n---\n",
    ],
)
def test_what_is_no_readme_of_a_release(data: bytes) -> None:
    with pytest.raises(BadReadmeError) as caught:
        read_front_matter(data)
    assert caught.value.hint


def test_an_incomplete_card_in_a_readme_is_refused() -> None:
    with pytest.raises(ArtifactError, match="is missing"):
        card.from_readme(b"---\nembhub:\n  name: x\n---\n")
