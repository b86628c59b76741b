"""The images of an evaluation: real ones to learn from, real ones to test on, drawn ones, with nobody on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embhub.cards.personal_data import looks_like_patient, personal_data
from embhub.diffusion.evaluation import origins
from embhub.diffusion.evaluation.cells import Labelled
from embhub.errors import PrivacyError, UsageError
from embhub.images import pixels
from embhub.images.checks import learned, synthetic
from embhub.images.framing import is_too_small
from embhub.images.images import ImageSet, read_images, read_sample
from embhub.images.manifests.manifest import NAME as MANIFEST
from embhub.images.member_split import PLACE
from embhub.images.sketch import sketches
from embhub.options.preprocessing import Fit
from embhub.progress import OnProgress
from embhub.site.memory.patients import key_patient

NEGATIVES = frozenset({"normal", "healthy", "negative", "control", "benign", "none", "no finding", "0"})
"""Labels that are taken for negatives where nothing is said."""


@dataclass(frozen=True)
class Source:
    """Images as they were read: `labels` in words, `names` says whose each is, `digests` tells equal pictures apart.

    `sketches` recognise public pictures that were resized. They stay in memory. Without `has_patients` each image is a
    unit of its own, and `known` has the patients of those images that name one.
    """

    images: NDArray[np.uint8]
    labels: tuple[str, ...]
    names: tuple[str, ...]
    digests: tuple[bytes, ...]
    has_patients: bool
    notes: tuple[str, ...] = ()
    sketches: tuple[tuple[int, ...], ...] = ()
    known: frozenset[str] = frozenset()

    @property
    def people(self) -> frozenset[str]:
        """The patients under the site's key: one source may name them in a manifest, another in headers."""
        return frozenset(key_patient(name) for name in (self.names if self.has_patients else self.known))

    def labelled(self, positive: str) -> Labelled:
        """The same with 1 for positives."""
        truth = np.array([label == positive for label in self.labels], dtype=np.int64)
        return Labelled(self.images, truth, self.names)


@dataclass(frozen=True)
class Drawn:
    """Drawn images of an arm; `embeddings` and `bases` are the SHA-256 in their folders, or built-in names.

    `told` is whether each of these says what drew it. `redrawn`: some are real images with a part drawn anew.
    """

    source: Source
    embeddings: tuple[str, ...]
    told: bool = True
    redrawn: bool = False
    bases: tuple[str, ...] = ()


def read_real(
    place: str | Path,
    name: str,
    resolution: int,
    fit: Fit = "crop",
    *,
    where: str | None = None,
    on_progress: OnProgress | None = None,
) -> Source:
    """Real images with their labels: a manifest's, or a folder's with a folder for each label.

    Raises:
        UsageError, PrivacyError: as `read_images`; an image without a label.
    """
    parts = _labelled_sets(Path(place), name, where, on_progress)
    return _gather(parts, name, resolution, fit)


def read_drawn(
    place: str | Path, name: str, resolution: int, fit: Fit = "crop", *, on_progress: OnProgress | None = None
) -> Drawn:
    """Drawn images: a folder of `embhub research dataset`, any manifest with labels, or a folder for each label.

    Raises:
        UsageError: as `read_real`, or not a folder.
    """
    folder = Path(place)
    parts = _labelled_sets(folder, name, None, on_progress)
    found = _gather(parts, name, resolution, fit)
    # nobody is behind them, and they are to be synthetic
    notes = tuple(n for n in found.notes if not n.startswith("no patient ids") and not synthetic.is_remark(n))
    return Drawn(replace(found, notes=notes), *origins.read(folder))


def choose_fit(places: Mapping[str, str | Path], chosen: Fit | None) -> Fit:
    """How real images are fitted into the square: as chosen, else as those behind the embeddings of all arms were.

    Raises:
        UsageError: the arms' embeddings were trained on images fitted in different ways.
    """
    found = {fit for place in places.values() for fit in origins.fits(Path(place))} if chosen is None else {chosen}
    if len(found) > 1:
        raise UsageError(
            f"the arms' embeddings were trained on images fitted in different ways: {', '.join(sorted(found))}",
            "choose one: --fit",
        )
    return next(iter(found), "crop")


def check_labels(real: Source, test: Source, arms: Mapping[str, Drawn], positive: str | None) -> tuple[str, list[str]]:
    """The positive label and the negative ones.

    Raises:
        UsageError: a single label, an unknown one among the others, no positive one that can be guessed, or an arm with
            one class only; fewer than two test images of a class.
        PrivacyError: a label that looks like a person's name, in whichever set.
    """
    known = sorted(set(real.labels))
    sources = {"test images": test} | {f"the arm {arm}": one.source for arm, one in arms.items()}
    said = {label for one in (real, *sources.values()) for label in one.labels}
    if any(personal_data(label) or looks_like_patient(label) for label in (*said, positive or "")):
        raise PrivacyError("a label looks like it names a person", "label findings, never patients")
    if len(known) < 2:
        raise UsageError(
            "the real images have one label only", "a classifier needs images with the finding and without"
        )
    likely = [label for label in known if label.lower() not in NEGATIVES]
    if positive is None and len(likely) != 1:
        raise UsageError(
            f"which of {', '.join(known[:6])} is the finding?", f'say it: --positive "{(likely or known)[0]}"'
        )
    chosen = positive or likely[0]
    if chosen not in known:
        raise UsageError(f"no real image has the label {chosen}", f"choose one of {', '.join(known[:6])}")
    for name, source in sources.items():
        if strange := sum(label not in known for label in source.labels):
            have = "image has a label" if strange == 1 else "images have labels"
            raise UsageError(  # it may be a name that no list has, so it is not repeated
                f"{name}: {strange} {have} that no real training image has",
                f"use the same labels throughout: {', '.join(known[:6])}",
            )
        if len({label == chosen for label in source.labels}) < 2:
            raise UsageError(
                f"{name}: images of one class only",
                'generate both, with the finding and without: else "generated" is learned to mean one of them',
            )
    if min(found := [sum((label == chosen) is kind for label in test.labels) for kind in (True, False)]) < 2:
        raise UsageError(
            f"{found[0]} test images with the finding and {found[1]} without",
            "an interval needs two of each",
        )
    return chosen, [label for label in known if label != chosen]


def check_apart(real: Source, test: Source, arms: Mapping[str, Drawn]) -> None:
    """Refuse what would make the test no test. A picture is known by its exact pixels alone.

    Raises:
        PrivacyError: a patient in both training and test, the identical test picture among those learned from, or an
            embedding that this site knows to have been learned from a test patient.
    """
    if both := len(real.people & test.people):
        raise PrivacyError(
            f"{both} patients are in the training and in the test images", "give each patient to one of the two"
        )
    for name, source in (("real training images", real), *((f"arm {arm}", one.source) for arm, one in arms.items())):
        if both := len(set(source.digests) & set(test.digests)):
            raise PrivacyError(
                f"{both} test images are identical to images of the {name}", "take them out of one of the two"
            )
    for name, drawn in arms.items():
        if learned_from(drawn, test):
            raise PrivacyError(
                f"arm {name}: its embedding was learned from patients of the test images",
                "test on patients that no embedding was learned from",
            )


def read_ceiling(place: str | Path, resolution: int, fit: Fit, test: Source, positive: str) -> Source:
    """The real images behind an embedding.

    Raises:
        UsageError: as `read_real`, or none shows the finding.
        PrivacyError: a patient or an identical image is among the test images.
    """
    found = read_real(place, "images of the ceiling", resolution, fit)
    if positive not in found.labels:
        raise UsageError(f"no image of the ceiling has the label {positive}", "pass the images behind the embedding")
    if not found.people.isdisjoint(test.people) or not set(found.digests).isdisjoint(test.digests):
        raise PrivacyError(
            "patients or images are in the ceiling and among the test images", "give each patient to one of the two"
        )
    return found


def learned_from(drawn: Drawn, source: Source) -> bool | None:
    """Whether a patient or picture of `source` taught one of the embeddings; None where this site cannot tell."""
    found = [_taught(digest, source) for digest in drawn.embeddings]
    if True in found:
        return True
    return None if None in found or not found or not drawn.told or drawn.redrawn else False


def _taught(embedding: str, source: Source) -> bool | None:
    """By patient where the source names them, and by picture: one person may go by two ids."""
    if (known := learned.find(embedding)) is None:
        return None
    if not (source.people.isdisjoint(known.people) and known.pictures.isdisjoint(source.digests)):
        return True
    return False if source.has_patients and known.complete else None


def _labelled_sets(
    place: Path, name: str, where: str | None, on_progress: OnProgress | None
) -> list[tuple[ImageSet, str | None]]:
    """What is there, with the label that a folder's name gives."""
    say = on_progress and (lambda told: on_progress(replace(told, stage=f"reading {name}")))
    classes = origins.class_folders(place)
    if not classes:
        if place.is_dir() and not (place / MANIFEST).is_file():
            raise UsageError(
                f"{name}: nothing says what the images show",
                f"put each label's images into a folder of that name, or a {MANIFEST} with path,label beside them",
            )
        return [(read_images(place, where=where, on_progress=say), None)]
    if where:
        raise UsageError(f"{name}: rows can be chosen from a manifest only", f"put a {MANIFEST} beside the images")
    return [(read_images(one, on_progress=say), one.name) for one in classes]


def _gather(parts: Sequence[tuple[ImageSet, str | None]], name: str, resolution: int, fit: Fit) -> Source:
    images, labels, digests, seen = [], [], [], []
    names: list[str] = []
    notes: list[str] = []
    known: set[str] = set()
    has_patients = all(found.has_patients for found, _ in parts)
    for found, folder in parts:
        notes += found.notes
        if small := sum(is_too_small(size, resolution, fit) for size in found.sizes):
            raise UsageError(
                f"{name}: {small} image{' is' if small == 1 else 's are'} under half of {resolution} pixels",
                "pass --resolution with a smaller number",
            )
        for index, sample in enumerate(found.samples):
            if not (label := folder or sample.label):
                raise UsageError(f"{name}: {found.kind} {sample.row} has no label", "give every image a label")
            picture = read_sample(sample, f"{name}: {found.kind}")
            values = (pixels.fit(picture, resolution, fit).transpose(1, 2, 0) + 1) * 127.5
            images.append(np.rint(values).clip(0, 255).astype(np.uint8))
            labels.append(label)
            names.append(found.unit(index) if has_patients else f"{name} {len(names)}")
            known |= set() if PLACE.fullmatch(found.unit(index)) else {found.unit(index)}
            digests.append(pixels.digest(picture))
            seen.append(sketches(picture))
    return Source(
        np.stack(images), tuple(labels), tuple(names), tuple(digests), has_patients, tuple(notes), tuple(seen),
        frozenset(known),
    )  # fmt: skip
