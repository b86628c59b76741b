"""One image of one patient, and a list of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from embhub.images.manifests.volumes import Statement
from embhub.images.readers.dicom_header import Header
from embhub.images.readers.view import View


@dataclass(frozen=True)
class Sample:
    """One image of one patient. `patient_id` is None where the source names no patients.

    It is what a manifest says, or keyed (`embhub.site.memory.patients`) where it is from a header or of a named issuer.
    `row` is its line in the manifest, or its place in the folder: what messages say instead of a name. `view` says
    which picture of a file that holds several. `caption` is what the source says of this image alone; None without a
    column of that name.
    """

    path: Path
    patient_id: str | None
    label: str = ""
    split: str = "train"
    row: int = 0
    view: View | None = None
    caption: str | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that its pixels come from, the first series' first."""
        channels = self.view.channels if self.view else ()
        return (self.path, *(Path(file) for channel in channels for file, _ in channel.files))


@dataclass(frozen=True)
class Listing:
    """Samples in the order of their source, `relative` their paths as it has them; `kind` is row, image or picture.

    `headers` are those of DICOM files, by row, of every file that a picture comes from; `further` are the paths of the
    files of its channels, as the source has them; `without_picture` such files that hold none; `statement` is what the
    site says of how the images were de-identified; `issuers` gave out the ids, headers' own apart.
    """

    samples: tuple[Sample, ...]
    relative: tuple[str, ...]
    kind: str
    left_out: int = 0
    headers: Mapping[int, tuple[Header, ...]] = field(default_factory=dict, repr=False)
    without_picture: int = 0
    statement: Statement | None = None
    notes: tuple[str, ...] = ()
    issuers: frozenset[str] = field(default=frozenset(), repr=False)
    further: Mapping[int, tuple[str, ...]] = field(default_factory=dict, repr=False)


def each_file(headers: Mapping[int, tuple[Header, ...]]) -> tuple[Header, ...]:
    """Every header once, however many pictures its file has a part in."""
    return tuple({id(header): header for several in headers.values() for header in several}.values())
