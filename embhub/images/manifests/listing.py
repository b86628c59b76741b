"""Which images, whose, and what they show: a folder, a table or a volumes file, as one list of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from embhub.errors import PrivacyError, UsageError
from embhub.images.manifests.manifest import NAME, find, read_manifest, scan
from embhub.images.manifests.problems import REFUSE, Watcher
from embhub.images.manifests.sample import Listing, Sample
from embhub.images.manifests.volume_listing import list_volumes
from embhub.images.manifests.volumes import is_volumes_file
from embhub.site.memory.patients import is_keyed, key_patient


def list_images(
    source: Path, manifest: Path | None, where: str | None, *, watcher: Watcher = REFUSE, headers: bool = True,
    columns: Mapping[str, str] | None = None,
) -> Listing:  # fmt: skip
    """The images that `source` (folder, manifest or volumes file) names; of DICOM files the headers are read.

    `columns` are a table's own names by ours.

    Without `headers` no DICOM file is opened, and patients that only a header names are unknown.

    Raises:
        UsageError: nothing there, a malformed manifest, an unknown column, or no image left.
        ConfigError: the site's key, under which patients of DICOM files are kept, cannot be read.
        PrivacyError: one patient in training and in the part kept back.
    """
    folder, manifest = find(source, manifest)
    if manifest is not None and is_volumes_file(manifest):
        listing = list_volumes(manifest, where, watcher)
    else:
        listing = _list_pictures(folder, manifest, where, watcher, headers=headers, columns=columns)
    listing = replace(listing, samples=_settle_ids(listing.samples))
    _check_splits(listing.samples, watcher)
    return listing


def _list_pictures(
    folder: Path, manifest: Path | None, where: str | None, watcher: Watcher, *, headers: bool,
    columns: Mapping[str, str] | None,
) -> Listing:  # fmt: skip
    if manifest is not None:
        return read_manifest(manifest, folder, where, watcher, headers=headers, columns=columns)
    if columns:
        raise UsageError("--columns needs a manifest", f"put {NAME} beside the images, or name one")
    if where:
        raise UsageError("--where needs a manifest", f"put {NAME} beside the images, or name one")
    return scan(folder, watcher, headers=headers)


def _settle_ids(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """All ids keyed where some are: a patient of a header and of a manifest is then one."""
    named = [sample.patient_id for sample in samples if sample.patient_id is not None]
    keyed = [is_keyed(name) for name in named]
    if all(keyed) or not any(keyed):
        return samples
    return tuple(
        sample if sample.patient_id is None else replace(sample, patient_id=key_patient(sample.patient_id))
        for sample in samples
    )


def _check_splits(samples: Sequence[Sample], watcher: Watcher) -> None:
    sides: dict[str, set[str]] = {}
    for sample in samples:
        if sample.patient_id is not None:
            sides.setdefault(sample.patient_id, set()).add(sample.split)
    if both := {patient for patient, found in sides.items() if len(found) > 1}:
        error = PrivacyError(
            f"{len(both)} patients are both in training and kept back",
            "give each patient one split, all images together",
        )
        watcher.problem(error, [sample.row for sample in samples if sample.patient_id in both])
