"""What is wrong with a folder or manifest, found in a fraction of a second: no image is opened, no header is read."""

from __future__ import annotations

from pathlib import Path

from embhub.images.images import check_names
from embhub.images.manifests.listing import list_images
from embhub.images.manifests.manifest import NAME, find
from embhub.images.manifests.problems import REFUSE
from embhub.images.manifests.volumes import is_volumes_file


def check_source(source: str | Path, manifest: str | Path | None = None, where: str | None = None) -> None:
    """Refuse a source of images that `read_images` would refuse anyway, before anything slow is done.

    A volumes file is only looked for: what it names takes long to list.

    Raises:
        UsageError: nothing there, a malformed manifest, an unknown column, or no image left.
        PrivacyError: file names that look like patients, or one patient in training and in the part kept back.
    """
    place, named = Path(source), Path(manifest) if manifest else None
    _, table = find(place, named)
    if table is None or not is_volumes_file(table):
        check_names(list_images(place, named, where, headers=False), REFUSE)


def check_labelled(source: str | Path, where: str | None = None) -> None:
    """The same for a source that may be a folder with a folder for each label, as `evaluate` takes it.

    Raises:
        UsageError, PrivacyError: as `check_source`.
    """
    folder = Path(source)
    if where or not folder.is_dir() or (folder / NAME).is_file():
        check_source(source, where=where)
