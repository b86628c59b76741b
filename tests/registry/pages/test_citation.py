"""Citations: nothing that a card says ends a field of BibTeX or begins a command."""

from __future__ import annotations

import re

import yaml
from hypothesis import given
from hypothesis import strategies as st

from embhub_registry.pages import citation
from tests.support import releases

CARD = releases.make_release().card
LINES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60)


@given(LINES)
def test_a_field_stays_one_field(text: str) -> None:
    escaped = citation.escape(text)
    plain = re.sub(r"\\text(backslash|asciitilde|asciicircum)\{\}|\\[{}$&%#_]", "", escaped)
    assert not set(plain) & set("\\{}$&%#_~^")


@given(LINES, LINES)
def test_hostile_names_stay_text(author: str, publisher: str) -> None:
    card = CARD.model_copy(update={"authors": (author, "B"), "publisher": publisher})
    cited = citation.cite(
        card, repository="radboud/a_b", signed="2026-11-21T10:00:00Z", address="https://hub.example.org/radboud/a_b",
        sha256="0" * 64, registry="Prostate consortium",
    )  # fmt: skip
    lines = cited.bibtex.splitlines()
    assert lines[0] == "@misc{radboud-a-b-1.0.0," and lines[-1] == "}" and len(lines) == 11
    assert yaml.safe_load(cited.cff)["authors"] == [{"name": author}, {"name": "B"}]
