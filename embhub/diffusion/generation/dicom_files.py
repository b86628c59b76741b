"""DICOM copies of generated images, in a folder `dicom` beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.images import dicom_output
from embhub.images.dicom_output import Series

FOLDER = "dicom"


def check(*, dicom: bool, burn_in: bool) -> None:
    """Refuse what cannot be written, before anything is generated.

    Raises:
        UsageError: a word to burn into files that are not asked for, or no library that writes them.
    """
    if burn_in and not dicom:
        raise UsageError("--burn-in is for DICOM files", "add --dicom, or leave out --burn-in")
    if dicom:
        dicom_output.check_available()


def write_copies(out: Path, files: Iterable[str], series: Series) -> str:
    """Write a DICOM file for each PNG of `out`, under the same name in `out/dicom`; returns that folder's name.

    Raises:
        ConfigError: the folder cannot be written, or is full.
    """
    for number, name in enumerate(files, 1):
        with Image.open(out / name, formats=("PNG",)) as image:
            data = dicom_output.encode(image, series, number)
        target = (out / FOLDER / name).with_suffix(".dcm")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, data)
    return FOLDER


def study_of(out: Path, files: Iterable[str]) -> str:
    """A key of the images: other images are another study."""
    digest = hashlib.sha256()
    for name in files:
        digest.update(hashlib.sha256((out / name).read_bytes()).digest())
    return digest.hexdigest()
