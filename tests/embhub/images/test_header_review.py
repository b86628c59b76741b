"""What headers say against learning from them: refused by keyword and count, or warned of; what a site may state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from embhub import project
from embhub.__main__ import main
from embhub.errors import PrivacyError, UsageError
from embhub.formats import safe_yaml
from embhub.images.images import ImageSet, read_images
from embhub.images.inspections.inspection import inspect
from tests.support import medical

NAMED = {"PatientName": "QUILLFEATHER^THEODORA", "PatientIdentityRemoved": None}


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path_factory.mktemp("home")))


def film(seed: int, **fields: Any) -> Any:
    pixels = np.random.default_rng(seed).integers(0, 4096, (64, 64), dtype=np.uint16)
    return medical.dataset(pixels, **{"PatientID": f"P{seed}", "BitsStored": 12, "HighBit": 11, **fields})


def folder(path: Path, *films: Any) -> Path:
    for number, one in enumerate(films):
        medical.write(path / f"{number:03d}.dcm", one)
    return path


def stated(path: Path, **statement: Any) -> Path:
    said = {"profile": ["113101"], "pixel_review": "none", **statement}
    entries = [{"path": "*.dcm"}]
    document = {"schema": "embhub.volumes/1", "deidentification": said, "volumes": entries}
    (path / "volumes.yaml").write_bytes(safe_yaml.dump(document))
    return path


def read(path: Path, *films: Any) -> ImageSet:
    return read_images(folder(path, *films))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (NAMED, ["PatientName (0010,0010) in 2"]),
        ({"PatientBirthDate": "19480723"}, ["PatientBirthDate (0010,0030) in 2"]),
        ({"AccessionNumber": "ACC-90471-KX"}, ["AccessionNumber (0008,0050) in 2"]),
        ({**NAMED, "OperatorsName": "PIKE^A"}, ["OperatorsName (0008,1070) in 2", "PatientName (0010,0010) in 2"]),
        (
            {"PatientAddress": "7 Tolbooth Wynd", "PatientTelephoneNumbers": "555"},
            ["PatientAddress", "PatientTelephone"],
        ),
        ({"OrderCallbackPhoneNumber": "555 0199"}, ["OrderCallbackPhoneNumber (0040,2010) in 2"]),
    ],
)
def test_direct_identifiers_are_refused_by_keyword_and_count(
    tmp_path: Path, fields: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(PrivacyError, match="direct identifiers in the headers of 2 DICOM files") as caught:
        read(tmp_path, film(0, **fields), film(1, **fields), film(2))
    assert all(words in caught.value.message for words in said) and "(image 1, 2)" in caught.value.message
    assert not any(str(value) in str(caught.value) for value in fields.values() if value)
    assert "use-dicom-and-nifti.md" in caught.value.hint
    assert len(read_images(stated(tmp_path, identified_headers=True))) == 3
    with pytest.raises(PrivacyError):
        read_images(stated(tmp_path, pixel_review="manual"))


def test_identifiers_inside_sequences(tmp_path: Path) -> None:
    step = Dataset()
    step.ScheduledPerformingPhysicianName = "PIKE^A"
    inner = Dataset()
    inner.RequestAttributesSequence = Sequence([step])
    one = film(0, ReferencedStudySequence=Sequence([inner]), PatientIdentityRemoved="NO")
    with pytest.raises(PrivacyError, match=r"ScheduledPerformingPhysicianName \(0040,0006\)"):
        read(tmp_path, one, film(1))


def test_other_ids_of_the_patient_in_a_sequence(tmp_path: Path) -> None:
    other = Dataset()
    other.PatientID = "MRN-90471"
    one = film(0, OtherPatientIDsSequence=Sequence([other]))
    with pytest.raises(PrivacyError, match=r"OtherPatientIDsSequence \(0010,1002\) in 1"):
        read(tmp_path, one, film(1))
    other.PatientID = "P0"
    assert len(read(tmp_path, one, film(1))) == 2


def test_sequences_that_are_nested_too_deep_may_name_somebody(tmp_path: Path) -> None:
    inner = Dataset()
    inner.PatientName = "Doe^Jane"
    for _ in range(13):
        outer = Dataset()
        outer.RequestAttributesSequence = Sequence([inner])
        inner = outer
    with pytest.raises(PrivacyError, match=r"PatientName \(0010,0010\) in 1"):
        read(tmp_path, film(0, ReferencedStudySequence=Sequence([inner])), film(1))


@pytest.mark.filterwarnings("ignore:The PN component length")
def test_a_name_that_is_passed_over_for_its_length_is_a_name(tmp_path: Path) -> None:
    one = film(0, PatientIdentityRemoved=None)
    one.PatientName = "QUILLFEATHER" * 100_000
    folder(tmp_path, film(1))
    (tmp_path / "bare").write_bytes(medical.without_preamble(one))  # in implicit VR a name may have any length
    with pytest.raises(PrivacyError, match=r"PatientName \(0010,0010\) in 1"):
        read_images(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"PatientName": "Anonymous^Patient", "PatientIdentityRemoved": "YES"},
        {"PatientName": "ANON", "PatientIdentityRemoved": None},
        {"PatientName": "P0", "PatientIdentityRemoved": None},
        {"PatientName": "", "PatientBirthDate": "", "PatientIdentityRemoved": None},
        {"AccessionNumber": "00000000"},
    ],
)
def test_stand_ins_are_no_identifiers(tmp_path: Path, fields: dict[str, Any]) -> None:
    assert len(read(tmp_path, film(0, **fields), film(1))) == 2


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("said", ["YES", "yes ", ["NO", "YES"]])
def test_pixels_that_say_they_show_names_are_refused_whatever_was_stated(tmp_path: Path, said: Any) -> None:
    source = folder(tmp_path, film(0, BurnedInAnnotation=said), film(1))
    for path in (source, stated(source, pixel_review="manual", identified_headers=True)):
        with pytest.raises(PrivacyError, match=r"1 DICOM files say that annotations are burned .*1\)"):
            read_images(path)


KINDS = [
    {"sop_class": medical.ULTRASOUND},
    {"sop_class": medical.SECONDARY_CAPTURE},
    {"Modality": "ES"},
    {"Modality": "XC"},
    {"sop_class": "1.2.840.10008.5.1.4.1.1.77.1.1", "Modality": "OAM"},
    {"ConversionType": "WSD"},
    {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
    {"SeriesDescription": "Dose Report"},
]


@pytest.mark.parametrize("fields", KINDS)
def test_kinds_with_words_in_their_pixels_need_a_review(tmp_path: Path, fields: dict[str, Any]) -> None:
    source = folder(tmp_path, film(0), film(1, **fields))
    with pytest.raises(PrivacyError, match=r"1 pictures are ultrasound, endoscopy or captures .*image 2"):
        read_images(source)
    for review in ("none", "not-needed"):
        with pytest.raises(PrivacyError, match="captures of a screen"):
            read_images(stated(source, pixel_review=review))
    images = read_images(stated(source, pixel_review="automatic"))
    assert images.statement is not None and images.statement.pixel_review == "automatic"


def test_derived_reformats_and_cardiac_films_are_no_captures_and_no_heads(tmp_path: Path) -> None:
    fields = {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"], "StudyDescription": "cardiac CT", "sop_class": medical.CT}
    assert not [note for note in read(tmp_path, film(0, **fields), film(1)).notes if "head" in note]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"BurnedInAnnotation": None}, "BurnedInAnnotation is absent in 1 DICOM"),
        ({"PatientIdentityRemoved": None}, "PatientIdentityRemoved is absent or NO in 1"),
        ({"BodyPartExamined": "HEAD"}, "1 DICOM files are of a head"),
        ({"RecognizableVisualFeatures": "YES"}, "1 DICOM files are of a head or recognizable"),
        ({"StudyDescription": "MR_BRAIN w/o contrast"}, "1 DICOM files are of a head"),
        ({"PatientID": None}, "1 of the DICOM files have no PatientID"),
        ({"IssuerOfPatientID": "H"}, "IssuerOfPatientID is in some DICOM files only"),
    ],
)
def test_what_is_warned_of(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    assert any(words in note for note in read(tmp_path, film(0, **fields), film(1)).notes)


def test_private_elements_overlays_and_files_without_a_picture_are_warned_of(tmp_path: Path) -> None:
    one = film(0)
    one.private_block(0x29, "X", create=True).add_new(1, "LO", "words")
    one.add_new(0x60003000, "OW", bytes(512))
    report = film(1, sop_class=medical.REPORT, Rows=None, Columns=None)
    notes = read(tmp_path, one, film(2), report).notes
    assert "private elements in 1 DICOM files: training reads pixels only" in notes
    assert "overlays in 1 DICOM files: training reads pixels only" in notes
    assert any("1 DICOM files without a picture were left out" in note for note in notes)


def test_few_patients_and_rare_findings_are_warned_of(tmp_path: Path) -> None:
    for number in range(14):
        medical.write(tmp_path / f"{number:03d}.dcm", film(number))
    rows = [f"{number:03d}.dcm,{'rare' if number < 3 else 'usual'}" for number in range(14)]
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    assert any("1 of the labels have fewer than 10 patients" in note for note in read_images(tmp_path).notes)
    (tmp_path / "manifest.csv").write_text("\n".join(["path,label", *rows[:5]]) + "\n")
    assert any(note.startswith("5 patients: among fewer than 10") for note in read_images(tmp_path).notes)


def test_words_of_nifti_are_warned_of_by_field(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 100, (64, 64, 3)).astype(np.int16)
    path = medical.nifti(tmp_path / "a.nii.gz", voxels, name=b"quillfeather.nii", descrip=b"quillfeather")
    path.with_name("a.json").write_text("{}")
    (tmp_path / "volumes.yaml").write_text("schema: embhub.volumes/1\nvolumes: [{path: a.nii.gz, patient_id: P1}]\n")
    notes = " ".join(read_images(tmp_path).notes)
    assert "(descrip, name in the gzip header, side-car files)" in notes and "quillfeather" not in notes


def test_volumes_that_are_called_heads_are_warned_of(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 100, (64, 64, 3)).astype(np.int16)
    for number, name in enumerate(("sub-01_T1w.nii.gz", "sub-02_brain.nii.gz", "sub-03_ct.nii.gz")):
        medical.nifti(tmp_path / name, np.roll(voxels, number, axis=0))
    (tmp_path / "volumes.yaml").write_text('schema: embhub.volumes/1\nvolumes: [{path: "*.nii.gz", slices: middle}]\n')
    assert any(note.startswith("2 NIfTI volumes are of a head, by their names") for note in read_images(tmp_path).notes)


def test_inspect_is_the_dry_run_of_a_mixed_folder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """DICOM, PNG, NIfTI, a report and a damaged file in one folder: what would be refused and why, and no name."""
    from PIL import Image

    source = folder(
        tmp_path / "mixed", film(0, **NAMED), film(1, sop_class=medical.ULTRASOUND), film(2, BurnedInAnnotation="YES"),
        film(3, sop_class=medical.REPORT, Rows=None, Columns=None), film(4), film(5),
    )  # fmt: skip
    (source / "004.dcm").write_bytes((source / "004.dcm").read_bytes()[:-400])
    medical.nifti(source / "volume.nii.gz", np.zeros((9, 9, 9), np.int16))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(source / "a.png")
    found = inspect(source, base="builtin")
    assert [(refusal.error, refusal.rows) for refusal in found.refusals] == [
        ("PrivacyError", (1,)), ("PrivacyError", (3,)), ("PrivacyError", (2,)), ("UsageError", (5,)),
    ]  # fmt: skip
    assert found.dicom == 5 and [(one.attribute, one.tag, one.files) for one in found.identifiers] == [
        ("PatientName", "(0010,0010)", 1)
    ]
    assert {(kind.format, kind.mode, kind.bits) for kind in found.kinds} == {("DICOM", "L", 12), ("PNG", "RGB", 8)}
    assert [(kind.kind, kind.files) for kind in found.ignored] == [("NIfTI", 1)] and found.exit_code == 6
    with pytest.raises(PrivacyError) as caught:
        read_images(source)
    assert caught.value.message == found.refusals[0].message
    assert main(["inspect", str(source), "--json"]) == 6
    assert main(["inspect", str(source)]) == 6
    printed = "".join(capfd.readouterr())
    report = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
    assert {"images", "patients", "refusals", "warnings"} <= set(report)
    assert "QUILLFEATHER" not in printed and "PatientName (0010,0010)" in printed


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    source = folder(tmp_path, film(0), film(1))
    medical.nifti(tmp_path / "a.nii.gz", np.zeros((9, 9, 9), np.int16))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UsageError, match="needs pydicom") as caught:
        read_images(source)
    assert caught.value.hint == project.how_to_install("dicom") and "[dicom]" in caught.value.hint
    monkeypatch.setitem(sys.modules, "nibabel", None)
    (tmp_path / "volumes.yaml").write_text("schema: embhub.volumes/1\nvolumes: [{path: a.nii.gz}]\n")
    with pytest.raises(UsageError, match="needs nibabel"):
        read_images(tmp_path)
