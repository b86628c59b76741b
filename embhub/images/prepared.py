"""What was done to the images before a training, in sentences for the card, from the file and this site's record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from embhub.artifact.embedding import Embedding
from embhub.images.images import recall
from embhub.options.preprocessing import recorded
from embhub.privacy.claim_or_none import is_claim
from embhub.site.memory import runs

_COLOURS = ("red", "green", "blue")


def describe_preprocessing(artifact: Embedding, own: int) -> str:
    """How images were prepared; `own` is the base's resolution in pixels.

    Nothing of the record beside a privacy claim: one patient may decide which series are named.
    """
    seen = recorded(artifact.training)
    side = seen.resolution or own
    how = {
        "crop": f"Cut to the central square and resized to {side} x {side} pixels",
        "pad": f"Resized whole to {side} pixels on the longer side and padded with black to {side} x {side}",
        "stretch": f"Stretched to {side} x {side} pixels, whatever the aspect ratio",
    }
    run = None if is_claim(artifact.privacy) else runs.find(artifact.digest)
    return f"{how[seen.fit]}, values scaled to [-1, 1].{describe_channels(run.members) if run else ''}"


def describe_channels(samples: Sequence[runs.Sample]) -> str:
    """Which series are red, green and blue in the images of a record; "" where each is of one series."""
    counts = Counter(sample.view.names for sample in recall(samples) if sample.view)
    return "".join(_describe(names, number, len(samples)) for names, number in counts.items() if names)


def _describe(names: Sequence[str], number: int, images: int) -> str:
    of = "" if number == images else "In some images: "
    colours = ", ".join(f"{name} is {colour}" for name, colour in zip(names, _COLOURS, strict=False))
    return f" {of}{colours}; resampled to {names[0]} by linear interpolation."
