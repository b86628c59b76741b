"""What an evaluation is asked for, checked before anything is read. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from embhub import destinations
from embhub.cards.personal_data import looks_like_patient, personal_data
from embhub.errors import PrivacyError, UsageError

FIRST = "synthetic"
"""What the arm of `--synthetic` is called."""


def check(
    synthetic: str | Path | None, arms: Mapping[str, str | Path], *, seeds: int, dataset: str, report: str | Path | None
) -> tuple[Path | None, dict[str, str | Path]]:
    """The folder of the report, and the folders of generated images by the names of their arms.

    Raises:
        UsageError: fewer than two seeds, an arm called as the first one is, or no generated images.
        PrivacyError: a name that looks like a person's.
        ConfigError: the report cannot be written.
    """
    if seeds < 2:
        raise UsageError(f"{seeds} seed", "two or more are needed to say what chance does; five are usual")
    if FIRST in arms:
        raise UsageError(f"{FIRST} is what --synthetic is called", "give the arm another name")
    if any(personal_data(name) or looks_like_patient(name) for name in (dataset, *arms)):
        raise PrivacyError("the name of the data set or of an arm looks like a person's", "give it a neutral name")
    folder = Path(report) if report is not None else None
    if folder is not None:
        destinations.check_folder(folder)
    folders = {**({FIRST: synthetic} if synthetic is not None else {}), **arms}
    if not folders:
        raise UsageError("nothing to compare real images with", "pass generated ones: --synthetic DIR")
    return folder, folders
