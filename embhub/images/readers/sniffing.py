"""What kind of file lies there: by its ending, and without one by its first bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Kind = Literal["picture", "dicom", "nifti", ""]

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
DICOM = (".dcm", ".dicom", ".ima")
NIFTI = (".nii", ".nii.gz")
_TEXT_VRS = frozenset([b"UI", b"UL", b"CS", b"SH", b"LO", b"DA", b"TM", b"PN", b"ST", b"DT"])
_HEAD = 132


def kind_of(path: Path) -> Kind:
    """The reader for a file; "" for none. At most 132 bytes are read.

    A file that may not be opened and may be DICOM is taken for it: left out, it would be missing unseen.
    """
    name = path.name.lower()
    if path.suffix.lower() in PICTURES:
        return "picture"
    if name.endswith(NIFTI):
        return "nifti"
    if name.endswith(DICOM):
        return "dicom"
    return "dicom" if _begins_as_dicom(path) else ""


def _begins_as_dicom(path: Path) -> bool:
    """PS3.10: 128 bytes of anything, then `DICM`; or a bare data set, whose first elements are of group 2 or 8."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except PermissionError:
        return _may_be_bare(path)
    except OSError:
        return False
    return head[128:] == b"DICM" or (_may_be_bare(path) and _begins_as_data_set(head))


def _begins_as_data_set(head: bytes) -> bool:
    if len(head) < 16 or head[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    if head[4:6] in _TEXT_VRS:
        return True
    return (
        head[2:4] in (b"\x00\x00", b"\x05\x00", b"\x08\x00", b"\x16\x00") and int.from_bytes(head[4:8], "little") < 65
    )


def _may_be_bare(path: Path) -> bool:
    """Archives store DICOM without an ending, or with a number for one: `IM00001`, `slice.12`, a UID."""
    suffix = path.suffix[1:]
    return not suffix or suffix.isdigit() or len(suffix) > 5
