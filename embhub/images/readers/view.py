"""Which picture of a file that holds several, and in which window: with the file, all that decides its pixels."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from embhub.errors import ConfigError

Plane = Literal["axial", "coronal", "sagittal"]
Kind = Literal["header", "values", "percentiles"]

_MOST = 10_000_000  # frames or slices: beyond any scanner, and a number that fits everywhere


@dataclass(frozen=True)
class Window:
    """From values to grey: `header` is the file's own (the `first`-th, from 1), the others name black and white.

    `values` are in the file's units after its rescaling (HU in CT); `percentiles` are of the picture (DICOM) or of the
    whole volume (NIfTI). A file without a window of its own is shown from its 1st to its 99.5th percentile.
    """

    kind: Kind = "header"
    first: float = 1
    second: float = 0

    def __post_init__(self) -> None:
        if not all(math.isfinite(number) and abs(number) < 1e12 for number in (self.first, self.second)):
            raise ValueError("a window's numbers are finite")
        if self.kind == "header":
            if not (self.first == int(self.first) and 1 <= self.first <= 100):
                raise ValueError("the window of the header is counted from 1")
        elif self.second <= self.first:
            raise ValueError("white must lie above black")
        elif self.kind == "percentiles" and not (self.first >= 0 and self.second <= 100):
            raise ValueError("percentiles lie between 0 and 100")


@dataclass(frozen=True)
class View:
    """`index` counts from 0: frames of a DICOM file, or slices of a NIfTI volume along `plane`.

    `time` is the place along a volume's fourth dimension.
    """

    index: int = 0
    plane: Plane | None = None
    time: int = 0
    window: Window = field(default_factory=Window)

    def to_text(self) -> str:
        """One line of JSON for the site's record of a training."""
        return json.dumps(asdict(self), sort_keys=True)


def parse(text: str) -> View:
    """What `View.to_text` wrote.

    Raises:
        ConfigError: it is not that.
    """
    try:
        fields: dict[str, Any] = json.loads(text)
        view = View(**{**fields, "window": Window(**fields["window"])})
        numbers = (view.index, view.time)
        if view.plane not in (*get_args(Plane), None) or view.window.kind not in get_args(Kind):
            raise ValueError("unknown plane or window")
        if not all(isinstance(number, int) and 0 <= number < _MOST for number in numbers):
            raise ValueError("a place out of range")
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError("the record of a training names a view that is none", "name the images yourself") from error
    return view
