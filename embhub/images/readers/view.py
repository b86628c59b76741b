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
class Channel:
    """A further series of the picture, resampled to the first: green or blue.

    `files` are the DICOM slices to interpolate between, each a path and a frame, in the order of their places; or the
    path of one NIfTI volume and 0. `time` is as in `View`.
    """

    name: str
    files: tuple[tuple[str, int], ...]
    window: Window = field(default_factory=Window)
    time: int = 0

    def __post_init__(self) -> None:
        if not self.files or not all(isinstance(file, str) and file and _is_place(frame) for file, frame in self.files):
            raise ValueError("a channel names its files, and a frame of each")


@dataclass(frozen=True)
class View:
    """`index` counts from 0: frames of a DICOM file, or slices of a NIfTI volume along `plane`.

    `time` is the place along a volume's fourth dimension. With `channels` the picture is red, they are green and blue,
    and `name` is that of the red one.
    """

    index: int = 0
    plane: Plane | None = None
    time: int = 0
    window: Window = field(default_factory=Window)
    name: str = ""
    channels: tuple[Channel, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the series in red, green and blue; none of a picture of one series."""
        return (self.name, *(channel.name for channel in self.channels)) if self.channels else ()

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
        channels = tuple(_channel(one) for one in fields["channels"])
        view = View(**{**fields, "window": Window(**fields["window"]), "channels": channels})
        if view.plane not in (*get_args(Plane), None) or view.window.kind not in get_args(Kind):
            raise ValueError("unknown plane or window")
        if not all(_is_place(number) for number in (view.index, view.time, *(one.time for one in channels))):
            raise ValueError("a place out of range")
        if len(channels) > 2 or not all(isinstance(name, str) for name in view.names):
            raise ValueError("channels that are none")
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError("the record of a training names a view that is none", "name the images yourself") from error
    return view


def _channel(fields: dict[str, Any]) -> Channel:
    files = tuple((file, frame) for file, frame in fields["files"])
    return Channel(**{**fields, "files": files, "window": Window(**fields["window"])})


def _is_place(number: object) -> bool:
    return isinstance(number, int) and 0 <= number < _MOST
