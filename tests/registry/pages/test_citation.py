"""Citations: nothing that a card says ends a field of BibTeX or begins a command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from embhub_registry.pages.release import citation
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


# The schema of the Citation File Format 1.2.0 by its authors, CC-BY-4.0, as cffconvert 2.0.0 has it.
CFF = json.loads(Path(__file__).with_name("cff-1.2.0.schema.json").read_text(encoding="utf-8"))
ORCID, ROR = "https://orcid.org/0000-0002-1825-0097", "https://ror.org/05wg1m734"
NAMED: dict[str, Any] = {"authors": ("Jane Smith", "B"), "orcid": {"Jane Smith": ORCID}, "ror": ROR}


@pytest.mark.parametrize(
    "told",
    [
        *({}, NAMED, NAMED | {"doi": "10.5281/zenodo.1234567", "publisher": "B"}),
        *({"licence": "LicenseRef-Own"}, {"kind": "adapter"}),
    ],
    ids=["plain", "named", "with a DOI", "with a licence of its own", "adapter"],
)
def test_it_is_a_citation_file(told: dict[str, Any]) -> None:
    card = CARD.model_copy(update=told)
    cited = citation.cite(
        card, repository="radboud/a_b", signed="2026-11-21T10:00:00Z", address="https://hub.example.org/radboud/a_b",
        sha256="0" * 64, registry="Prostate consortium",
    )  # fmt: skip
    document = yaml.load(cited.cff, yaml.BaseLoader)  # its schema wants the day as text
    jsonschema.Draft7Validator(CFF, format_checker=jsonschema.FormatChecker()).validate(document)
    stated = yaml.safe_dump(document, width=1000) + cited.bibtex
    assert (ORCID in cited.cff and ORCID in cited.bibtex) == bool(told.get("orcid"))
    assert (ROR in stated) == bool(told.get("ror"))
    assert document.get("doi") == told.get("doi")
    assert ("compact adapter" in document["title"]) == ("kind" in told)
    assert ("doi " in cited.bibtex) == ("doi" in told)
