"""Three series of one patient that lie obliquely to each other: what channels are resampled from, in DICOM and NIfTI.

`python -m tests.support.series_of_prostate FOLDER`, where SimpleITK is installed, writes what SimpleITK makes of them:
`tests/vectors/channels.png`, the pictures of all slices of the first series in a column, those of NIfTI at the right.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.support import medical

FRAME = "1.2.3.77"
REFERENCE = Path(__file__).parents[1] / "vectors/channels.png"


def turn_by(x: float, y: float, z: float) -> NDArray[np.float64]:
    """Rotations about three axes, in radians, one after the other."""
    found = np.eye(3)
    for axis, angle in enumerate((x, y, z)):
        one = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        one[a, a], one[a, b], one[b, a], one[b, b] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        found = one @ found
    return found


@dataclass(frozen=True)
class Scan:
    """A series: voxels (slices, rows, columns), and their geometry in DICOM's axes (left, back, up) and mm."""

    name: str
    voxels: NDArray[np.int16]
    axes: NDArray[np.float64]  # columns: the ways along a row, down a column, to the next slice
    spacing: tuple[float, float, float]
    corner: tuple[float, float, float]
    white: float

    @property
    def window(self) -> dict[str, Any]:
        """From 0 to `white`, for a volumes file."""
        return {"values": [0.0, self.white]}


def _scan(seed: int, shape: tuple[int, int, int], axes: NDArray[np.float64], spacing: tuple[float, float, float],
          centre: tuple[float, float, float], white: int) -> Scan:  # fmt: skip
    voxels = np.random.default_rng(seed).integers(0, white, shape).astype(np.int16)
    slices, rows, columns = shape
    middle = axes @ (np.array([columns - 1, rows - 1, slices - 1]) / 2 * spacing)
    x, y, z = (float(number) for number in np.array(centre) - middle)
    return Scan(f"series {seed}", voxels, axes, spacing, (x, y, z), white)


SCANS = (
    _scan(1, (5, 36, 40), turn_by(0.15, -0.1, 0.2), (0.9, 0.9, 3.0), (4.0, -11.0, 30.0), 900),
    _scan(2, (9, 17, 19), turn_by(0.15, -0.1, 0.2), (2.1, 1.8, 3.6), (5.0, -10.5, 30.7), 3000),
    _scan(3, (12, 26, 24), turn_by(-0.2, 0.25, 0.0), (1.9, 2.0, 2.5), (3.0, -10.0, 29.0), 400),
)
"""T2, ADC and DWI: ADC is parallel to T2 and covers most of it; DWI lies across both and covers all."""


def dicom(folder: Path, *, number: int = 3, **fields: Any) -> list[Path]:
    """A folder for each scan, named 1 to `number`, with a file a slice; `fields` go into every header."""
    paths = []
    for place, scan in enumerate(SCANS[:number], start=1):
        along, down, up = scan.axes.T
        for index, pixels in enumerate(scan.voxels):
            corner = np.array(scan.corner) + index * scan.spacing[2] * up
            data = medical.dataset(
                pixels,
                **{
                    "sop_class": medical.MR,
                    "FrameOfReferenceUID": FRAME,
                    "ImageOrientationPatient": [float(value) for value in (*along, *down)],
                    "ImagePositionPatient": [float(value) for value in corner],
                    "PixelSpacing": [scan.spacing[1], scan.spacing[0]],
                    "SeriesNumber": place,
                    "SeriesInstanceUID": f"1.2.3.{place}",
                    "RescaleSlope": 2 if place == 2 else 1,
                    "RescaleIntercept": -100 if place == 2 else 0,
                    "InstanceNumber": index + 1,
                    **fields,
                },
            )
            paths.append(medical.write(folder / str(place) / f"{len(scan.voxels) - index:02d}", data))
    return paths


def nifti(folder: Path) -> list[Path]:
    """The same scans as `1.nii.gz` and so on; the second is stored upside down, in the third axes are exchanged."""
    paths = []
    for place, scan in enumerate(SCANS, start=1):
        affine = np.eye(4)
        affine[:3, :3] = np.diag([-1.0, -1, 1]) @ scan.axes * scan.spacing
        affine[:3, 3] = np.array([-1.0, -1, 1]) * scan.corner
        voxels = scan.voxels.transpose(2, 1, 0)
        if place == 2:
            affine[:3, 3] += affine[:3, 2] * (voxels.shape[2] - 1)
            affine[:3, 2] *= -1
            voxels = voxels[:, :, ::-1]
        if place == 3:
            affine, voxels = affine[:, [1, 0, 2, 3]], voxels.transpose(1, 0, 2)
        paths.append(medical.nifti(folder / f"{place}.nii.gz", np.ascontiguousarray(voxels), affine=affine))
    return paths


def _reference(folder: Path) -> None:
    import SimpleITK as sitk
    from PIL import Image

    def read_series(place: int) -> Any:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([str(path) for path in sorted((folder / "dicom" / str(place)).iterdir(), reverse=True)])
        return sitk.Cast(reader.Execute(), sitk.sitkFloat64)

    def show(images: list[Any]) -> Any:
        first, colours = images[0], []
        for image, scan in zip(images, SCANS, strict=True):
            ones = image * 0 + 1
            values = sitk.Resample(image, first, sitk.Transform(), sitk.sitkLinear, 0.0)
            covered = sitk.Resample(ones, first, sitk.Transform(), sitk.sitkLinear, 0.0)
            grey = np.rint(np.clip(sitk.GetArrayFromImage(values) / scan.white, 0, 1) * 255)
            colours.append(np.where(sitk.GetArrayFromImage(covered) > 0, grey, 0))
        return np.stack(colours, axis=-1).astype(np.uint8)

    dicom(folder / "dicom")
    sides = [
        show([read_series(place) for place in (1, 2, 3)]),
        show([sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat64) for path in nifti(folder / "nifti")]),
    ]
    Image.fromarray(np.concatenate([np.concatenate(list(side)) for side in sides], axis=1)).save(REFERENCE)


if __name__ == "__main__":
    _reference(Path(sys.argv[1]))
