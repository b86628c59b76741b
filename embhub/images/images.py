"""A site's images, checked before any of them is learned from. Only pixels go on from here: no path, name or tag."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embhub.cards.personal_data import looks_like_patient
from embhub.errors import EmbhubError, PrivacyError, UsageError
from embhub.images import framing, pixels
from embhub.images.checks import synthetic
from embhub.images.checks.base_fit import Shown, shown_by
from embhub.images.checks.header_review import check_headers, warn_of_few
from embhub.images.manifests.listing import list_images
from embhub.images.manifests.problems import REFUSE, Watcher
from embhub.images.manifests.sample import Listing, Sample
from embhub.images.manifests.volumes import Statement
from embhub.images.readers.encoding import Encoding
from embhub.images.readers.view import parse
from embhub.options.preprocessing import Fit
from embhub.progress import OnProgress, Progress
from embhub.site.memory import runs

Pixels: TypeAlias = NDArray[np.float32]
"""Images (N, 3, H, W) in [-1, 1]."""

_CHUNK = 32


@dataclass(frozen=True)
class ImageSet:
    """Checked images in the order of their source. `notes` are remarks for a person; they name rows, never files.

    `kind` is what a row is called: a row of a manifest, an image of a folder, a picture of a volumes file. `statement`
    is what the site says of how the images were de-identified; `digests` tell pictures apart, where they were taken.
    `synthetic` are the rows whose files say that no scanner made them; `shown` what DICOM headers say of the pictures.
    """

    samples: tuple[Sample, ...]
    sizes: tuple[tuple[int, int], ...]
    notes: tuple[str, ...] = ()
    kind: str = "row"
    statement: Statement | None = None
    digests: tuple[bytes, ...] = ()
    synthetic: tuple[int, ...] = ()
    shown: tuple[Shown, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.samples)

    def load(self, resolution: int, fit: Fit = "crop") -> Pixels:
        """All images, (N, 3, resolution, resolution), float32 in [-1, 1].

        Raises:
            UsageError: an image under half the resolution, or one that has gone since.
        """
        return np.concatenate(list(self.batches(resolution, fit)))

    def batches(self, resolution: int, fit: Fit = "crop") -> Iterator[Pixels]:
        """The same in parts of at most 32 images, so that a large set need not fit in memory."""
        self.check_resolution(resolution, fit)
        for start in range(0, len(self.samples), _CHUNK):
            chunk = self.samples[start : start + _CHUNK]
            arrays = [pixels.fit(read_sample(sample, "image"), resolution, fit) for sample in chunk]
            yield np.stack(arrays)

    def check_resolution(self, resolution: int, fit: Fit = "crop") -> None:
        """Refuse images too small to be enlarged in good faith: a side under half of `resolution`."""
        pairs = zip(self.samples, self.sizes, strict=True)
        small = [sample.row for sample, size in pairs if framing.is_too_small(size, resolution, fit)]
        if small:
            raise UsageError(
                f"{len(small)} images are under half of the base's {resolution} pixels ({_rows(small, self.kind)})",
                "use larger images, or a base of a lower resolution",
            )

    def describe_fit(self, fit: Fit) -> tuple[str, ...]:
        """A remark on what `fit` does to images that are not square; none where all are."""
        lost = [framing.lost_share(size) for size in self.sizes if size[0] != size[1]]
        if not lost:
            return ()
        counted = f"{len(lost):,} of {len(self):,} images are not square: "
        if fit == "crop":
            return (
                f"{counted}cutting each to its central square leaves out up to {max(lost):.0%} of an image, at two"
                " edges; --fit pad keeps all of it",
            )
        how = "black is added" if fit == "pad" else "their aspect ratio changes"
        return (f"{counted}{how}, and the embedding learns that, too",)

    def describe_captions(self) -> tuple[str, ...]:
        """A remark on captions of single images; none where the source has no column of that name."""
        if all(sample.caption is None for sample in self.samples):
            return ()
        used = sum(bool(sample.caption) for sample in self.samples)
        return (f"{used:,} of {len(self):,} images have captions of their own; they stay at this site",)

    def check_number(self) -> None:
        """Refuse to learn from a single image, or from none."""
        if len(self) < 2:
            raise UsageError(
                f"{len(self)} image to learn from" if len(self) else "no image to learn from",
                "an embedding of a single image is a copy of it: give several images of several patients",
            )

    def subset(self, chosen: Sequence[int]) -> ImageSet:
        """The images at these positions."""
        samples, sizes = tuple(self.samples[i] for i in chosen), tuple(self.sizes[i] for i in chosen)
        digests = tuple(self.digests[i] for i in chosen) if self.digests else ()
        rows = {sample.row for sample in samples}
        generated = tuple(row for row in self.synthetic if row in rows)
        return ImageSet(samples, sizes, (), self.kind, self.statement, digests, generated)

    def unit(self, index: int) -> str:
        """Whose image it is: the patient, or the image itself where the source names no patients."""
        sample = self.samples[index]
        return f"image {sample.row}" if sample.patient_id is None else sample.patient_id

    def names(self) -> tuple[str, ...]:
        """Whom the privacy ledger charges for each image: its patient, or a digest of its pixels.

        Neither changes when a folder is renamed or ordered anew.
        """
        if self.has_patients:
            return tuple(self.unit(index) for index in range(len(self)))
        return tuple(digest.hex() for digest in self._digests())

    def pictures(self) -> tuple[tuple[str, str], ...]:
        """Digest of the pixels and patient of each picture whose patient is known: the ledger keeps both, keyed."""
        known = any(sample.patient_id is not None for sample in self.samples)
        pairs = zip(self._digests() if known else (), self.samples, strict=False)
        return tuple((digest.hex(), sample.patient_id) for digest, sample in pairs if sample.patient_id is not None)

    def _digests(self) -> tuple[bytes, ...]:
        """Of all pixels; read again where the images were not read yet."""
        if self.digests or not self.samples:
            return self.digests
        return tuple(pixels.digest(read_sample(sample, self.kind)) for sample in self.samples)

    @property
    def has_patients(self) -> bool:
        """Whether the source says whose each image is."""
        return all(sample.patient_id is not None for sample in self.samples)


def read_images(
    source: str | Path,
    *,
    manifest: str | Path | None = None,
    where: str | None = None,
    on_progress: OnProgress | None = None,
    watcher: Watcher = REFUSE,
    columns: Mapping[str, str] | None = None,
) -> ImageSet:
    """Read and check the images of a folder, manifest or volumes file (rules: docs/explanation/training.md).

    A manifest is CSV with the columns `path` (relative to it), `patient_id`, and optionally `label` and `split`
    (`train` or `holdout`; other splits are left out). A folder's `manifest.csv` is found by itself. `where` keeps the
    rows of one value: `label=pneumonia`. `watcher` decides what a problem stops: everything, or its own rows. `columns`
    are the manifest's own names by ours.

    Raises:
        UsageError: nothing there, not an image, a malformed manifest, a row without patient.
        PrivacyError: names that look like patients, one picture under two patients, a patient on both sides of a split,
            DICOM headers that name patients or pictures that show names (`embhub.images.checks.header_review`).
    """
    listing = list_images(Path(source), Path(manifest) if manifest else None, where, watcher=watcher, columns=columns)
    watcher.listing(listing)
    check_names(listing, watcher)
    warnings = check_headers(listing, watcher)
    kept, sizes, digests, notes = _decode(listing, watcher, on_progress)
    notes += [*warnings, *warn_of_few(kept)]
    if listing.left_out:
        notes.append(f"{listing.left_out} rows of other splits were left out")
    if nameless := sum(sample.patient_id is None for sample in kept):
        notes.append(_of_nobody(nameless, len(kept)))
    if generated := synthetic.find_synthetic(kept):
        notes.append(synthetic.remark(generated, listing.kind))
    return ImageSet(
        tuple(kept), tuple(sizes), tuple(notes), listing.kind, listing.statement, tuple(digests), generated,
        shown_by(listing.headers),
    )  # fmt: skip


def read_sample(
    sample: Sample,
    kind: str = "image",
    look: Callable[[Image.Image], None] | None = None,
    stored: Callable[[Encoding], None] | None = None,
) -> Image.Image:
    """The picture of a sample as 8-bit RGB of its own size; errors name it as `kind` and its row.

    Raises:
        UsageError: as `pixels.read_pixels`.
    """
    return pixels.read_pixels(sample.path, f"{kind} {sample.row}", look, view=sample.view, stored=stored)


def record(images: ImageSet) -> tuple[runs.Sample, ...]:
    """What this site remembers of the images of a training."""
    return tuple(
        runs.Sample(
            path=str(sample.path),
            patient_id=images.unit(place),
            label=sample.label or None,
            view=sample.view.to_text() if sample.view else None,
            caption=sample.caption,
        )
        for place, sample in enumerate(images.samples)
    )


def recall(samples: Sequence[runs.Sample]) -> tuple[Sample, ...]:
    """Samples as the site remembers them, to be read with `read_sample`.

    Raises:
        ConfigError: a record that says of a picture what no picture has.
    """
    return tuple(_recall(s, row) for row, s in enumerate(samples, start=1))


def _recall(kept: runs.Sample, row: int) -> Sample:
    view = parse(kept.view) if kept.view else None
    return Sample(Path(kept.path), kept.patient_id, kept.label or "", row=row, view=view, caption=kept.caption)


def find_names(listing: Listing) -> list[int]:
    """Rows whose file names, as the source has them, look like a person's."""
    pairs = zip(listing.samples, listing.relative, strict=True)
    return [
        sample.row
        for sample, path in pairs
        if any(looks_like_patient(name) for name in (path, *listing.further.get(sample.row, ())))
    ]


def check_names(listing: Listing, watcher: Watcher) -> None:
    """Refuse file names that look like a person's, or note them where the watcher goes on."""
    if found := find_names(listing):
        error = PrivacyError(
            f"{len(found)} file names look like a patient's name, date or record number ({_rows(found, listing.kind)})",
            "rename the files to neutral numbers; the names are not repeated here",
        )
        watcher.problem(error, found)


def _decode(
    listing: Listing, watcher: Watcher, on_progress: OnProgress | None
) -> tuple[list[Sample], list[tuple[int, int]], list[bytes], list[str]]:
    seen: dict[bytes, list[Sample]] = defaultdict(list)
    kept, sizes, digests, again = [], [], [], []
    for done, sample in enumerate(listing.samples, start=1):
        if on_progress:
            on_progress(Progress("reading images", done, len(listing.samples)))
        try:
            image = read_sample(sample, listing.kind, partial(watcher.file, sample), partial(watcher.stored, sample))
        except EmbhubError as error:
            watcher.problem(error, [sample.row])
            continue
        digest = pixels.digest(image)
        watcher.picture(sample, image, digest)
        seen[digest].append(sample)
        if len(seen[digest]) == 1:
            kept.append(sample)
            sizes.append(image.size)
            digests.append(digest)
        else:
            again.append(sample.row)
    _check_shared(seen, listing.kind, watcher)
    return kept, sizes, digests, _remarks(sizes, again, listing.kind)


def _check_shared(seen: Mapping[bytes, Sequence[Sample]], kind: str, watcher: Watcher) -> None:
    shared = [twins for twins in seen.values() if len({twin.patient_id for twin in twins}) > 1]
    if shared:
        rows = sorted(twin.row for twins in shared for twin in twins)
        error = PrivacyError(
            f"{len(shared)} pictures stand under two patients ({_rows(rows, kind)})",
            "correct the manifest: a patient kept back would still be learned from",
        )
        watcher.problem(error, rows)


def _remarks(sizes: Sequence[tuple[int, int]], again: Sequence[int], kind: str) -> list[str]:
    notes = []
    if again:
        notes.append(f"{len(again)} pictures that occur twice were used once ({_rows(again, kind)})")
    if len(set(sizes)) > 1:
        notes.append(f"{len(set(sizes))} different image sizes: each is fitted into the square and resized")
    return notes


def _of_nobody(nameless: int, images: int) -> str:
    if nameless == images:
        return "no patient ids: each image counts as a person of its own, here and in the audit"
    return (
        f"{nameless:,} of {images:,} pictures come without a patient id: in the audit and in the privacy ledger each"
        " image counts as a person of its own, those of named patients too"
    )


def _rows(numbers: Sequence[int], kind: str = "row") -> str:
    shown = ", ".join(str(number) for number in numbers[:8])
    return f"{kind} {shown}{', …' if len(numbers) > 8 else ''}"
