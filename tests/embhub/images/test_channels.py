"""Pictures of several series: resampled as SimpleITK does, of one patient and one frame of reference, each checked."""

from __future__ import annotations

import json
import re
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from embhub.errors import ConfigError, EmbhubError, PrivacyError, UsageError
from embhub.formats import safe_yaml
from embhub.images.images import ImageSet, read_images, read_sample, recall, record
from embhub.images.inspections.inspection import inspect
from embhub.images.manifests.volumes import parse
from embhub.images.member_split import compare
from embhub.images.prepared import describe_channels
from embhub.images.readers import dicom_pixels, view
from embhub.images.readers.resampling import Grid, Vector, box, inside, interpolate, locate, stack
from embhub.site.memory.patients import key_patient
from tests.support import medical
from tests.support.series_of_prostate import FRAME, REFERENCE, SCANS, dicom, nifti, turn_by

NAMES = ("T2", "ADC", "DWI")
T2, ADC, DWI = SCANS


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path_factory.mktemp("home")))


def of_dicom(*numbers: int, **fields: Any) -> dict[str, Any]:
    channels = [
        {"name": NAMES[number - 1], "series": {"SeriesNumber": number}, "window": SCANS[number - 1].window}
        for number in numbers or (1, 2, 3)
    ]
    return {"path": "P*", "channels": channels, **fields}


def of_nifti(**fields: Any) -> dict[str, Any]:
    channels: list[dict[str, Any]] = [
        {"name": name, "path": f"{{folder}}/{number}.nii*", "window": scan.window}
        for number, (name, scan) in enumerate(zip(NAMES, SCANS, strict=True), start=1)
    ]
    del channels[0]["path"]
    return {"path": "sub-*/1.nii.gz", "patient_folder": "sub-*", "channels": channels, **fields}


def volumes(folder: Path, *entries: dict[str, Any], **fields: Any) -> Path:
    path = folder / "volumes.yaml"
    path.write_bytes(safe_yaml.dump({"schema": "embhub.volumes/1", **fields, "volumes": list(entries)}))
    return path


def pictures(images: ImageSet) -> list[NDArray[Any]]:
    return [np.asarray(read_sample(sample)).astype(int) for sample in images.samples]


def change(folder: Path, **fields: Any) -> None:
    """Headers of a series, afterwards."""
    for path in folder.iterdir():
        data = dcmread(path)
        for name, value in fields.items():
            if value is None:
                delattr(data, name)
            else:
                setattr(data, name, value)
        medical.write(path, data)


def refusal(source: Path, kind: type[EmbhubError] = UsageError) -> EmbhubError:
    with pytest.raises(kind) as caught:
        read_images(source)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("kind", ["dicom", "nifti"])
def test_channels_are_those_of_simpleitk_within_one_grey_level(tmp_path: Path, kind: str) -> None:
    """The picture was written by SimpleITK: how, is in `tests.support.series_of_prostate`."""
    if kind == "dicom":
        dicom(tmp_path / "P1")
        source = volumes(tmp_path, of_dicom())
    else:
        nifti(tmp_path / "sub-1")
        source = volumes(tmp_path, of_nifti())
    found = pictures(read_images(source))
    wanted = np.asarray(Image.open(REFERENCE)).astype(int)
    height, width = T2.voxels.shape[1:]
    left = 0 if kind == "dicom" else width
    assert len(found) == len(T2.voxels) and wanted.shape == (len(found) * height, 2 * width, 3)
    for place, picture in enumerate(found):
        reference = wanted[place * height : (place + 1) * height, left : left + width]
        assert np.abs(picture - reference).max() <= 1
        assert (reference.max(axis=(0, 1)) > 200).all() and (reference[..., 1] == 0).any()


def test_two_channels_leave_blue_black(tmp_path: Path) -> None:
    dicom(tmp_path / "P1")
    both = pictures(read_images(volumes(tmp_path, of_dicom(1, 3, slices="middle"))))[0]
    all_three = pictures(read_images(volumes(tmp_path, of_dicom(slices="middle"))))[0]
    assert (both[..., 2] == 0).all() and (both[..., :2] == all_three[..., [0, 2]]).all()


def test_each_channel_has_its_own_window_or_that_of_the_entry(tmp_path: Path) -> None:
    dicom(tmp_path / "P1")
    entry = of_dicom(1, 3, slices="middle")
    del entry["channels"][1]["window"]
    wide = pictures(read_images(volumes(tmp_path, {**entry, "window": {"values": [0.0, 800.0]}})))[0][..., 1]
    narrow = pictures(read_images(volumes(tmp_path, {**entry, "window": {"values": [0.0, 400.0]}})))[0][..., 1]
    assert np.abs(np.clip(2 * wide, 0, 255) - narrow).max() <= 1 and narrow.max() > 200
    change(tmp_path / "P1/3", WindowCenter=400, WindowWidth=800, VOILUTFunction="LINEAR_EXACT")
    own = pictures(read_images(volumes(tmp_path, entry)))[0][..., 1]
    assert (own == wide).all()


def test_a_window_of_the_header_is_that_of_the_nearest_slice(tmp_path: Path) -> None:
    for path in dicom(tmp_path / "P1"):
        if path.parent.name == "3":
            data = dcmread(path)
            data.WindowCenter, data.WindowWidth = 0, 200 * (len(DWI.voxels) - int(path.name) + 1)
            data.VOILUTFunction = "LINEAR_EXACT"
            medical.write(path, data)
    entry = of_dicom(1, 3, slices="middle")
    del entry["channels"][1]["window"]
    own = pictures(read_images(volumes(tmp_path, entry)))[0][..., 1]
    middle = np.array(T2.corner) + T2.axes @ (np.array([20, 18, 2]) * T2.spacing)
    nearest = round(float(DWI.axes[:, 2] @ (middle - DWI.corner)) / DWI.spacing[2])
    entry["channels"][1]["window"] = {"values": [-100.0 * (nearest + 1), 100.0 * (nearest + 1)]}
    assert 0 < nearest < len(DWI.voxels) - 1
    assert (pictures(read_images(volumes(tmp_path, entry)))[0][..., 1] == own).all()


def test_black_where_a_channel_is_padding_or_inverted_where_it_says_so(tmp_path: Path) -> None:
    dicom(tmp_path / "P1")
    before = pictures(read_images(volumes(tmp_path, of_dicom(1, 3, slices="middle"))))[0][..., 1]
    change(tmp_path / "P1/3", PhotometricInterpretation="MONOCHROME1")
    after = pictures(read_images(volumes(tmp_path, of_dicom(1, 3, slices="middle"))))[0][..., 1]
    assert (before + after == 255).all()
    for path in (tmp_path / "P1/3").iterdir():
        data = dcmread(path)
        data.add_new("PixelPaddingValue", "SS", 0)
        data.add_new("PixelPaddingRangeLimit", "SS", 200)
        medical.write(path, data)
    assert (pictures(read_images(volumes(tmp_path, of_dicom(1, 3, slices="middle"))))[0][..., 1] == 0).mean() > 0.9


def test_a_tilted_gantry_is_resampled_where_its_slices_lie(tmp_path: Path) -> None:
    """Slices that are shifted along their rows: a ramp along the patient's left stays one."""
    ramp = np.broadcast_to(np.arange(30, dtype=np.int16) * 30, (6, 30, 30))
    for number, shift in ((1, 0.0), (2, 2.0)):
        for place, pixels in enumerate(ramp):
            position = [shift * place, 0.0, 4.0 * place + (number == 2)]
            values = (pixels + round(30 * shift * place)).astype(np.int16)
            data = medical.dataset(
                values, sop_class=medical.MR, FrameOfReferenceUID=FRAME, SeriesNumber=number,
                SeriesInstanceUID=f"1.2.3.{number}", ImageOrientationPatient=[1.0, 0, 0, 0, 1, 0],
                ImagePositionPatient=position, PixelSpacing=[1.0, 1.0],
            )  # fmt: skip
            medical.write(tmp_path / f"P1/{number}/{place}", data)
    entry = of_dicom(1, 2, slices={"index": [2]})
    for channel in entry["channels"]:
        channel["window"] = {"values": [0.0, 1200.0]}
    picture = pictures(read_images(volumes(tmp_path, entry)))[0]
    assert (picture[:, :3, 1] == 0).all() and picture[:, 4:, 0].max() > 150
    assert np.abs(picture[:, 4:, 0] - picture[:, 4:, 1]).max() <= 1


@pytest.mark.parametrize(
    ("series", "fields", "kind", "words"),
    [
        ("2", {"PatientID": "P9", "StudyInstanceUID": "1.2.9"}, PrivacyError, "of several patients"),
        ("3", {"PatientID": None}, PrivacyError, "of several patients"),
        ("3", {"IssuerOfPatientID": "another hospital"}, PrivacyError, "of several patients"),
        ("2", {"FrameOfReferenceUID": "1.2.78"}, UsageError, "different frames of reference"),
        ("3", {"FrameOfReferenceUID": None}, UsageError, "or do not say in which"),
        ("3", {"PixelSpacing": None}, UsageError, "channel 3 of scan 1 of volume entry 1 .* how large a pixel is"),
        ("1", {"PixelSpacing": None}, UsageError, "channel 1 of scan 1 of volume entry 1 .* how large a pixel is"),
        ("2", {"SeriesNumber": 8}, UsageError, "channel 2 of scan 1 of volume entry 1 has no pictures of the series"),
    ],
)  # fmt: skip
def test_another_patient_or_frame_of_reference_is_refused(
    tmp_path: Path, series: str, fields: dict[str, Any], kind: type[EmbhubError], words: str
) -> None:
    dicom(tmp_path / "P1")
    change(tmp_path / "P1" / series, **fields)
    with pytest.raises(kind, match=words) as caught:
        read_images(volumes(tmp_path, of_dicom(patient_id="P1") if "PatientID" in fields else of_dicom()))
    assert caught.value.hint and not any(str(value) in str(caught.value) for value in fields.values())


def test_all_without_a_frame_of_reference_are_refused(tmp_path: Path) -> None:
    dicom(tmp_path / "P1", FrameOfReferenceUID=None)
    assert "do not say in which" in refusal(volumes(tmp_path, of_dicom())).message


def test_another_study_in_the_same_frame_of_reference_is_read(tmp_path: Path) -> None:
    dicom(tmp_path / "P1")
    change(tmp_path / "P1/2", StudyInstanceUID="1.2.9")
    assert len(read_images(volumes(tmp_path, of_dicom()))) == len(T2.voxels)


def test_a_channel_that_is_missing_for_one_patient_is_refused(tmp_path: Path) -> None:
    dicom(tmp_path / "P1")
    dicom(tmp_path / "P2", number=2, PatientID="P2")
    assert "channel 3 of scan 2 of volume entry 1 has no pictures" in refusal(volumes(tmp_path, of_dicom())).message
    for name in ("sub-1", "sub-2"):
        nifti(tmp_path / name)
    (tmp_path / "sub-2/2.nii.gz").unlink()
    assert "channel 2 of volume 2 of volume entry 1 is 0 files" in refusal(volumes(tmp_path, of_nifti())).message
    shutil.copy(tmp_path / "sub-1/2.nii.gz", tmp_path / "sub-2/2.nii")
    shutil.copy(tmp_path / "sub-1/2.nii.gz", tmp_path / "sub-2/2.nii.gz")
    assert "channel 2 of volume 2 of volume entry 1 is 2 files" in refusal(volumes(tmp_path, of_nifti())).message


def test_a_channel_covers_at_least_half_of_each_slice(tmp_path: Path) -> None:
    paths = dicom(tmp_path / "P1")
    notes = read_images(volumes(tmp_path, of_dicom())).notes
    assert f"{len(T2.voxels)} pictures have a channel that covers a part of them: there the rest is black" in notes
    adc = [path for path in paths if path.parent.name == "2"]
    for path in adc[5:]:
        path.unlink()
    error = refusal(volumes(tmp_path, of_dicom()))
    assert "channel 2 of scan 1 of volume entry 1 covers less than half of" in error.message
    low, high = error.message.split("slices ")[-1].removesuffix(" are covered").split(" to ")
    some = {"range": [int(low), int(high)]}
    assert len(read_images(volumes(tmp_path, of_dicom(slices=some)))) == int(high) + 1 - int(low) > 0
    change(tmp_path / "P1/2", ImageOrientationPatient=[0.0, 1, 0, 0, 0, -1])
    assert "no slice is covered" in refusal(volumes(tmp_path, of_dicom(slices="middle"))).message


def test_slices_of_a_channel_lie_evenly(tmp_path: Path) -> None:
    paths = dicom(tmp_path / "P1")
    next(path for path in paths[len(T2.voxels) + 3 :] if path.parent.name == "2").unlink()
    message = refusal(volumes(tmp_path, of_dicom())).message
    assert message.startswith("channel 2 of scan 1 of volume entry 1 has slices at different distances")


def parallel(folder: Path, *heights: list[float], size: int = 32) -> None:
    """Series 1 and so on of axial slices of `size` pixels of 1 mm and one grey, with a slice a height."""
    for number, several in enumerate(heights, start=1):
        for place, height in enumerate(several):
            data = medical.dataset(
                np.full((size, size), 400, np.int16), sop_class=medical.MR, FrameOfReferenceUID=FRAME,
                SeriesNumber=number, SeriesInstanceUID=f"1.2.3.{number}", PixelSpacing=[1.0, 1.0],
                ImageOrientationPatient=[1.0, 0, 0, 0, 1, 0], ImagePositionPatient=[0.0, 0.0, float(height)],
            )  # fmt: skip
            medical.write(folder / str(number) / f"{place:03d}", data)


def with_one_window(*numbers: int, **fields: Any) -> dict[str, Any]:
    entry = of_dicom(*numbers, **fields)
    for channel in entry["channels"]:
        channel["window"] = {"values": [0.0, 1000.0]}
    return entry


def test_distances_that_differ_a_little_do_not_add_up(tmp_path: Path) -> None:
    """Each of them within 1 % of the mean, the middle slice of 400 lies two slices from where the mean puts it."""
    heights = np.concatenate([[0], np.cumsum(np.r_[np.full(200, 1.0095), np.full(199, 0.9905)])])
    parallel(tmp_path / "P1", [float(height) for height in heights[190:210:2]], [float(one) for one in heights])
    message = refusal(volumes(tmp_path, with_one_window(1, 2))).message
    assert message.startswith("channel 2 of scan 1 of volume entry 1 has slices at different distances")


@pytest.mark.parametrize(("off", "height", "covered"), [(0.009, 8.497, False), (-0.009, 8.503, True)])
def test_what_listing_finds_covered_is_shown(tmp_path: Path, off: float, height: float, covered: bool) -> None:
    """Half a voxel beyond the last slice, where the one before it lies a little off: reading has these two alone."""
    parallel(tmp_path / "P1", [4.0, height], [*range(7), 7 + off, 8.0])
    source = volumes(tmp_path, with_one_window(1, 2, slices={"index": [1]}))
    if covered:
        assert (pictures(read_images(source))[0][..., 1] == 102).all()
    else:
        assert "covers less than half" in refusal(source).message


@pytest.fixture
def across(tmp_path: Path) -> Path:
    """Pictures at 45 degrees to a channel, so that each takes voxels of all its 128 x 128 x 100."""
    parallel(tmp_path / "P1", [0.0, 1.0], [float(height) for height in range(100)], size=128)
    for place, path in enumerate(sorted((tmp_path / "P1/1").iterdir())):
        data = dcmread(path)
        data.ImageOrientationPatient = [1, 0, 0, 0, 0.7071, 0.7071]
        data.ImagePositionPatient = [0, 10 - 0.7071 * place, 0.7071 * place]
        medical.write(path, data)
    return volumes(tmp_path, with_one_window(1, 2, slices={"index": [0]}))


def test_a_channel_is_held_once_as_single_floats(across: Path) -> None:
    """With their padding that is 2.5 times the file's 16 bits; the rest is of one slice and of the picture."""
    sample = read_images(across).samples[0]
    tracemalloc.start()
    try:
        assert (np.asarray(read_sample(sample))[:60, :, 1] == 102).all()
        assert tracemalloc.get_traced_memory()[1] < 4 * 2 * 128 * 128 * 100
    finally:
        tracemalloc.stop()


def test_a_channel_beyond_the_bound_is_refused(across: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_pixels, "MAX_BYTES", 2_000_000)
    assert "channel 2 of picture 1 takes" in refusal(across).message


@pytest.mark.parametrize("series", ["1", "2"])
def test_slices_of_a_channel_have_pixels_of_one_size(tmp_path: Path, series: str) -> None:
    """The first may have others from slice to slice: each of its pictures is resampled for itself."""
    dicom(tmp_path / "P1")
    before = pictures(read_images(volumes(tmp_path, of_dicom(slices="middle"))))[0]
    folder = tmp_path / "P1" / series
    data = dcmread(folder / "01")
    data.PixelSpacing = [data.PixelSpacing[0] * 1.2] * 2
    medical.write(folder / "01", data)
    if series == "1":
        assert (pictures(read_images(volumes(tmp_path, of_dicom(slices="middle"))))[0] == before).all()
    else:
        assert "differ in direction or pixels" in refusal(volumes(tmp_path, of_dicom())).message


def test_an_audit_misses_a_channel_that_is_gone(tmp_path: Path) -> None:
    dicom(tmp_path / "P1")
    dicom(tmp_path / "P2", PatientID="P2")
    members, others = (
        record(read_images(volumes(tmp_path, of_dicom(path=name, slices={"range": some}))))
        for name, some in (("P1", [0, 1]), ("P2", [2, 3]))
    )
    assert len(compare(members, others).units) == 4
    recall(members)[0].paths[-1].unlink()
    with pytest.raises(UsageError, match="image 1 of the members is no longer there"):
        compare(members, others)


def test_dicom_and_nifti_do_not_mix(tmp_path: Path) -> None:
    dicom(tmp_path / "P1/dicom")
    nifti(tmp_path / "P1")
    entry = of_nifti(path="P1/dicom", patient_id="P1")
    del entry["patient_folder"]
    assert "is DICOM, and a channel's path finds NIfTI" in refusal(volumes(tmp_path, entry)).message
    entry = of_dicom(path="P1/1.nii.gz", patient_id="P1")
    assert "channel 2 of volume 1 of volume entry 1 has no path" in refusal(volumes(tmp_path, entry)).message
    entry["channels"][1]["path"] = entry["channels"][2]["path"] = "P1/dicom/1/01"
    assert "one NIfTI volume is needed" in refusal(volumes(tmp_path, entry)).message


def test_nifti_channels_lie_in_the_same_coordinates_and_folder(tmp_path: Path) -> None:
    nifti(tmp_path / "sub-1")
    nifti(tmp_path / "sub-2")
    entry = of_nifti(path="sub-1/1.nii.gz")
    entry["channels"][2]["path"] = "sub-2/3.nii.gz"
    error = refusal(volumes(tmp_path, entry), PrivacyError)
    assert "channel 3 of volume 1 of volume entry 1 lies in the folder of another patient" in error.message
    for code, words in ((1, "lie in different coordinates"), (0, "or do not say in which")):
        image = nibabel.load(tmp_path / "sub-2/3.nii.gz")
        image.set_sform(image.affine, code=code)
        image.set_qform(image.affine, code=code)
        nibabel.save(image, tmp_path / "sub-1/3.nii.gz")
        assert words in refusal(volumes(tmp_path, of_nifti(path="sub-1/1.nii.gz"))).message
    for path in (tmp_path / "sub-2").iterdir():
        was = nibabel.load(path)
        image = nibabel.Nifti1Image(np.asarray(was.dataobj), was.affine)
        image.set_sform(was.affine, code=0)
        image.set_qform(was.affine, code=0)
        nibabel.save(image, path)
    assert "or do not say in which" in refusal(volumes(tmp_path, of_nifti(path="sub-2/1.nii.gz"))).message


@pytest.mark.parametrize("kind", ["dicom", "nifti"])
def test_one_series_with_one_window_is_no_two_channels(tmp_path: Path, kind: str) -> None:
    """With two windows it is: of lungs and of soft tissue, such as."""
    if kind == "dicom":
        dicom(tmp_path / "P1")
        entry = of_dicom(slices="middle")
        entry["channels"][2]["series"] = {"SeriesNumber": 2, "Modality": "MR"}
    else:
        nifti(tmp_path / "sub-1")
        entry = of_nifti(slices="middle")
        entry["channels"][2]["path"] = "{folder}/2.nii.*"
    assert len(read_images(volumes(tmp_path, entry))) == 1
    entry["channels"][2]["window"] = ADC.window
    message = refusal(volumes(tmp_path, entry)).message
    assert "1 of volume entry 1 has channels that are the same series in the same window" in message


@pytest.mark.parametrize("patient", [None, "ANON"])
def test_dicom_channels_lie_in_the_folder_of_one_patient(tmp_path: Path, patient: str | None) -> None:
    """Headers that say nothing of the patient leave it to the folders."""
    dicom(tmp_path / "export/sub-1", number=2, PatientID=patient)
    entry = of_dicom(1, 2, path="export", patient_folder="sub-*", slices="middle")
    assert read_images(volumes(tmp_path, entry)).samples[0].patient_id == key_patient("sub-1")
    (tmp_path / "export/sub-2").mkdir()
    shutil.move(tmp_path / "export/sub-1/2", tmp_path / "export/sub-2/2")
    message = refusal(volumes(tmp_path, entry), PrivacyError).message
    assert message == "channel 2 of scan 1 of volume entry 1 lies in the folder of another patient"


def test_colour_is_no_channel(tmp_path: Path) -> None:
    dicom(tmp_path / "P1")
    for path in (tmp_path / "P1/2").iterdir():
        was = dcmread(path)
        same = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID",
                "SeriesNumber", "SeriesInstanceUID")  # fmt: skip
        colour = np.zeros((*ADC.voxels.shape[1:], 3), np.uint8)
        medical.write(path, medical.dataset(colour, sop_class=medical.MR, **{name: was[name].value for name in same}))
    assert "is in colour" in refusal(volumes(tmp_path, of_dicom())).message


@pytest.mark.parametrize("series", ["1", "2", "3"])
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"PatientName": "QUILLFEATHER^THEODORA", "PatientIdentityRemoved": "NO"}, "direct identifiers in the headers"),
        ({"BurnedInAnnotation": "YES"}, "annotations are burned into their pixels"),
        ({"Modality": "US", "SOPClassUID": medical.ULTRASOUND}, "often show names"),
    ],
)
def test_headers_of_every_series_are_checked(tmp_path: Path, series: str, fields: dict[str, Any], words: str) -> None:
    dicom(tmp_path / "P1")
    change(tmp_path / "P1" / series, **fields)
    message = refusal(volumes(tmp_path, of_dicom(slices="middle")), PrivacyError).message
    assert words in message and "picture 1" in message and "Quillfeather" not in message


def test_no_word_of_any_series_header_is_kept_or_printed(tmp_path: Path) -> None:
    dicom(tmp_path / "P1", PatientID="QX7731")
    for series in ("1", "2", "3"):
        change(tmp_path / "P1" / series, SeriesDescription="Quillfeather", StudyDescription="Tolbooth Wynd")
    source = volumes(tmp_path, of_dicom(slices={"index": [1, 2]}))
    images = read_images(source)
    said = inspect(source, base="builtin").model_dump_json() + "".join(images.notes)
    kept = "".join(sample.model_dump_json() for sample in record(images)) + describe_channels(record(images))
    assert "DWI" in kept and '"readable":2' in said
    assert not any(word in said + kept for word in ("QX7731", "Quillfeather", "Tolbooth", FRAME, "1.2.3."))


def test_names_of_every_file_are_checked(tmp_path: Path) -> None:
    nifti(tmp_path / "sub-1")
    (tmp_path / "sub-1/2.nii.gz").rename(tmp_path / "sub-1/theodora_quillfeather_19480723_2.nii.gz")
    entry = of_nifti(slices="middle")
    entry["channels"][1]["path"] = "{folder}/*_2.nii.gz"
    assert "1 file names look like" in refusal(volumes(tmp_path, entry), PrivacyError).message


def test_a_series_is_of_one_patient_in_whichever_channel(tmp_path: Path) -> None:
    """One entry has ADC for a channel, another has it alone under another patient."""
    dicom(tmp_path / "P1")
    alone = {"path": "P1/2", "patient_id": "P2"}
    message = refusal(volumes(tmp_path, of_dicom(patient_id="P1"), alone), PrivacyError).message
    assert "1 DICOM series or volumes stand under several patients" in message
    nifti(tmp_path / "sub-1")
    alone = {"path": "sub-1/3.nii.gz", "patient_id": "P2"}
    message = refusal(volumes(tmp_path, of_nifti(), alone), PrivacyError).message
    assert "1 DICOM series or volumes stand under several patients" in message


def test_a_channel_that_says_it_is_synthetic_makes_the_picture_so(tmp_path: Path) -> None:
    dicom(tmp_path / "P1")
    change(tmp_path / "P1/3", SyntheticData="YES")
    assert read_images(volumes(tmp_path, of_dicom(slices={"index": [1, 3]}))).synthetic == (1, 2)


def test_inspect_counts_patients_once_and_files_once(tmp_path: Path) -> None:
    for name in ("P1", "P2"):
        dicom(tmp_path / name, PatientID=name, SeriesInstanceUID=None, BodyPartExamined="PROSTATE")
        for place, folder in enumerate(sorted((tmp_path / name).iterdir())):
            change(folder, SeriesInstanceUID=f"1.2.{name[1]}.{place}")
    source = volumes(tmp_path, of_dicom(slices={"range": [1, 3]}))
    found = inspect(source, base="builtin")
    assert found.images.readable == 6 and found.patients is not None and found.patients.number == 2
    assert [(kind.format, kind.mode, kind.images) for kind in found.kinds] == [("DICOM", "L+L+L", 6)]
    assert found.duplicates.exact == 3 and found.duplicates.across_patients == 3  # the same pixels under two ids
    (tmp_path / "volumes.yaml").unlink()
    entries = [of_dicom(path=name, slices={"range": [1, 3]}) for name in ("P1",)]
    files = {path for sample in read_images(volumes(tmp_path, *entries)).samples for path in sample.paths}
    assert found.dicom == 2 * len(files) and len(files) < sum(len(scan.voxels) for scan in SCANS)
    left = {item.kind: item.files for item in found.ignored}
    assert left["images that no row names"] == 2 * (sum(len(scan.voxels) for scan in SCANS) - len(files))


def test_what_a_site_remembers_of_a_picture_lists_all_its_sources(tmp_path: Path) -> None:
    for kind, entry in (("P1", of_dicom(slices="middle")), ("sub-1", of_nifti(slices="middle"))):
        (dicom if kind == "P1" else nifti)(tmp_path / kind)
        images = read_images(volumes(tmp_path, entry))
        again = recall(record(images))
        assert [sample.view for sample in again] == [sample.view for sample in images.samples]
        assert len({path.parent.name if kind == "P1" else path.name for path in again[0].paths}) == 3
        assert (pictures(images)[0] == np.asarray(read_sample(again[0]))).all()
        again[0].paths[-1].unlink()
        with pytest.raises(UsageError, match="channel 3 of image 1 cannot be read"):
            read_sample(again[0])


def test_a_table_takes_channels_from_the_defaults(tmp_path: Path) -> None:
    nifti(tmp_path / "sub-1")
    (tmp_path / "all.csv").write_text("path,label\nsub-1/1.nii.gz,csPCa\n")
    defaults = of_nifti(slices="middle")
    del defaults["path"]
    fields = {"schema": "embhub.volumes/1", "table": "all.csv", "defaults": defaults}
    (tmp_path / "volumes.json").write_text(json.dumps(fields))
    sample = read_images(tmp_path / "volumes.json").samples[0]
    assert sample.view is not None and sample.view.names == NAMES
    assert sample.patient_id == key_patient("sub-1") and sample.label == "csPCa"


CHANNELS = "schema: embhub.volumes/1\nvolumes: [{path: a, channels: [%s]}]"


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        ("{name: A}", "two or three channels"),
        ("{name: A}, {name: B}, {name: C}, {name: D}", "two or three channels"),
        ("{name: A}, {name: A}", "a name of its own"),
        ("{name: A, path: x}, {name: B, path: x}", "the first channel's file"),
        ("{name: A}, {name: B, path: x}, {name: C}", "have a path"),
        ("{name: A}, {name: B, path: ../x}", "without .."),
        ("{name: A}, {series: {Modality: MR}}", "channels.1.name"),
        ("{name: A}, {name: 'Quillfeather, Theodora 1948-07-23'}", "channels.1.name"),
        ("{name: A}, {name: 1948-07-23 T2}", "looks like a person's"),
        ("{name: A}, {name: B, series: {Quillfeather: 1}}", "no series is chosen by"),
        ("{name: A}, {name: B, Quillfeather: 1}", "Extra inputs"),
        ("{name: A}, {name: B, channels: []}", "Extra inputs"),
    ],
)
def test_channels_are_read_strictly(channels: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse((CHANNELS % channels).encode())
    assert caught.value.hint and "Quillfeather" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["Patient 17", "pat_17", "PID 0042", "sub-01", "Subject 3", "case 12", "P00017", "T2 P1234", "P-00017"]
)  # fmt: skip
def test_a_name_like_a_patients_number_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="looks like a person's, a date or a record number") as caught:
        parse((CHANNELS % f"{{name: A}}, {{name: {name}}}").encode())
    assert name not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["DWI b1400", "b1400", "B2000", "DWI_b0050", "T2 sub", "Dixon W", "TE 2000", "Sub 2 min"]
)
def test_a_name_of_a_sequence_is_taken(name: str) -> None:
    (entry,) = parse((CHANNELS % f"{{name: A}}, {{name: {name}}}").encode()).volumes
    assert entry.channels[1].name == name


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["name", "path", "series", "time", "window", "x"]),
            st.none() | st.text(max_size=8) | st.integers(-2, 9) | st.sampled_from(["T2", "ADC", "{folder}/a*.nii"])
            | st.dictionaries(st.sampled_from(["SeriesNumber", "values"]), st.integers() | st.lists(st.integers())),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_any_channels_are_two_or_three_or_refused(channels: list[dict[str, Any]]) -> None:
    document = {"schema": "embhub.volumes/1", "volumes": [{"path": "a", "channels": channels}]}
    try:
        (entry,) = parse(json.dumps(document).encode()).volumes
    except UsageError as error:
        assert error.hint
        return
    assert len(entry.channels) in (0, 2, 3) and len(entry.parts()) == max(1, len(entry.channels))


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3}, {"files": []}, {"files": [["a"]]}, {"files": [["a", -1]]}, {"files": [[1, 0]]}, {"time": -1},
        {"window": {"kind": "values", "first": 2, "second": 1}}, {"other": 1},
    ],
)  # fmt: skip
def test_a_record_with_a_channel_that_is_none_is_refused(change: dict[str, Any]) -> None:
    good = view.View(1, name="T2", channels=(view.Channel("ADC", (("a", 0), ("b", 2))),))
    assert view.parse(good.to_text()) == good
    fields = json.loads(good.to_text())
    fields["channels"][0] |= change
    with pytest.raises(ConfigError):
        view.parse(json.dumps(fields))
    many = json.dumps({**json.loads(good.to_text()), "channels": 3 * json.loads(good.to_text())["channels"]})
    with pytest.raises(ConfigError):
        view.parse(many)


@given(
    st.tuples(*[st.floats(-30, 30)] * 3), st.tuples(*[st.floats(0.3, 4)] * 3), st.tuples(*[st.floats(-3, 3)] * 3),
    st.integers(2, 6),
)  # fmt: skip
def test_a_linear_field_is_interpolated_exactly(corner: Vector, spacing: Vector, turn: Vector, number: int) -> None:
    """Whatever the geometry: values that are linear in mm are those of the place that was asked for."""
    axes = turn_by(*turn) * spacing
    grids = [Grid.of(np.array(corner) + place * axes[:, 2], axes[:, 0], axes[:, 1]) for place in range(number)]
    matrix = stack(grids)
    slices, rows, columns = np.indices((number, 5, 6))
    field = np.array([0.3, -1.1, 0.7])
    where = np.tensordot(matrix[:3, :3], np.stack([slices, rows, columns]), 1) + matrix[:3, 3][:, None, None, None]
    voxels = np.tensordot(field, where, 1)
    middle = matrix[:3] @ np.array([(number - 1) / 2, 2, 2.5, 1])
    target = Grid.of(middle, *(turn_by(1, 2, 3)[:, :2].T * 0.2))
    places = locate(target, np.arange(4), np.arange(3), matrix)
    clear = np.asarray(((places >= 0) & (places <= (np.array(voxels.shape) - 1)[:, None, None])).all(axis=0))
    part = box(places, voxels.shape)
    low = np.array([along.start for along in part])[:, None, None]
    found = interpolate(voxels[part], places - low)
    y, x = np.indices((3, 4))
    wanted = np.tensordot(field, np.array(target.corner)[:, None, None] + np.array(target.along)[:, None, None] * x
                          + np.array(target.down)[:, None, None] * y, 1)  # fmt: skip
    assert clear[0, 0] and np.allclose(found[clear], wanted[clear], atol=1e-6)
    assert inside(places, voxels.shape)[clear].all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_is_not_finite_counts_as_nothing(kind: type[np.floating[Any]]) -> None:
    voxels = np.array([[[8, np.nan, 8, np.inf, 8]] * 2] * 2, kind)
    places = np.zeros((3, 1, 5))
    places[2, 0] = [0, 0.5, 1, 2.5, 4]
    assert interpolate(voxels, places).tolist() == [[8, 4, 0, 4, 8]]


def test_the_card_says_which_series_is_which_colour(tmp_path: Path) -> None:
    dicom(tmp_path / "P1")
    dicom(tmp_path / "P2", PatientID="P2", SeriesInstanceUID="1.2.4")
    alone = {"path": "P2", "series": {"SeriesNumber": 1}}
    for folder in (tmp_path / "P2").iterdir():
        change(folder, SeriesInstanceUID=f"1.2.4.{folder.name}")
        for path in folder.iterdir():
            data = dcmread(path)
            data.PixelData = bytes(reversed(data.PixelData))
            medical.write(path, data)
    members = record(read_images(volumes(tmp_path, of_dicom(path="P1"))))
    said = "T2 is red, ADC is green, DWI is blue; resampled to T2 by linear interpolation."
    assert describe_channels(members) == f" {said}"
    mixed = record(read_images(volumes(tmp_path, of_dicom(path="P1"), alone)))
    assert describe_channels(mixed) == f" In some images: {said}"
    assert describe_channels(mixed[5:]) == ""


def test_the_example_of_the_guide_is_read(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs/how-to/use-dicom-and-nifti.md").read_text()
    (example,) = (text for text in re.findall(r"^```yaml\n(schema.*?)^```", guide, re.M | re.S) if "channels" in text)
    (tmp_path / "volumes.yaml").write_text(example)
    dicom(tmp_path / "export/P1")
    for folder, description in (("1", "t2_tse_tra"), ("2", "ep2d_ADC"), ("3", "ep2d_b1400")):
        change(tmp_path / "export/P1" / folder, SeriesDescription=description)
    first, second, _ = nifti(tmp_path / "export")
    for path, name in ((first, "sub-01/anat/sub-01_T2w.nii.gz"), (second, "sub-01/dwi/sub-01_ADC.nii.gz")):
        (tmp_path / "export" / name).parent.mkdir(parents=True)
        path.rename(tmp_path / "export" / name)
    views = [sample.view for sample in read_images(tmp_path / "volumes.yaml").samples]
    assert [found.names for found in views if found] == [("T2", "ADC", "DWI b1400"), ("T2", "ADC")]
