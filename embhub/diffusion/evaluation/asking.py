"""What an evaluation is asked for, checked before anything is read. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from embhub import destinations
from embhub.cards.evaluation import CEILING, NORMALS, REAL_ALONE, STOPPED_EARLY
from embhub.cards.personal_data import looks_like_patient, personal_data
from embhub.errors import PrivacyError, UsageError
from embhub.options.regimes import REGIMES

FIRST = "synthetic"
"""What the arm of `--synthetic` is called."""


RESERVED = frozenset({FIRST, REAL_ALONE, STOPPED_EARLY, NORMALS, CEILING})
Folders = str | Path | Sequence[str | Path]
"""Drawn images of an arm: one folder for each embedding of a recipe."""


def check(
    synthetic: Folders | None, arms: Mapping[str, Folders], *, seeds: int, dataset: str, report: str | Path | None,
    regimes: Sequence[str] = ("mixed",), real_share: float | None = None, frozen: bool = False,
) -> tuple[Path | None, dict[str, tuple[Path, ...]]]:  # fmt: skip
    """The folder of the report, and the folders of generated images by the names of their arms.

    Raises:
        UsageError: fewer than two seeds or a number of them that no arm's folders divide, an arm called as the first
            one or a control is, an unknown regime, one of two lessons for a `frozen` network, a share that is none, or
            no generated images.
        PrivacyError: a name that looks like a person's.
        ConfigError: the report cannot be written.
    """
    if seeds < 2:
        raise UsageError(f"{seeds} seed", "two or more are needed to say what chance does; five are usual")
    if taken := sorted(RESERVED & set(arms)):
        what = "what --synthetic is called" if taken[0] == FIRST else "the name of a control"
        raise UsageError(f"{taken[0]} is {what}", "give the arm another name")
    if any(personal_data(name) or looks_like_patient(name) for name in (dataset, *arms)):
        raise PrivacyError("the name of the data set or of an arm looks like a person's", "give it a neutral name")
    if not regimes or (strange := [one for one in regimes if one not in REGIMES]):
        raise UsageError(f"no regime is called {strange[0] if regimes else 'nothing'}", f"say {', '.join(REGIMES)}")
    if frozen and "pretrained" in regimes:
        raise UsageError(
            "the published network is not trained, first on generated images and then on real ones",
            "leave out --regime pretrained, or --classifier pretrained",
        )
    if real_share is not None and not 0 < real_share < 1:
        raise UsageError(f"{real_share:g} is no share of real images", "say a number between 0 and 1, such as 0.5")
    folder = Path(report) if report is not None else None
    if folder is not None:
        destinations.check_folder(folder)
    folders = {name: _paths(one) for name, one in ({FIRST: synthetic} | dict(arms)).items() if one is not None}
    if not any(folders.values()):
        raise UsageError("nothing to compare real images with", "pass generated ones: --synthetic DIR")
    for name, places in folders.items():
        if seeds % max(1, len(places)):
            raise UsageError(
                f"arm {name} has {len(places)} sets of images, and {seeds} seeds cannot take them equally often",
                f"pass --seeds {len(places) * max(2 if len(places) == 1 else 1, -(-seeds // len(places)))}",
            )
    return folder, {name: places for name, places in folders.items() if places}


def _paths(given: Folders) -> tuple[Path, ...]:
    return (Path(given),) if isinstance(given, str | Path) else tuple(map(Path, given))
