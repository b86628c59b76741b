"""A contact sheet of drawn images that may go on a card: pixels, a mark, and a record of what drew them.

Without a privacy claim the copy check decides whether there is one. Beside a claim nothing is compared: pictures that
are drawn from the published numbers tell no more of the patients than the claim allows, and whether a sheet exists must
not depend on their images, as it would if a check decided.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from embhub import destinations
from embhub.artifact.embedding import Embedding
from embhub.cards import samples as records
from embhub.cards.card_schema import MOST_SAMPLES, Samples
from embhub.diffusion.bases.adapted import is_adapted
from embhub.diffusion.bases.pipelines import find_base
from embhub.diffusion.bases.replacements import parse_base
from embhub.diffusion.copying.checking import ALPHA
from embhub.diffusion.copying.drawing import Drawn
from embhub.diffusion.training.captions import check_words
from embhub.durable import write_atomic
from embhub.errors import PrivacyError, UsageError
from embhub.formats import plain_png, synthetic_mark
from embhub.privacy.claim import PrivacyClaim
from embhub.release import at_the_site
from embhub.release import files as release_files

COLUMNS, GAP = 4, 2
_SIDES = (256, 192, 128, 96, 64, 48)


def is_private(made: Embedding) -> bool:
    """Whether the embedding carries a privacy claim, which its samples are then drawn under."""
    return isinstance(made.privacy, PrivacyClaim)


def check_request(file: Path, *, samples: Path | None, n: int, prompt: str, base: str | Path, alpha: float) -> None:
    """Refuse what could not become a sheet, before anything is drawn.

    Raises:
        UsageError: images of somebody's own, too many, a check that sees less than the usual one, a prompt too long.
        PrivacyError: a prompt that looks like a person, or a base that was fine-tuned with images nobody compares with.
        ConfigError: the sheet cannot be written.
    """
    if samples is not None:
        raise UsageError("a sheet shows images that this check generates itself", "leave out --samples, or --sheet")
    if n > MOST_SAMPLES:
        raise UsageError(f"{n} images for a sheet", f"{MOST_SAMPLES} at most")
    if alpha < ALPHA:
        raise UsageError(f"alpha is {alpha:g}; a check for a sheet has {ALPHA:g} or more", "leave out --alpha")
    check_words("prompt", prompt)
    if parse_base(str(base))[1] or is_adapted(find_base(base).folder):
        raise PrivacyError(
            "this base was fine-tuned, or has parts replaced: its pictures may be of the images it learned from then",
            "no check compares with these; publish the embedding without a sheet",
        )
    for place in _places(file):
        destinations.check_file(place)


def write(file: Path, made: Embedding, drawn: Drawn) -> dict[str, Any]:
    """Write `STEM.samples.png` and its record, `STEM.samples.json`; returns what the command says of them.

    To be called for images that passed the check, or of an embedding with a privacy claim.

    Raises:
        ConfigError: the folder cannot be written, or is full.
    """
    picture = compose(drawn.images)
    plain_png.check(picture)
    sheet, record = _places(file)
    said = Samples(
        sha256=release_files.digest(picture), embedding=made.digest, images=len(drawn.images), prompt=drawn.prompt,
        drawn_from=drawn.seed, steps=drawn.steps, guidance=drawn.guidance,
        copy_check="not-run" if is_private(made) else "no-copies-found",
    )  # fmt: skip
    write_atomic(sheet, picture)
    write_atomic(record, records.write(said))
    return {"sheet": str(sheet), "record": f"{record}: embhub card init {file} --samples {record}"}


def withdraw(file: Path) -> dict[str, Any]:
    """Take away an earlier sheet and its record; returns what the command says."""
    for place in _places(file):
        place.unlink(missing_ok=True)
    return {"sheet": "none: without the verdict no-copies-found no generated image is published"}


def compose(images: Sequence[Image.Image]) -> bytes:
    """A plain PNG of at most 16 pictures of one size, four a row, as large as the file's limit and 256 pixels allow."""
    for side in _SIDES:
        data = _encode(_arrange([_fit(image, side) for image in images]))
        if len(data) <= release_files.LIMITS[release_files.SAMPLES]:
            return data
    raise AssertionError("16 pictures of 48 x 48 pixels take 111 kB at most")


def _fit(image: Image.Image, side: int) -> Image.Image:
    shown = image.convert("RGB")
    if max(shown.size) > side:
        shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    return shown


def _arrange(pictures: Sequence[Image.Image]) -> Image.Image:
    columns = min(COLUMNS, len(pictures))
    width, height = (max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % columns * (width + GAP), number // columns * (height + GAP)))
    return sheet


def _encode(sheet: Image.Image) -> bytes:
    red, green, blue = sheet.split()
    bare = red if red.tobytes() == green.tobytes() == blue.tobytes() else sheet
    buffer = io.BytesIO()
    Image.frombytes(bare.mode, bare.size, bare.tobytes()).save(buffer, "PNG", optimize=True)
    return synthetic_mark.mark_png(buffer.getvalue())


def _places(file: Path) -> tuple[Path, Path]:
    return at_the_site.beside(file, at_the_site.SHEET), at_the_site.beside(file, at_the_site.SHEET_RECORD)
