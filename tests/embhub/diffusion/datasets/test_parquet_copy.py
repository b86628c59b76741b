"""`manifest.parquet` has the rows of `manifest.csv`, typed, and Croissant names it by digest."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from pathlib import Path

import pytest

from embhub.diffusion.datasets import parquet_copy
from embhub.errors import UsageError
from tests.embhub.diffusion.datasets.conftest import Make
from tests.embhub.diffusion.datasets.test_making import contents

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra of dev")


@pytest.fixture
def folder(make: Make) -> Path:
    return make(parquet=True, seed=2**63 - 1, classes=["sick, left=mri, <a>", 'well "so"=mri'], per_class=2).folder


def test_rows_are_those_of_the_manifest_with_numbers_as_numbers(folder: Path) -> None:
    expected = list(csv.DictReader(io.StringIO((folder / "manifest.csv").read_text())))
    found = parquet.read_table(folder / parquet_copy.NAME)
    assert [{name: str(value) for name, value in row.items()} for row in found.to_pylist()] == expected
    kinds = {field.name: str(field.type) for field in found.schema}
    assert kinds == dict.fromkeys(expected[0], "string") | {"seed": "uint64", "steps": "int32", "guidance": "double"}


def test_croissant_names_it_by_digest(folder: Path) -> None:
    said = json.loads((folder / "croissant.json").read_text())
    (one,) = [part for part in said["distribution"] if part["@id"] == parquet_copy.NAME]
    assert one["sha256"] == hashlib.sha256((folder / parquet_copy.NAME).read_bytes()).hexdigest()
    assert one["encodingFormat"] == "application/vnd.apache.parquet"


def test_the_same_call_writes_the_same_bytes(make: Make, tmp_path: Path) -> None:
    first, second = (contents(make(out=tmp_path / name / "set", parquet=True).folder) for name in ("a", "b"))
    assert first == second and parquet_copy.NAME in first


def test_without_the_option_there_is_none_and_an_old_one_goes(make: Make) -> None:
    folder = make(parquet=True).folder
    assert (folder / parquet_copy.NAME).is_file()
    make()
    assert not (folder / parquet_copy.NAME).exists()
    assert parquet_copy.NAME not in (folder / "croissant.json").read_text()


def test_without_the_library_nothing_is_generated(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="Parquet") as caught:
        make(parquet=True)
    assert "[parquet]" in str(caught.value.hint)
    assert not (tmp_path / "drawn").exists()


@pytest.mark.thorough
def test_croissant_by_its_own_validator(folder: Path) -> None:
    croissant = pytest.importorskip("mlcroissant", reason="the reference validator is an extra of dev")
    found = croissant.Dataset(folder / "croissant.json")
    assert not found.metadata.ctx.issues.errors
    assert len(list(found.records("images"))) == 4
