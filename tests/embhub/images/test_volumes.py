"""Volumes files: which slices of which scans, in which order and window, whose they are; DICOM and NIfTI alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from embhub.errors import EmbhubError, PrivacyError, UsageError
from embhub.formats import safe_yaml
from embhub.images.images import ImageSet, read_images, read_sample, recall, record
from embhub.images.manifests import slices
from embhub.images.manifests.volumes import Slices, parse
from embhub.site.memory.patients import key_patient
from tests.support import medical
from tests.support.quick import quick

VOXELS = np.random.default_rng(3).integers(0, 1000, (12, 16, 10)).astype(np.int16)  # right, front, up


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path_factory.mktemp("home")))


def volumes(folder: Path, *entries: dict[str, Any], **fields: Any) -> Path:
    path = folder / "volumes.yaml"
    entries = tuple({"patient_id": "P1", **one} if "patient_folder" not in one else one for one in entries)
    path.write_bytes(safe_yaml.dump({"schema": "embhub.volumes/1", **fields, "volumes": list(entries)}))
    return path


def pictures(images: ImageSet) -> list[NDArray[Any]]:
    return [np.asarray(read_sample(sample))[..., 0] for sample in images.samples]


def grey(values: NDArray[Any]) -> NDArray[Any]:
    return np.rint(np.clip(values / 1000, 0, 1) * 255)


WINDOW = {"values": [0.0, 1000.0]}
SEEN = {  # a slice as a viewer shows it: columns towards left or back, rows towards back or feet
    "axial": lambda place: VOXELS[::-1, ::-1, place].T,
    "coronal": lambda place: VOXELS[::-1, place, ::-1].T,
    "sagittal": lambda place: VOXELS[place, ::-1, ::-1].T,
}
NUMBER = {"axial": 10, "coronal": 16, "sagittal": 12}
ORIENTATIONS = {"axial": (1, 0, 0, 0, 1, 0), "coronal": (1, 0, 0, 0, 0, -1), "sagittal": (0, 1, 0, 0, 0, -1)}
WAYS = {"axial": (0, 0, 1), "coronal": (0, -1, 0), "sagittal": (-1, 0, 0)}  # towards head, front, right in DICOM's axes

LAYOUTS = [
    np.diag([1.0, 1, 1, 1]),
    np.diag([-1.0, -1, 1, 1]),
    np.array([[0, 0, -1.0, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]]),
]


@pytest.mark.parametrize("plane", SEEN)
@pytest.mark.parametrize("affine", LAYOUTS)
def test_a_nifti_slice_does_not_depend_on_the_layout_of_its_file(
    tmp_path: Path, plane: str, affine: NDArray[Any]
) -> None:
    """The same anatomy stored in three ways: as it is, turned over, and with its axes changed."""
    import nibabel

    turned = nibabel.Nifti1Image(VOXELS, np.eye(4)).as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(np.eye(4)), nibabel.orientations.io_orientation(affine)
        )
    )
    medical.nifti(tmp_path / "a.nii.gz", np.asarray(turned.dataobj), affine=turned.affine)
    source = volumes(tmp_path, {"path": "a.nii.gz", "plane": plane, "window": WINDOW})
    found = pictures(read_images(source))
    assert len(found) == NUMBER[plane]
    for place, picture in enumerate(found):
        assert (picture == grey(SEEN[plane](place))).all()


@pytest.mark.parametrize("plane", SEEN)
@pytest.mark.parametrize("turned", quick([True], thorough=[False]))
def test_dicom_slices_are_in_the_order_of_their_places(tmp_path: Path, plane: str, turned: bool) -> None:
    """Whatever their file names and instance numbers say; and they are those of the same scan in NIfTI."""
    names = [f"{name:02d}" for name in np.random.default_rng(1).permutation(NUMBER[plane])]
    for place in range(NUMBER[plane]):
        medical.write(
            tmp_path / "scan" / names[place],
            medical.dataset(
                SEEN[plane](place).copy(),
                sop_class=medical.MR,
                ImageOrientationPatient=[float(value) for value in ORIENTATIONS[plane]],
                ImagePositionPatient=[5.0 + 2 * place * way for way in WAYS[plane]],
                InstanceNumber=NUMBER[plane] - place if turned else int(names[place]),
            ),
        )
    found = pictures(read_images(volumes(tmp_path, {"path": "scan", "plane": plane, "window": WINDOW})))
    assert len(found) == NUMBER[plane]
    for place, picture in enumerate(found):
        assert (picture == grey(SEEN[plane](place))).all()


def test_an_oblique_series_is_of_its_nearest_plane(tmp_path: Path) -> None:
    cosine, sine = np.cos(0.3), np.sin(0.3)
    stack = np.stack(
        [np.full((8, 9), 100 * number + 50, np.int16) + np.arange(9, dtype=np.int16) for number in range(5)]
    )
    medical.series(tmp_path / "scan", stack, names=list("dacbe"), orientation=(1, 0, 0, 0, cosine, sine))
    found = pictures(read_images(volumes(tmp_path, {"path": "scan", "plane": "axial", "window": WINDOW})))
    assert [round(float(picture.mean()) / 25.5) for picture in found] == [1, 2, 3, 4, 5]
    with pytest.raises(UsageError, match="no pictures of the series"):
        read_images(volumes(tmp_path, {"path": "scan", "plane": "coronal"}))


def test_a_frame_of_a_multi_frame_file_lies_where_it_says(tmp_path: Path) -> None:
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    heights = [20.0, 0.0, 10.0]
    groups = []
    for height in heights:
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = [0.0, 0.0, height]
        group.PlanePositionSequence = Sequence([place])
        groups.append(group)
    shared, turn = Dataset(), Dataset()
    turn.ImageOrientationPatient = [1.0, 0, 0, 0, 1, 0]
    shared.PlaneOrientationSequence = Sequence([turn])
    frames = np.stack([np.full((8, 9), 30 * height + 100, np.uint16) for height in heights])
    data = medical.dataset(
        frames, sop_class=medical.ENHANCED_MR, PerFrameFunctionalGroupsSequence=Sequence(groups),
        SharedFunctionalGroupsSequence=Sequence([shared]),
    )  # fmt: skip
    medical.write(tmp_path / "a.dcm", data)
    images = read_images(volumes(tmp_path, {"path": "a.dcm", "window": WINDOW}))
    assert [sample.view.index for sample in images.samples if sample.view] == [1, 2, 0]
    assert [int(picture[0, 0]) for picture in pictures(images)] == [round(255 * v) for v in (0.1, 0.4, 0.7)]


def two_series(folder: Path) -> None:
    stack = np.ascontiguousarray(VOXELS[:3])
    medical.series(folder / "scan", stack, names=["a", "b", "c"], SeriesDescription="t2_tse_tra", SeriesNumber=4)
    medical.series(
        folder / "scan", stack.max() - stack, names=["d", "e", "f"], SeriesDescription="ADC", SeriesNumber=5,
        SeriesInstanceUID="1.2.9",
    )  # fmt: skip


@pytest.mark.parametrize("series", [{"SeriesDescription": "T2*"}, {"SeriesNumber": 4}, {"SeriesNumber": "4"}])
def test_one_of_several_series(tmp_path: Path, series: dict[str, Any]) -> None:
    two_series(tmp_path)
    images = read_images(volumes(tmp_path, {"path": "scan", "series": series}))
    assert [sample.path.name for sample in images.samples] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"path": "scan"}, "holds 2 series"),
        ({"path": "scan", "series": {"SeriesDescription": "dwi"}}, "no pictures of the series"),
        ({"path": "scan", "series": {"SeriesNumber": 4}, "slices": {"index": [3]}}, "has 3 slices"),
        ({"path": "absent"}, "finds no DICOM files"),
        ({"path": "*.nii"}, "finds no DICOM files"),
        ({"path": "notes.txt"}, "neither DICOM nor NIfTI"),
        (
            {"path": "scan", "series": {"SeriesNumber": 4}, "slices": {"largest_mask": True}, "mask": "m.nii"},
            "NIfTI only",
        ),
        ({"path": "scan", "series": {"SeriesNumber": 4}, "patient_folder": "sub-*"}, "no folder"),
    ],
)
def test_what_cannot_be_chosen(tmp_path: Path, entry: dict[str, Any], words: str) -> None:
    two_series(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UsageError, match=words) as caught:
        read_images(volumes(tmp_path, entry))
    assert caught.value.hint


def test_several_pictures_of_one_place_are_told_apart(tmp_path: Path) -> None:
    stack = np.ascontiguousarray(VOXELS[:3])
    for echo in (1, 2):
        medical.series(
            tmp_path / "scan",
            np.roll(stack, echo, axis=2),
            names=[f"{echo}{number}" for number in range(3)],
            EchoNumbers=echo,
        )
    with pytest.raises(UsageError, match="several pictures of one place"):
        read_images(volumes(tmp_path, {"path": "scan"}))
    assert len(read_images(volumes(tmp_path, {"path": "scan", "series": {"EchoNumbers": 2}}))) == 3


def test_slices_in_several_directions(tmp_path: Path) -> None:
    medical.series(tmp_path / "scan", np.ones((2, 8, 9), np.int16), names=["a", "b"])
    medical.series(tmp_path / "scan", np.ones((2, 8, 9), np.int16), names=["c", "d"], orientation=(1, 0, 0, 0, 0, -1))
    with pytest.raises(UsageError, match="several directions"):
        read_images(volumes(tmp_path, {"path": "scan"}))


def test_a_mask_chooses_slices(tmp_path: Path) -> None:
    mask = np.zeros(VOXELS.shape, np.uint8)
    mask[:3, :3, 6], mask[:2, :2, 7], mask[:1, :1, 2] = 1, 1, 1
    for name in ("a", "b"):
        medical.nifti(tmp_path / f"sub-{name}" / f"{name}.nii.gz", VOXELS + (name == "b"))
        medical.nifti(tmp_path / f"sub-{name}" / f"{name}_mask.nii.gz", mask)
    entry = {
        "path": "sub-*/?.nii.gz", "patient_folder": "sub-*", "slices": {"largest_mask": True, "count": 2},
        "mask": "{folder}/{stem}_mask.nii.gz", "window": {"center": 500.0, "width": 1000.0},
    }  # fmt: skip
    images = read_images(volumes(tmp_path, entry))
    assert [sample.view.index for sample in images.samples if sample.view] == [6, 7, 6, 7]
    assert [sample.patient_id for sample in images.samples] == [key_patient(f"sub-{name}") for name in "aabb"]
    assert (pictures(images)[0] == grey(SEEN["axial"](6))).all()
    medical.nifti(tmp_path / "sub-b" / "b_mask.nii.gz", mask[:, :, :-1])
    with pytest.raises(UsageError, match="another shape"):
        read_images(volumes(tmp_path, entry))
    medical.nifti(tmp_path / "sub-b" / "b_mask.nii.gz", mask * 0)
    with pytest.raises(UsageError, match=r"mask .* is empty"):
        read_images(volumes(tmp_path, entry))


def test_slices_of_nobody_are_refused(tmp_path: Path) -> None:
    """Some of one patient's slices could be learned from and some be controls."""
    medical.nifti(tmp_path / "a.nii", VOXELS)
    (tmp_path / "volumes.yaml").write_text("schema: embhub.volumes/1\nvolumes: [{path: a.nii}]\n")
    with pytest.raises(PrivacyError, match="10 slices of volume 1 of volume entry 1 come without a patient"):
        read_images(tmp_path)
    medical.series(tmp_path / "scan", np.ascontiguousarray(VOXELS[:3]), PatientID=None)
    (tmp_path / "volumes.yaml").write_text("schema: embhub.volumes/1\nvolumes: [{path: scan}]\n")
    with pytest.raises(PrivacyError, match="3 pictures are of no patient, and there are others of the same study"):
        read_images(tmp_path)
    with pytest.raises(PrivacyError, match="3 pictures are of no patient"):
        read_images(tmp_path / "scan")


def test_times_and_percentiles_of_the_whole_volume(tmp_path: Path) -> None:
    voxels = np.stack([VOXELS, VOXELS * 2], axis=-1)
    medical.nifti(tmp_path / "a.nii.gz", voxels)
    entry = {"path": "a.nii.gz", "time": 1, "slices": {"index": [3, 4]}, "window": {"percentiles": [5.0, 95.0]}}
    found = pictures(read_images(volumes(tmp_path, entry)))
    low, high = np.percentile(VOXELS * 2, (5, 95))
    wanted = np.rint(np.clip((2.0 * SEEN["axial"](3) - low) / (high - low), 0, 1) * 255)
    assert np.abs(found[0] - wanted).max() <= 1
    with pytest.raises(UsageError, match="2 times and no number 2"):
        read_images(volumes(tmp_path, {**entry, "time": 2}))


def test_a_table_of_volumes(tmp_path: Path) -> None:
    for name in "abc":
        medical.nifti(tmp_path / "scans" / f"{name}.nii", np.roll(VOXELS, ord(name), axis=1))
    (tmp_path / "scans" / "all.csv").write_text(
        "path,patient_id,label,split,comment\na.nii,P1,cancer,train,x\nb.nii,P2,,holdout,\nc.nii,P1,cancer,,\n"
    )
    path = tmp_path / "volumes.json"
    path.write_text(
        '{"schema": "embhub.volumes/1", "folder": "scans", "table": "all.csv", "issuer": "H",'
        ' "defaults": {"slices": "middle", "label": "normal"}}'
    )
    images = read_images(tmp_path)
    assert [(s.label, s.split, s.patient_id) for s in images.samples] == [
        ("cancer", "train", key_patient("P1", issuer="H")),
        ("normal", "holdout", key_patient("P2", issuer="H")),
        ("cancer", "train", key_patient("P1", issuer="H")),
    ]
    assert [s.label for s in read_images(path, where="label=cancer").samples] == ["cancer", "cancer"]
    (tmp_path / "scans" / "all.csv").write_text("path,patient_id,split\na.nii,P1,train\nb.nii,P1,holdout\n")
    with pytest.raises(EmbhubError, match="both in training and kept back"):
        read_images(tmp_path)
    (tmp_path / "scans" / "all.csv").write_text("path,split\na.nii,Quillfeather\n")
    with pytest.raises(UsageError, match="row 2 of the table") as caught:
        read_images(tmp_path)
    assert "Quillfeather" not in str(caught.value)


def test_films_in_a_folder_stand_for_themselves(tmp_path: Path) -> None:
    """Radiographs of one patient lie nowhere in space, and each is a picture."""
    for number in range(3):
        data = medical.dataset(np.random.default_rng(number).integers(0, 4096, (9, 8), dtype=np.uint16),
                               SeriesInstanceUID=f"1.2.{number}")  # fmt: skip
        medical.write(tmp_path / "films" / str(number), data)
    assert len(read_images(volumes(tmp_path, {"path": "films"}))) == 3


def test_what_a_site_remembers_of_a_slice_is_enough_to_see_it_again(tmp_path: Path) -> None:
    medical.nifti(tmp_path / "a.nii.gz", VOXELS)
    entry = {"path": "a.nii.gz", "plane": "sagittal", "slices": {"range": [2, 8], "step": 3}, "window": WINDOW}
    images = read_images(volumes(tmp_path, {**entry, "patient_id": "P1", "label": "x"}))
    again = recall(record(images))
    assert [sample.view for sample in again] == [sample.view for sample in images.samples]
    for before, after in zip(images.samples, again, strict=True):
        assert (np.asarray(read_sample(before)) == np.asarray(read_sample(after))).all()


@pytest.mark.parametrize(
    "text",
    [
        "{}", "[]", "schema: embhub.volumes/2\nvolumes: [{path: a}]", "schema: embhub.volumes/1",
        "schema: embhub.volumes/1\nvolumes: []", "schema: embhub.volumes/1\nvolumes: [{path: a}]\ntable: b.csv",
        "schema: embhub.volumes/1\nvolumes: [{path: ../a}]", "schema: embhub.volumes/1\nvolumes: [{path: /a}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a, Quillfeather: 1}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a, plane: Quillfeather}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a, series: {Quillfeather: 1}}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a, slices: {index: [0], range: [1, 2]}}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a, slices: {range: [3, 2]}}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a, slices: {fraction: [0.2, 1.3]}}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a, slices: {largest_mask: true}}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a, window: {values: [3, 2]}}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a, window: {center: 3}}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a, window: {header: 1, values: [1, 2]}}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a, patient_id: b, patient_folder: c}]",
        "schema: embhub.volumes/1\nvolumes: [{path: a}]\ndeidentification: {profile: [none], pixel_review: manual}",
        "schema: embhub.volumes/1\nschema: embhub.volumes/1\nvolumes: [{path: a}]",
        "Quillfeather: *alias", "\tQuillfeather",
    ],
)  # fmt: skip
def test_a_volumes_file_is_read_strictly(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text.encode())
    assert caught.value.hint and "Quillfeather" not in str(caught.value)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_volumes_file_or_refused(data: bytes) -> None:
    for start in (b"", b"schema: embhub.volumes/1\nvolumes:\n- path: a\n  "):
        try:
            parse(start + data)
        except UsageError as error:
            assert error.hint


@given(st.integers(1, 400), st.floats(0, 1), st.floats(0, 1), st.integers(1, 50))
def test_chosen_slices_are_of_the_volume(number: int, one: float, other: float, count: int) -> None:
    low, high = sorted((one, other))
    chosen = slices.choose(Slices(fraction=(low, high), count=count), number, "it")
    assert chosen == sorted(set(chosen)) and 1 <= len(chosen) <= count and 0 <= chosen[0] <= chosen[-1] < number
    assert slices.choose("middle", number, "it") == [number // 2]
