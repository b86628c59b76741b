"""Patients of DICOM files: keyed at once, one with those of manifests, the unit of splits, audits and privacy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embhub.__main__ import main
from embhub.diffusion.dp import settings
from embhub.diffusion.dp.settings import Protection
from embhub.errors import PrivacyError
from embhub.images.images import read_images
from embhub.images.inspections.inspection import inspect
from embhub.images.member_split import compare
from embhub.site.memory import runs
from embhub.site.memory.patients import key_patient
from tests.support import medical


def film(seed: int, patient: str | None, **fields: Any) -> Any:
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return medical.dataset(np.kron(blocks, np.ones((8, 8), np.uint8)), PatientID=patient, **fields)


def films(folder: Path, patients: list[str | None], **fields: Any) -> Path:
    for number, patient in enumerate(patients):
        fields = {**fields, "SeriesInstanceUID": f"1.2.{number}"}
        medical.write(folder / f"{number:03d}.dcm", film(number + 100 * len(folder.name), patient, **fields))
    return folder


def pngs(folder: Path, patients: list[str], issuer: str = "") -> Path:
    folder.mkdir()
    rows = []
    for number, patient in enumerate(patients):
        picture = np.random.default_rng(1000 + number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{number:03d}.png")
        rows.append(f"{number:03d}.png,{patient},{issuer}")
    (folder / "manifest.csv").write_text("\n".join(["path,patient_id,issuer", *rows]) + "\n")
    return folder


def test_ids_of_headers_are_keyed_with_their_issuer(tmp_path: Path) -> None:
    images = read_images(films(tmp_path / "a", ["MRN 1", "MRN 2"], IssuerOfPatientID="H"))
    assert [sample.patient_id for sample in images.samples] == [key_patient(f"MRN {n}", issuer="H") for n in (1, 2)]
    assert images.has_patients and "MRN" not in repr(images)
    assert set(images.names()) == {sample.patient_id for sample in images.samples}


@pytest.mark.parametrize("issuer", ["", "H"])
def test_a_patient_on_both_sides_is_found_whatever_names_her(tmp_path: Path, issuer: str) -> None:
    """Members by DICOM headers, non-members by a manifest of PNG files with the ids of the same issuer."""
    fields = {"IssuerOfPatientID": issuer} if issuer else {}
    members = films(tmp_path / "a", ["P1", "P2", "P3"], **fields)
    others = pngs(tmp_path / "b", ["P3", "P4"], issuer)
    with pytest.raises(PrivacyError, match="1 patients are among the members and among the non-members"):
        compare(members, others)
    compare(members, pngs(tmp_path / "c", ["P4", "P5"], issuer))
    others = films(tmp_path / "d", ["P3", "P4"], **fields)
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(others / "x.png")
    with pytest.raises(PrivacyError, match="1 patients are among"):  # one image without an id hides nobody
        compare(members, others)


def test_a_manifest_without_ids_takes_those_of_headers_and_holds_splits_to_them(tmp_path: Path) -> None:
    folder = films(tmp_path / "a", ["P1", "P1", "P2"])
    (folder / "manifest.csv").write_text("path,split\n000.dcm,train\n001.dcm,holdout\n002.dcm,train\n")
    with pytest.raises(PrivacyError, match="1 patients are both in training and kept back"):
        read_images(folder)


def test_ids_of_headers_and_of_manifests_in_one_source_are_one_patient(tmp_path: Path) -> None:
    folder = films(tmp_path / "a", ["P1", "P2"])
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "x.png")
    (folder / "manifest.csv").write_text("path,patient_id,issuer\n000.dcm,P1,\n001.dcm,P2,H\nx.png,P1,\n")
    found = [sample.patient_id for sample in read_images(folder).samples]
    assert found == [key_patient("P1"), key_patient("P2", issuer="H"), key_patient("P1")]


@pytest.mark.parametrize("written", ["M\u00fc 1", " Mu\u0308  1 "])
def test_an_id_is_one_however_it_is_written(tmp_path: Path, written: str) -> None:
    """White space, and an accent as a character of its own, make no second patient: not in a table, not in the key."""
    assert key_patient(written) == key_patient("M\u00fc 1")
    ids = {sample.patient_id for sample in read_images(pngs(tmp_path / "a", ["M\u00fc 1", written])).samples}
    assert ids == {"M\u00fc 1"}


@pytest.mark.parametrize("patients", [[None, None], ["P1", None]])
def test_two_views_of_one_study_are_of_one_patient(tmp_path: Path, patients: list[str | None]) -> None:
    """Frontal and lateral, each a series of its own: without ids they would count as two persons."""
    folder = films(tmp_path / "a", patients, StudyInstanceUID="1.2.77")
    with pytest.raises(PrivacyError, match="are of no patient, and there are others of the same study"):
        read_images(folder)
    (folder / "manifest.csv").write_text("path,patient_id\n000.dcm,P1\n001.dcm,P1\n")
    assert {sample.patient_id for sample in read_images(folder).samples} == {"P1"}


def test_a_series_is_of_one_patient(tmp_path: Path) -> None:
    """A manifest that numbers images instead of patients is refused where headers tell."""
    for number in range(3):
        medical.write(tmp_path / f"{number:03d}.dcm", film(number, "P1"))
    (tmp_path / "manifest.csv").write_text("path,patient_id\n000.dcm,1\n001.dcm,2\n002.dcm,3\n")
    with pytest.raises(PrivacyError, match=r"1 DICOM series or volumes stand under several patients \(row 2, 3, 4\)"):
        read_images(tmp_path)


def test_one_patient_of_headers_under_two_ids_is_warned_of(tmp_path: Path) -> None:
    """Not refused: headers say it wrongly where a de-identification wrote one word into all of them."""
    for number in range(2):
        medical.write(tmp_path / f"{number:03d}.dcm", film(number, "P1", SeriesInstanceUID=f"1.2.{number}"))
    (tmp_path / "manifest.csv").write_text("path,patient_id\n000.dcm,1\n001.dcm,2\n")
    assert any("1 of the PatientIDs in headers stand under several" in note for note in read_images(tmp_path).notes)
    (tmp_path / "manifest.csv").write_text("path,patient_id\n000.dcm,1\n001.dcm,1\n")
    assert not any("PatientIDs in headers" in note for note in read_images(tmp_path).notes)


@pytest.mark.parametrize(("issuer", "column"), [("", ""), ("H", ""), ("", "H")])
def test_a_label_that_is_the_id_of_a_header_is_withheld(tmp_path: Path, issuer: str, column: str) -> None:
    """The id is known by its key alone, and a label is printed."""
    folder = films(tmp_path / "a", ["KX1WYSTAN", "KX2WYSTAN"], IssuerOfPatientID=issuer or None)
    ids = ",patient_id,issuer" if column else ""
    rows = [f"{n:03d}.dcm,KX{n + 1}WYSTAN" + (f",KX{n + 1}WYSTAN,{column}" if column else "") for n in range(2)]
    (folder / "manifest.csv").write_text("\n".join([f"path,label{ids}", *rows]) + "\n")
    found = inspect(folder)
    assert [label.label for label in found.labels] == [None] and "WYSTAN" not in found.to_json()
    assert found.names.labels == (2, 3)


@pytest.mark.parametrize("label", ["KX1WYSTAN", "48213"])
def test_a_label_that_is_an_id_is_withheld_where_a_row_slipped(tmp_path: Path, label: str) -> None:
    folder = films(tmp_path / "a", [label, "KX2WYSTAN"])
    (folder / "manifest.csv").write_text(f"path,label\n000.dcm,{label}\n001.dcm,{label}\n")
    assert label not in inspect(folder).to_json()


def test_a_search_that_finds_nothing_prints_no_value_of_the_column(tmp_path: Path) -> None:
    folder = films(tmp_path / "a", ["KX1WYSTAN", "KX2WYSTAN"])
    (folder / "manifest.csv").write_text("path,label\n000.dcm,KX1WYSTAN\n001.dcm,KX2WYSTAN\n")
    assert "WYSTAN" not in inspect(folder, where="label=csPCa").to_json()


def test_ids_without_the_issuer_of_the_headers_are_warned_of(tmp_path: Path) -> None:
    """The ledger would know the same patients twice: once by the folder, once by the manifest."""
    folder = films(tmp_path / "a", ["P1", "P2"], IssuerOfPatientID="H")
    (folder / "manifest.csv").write_text("path,patient_id\n000.dcm,P1\n001.dcm,P2\n")
    assert any("ids of 2 DICOM files are given without the issuer" in note for note in read_images(folder).notes)
    (folder / "manifest.csv").write_text("path,patient_id,issuer\n000.dcm,P1,H\n001.dcm,P2,H\n")
    assert not any("issuer" in note for note in read_images(folder).notes)


def test_privacy_for_patients_is_refused_without_their_ids(tmp_path: Path) -> None:
    images = read_images(films(tmp_path / "a", ["P1", None, "P2"]))
    assert not images.has_patients
    assert any(note.startswith("1 of 3 pictures come without a patient id") for note in images.notes)
    with pytest.raises(PrivacyError, match="come without patient ids") as caught:
        settings.check_unit(Protection(2.0, n_public=10), images)
    assert "PatientID" in caught.value.hint
    with pytest.raises(PrivacyError, match="is what is protected"):
        settings.check_unit(Protection(2.0, unit="image"), read_images(films(tmp_path / "b", ["P1", "P2"])))


@pytest.mark.thorough
def test_training_remembers_keyed_ids_and_audits_by_them(
    tmp_path: Path, base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = films(tmp_path / "a", [f"MRN-{number // 2}" for number in range(24)])
    out = tmp_path / "x.safetensors"
    words = ["--token", "<x>", "--caption", "a film of {}", "--base", str(base), "--steps", "2", "--device", "cpu"]
    assert main(["train", str(folder), *words, "--holdout", "0.5", "--seed", "1", "--out", str(out)]) == 0
    assert main(["audit", str(out), "--device", "cpu"]) == 0
    from embhub.artifact import embedding

    run = runs.find(embedding.read(out).digest)
    assert run is not None
    members, held = ({sample.patient_id for sample in side} for side in (run.members, run.holdout))
    assert members | held == {key_patient(f"MRN-{number}") for number in range(12)} and not members & held
    printed = "".join(capfd.readouterr())
    assert "5 patients trained on, 5 held out" in printed and "MRN" not in printed
    assert main(["budget", "show"]) == 0
    assert "6 patients" in capfd.readouterr().out
