"""What a copy check plants to try itself on, and what it was measured to miss."""

from __future__ import annotations

PLANTED, FEWEST_CAUGHT = 20, 18
"""Copies of each kind that are planted, and how many of them must be caught before silence means anything."""

KINDS: tuple[str, ...] = (
    "exact",
    "mirrored",
    "upside down",
    "inverted",
    "noise of 5%",
    "blurred",
    "gamma 1.4",
    "contrast of 60%",
    "JPEG, quality 50",
    "turned by 8 degrees",
    "turned by 8 degrees and zoomed by 13%",
    "turned by 15 degrees",
    "turned by 25 degrees",
    "turned by 90 degrees",
    "zoomed by 12%",
    "zoomed by 33 to 40%",
    "shifted by 4/64 down and across",
    "shifted by 9/64 down and across",
    "a quarter of it, enlarged",
    "stretched by 1.15 x 0.9",
    "bent by up to 6%",
    "half of it beside another image",
    "its middle quarter in another image",
    "a fifth of it in another image",
    "blended 50/50 with another copy",
    "blended 70/30 with another image",
    "turned, shifted, scaled and re-lit as the base's films",
    "through the autoencoder",
)
"""The kinds of copies that are planted; the last one needs the base's autoencoder."""
NOT_LOOKED_FOR: tuple[str, ...] = (
    "less than a fifth of an image in another one",
    "a part that was moved to another place of another image",
    "an image blended so that it is the weaker half",
    "an image without detail, such as one of 16 x 16 pixels",
)
"""Copies that the check was measured to miss on real X-rays, or that nobody tried: no verdict speaks of them."""
