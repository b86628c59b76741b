"""`embhub copy-check`: nearest training image of every drawn one, judged against patients who were kept back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from embhub.artifact.embedding import Embedding
from embhub.copies import report as reports
from embhub.copies import tail
from embhub.copies.report import Group, Nearness, Report
from embhub.diffusion.attacks.auditing import find_audited_base, resolve
from embhub.diffusion.bases.pipelines import load_pipeline, size_rule
from embhub.diffusion.copying.comparing import Found, one_each
from embhub.diffusion.copying.comparing import compare as compare_images
from embhub.diffusion.generation.loading import HasEmbedding
from embhub.errors import UsageError
from embhub.images import pixels
from embhub.images.framing import is_too_small
from embhub.images.inspections.inventory import list_ignored
from embhub.images.manifests.listing import list_images
from embhub.images.manifests.manifest import find
from embhub.images.member_split import Comparison, Source, choose_sides, compare
from embhub.options.preprocessing import Fit, recorded
from embhub.progress import OnProgress, announce
from embhub.site.memory import runs
from embhub.version import __version__

ALPHA = 0.05


@dataclass(frozen=True)
class Checked:
    """A report, and for each sample the row of the training image that is nearest on each measure.

    `members` are those images (N, 3, H, W) in [-1, 1], and `samples` the drawn ones: they stay at the site.
    """

    report: Report
    nearest: tuple[dict[str, int], ...]
    members: Tensor
    samples: Tensor


def check_copies(
    embedding: str | Path | Embedding | HasEmbedding,
    samples: str | Path,
    *,
    members: Source | None = None,
    nonmembers: Source | None = None,
    base: str | Path | None = None,
    alpha: float = ALPHA,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> Checked:
    """Ask of every image in a folder whether it is a copy of one that the embedding was trained on.

    Args:
        embedding: the file, or what `train` or `pull` gave.
        samples: a folder of drawn images, all of which are checked, or a manifest.
        members: images trained on; by default those that `train` remembers on this site.
        nonmembers: images kept back; by default those that `train` remembers.
        base: the base model; by default the one trained on.
        alpha: chance that any of the samples is suspected though none is a copy.
        device: `auto`, or a torch device.
        on_progress: called as the check advances.

    Returns:
        The report, and for each sample the nearest image trained on.

    Raises:
        UsageError: no record of the training and no images named, no samples, samples that would not be checked, too
            few patients trained on or kept back.
        PrivacyError: a patient or a picture on both sides.
        ArtifactError: not an embedding, or one for another base.
    """
    if not 0 < alpha < 1:
        raise UsageError(f"alpha is {alpha}", "it is a chance, such as 0.05")
    target = resolve(embedding)
    run = runs.find(target.digest)
    announce(on_progress, "reading images")
    sides = compare(*choose_sides(run, members, nonmembers))
    files = [(sample.path, name) for sample, name in _list(samples)]
    controls = one_each(sides.nonmembers.units)
    check_numbers(sides, len(controls))
    if run is not None and (named := len(sides.members.units)) < len(run.members):
        raise UsageError(
            f"{named} images are named, and the embedding was trained on {len(run.members)}",
            "name all of them: a copy of one that is left out would not be seen",
        )
    announce(on_progress, "loading the base")
    base_used = find_audited_base(target, base, run)
    pipe = load_pipeline(base_used, device=device)
    seen = recorded(target.training)
    side, fit = size_rule(pipe).choose(seen.resolution), seen.fit
    drawn = torch.cat([_read(path, f"sample {n}", side, fit) for n, (path, _) in enumerate(files, start=1)])
    trained = torch.from_numpy(sides.members.images.load(side, fit))
    kept = torch.from_numpy(sides.nonmembers.images.load(side, fit))[controls]
    found = compare_images(pipe, trained, sides.members.units, kept, drawn, alpha=alpha, on_progress=on_progress)
    report = _report(target, base_used.name, sides, files, found, alpha=alpha)
    rows = [{name: int(row[i]) for name, row in found.nearest.items()} for i in range(len(drawn))]
    return Checked(report, tuple(rows), trained, drawn)


def check_numbers(sides: Comparison, controls: int) -> None:
    """Refuse a comparison that could not find anything.

    Raises:
        UsageError: too few patients on a side.
    """
    trained = len(set(sides.members.units))
    if controls < tail.FEWEST_CONTROLS:
        raise UsageError(
            f"{controls} {sides.unit}s were held out; at least {tail.FEWEST_CONTROLS} are needed to say how near is"
            " too near",
            "name others of the same kind: --nonmembers; or train again with a larger --holdout, but not with privacy:"
            " that would spend a second budget",
        )
    if trained < tail.FEWEST_MEMBERS:
        raise UsageError(
            f"the embedding was trained on {trained} {sides.unit}s; distances mean something from"
            f" {tail.FEWEST_MEMBERS} on",
            "do not publish images that it generates",
        )


def _report(
    target: Embedding,
    base: str,
    sides: Comparison,
    files: Sequence[tuple[Path, str]],
    found: Found,
    *,
    alpha: float,
) -> Report:
    samples = []
    for index, ((path, name), suspected) in enumerate(zip(files, found.suspected, strict=True)):
        near = {
            measured: Nearness(
                distance=round(float(found.distances[measured][index]), 6),
                ratio=round(float(found.ratios[measured][index]), 6),
                p=float(f"{found.p[measured][index]:.6g}"),
            )
            for measured in found.p
        }
        digest = None if suspected else reports.digest(path.read_bytes())
        samples.append(reports.Sample(name=name, sha256=digest, suspected=bool(suspected), measures=near))
    kept = len(set(sides.nonmembers.units))
    everything = tuple(samples)
    return Report(
        embhub=__version__,
        embedding=target.digest,
        base=base,
        unit="patient" if sides.unit == "patient" else "image",
        members=Group(**sides.members.group.model_dump()),
        controls=Group(units=kept, images=kept),
        alpha=alpha,
        threshold=found.threshold,
        scores={name: tuple(round(float(x), 4) for x in values) for name, values in found.controls.items()},
        samples=everything,
        planted=found.planted,
        verdict=reports.decide(tuple(s for s in everything if s.suspected), found.planted),
    )


_IMAGES = ("images that no row names", "other image", "other volume", "NIfTI", "folders that may not be opened")


def _list(samples: str | Path) -> list[tuple[Any, str]]:
    """All images of a folder, or all rows of a manifest.

    Raises:
        UsageError: some of them would not be looked at.
    """
    source = Path(samples)
    listing = list_images(source, None, None)
    folder, manifest = find(source, None)
    missed = listing.left_out
    if source.is_dir():
        listed = {sample.path.resolve() for sample in listing.samples}
        missed = sum(one.files for one in list_ignored(folder, manifest, listed) if one.kind in _IMAGES)
    if missed:
        raise UsageError(
            f"{missed} images would not be checked: rows of other splits, images that no row names, or"
            " formats that are not read",
            "put the images to check into a folder of their own, as PNG, without a manifest",
        )
    return list(zip(listing.samples, listing.relative, strict=True))


def _read(path: Path, where: str, side: int, fit: Fit) -> Tensor:
    image = pixels.read_pixels(path, where)
    if is_too_small(image.size, side, fit):
        raise UsageError(f"{where} is under half of the base's {side} pixels", "check images that this base drew")
    if fit == "crop" and image.width != image.height:
        raise UsageError(
            f"{where} is not square, and the embedding learned from central squares: the rest would not be checked",
            "cut it into squares, and check each of them",
        )
    return torch.from_numpy(pixels.fit(image, side, fit))[None]
