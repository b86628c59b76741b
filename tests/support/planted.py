"""Hospital files with a secret in every place that can hold words; none of them may ever leave the site."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from embhub.images.inspections import near_duplicates as likeness
from embhub.images.pixels import digest, read_pixels
from embhub.images.readers.view import View
from tests.support import medical

BY_VR = {  # one a value representation that holds text; those of PS3.5 table 6.2-1
    "AE": ("RetrieveAETitle", "AEWYSTANPACS"),
    "CS": ("BodyPartExamined", "QZPROSTATEBED"),
    "DA": ("PatientBirthDate", "19480723"),
    "DS": ("PatientWeight", "83.61593"),
    "DT": ("AcquisitionDateTime", "20190411083742.551903"),
    "IS": ("AcquisitionNumber", "550172839"),
    "LO": ("InstitutionName", "Saint Wystan Infirmary"),
    "LT": ("AdditionalPatientHistory", "fell from the ladder at Quernmore farm"),
    "PN": ("PatientName", "QUILLFEATHER^THEODORA"),
    "SH": ("AccessionNumber", "ACC-90471-KX"),
    "ST": ("InstitutionAddress", "7 Tolbooth Wynd, Kirkcudbright"),
    "TM": ("PatientBirthTime", "034127.918273"),
    "UC": ("LongDeviceDescription", "scanner beside the Bosworth wing"),
    "UI": ("StudyInstanceUID", "1.2.826.0.1.3680043.8.498.77120993"),
    "UR": ("RetrieveURL", "https://pacs.wystan.example/wado/552071"),
    "UT": ("TextValue", "seen by Dr Abernethy-Pike"),
}
DEEPER = ("ReferringPhysicianName", "PIKE^ABERNETHY")


@dataclass
class Planted:
    """`header` is in the files alone; `local` may stand in this site's private record of a training, nowhere else."""

    header: dict[str, bytes] = field(default_factory=dict)
    local: dict[str, bytes] = field(default_factory=dict)

    def hide(self, name: str, secret: str, *, hashes: bool = True) -> None:
        self.header[name] = secret.encode()
        for kind in ("sha256", "md5", "sha1") if hashes else ():
            self.header[f"{kind} of {name}"] = hashlib.new(kind, secret.encode()).digest()

    def look_at(self, path: Path, view: View | None, name: str) -> None:
        """Digests of the picture as it is learned from, and of the file."""
        image = read_pixels(path, "image", view=view)
        self.header[f"digest of {name}"] = digest(image)
        self.header[f"likeness of {name}"] = np.packbits(likeness.difference_hash(image.convert("L")) > 0).tobytes()
        self.header[f"file {name}"] = hashlib.sha256(path.read_bytes()).digest()


def picture(seed: int) -> NDArray[np.uint16]:
    """A 64 x 64 picture of coarse blocks that only this seed gives, in 12 bits."""
    blocks = np.random.default_rng(seed).integers(0, 4096, (8, 8), dtype=np.uint16)
    return np.kron(blocks, np.ones((8, 8), np.uint16))


def dicom(folder: Path, patients: int) -> Planted:
    """A folder a patient, three slices in each, and secrets in all of it."""
    planted = Planted()
    for keyword, secret in BY_VR.values():
        planted.hide(keyword, secret)
    planted.hide(DEEPER[0], DEEPER[1])
    for number in range(patients):
        patient, place = f"MRN-55{number:03d}07734", f"kq{number:03d}wexford"
        planted.hide(f"PatientID {number}", patient)
        planted.local[f"folder {number}"] = place.encode()
        for level in range(3):
            name = f"vr{number:03d}lindisfarne{level}"
            planted.local[f"file {number} {level}"] = name.encode()
            data = medical.dataset(
                picture(10 * number + level),
                sop_class=medical.MR,
                BitsStored=12,
                HighBit=11,
                PatientIdentityRemoved=None,
                PatientID=patient,
                SeriesInstanceUID=f"1.2.826.0.1.3680043.8.498.{number}.881177",
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                ImagePositionPatient=[0, 0, float(-level)],
            )
            _plant(data, planted)
            raw = medical.to_bytes(data)
            planted.header["preamble"] = b"preamble of Wystan"
            path = folder / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"preamble of Wystan".ljust(128, b"\0") + raw[128:])
            if level == 1:
                planted.look_at(path, View(), name)
    return planted


def nifti(folder: Path, patients: int) -> Planted:
    """A volume a patient, with words in its header, its gzip header and a side-car."""
    planted = Planted()
    words = {"descrip": "Quillfeather Theodora 19480723", "aux_file": "mrn5518207734.txt", "db_name": "wystan-db",
             "intent_name": "Tolbooth"}  # fmt: skip
    header: dict[str, Any] = {name: word.encode() for name, word in words.items()}
    for name, word in words.items():
        planted.hide(name, word)
    planted.hide("gzip name", "theodora-quillfeather.nii")
    planted.hide("side-car", "Saint Wystan Infirmary")
    for number in range(patients):
        patient, name = f"sub-kq{number:03d}wexford", f"vr{number:03d}lindisfarne"
        planted.hide(f"patient {number}", patient)
        planted.local[f"file {number}"] = name.encode()
        planted.local[f"patient {number}"] = patient.encode()  # it is a folder's name as well
        del planted.header[f"patient {number}"]
        voxels = np.stack([picture(10 * number + level) for level in range(3)], axis=-1).astype(np.int16)
        path = medical.nifti(
            folder / patient / f"{name}.nii.gz", voxels, name=b"theodora-quillfeather.nii",
            **header,
        )  # fmt: skip
        path.with_name(f"{name}.json").write_text('{"InstitutionName": "Saint Wystan Infirmary"}')
        planted.look_at(path, View(1, "axial"), name)
    return planted


def _plant(data: Any, planted: Planted) -> None:
    for keyword, secret in BY_VR.values():
        setattr(data, keyword, secret)
    step = Dataset()
    setattr(step, *DEEPER)
    data.RequestAttributesSequence = Sequence([step])
    block = data.private_block(0x0029, "WYSTAN PRIVATE 1.0", create=True)
    for place, (vr, secret) in enumerate({"LO": "ledgerbook 88213", "UN": "unknown but Bosworth"}.items(), start=1):
        block.add_new(place, vr, secret if vr == "LO" else secret.encode())
        planted.hide(f"private {vr}", secret)
    data.add_new(0x60000010, "US", 64)
    data.add_new(0x60000011, "US", 64)
    data.add_new(0x60001500, "LO", "overlay of Quernmore")
    data.add_new(0x60003000, "OW", b"Kirkcudbright in bits".ljust(512, b"\0"))
    planted.hide("overlay label", "overlay of Quernmore")
    planted.hide("overlay bits", "Kirkcudbright in bits")
    planted.hide("private creator", "WYSTAN PRIVATE 1.0")
