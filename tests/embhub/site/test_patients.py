"""A patient under the site's key: one id however it came, which nobody else can tell, and the ledger's own number."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embhub.ledger import budget
from embhub.ledger.books import open_books
from embhub.site.memory.patients import is_keyed, key_patient, ledger_number


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path_factory.mktemp("home")))


def test_white_space_does_not_make_another_patient_and_an_issuer_does() -> None:
    assert key_patient("MRN  17 ") == key_patient("MRN 17") != key_patient("MRN 18")
    assert key_patient("17", issuer="H ") == key_patient("17", issuer="H") != key_patient("17")
    assert key_patient("a", issuer="b") != key_patient("b", issuer="a")


def test_a_keyed_id_stays_and_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyed = key_patient("MRN-5518207734", issuer="H")
    assert is_keyed(keyed) and key_patient(keyed) == keyed == key_patient(keyed, issuer="other")
    for words in ("MRN-5518207734", "H MRN-5518207734", "patient\0H\0MRN-5518207734"):
        assert hashlib.sha256(words.encode()).hexdigest() not in keyed
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "other"))
    assert key_patient("MRN-5518207734", issuer="H") != keyed, "another site has another key"


@given(st.text(max_size=30))
def test_any_text_has_a_number_of_the_ledger_only_where_it_is_keyed(name: str) -> None:
    assert (ledger_number(name) is None) == (not is_keyed(name))
    if name.strip():
        assert ledger_number(key_patient(name)) is not None


def test_the_ledger_knows_a_patient_of_a_header_and_of_a_manifest_as_one() -> None:
    """Whoever trained on her PNGs last year is charged again for her DICOM files."""
    with open_books() as books:
        plain = books.sets.keyed(["P1", "P2 ", "Mu\u0308ller 3"], unit="patient")
        mixed = books.sets.keyed([key_patient("P1"), key_patient(" P2"), key_patient("M\u00fcller 3")], unit="patient")
        issued = books.sets.keyed([key_patient("P1", issuer="H")], unit="patient")
        assert (plain == mixed).all() and len(plain) == 3
        assert issued[0] not in plain
    for ids in (["P1", "P2"], [key_patient("P1"), key_patient("P2")]):
        with budget.reserve(ids, unit="patient", mechanism="none", steps=3) as run:
            run.spend(3)
    with open_books() as books:
        assert len({item.units for item in books.account().runs.values()}) == 1
