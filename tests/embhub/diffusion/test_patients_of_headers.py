"""Patients of DICOM files: keyed at once, one with those of manifests, the unit of splits, audits and privacy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embhub import runs
from embhub.__main__ import main
from embhub.diffusion.dp import settings
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.images import read_images
from embhub.diffusion.sides import compare
from embhub.errors import PrivacyError
from embhub.site.patients import key_patient
from tests import medical


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


def test_privacy_for_patients_is_refused_without_their_ids(tmp_path: Path) -> None:
    images = read_images(films(tmp_path / "a", ["P1", None, "P2"]))
    assert not images.has_patients
    with pytest.raises(PrivacyError, match="come without patient ids") as caught:
        settings.check_unit(Protection(2.0, n_public=10), images)
    assert "PatientID" in caught.value.hint
    with pytest.raises(PrivacyError, match="is what is protected"):
        settings.check_unit(Protection(2.0, unit="image"), read_images(films(tmp_path / "b", ["P1", "P2"])))


def test_training_remembers_keyed_ids_and_audits_by_them(
    tmp_path: Path, base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = films(tmp_path / "a", [f"MRN-{number // 2}" for number in range(16)])
    out = tmp_path / "x.safetensors"
    words = ["--token", "<x>", "--caption", "a film of {}", "--base", str(base), "--steps", "2", "--device", "cpu"]
    assert main(["train", str(folder), *words, "--holdout", "0.5", "--seed", "1", "--out", str(out)]) == 0
    assert main(["audit", str(out), "--device", "cpu"]) == 0
    from embhub import embedding

    run = runs.find(embedding.read(out).digest)
    assert run is not None
    members, held = ({sample.patient_id for sample in side} for side in (run.members, run.holdout))
    assert members | held == {key_patient(f"MRN-{number}") for number in range(8)} and not members & held
    printed = "".join(capfd.readouterr())
    assert "4 patients trained on, 4 held back" in printed and "MRN" not in printed
    assert main(["budget", "show"]) == 0
    assert "4 patients" in capfd.readouterr().out
