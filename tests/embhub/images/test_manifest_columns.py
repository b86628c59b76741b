"""Columns of a manifest: misspelled ones are refused, further ones are named, other separators are read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embhub.__main__ import main
from embhub.errors import UsageError
from embhub.images.images import read_images
from embhub.images.manifests.columns import KNOWN, check_columns
from embhub.images.manifests.listing import list_images


def write(folder: Path, text: str, *, encoding: str = "utf-8") -> Path:
    for number in range(4):
        Image.new("L", (32, 32), 10 + 40 * number).save(folder / f"{number}.png")
    manifest = folder / "manifest.csv"
    manifest.write_text(text, encoding=encoding)
    return manifest


def table(*heads: str, separator: str = ",") -> str:
    rows = [heads, *((f"{number}.png", f"p{number // 2}", "csPCa", "train")[: len(heads)] for number in range(4))]
    return "\n".join(separator.join(row) for row in rows) + "\n"


@pytest.mark.parametrize(
    "column",
    [
        *("patient", "Patient", "PatientID", "patient-id", "Patient_ID", "patientid", "patient id", "patients"),
        *("PATIENT_ID", "patinet_id", "patient_ids", "subject", "subject_id", "SubjectID"),
        *("PatientenNr", "Patienten-ID", "Pat.-Nr.", "Patienten", "Probanden-Nr.", "Pseudonym"),
    ],
)
def test_a_misspelled_patient_column_is_refused(
    tmp_path: Path, column: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = write(tmp_path, table("path", column))
    with pytest.raises(UsageError) as caught:
        list_images(manifest, None, None)
    assert "did you mean patient_id?" in str(caught.value)
    assert main(["inspect", str(manifest)]) == 2
    assert "did you mean patient_id?" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "meant"),
    [("Label", "label"), ("labels", "label"), ("LABEL", "label"), ("Split", "split"), ("Aufteilung", "split")],
)
def test_other_misspelled_columns_are_refused(tmp_path: Path, column: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {meant}"):
        list_images(write(tmp_path, table("path", "patient_id", column)), None, None)


@pytest.mark.parametrize("column", ["Path", "file", "filename", "image", "Datei", "Pfad", "Bild-Datei"])
def test_a_misspelled_path_column_is_refused(tmp_path: Path, column: str) -> None:
    with pytest.raises(UsageError, match="did you mean path"):
        list_images(write(tmp_path, table(column, "patient_id")), None, None)


def test_a_second_id_beside_patient_id_is_a_further_column(tmp_path: Path) -> None:
    images = read_images(write(tmp_path, table("path", "patient_id", "subject")))
    assert images.has_patients
    assert any("columns that are not used: subject" in note for note in images.notes)


def test_a_column_named_by_where_is_used(tmp_path: Path) -> None:
    images = read_images(write(tmp_path, table("path", "patient_id", "device")), where="device=csPCa")
    assert len(images) == 4 and not any("not used" in note for note in images.notes)


def test_a_column_that_may_name_a_person_is_counted_and_not_named(tmp_path: Path) -> None:
    text = table("path", "patient_id", "jansen 1950-03-04").replace("csPCa", "1")
    (note,) = [note for note in read_images(write(tmp_path, text)).notes if "not used" in note]
    assert "jansen" not in note and "1 column" in note


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_tables_of_spreadsheets_are_read(tmp_path: Path, separator: str, encoding: str) -> None:
    text = table("path", "patient_id", "label", separator=separator)
    images = read_images(write(tmp_path, text, encoding=encoding))
    assert len(images) == 4 and images.has_patients and images.samples[0].label == "csPCa"


def test_utf_16_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="UTF-16"):
        read_images(write(tmp_path, table("path", "patient_id"), encoding="utf-16"))


def test_where_that_names_no_column_says_what_there_is(tmp_path: Path) -> None:
    manifest = write(tmp_path, table("path", "patient_id", "label"))
    with pytest.raises(UsageError) as caught:
        list_images(manifest, None, "finding=normal")
    assert "path, patient_id, label" in caught.value.hint


@pytest.mark.parametrize("wanted", ["label=normal", "patient_id=p9"])
def test_where_lists_no_value(tmp_path: Path, wanted: str) -> None:
    """A label may be a patient's id that only a DICOM header tells, and headers are not read yet."""
    with pytest.raises(UsageError) as caught:
        list_images(write(tmp_path, table("path", "patient_id", "label")), None, wanted)
    said = str(caught.value) + caught.value.hint
    assert "csPCa" not in said and "p0" not in said and "the column that --where names" in said


@given(st.lists(st.text(max_size=20), max_size=6))
def test_any_columns_are_taken_or_refused_in_words(names: list[str]) -> None:
    try:
        check_columns(["path", *names])
    except UsageError as error:
        assert "did you mean" in str(error)
    check_columns(list(KNOWN))
