"""What is in a folder or manifest, before anything is learned from it, and what training would say to it.

The images are listed, checked and read by the code that `train` runs; only the watcher differs, which notes a problem
and goes on. A picture is looked at once and dropped: what stays of it is a kilobyte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from embhub import builtin_bases as bases
from embhub.errors import EmbhubError, UsageError
from embhub.images.checks import base_fit
from embhub.images.images import read_images
from embhub.images.inspections.inventory import list_ignored
from embhub.images.inspections.remarks import remarks_on
from embhub.images.inspections.report import Inspection
from embhub.images.inspections.summary import summarise
from embhub.images.inspections.survey import Survey
from embhub.images.manifests import clean_manifest
from embhub.images.manifests.manifest import find
from embhub.images.manifests.volumes import is_volumes_file
from embhub.options.preprocessing import Fit
from embhub.progress import OnProgress


def inspect(
    images: str | Path,
    *,
    manifest: str | Path | None = None,
    where: str | None = None,
    base: str | Path | None = None,
    fit: Fit = "crop",
    columns: Mapping[str, str] | None = None,
    write_manifest: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Inspection:
    """Report what a folder contains, and whether `train` would accept it. Nothing is learned.

    What `train` would refuse is reported, not raised: see `Inspection.refusals`, `accepted` and `exit_code`. The report
    contains no path, no patient identifier, and no value from a file's header.

    Args:
        images: Folder, manifest or volumes file, as for `train`.
        manifest: As for `train`.
        where: As for `train`.
        base: A built-in name or a pipeline folder, with whose resolution and card the images are compared; None asks
            which built-in base the headers fit.
        fit: As for `train`.
        columns: The manifest's own names of columns by ours, such as `{"path": "Datei"}`.
        write_manifest: File for a manifest of the images that could be read, with the usual columns. It has the
            images' paths and the patients' ids, so only its owner may read it.
        on_progress: Called with each image.

    Returns:
        The report.

    Raises:
        UsageError: No such folder or manifest, or no such base; a manifest to write that exists or has no images.
        ConfigError: The manifest cannot be written.

    Example:
        >>> import embhub
        >>> found = embhub.inspect("images/manifest.csv")
        >>> found.accepted, found.images.readable, found.patients.number
        (True, 6, 4)
    """
    folder, listed_in = find(Path(images), Path(manifest) if manifest else None)
    side = resolution(bases.NAMES[0] if base is None else base)
    if write_manifest is not None:
        clean_manifest.check_place(Path(write_manifest), listed_in)
        columns = columns or {}
    survey = Survey()
    notes: tuple[str, ...] = ()
    about_base: list[str] = []
    try:
        found = read_images(
            images, manifest=manifest, where=where, on_progress=on_progress, watcher=survey, columns=columns
        )
        notes = (*found.notes, *found.describe_fit(fit), *found.describe_captions())
        learned = [place for place, sample in enumerate(found.samples) if sample.split == "train"]
        survey.attempt(found.subset(learned).check_number)
        survey.attempt(lambda: found.check_resolution(side, fit))
        if base is None:
            survey.attempt(lambda: about_base.append(base_fit.describe(found.shown)))
        elif doubt := base_fit.doubt(base, found.shown):
            notes += (doubt,)
    except EmbhubError as error:  # nothing could be listed at all
        survey.problem(error)
    ignored = list_ignored(folder, listed_in, {path for sample in survey.samples for path in sample.paths})
    source: Literal["folder", "manifest", "volumes"] = "folder"
    if listed_in:
        source = "volumes" if is_volumes_file(listed_in) else "manifest"
    if write_manifest is not None:
        clean_manifest.write(survey.read, Path(write_manifest))
    inspection = summarise(survey, side, fit, source=source, ignored=ignored, warnings=notes, on_progress=on_progress)
    return inspection.model_copy(update={"remarks": (*about_base, *remarks_on(inspection))})


def resolution(base: str | Path) -> int:
    """Side in pixels of the images that a base draws, read from its configuration alone.

    Raises:
        UsageError: not a built-in name, nor a folder in diffusers' format.
    """
    folder = bases.resolve(base)
    try:
        if folder is None:
            raise FileNotFoundError
        denoiser = json.loads((folder / "unet/config.json").read_bytes())
        autoencoder = json.loads((folder / "vae/config.json").read_bytes())
        halvings = len(autoencoder["block_out_channels"]) - 1
        return int(denoiser["sample_size"]) << halvings
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{base} is not a base model here", "name builtin, builtin-xray, or a pipeline folder"
        ) from error
