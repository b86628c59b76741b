"""Volumes files and whose the slices are; the guide's own example; what else a volumes file may lead to."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from embhub.errors import PrivacyError, UsageError
from embhub.images.images import read_images, read_sample
from embhub.images.manifests.sample import Sample
from embhub.images.readers.encoding import Encoding
from embhub.images.readers.view import View
from tests.support import medical

VOXELS = np.random.default_rng(3).integers(0, 1000, (12, 16, 10)).astype(np.int16)  # right, front, up


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path_factory.mktemp("home")))


def test_slices_of_nobody_are_refused_however_many_entries_choose_them(tmp_path: Path) -> None:
    medical.nifti(tmp_path / "a.nii", VOXELS)
    entries = [{"path": "a.nii", "slices": {"index": [place]}} for place in (3, 5)]
    (tmp_path / "volumes.json").write_text(json.dumps({"schema": "embhub.volumes/1", "volumes": entries}))
    with pytest.raises(PrivacyError, match=r"2 pictures are of no patient, .* same study or volume \(picture 1, 2\)"):
        read_images(tmp_path)
    entries[0]["patient_id"] = "P1"
    (tmp_path / "volumes.json").write_text(json.dumps({"schema": "embhub.volumes/1", "volumes": entries}))
    with pytest.raises(PrivacyError, match=r"1 pictures are of no patient, .* \(picture 2\)"):
        read_images(tmp_path)
    entries[1]["patient_id"] = "P2"
    (tmp_path / "volumes.json").write_text(json.dumps({"schema": "embhub.volumes/1", "volumes": entries}))
    with pytest.raises(PrivacyError, match="1 DICOM series or volumes stand under several patients"):
        read_images(tmp_path)


def test_a_file_is_no_folder_of_a_patient(tmp_path: Path) -> None:
    """Two files of one patient, taken for folders, would count as two patients."""
    for name in ("sub-01_T1w.nii", "sub-01_T2w.nii"):
        medical.nifti(tmp_path / name, VOXELS)
    for pattern in ("sub-*", "*"):
        entry = {"path": "sub-*.nii", "patient_folder": pattern, "slices": "middle"}
        (tmp_path / "volumes.json").write_text(json.dumps({"schema": "embhub.volumes/1", "volumes": [entry]}))
        with pytest.raises(UsageError, match="no folder that `patient_folder` fits"):
            read_images(tmp_path)


def test_the_example_of_the_guide_is_found_where_its_commands_look(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs/how-to/use-dicom-and-nifti.md").read_text()
    file = tmp_path / re.findall(r"^\$ embhub inspect (\S+\.yaml) ", guide, re.M)[0]
    for number in range(2):
        medical.series(
            tmp_path / f"export/{number}/t2", np.ascontiguousarray(VOXELS.T + number), PatientID=f"P{number}",
            SeriesDescription="t2_tse_tra",
        )  # fmt: skip
        volume = tmp_path / f"export/sub-0{number}/anat/s0{number}_T2w.nii.gz"
        medical.nifti(volume, np.roll(VOXELS, number, axis=0))
        medical.nifti(volume.with_name(f"s0{number}_T2w_mask.nii.gz"), (VOXELS > 900).astype(np.uint8))
    file.write_text(re.findall(r"^```yaml\n(schema.*?)^```", guide, re.M | re.S)[0])
    images = read_images(file)
    assert len(images) == 2 * 2 + 2 * 2 and len({sample.patient_id for sample in images.samples}) == 4


def test_volumes_of_eight_bits_are_not_deep(tmp_path: Path) -> None:
    seen: list[Encoding] = []
    for dtype, deep in ((np.uint8, False), (np.int16, True)):
        path = medical.nifti(tmp_path / f"{np.dtype(dtype)}.nii", (VOXELS // 4).astype(dtype))
        read_sample(Sample(path, None, view=View(1, "axial")), stored=seen.append)
        assert (seen[-1].lowest is not None) == deep


def test_a_table_is_a_file_of_its_folder(tmp_path: Path) -> None:
    """A pipe would be waited for, for ever."""
    os.mkfifo(tmp_path / "scans.csv")
    (tmp_path / "volumes.yaml").write_text("schema: embhub.volumes/1\ntable: scans.csv\n")
    with pytest.raises(UsageError, match="the table of volumes is not a file"):
        read_images(tmp_path)
    (tmp_path / "scans.csv").unlink()
    (tmp_path / "scans.csv").symlink_to(__file__)
    with pytest.raises(UsageError, match="the table of volumes is a link that leads out of its folder"):
        read_images(tmp_path)
