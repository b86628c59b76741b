"""Where an image lies in the square that a base sees: the one rule for training, audits, redrawing and evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageOps

from embhub.options.preprocessing import Fit

Area = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


@dataclass(frozen=True)
class Framing:
    """The part `seen` of an image, and the area `placed` that it fills in a square of `side` pixels; the rest is black.

    Black is the lowest value of a picture. In a DICOM file of MONOCHROME1 that is air, too: its reader inverts it.
    """

    seen: Area
    placed: Area
    side: int

    def apply(self, image: Image.Image) -> Image.Image:
        """The square of `image`, in its mode."""
        part = _cut(image, self.seen)
        width, height = self.placed[2:]
        small = part if part.size == (width, height) else part.resize((width, height), Image.Resampling.LANCZOS)
        if self.placed == (0, 0, self.side, self.side):
            return small
        square = Image.new(image.mode, (self.side, self.side))
        square.paste(small, self.placed[:2])
        return square

    def undo(self, square: Image.Image) -> Image.Image:
        """The part that is seen, in its own size, from a square that was drawn."""
        part = _cut(square, self.placed)
        size = self.seen[2:]
        return part if part.size == size else part.resize(size, Image.Resampling.LANCZOS)


def frame(size: tuple[int, int], side: int, fit: Fit) -> Framing:
    """The framing of an image of `size` (width, height)."""
    width, height = size
    if fit == "stretch":
        return Framing((0, 0, width, height), (0, 0, side, side), side)
    if fit == "pad":
        longest = max(size)
        across, down = (max(1, round(length * side / longest)) for length in size)
        return Framing((0, 0, width, height), ((side - across) // 2, (side - down) // 2, across, down), side)
    shortest = min(size)
    return Framing(((width - shortest) // 2, (height - shortest) // 2, shortest, shortest), (0, 0, side, side), side)


def fit_square(image: Image.Image, side: int, fit: Fit) -> Image.Image:
    """An image as training sees it. `crop` begins between pixels where a side is odd, as it always did."""
    if fit == "crop":
        return ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
    return frame(image.size, side, fit).apply(image)


def is_too_small(size: tuple[int, int], side: int, fit: Fit) -> bool:
    """Whether an image would be enlarged to more than twice its size: what is then seen is made up."""
    return 2 * (max(size) if fit == "pad" else min(size)) < side


def lost_share(size: tuple[int, int]) -> float:
    """The share of an image that `crop` leaves out."""
    return 1 - min(size) / max(size)


def _cut(image: Image.Image, area: Area) -> Image.Image:
    left, top, width, height = area
    return image if (width, height) == image.size else image.crop((left, top, left + width, top + height))
