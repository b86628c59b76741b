"""Does an image file say that it is synthetic? XMP and C2PA of PNG and JPEG files, SyntheticData of DICOM files.

Cheap and sure of nothing: anybody can write it or take it out. No pixel is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from embhub.errors import PrivacyError, UsageError
from embhub.formats import synthetic_mark
from embhub.formats.synthetic_mark import Declared
from embhub.images.manifests.sample import Sample
from embhub.images.readers.sniffing import kind_of

MAX_BYTES = 64_000_000
"""Of a PNG or JPEG file that are searched for metadata."""
_REFUSED = ": a training with a privacy claim refuses them"


def declared(path: Path) -> Declared:
    """What a file says of itself; nothing where it is of another kind, damaged or may not be read.

    `SyntheticData` YES of a DICOM file counts as the source type `trainedAlgorithmicMedia`: the attribute does not say
    how the pixels were made.
    """
    kind = kind_of(path)
    if kind == "dicom":
        return _of_dicom(path)
    if kind != "picture":
        return Declared()
    try:
        with path.open("rb") as file:
            return synthetic_mark.read(file.read(MAX_BYTES))
    except OSError:
        return Declared()


def _of_dicom(path: Path) -> Declared:
    from embhub.images.readers.dicom_file import read_header

    try:
        header = read_header(path, "the file")
        if str(header.get("SyntheticData", "") or "").strip().upper() != "YES":
            return Declared()
        said = synthetic_mark.read_text(str(header.get("ImageComments", "") or "")[:4_000])
    except UsageError:
        return Declared()
    except Exception:  # noqa: BLE001  # a malformed value raises anything; it says nothing then
        return Declared()
    return Declared(synthetic_mark.GENERATED, said.embeddings, said.base)


def find_synthetic(samples: Sequence[Sample]) -> tuple[int, ...]:
    """Rows of which a file says that it is synthetic."""
    look = lru_cache(maxsize=256)(declared)  # rows of one file follow one another
    return tuple(sample.row for sample in samples if any(look(path).synthetic for path in sample.paths))


def remark(rows: Sequence[int], kind: str) -> str:
    """What a person is told of them; "" where there are none."""
    return f"{_say(rows, kind)}{_REFUSED}" if rows else ""


def is_remark(note: str) -> bool:
    """Whether a note is such a remark."""
    return note.endswith(_REFUSED)


def refuse(rows: Sequence[int], kind: str) -> None:
    """Refuse them among patients of whom a privacy claim speaks.

    Raises:
        PrivacyError: there are some.
    """
    if rows:
        raise PrivacyError(
            f"{_say(rows, kind)}, and a privacy claim is about patients",
            "leave them out; of a generated image nobody knows which patients it shows, so that it counts as none",
        )


def _say(rows: Sequence[int], kind: str) -> str:
    shown = f"{kind} {', '.join(map(str, rows[:8]))}{', …' if len(rows) > 8 else ''}"
    return f"{len(rows):,} image{'s say that they are' if len(rows) > 1 else ' says that it is'} synthetic ({shown})"
