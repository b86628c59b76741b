"""docs/reference on the core's formats says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from embhub.artifact import header
from embhub.artifact.embedding import LAYOUTS
from embhub.cards import card
from embhub.cards.card_schema import FIELDS, REQUIRED
from embhub.cards.vocabulary import CODE_SYSTEMS, DEIDENTIFICATION, MODALITIES
from embhub.errors import ArtifactError
from embhub.formats import tensors

DOCS = Path(__file__).parents[2] / "docs" / "reference"
CARD = (DOCS / "card.md").read_text()
FORMAT = (DOCS / "embedding-format.md").read_text()


def _rows(text: str, heading: str) -> list[list[str]]:
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_field_of_the_card_is_described_in_its_own_words() -> None:
    assert _rows(CARD, "Fields") == [
        [f"`{name}`", "yes" if name in REQUIRED else "", meaning] for name, meaning in FIELDS.items()
    ]


def test_the_cards_word_lists_are_complete() -> None:
    assert {row[0]: row[1] for row in _rows(CARD, "Modalities")} == {
        f"`{code}`": name for code, name in MODALITIES.items()
    }
    told = {row[0]: row[1] for row in _rows(CARD, "De-identification")}
    assert told == {f"`{code}`": name for code, name in DEIDENTIFICATION.items()}
    assert all(f"`{system}`" in CARD for system in CODE_SYSTEMS)


def test_the_example_card_is_sound() -> None:
    example = re.search(r"```yaml\n(schema: .*?)```", CARD, re.DOTALL)
    assert example
    assert card.parse_yaml(example[1].encode()).token == yaml.safe_load(example[1])["token"]


def test_the_header_keys_and_training_facts_are_listed() -> None:
    assert {row[0].strip("`") for row in _rows(FORMAT, "Header")} == {*header.REQUIRED_KEYS, *header.OPTIONAL_KEYS}
    facts = FORMAT.split("## Training facts\n")[1].split("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", facts)) == set(header.TRAINING_FACTS)


def test_the_layouts_are_listed() -> None:
    told = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in _rows(FORMAT, "Layouts")}
    assert told == {layout: set(names) for layout, names in LAYOUTS.items()}


def test_the_limits_are_those_of_the_code() -> None:
    for limit in (tensors.MAX_BYTES, tensors.MAX_HEADER, tensors.MAX_ROWS, tensors.MAX_WIDTH):
        assert f"{limit:,}" in FORMAT
    errors = {
        error.__name__
        for error in vars(tensors).values()
        if isinstance(error, type) and issubclass(error, ArtifactError)
    }
    assert set(re.findall(r"^\| `(\w+)` \|", FORMAT.split("## Refusals\n")[1], re.M)) == errors - {"ArtifactError"}
