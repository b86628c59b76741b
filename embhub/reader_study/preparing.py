"""Choose real and generated images for a study, and write them so that nothing but their pixels differs."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from embhub.errors import ConfigError, PrivacyError, UsageError
from embhub.formats.synthetic_mark import COMPOSITE
from embhub.images import framing
from embhub.images.checks import learned, synthetic
from embhub.images.images import ImageSet, read_images, read_sample
from embhub.images.manifests.sample import Sample
from embhub.options.preprocessing import Fit
from embhub.progress import OnProgress, Progress
from embhub.reader_study.study import CASES, FEWEST, MOST, Case, Kind, Study, case_file, new_name, write_study

LARGEST = 1024
"""Pixels of a side: larger images are scaled down to this."""
UNKNOWN = (
    "this site cannot tell whether the embedding was trained on some of the real images' patients; if it was, a privacy"
    " claim does not cover what readers say of the generated images"
)


def prepare(
    real: Path, generated: Path, out: Path, *, dataset: str, finding: str | None = None, number: int = 50,
    manifest: Path | None = None, where: str | None = None, fit: Fit = "crop", seed: int = 0,
    on_progress: OnProgress | None = None, on_note: Callable[[str], None] | None = None,
) -> Study:  # fmt: skip
    """Write a study of `number` real and `number` generated images.

    All images become squares with the side of the smallest one, grey if no real image has colour. One image of each
    patient is chosen, in an order that `seed` decides. Patients whom this site knows the embedding to be trained on
    are left out. Generated images keep no mark in this folder.

    Args:
        real: real images, read as `embhub train` reads them.
        generated: a folder of images that embhub generated.
        out: the folder to write; it must not exist.
        dataset: a name for the real images, for results.
        finding: what readers are asked to look for in each image.
        number: images of each kind, 10 to 500.
        manifest, where, fit: as for `embhub train`, for the real images.
        seed: decides which images are chosen.
        on_progress: called with each image.
        on_note: called with each remark on the real images.

    Returns:
        The study.

    Raises:
        UsageError: too few images, or a folder that is there.
        PrivacyError: a generated image among the real ones.
        ConfigError: the folder cannot be written; nothing is left of it.
    """
    if not FEWEST <= number <= MOST:
        raise UsageError(f"a study has {FEWEST} to {MOST} images of each kind", "choose another --number")
    if out.exists():
        raise UsageError(f"{out} is there already", "choose another folder; a study is never overwritten")
    patients = read_images(real, manifest=manifest, where=where, on_progress=on_progress)
    drawn = read_images(generated, on_progress=on_progress)
    _check_kinds(patients, drawn)
    named = {digest for sample in drawn.samples for digest in synthetic.declared(sample.path).embeddings}
    known = [learned.find(digest) for digest in sorted(named)]
    left_out = learned.units_of(patients, filter(None, known))
    others = patients.subset([place for place in range(len(patients)) if patients.unit(place) not in left_out])
    if on_note and not (known and patients.has_patients and all(found and found.complete for found in known)):
        on_note(UNKNOWN)
    chosen: dict[Kind, list[Sample]] = {
        "real": _choose(others, number, seed, "real", left_out=len(left_out)),
        "generated": _choose(drawn, number, seed, "generated"),
    }
    side = min(LARGEST, *(min(size) for images in (others, drawn) for size in images.sizes))
    study = Study(
        dataset=dataset, finding=finding, embeddings=_embeddings(chosen["generated"]),
        cases=tuple(Case(name=new_name(), kind=kind) for kind in chosen for _ in range(number)),
    )  # fmt: skip
    shown = [sample for kind in chosen for sample in chosen[kind]]
    _write(study, shown, out, side=side, fit=fit, on_progress=on_progress)
    return study


def _check_kinds(patients: ImageSet, drawn: ImageSet) -> None:
    if patients.synthetic:
        raise PrivacyError(
            f"{len(patients.synthetic)} of the real images say that they are synthetic",
            "pass the folder of real images as --real",
        )
    if missing := len(drawn) - len(drawn.synthetic):
        raise UsageError(
            f"{missing} of the generated images do not say that they are synthetic",
            "pass images as `embhub generate` writes them",
        )

    redrawn = [one for one in drawn.samples if synthetic.declared(one.path).source_type == COMPOSITE]
    if redrawn:
        raise PrivacyError(
            f"{len(redrawn)} of the generated images are patients' images of which a part was drawn anew",
            "pass images that `embhub generate` made from words alone",
        )


def _choose(images: ImageSet, number: int, seed: int, kind: str, *, left_out: int = 0) -> list[Sample]:
    """One image of each patient, in a random order that the other kind has no part in."""
    order = list(range(len(images)))
    random.Random(seed).shuffle(order)  # noqa: S311  (a choice that can be repeated, no secret)
    first: dict[str, Sample] = {}
    for place in order:
        first.setdefault(images.unit(place), images.samples[place])
    if len(first) < number:
        what = "patients" if len(images) and images.has_patients else "images"
        without = f" without the {left_out} that the embedding was trained on" if left_out else ""
        raise UsageError(
            f"there are {len(first)} {what} in the {kind} images{without}, the study asks for {number}",
            f"give images of more patients, or choose a smaller --number ({FEWEST} at least)",
        )
    return list(first.values())[:number]


def _embeddings(samples: list[Sample]) -> tuple[str, ...]:
    """The embeddings that all generated images name; none where one names others."""
    named = {synthetic.declared(sample.path).embeddings for sample in samples}
    return next(iter(named)) if len(named) == 1 else ()


def _write(
    study: Study, samples: list[Sample], out: Path, *, side: int, fit: Fit, on_progress: OnProgress | None
) -> None:
    pictures = []
    for done, sample in enumerate(samples, start=1):
        if on_progress:
            on_progress(Progress("preparing images", done, len(samples)))
        pictures.append(framing.fit_square(read_sample(sample), side, fit))
    kinds = [case.kind for case in study.cases]
    grey = all(_is_grey(picture) for picture, kind in zip(pictures, kinds, strict=True) if kind == "real")
    try:
        out.mkdir(mode=0o700, parents=True)
        (out / CASES).mkdir(mode=0o700)
        for case, picture in zip(study.cases, pictures, strict=True):
            plain = picture.convert("L" if grey else "RGB")
            Image.frombytes(plain.mode, plain.size, plain.tobytes()).save(case_file(out, case.name), "PNG")
        write_study(study, out)
    except BaseException as error:
        shutil.rmtree(out, ignore_errors=True)  # no image of a patient stays in half a study
        if isinstance(error, OSError):
            raise ConfigError(
                f"cannot write {out}: {error.strerror}", "free space, or choose a folder that you may write to"
            ) from error
        raise


def _is_grey(picture: Image.Image) -> bool:
    bands = picture.convert("RGB").split()
    return bands[0].tobytes() == bands[1].tobytes() == bands[2].tobytes()
