"""Real DICOM and NIfTI files for tests, by pydicom and nibabel: any geometry, any header, any transfer syntax."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
CR = "1.2.840.10008.5.1.4.1.1.1"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
REPORT = "1.2.840.10008.5.1.4.1.1.88.11"


def dataset(pixels: NDArray[Any], *, sop_class: str = CR, syntax: str = ExplicitVRLittleEndian, **fields: Any) -> Any:
    """A file of one or more frames: `pixels` (rows, columns), (frames, rows, columns) or (rows, columns, 3).

    Its header says that it is de-identified, and may be told anything else by keyword; None leaves an attribute out.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = UID(syntax)
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    colour = pixels.ndim == 3 and pixels.shape[-1] == 3
    rows, columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    study = f"1.2.3.{zlib.crc32(repr(fields.get('PatientID', 'P1')).encode())}"  # a study of each patient
    values: dict[str, Any] = {
        "Modality": {CT: "CT", MR: "MR", ENHANCED_MR: "MR", ULTRASOUND: "US", SECONDARY_CAPTURE: "OT"}.get(
            sop_class, "CR"
        ),
        "PatientID": "P1",
        "PatientName": "",
        "PatientIdentityRemoved": "YES",
        "BurnedInAnnotation": "NO",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.5",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": 8 * pixels.dtype.itemsize,
        "BitsStored": 8 * pixels.dtype.itemsize,
        "HighBit": max(0, fields.get("BitsStored", 8 * pixels.dtype.itemsize) - 1),
        "PixelRepresentation": int(np.issubdtype(pixels.dtype, np.signedinteger)),
    }
    if colour:
        values["PlanarConfiguration"] = 0
    if pixels.ndim == 3 and not colour:
        values["NumberOfFrames"] = pixels.shape[0]
    for name, value in {**values, **fields}.items():
        if value is not None:
            setattr(data, name, value)
    if UID(syntax).is_encapsulated:
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.PixelData = pixels.tobytes()
        data.compress(UID(syntax))
    else:
        data.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
        data["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    return data


def to_bytes(data: Any) -> bytes:
    """The file's bytes, as PS3.10 has them."""
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(data))
    return path


def without_preamble(data: Any) -> bytes:
    """A bare data set in implicit VR, as old archives hold it."""
    from pydicom.filewriter import dcmwrite

    bare = Dataset()
    bare.update({element.tag: element for element in data})
    buffer = io.BytesIO()
    dcmwrite(buffer, bare, implicit_vr=True, little_endian=True)
    return buffer.getvalue()


def series(
    folder: Path,
    volume: NDArray[Any],
    *,
    names: list[str] | None = None,
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    spacing: tuple[float, float, float] = (1.0, 1.0, 3.0),
    **fields: Any,
) -> list[Path]:
    """`volume` (slices, rows, columns) as one file a slice, the first slice lowest along the normal."""
    normal = np.cross(orientation[:3], orientation[3:])
    paths = []
    for number, pixels in enumerate(volume):
        data = dataset(
            pixels,
            **{
                "sop_class": MR,
                "ImageOrientationPatient": [float(value) for value in orientation],
                "ImagePositionPatient": [float(value) for value in normal * number * spacing[2]],
                "PixelSpacing": [spacing[1], spacing[0]],
                "InstanceNumber": number + 1,
                **fields,
            },
        )
        paths.append(write(folder / (names[number] if names else f"{number:03d}.dcm"), data))
    return paths


def nifti(
    path: Path, voxels: NDArray[Any], *, affine: NDArray[Any] | None = None, name: bytes = b"", **fields: Any
) -> Path:
    """A volume with header fields of one's choice; `name` goes into a gzip header as the name the file once had."""
    image = nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine)
    for field, value in fields.items():
        image.header[field] = value
    data = image.to_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".gz":
        path.write_bytes(data)
        return path
    buffer = io.BytesIO()
    with gzip.GzipFile(name.decode("latin-1"), "wb", fileobj=buffer, mtime=0) as packed:
        packed.write(data)
    path.write_bytes(buffer.getvalue())
    return path
