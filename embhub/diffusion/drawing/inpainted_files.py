"""Inpainting from files to files: which images, where in each, and numbered pictures with a manifest.

What comes out is a patient's image with a part drawn anew: it is written for its owner alone (mode 0600). No name of a
file that was given in is kept: a picture says which row it came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from embhub import destinations
from embhub.diffusion.bases.naming import check_base
from embhub.diffusion.bases.sizes import check_resolution
from embhub.diffusion.drawing import signed_files
from embhub.diffusion.drawing.image_files import (
    Ask,
    describe,
    describe_parts,
    origin_of,
    report,
    write_manifest,
    write_picture,
)
from embhub.errors import UsageError
from embhub.formats.synthetic_mark import COMPOSITE
from embhub.images import masks
from embhub.images.c2pa_manifests.signing import ManifestSigner
from embhub.images.listing import list_images
from embhub.images.pixels import DEEP, SUFFIXES, read_pixels
from embhub.images.sample import Listing, Sample
from embhub.options.preprocessing import Fit, common_fit
from embhub.progress import OnProgress, Progress, announce, say_loading

if TYPE_CHECKING:
    from embhub.diffusion.drawing.inpainting import Scene

SCHEMA = "embhub.inpainted/1"
PRIVATE = 0o600


@dataclass(frozen=True)
class Where:
    """Where in each image: a mask (a file for all, a folder with one for each), or a box; `grow` and `border` in
    pixels."""

    mask: Path | None = None
    box: masks.Box | None = None
    grow: int = 0
    border: float | None = None

    def check(self) -> None:
        """Refuse both a mask and a box, and neither. Raises UsageError."""
        if (self.mask is None) == (self.box is None):
            raise UsageError("a place is needed: a mask or a box", "give --mask FILE|DIR or --box x,y,width,height")

    def facts(self) -> dict[str, Any]:
        """What the manifest says."""
        each = self.mask is not None and self.mask.is_dir()
        place = {"box": self.box} if self.box else {"mask": "one for each" if each else "one for all"}
        return {**place, "grow": self.grow, **({"border": self.border} if self.border is not None else {})}

    def find(self, image: Image.Image, file: Path, relative: str, name: str) -> tuple[masks.Mask, str]:
        """The place in one image, whose `file` is at `relative` in its folder, and what messages call it.

        Raises:
            UsageError: no mask for it or several, or a box that is not inside it.
        """
        if self.box is not None:
            return masks.from_box(self.box, image.size, name), f"the box in {name}"
        called, mask = f"the mask of {name}", Path(str(self.mask))
        chosen = _choose(mask, relative, name) if mask.is_dir() else mask
        if chosen.exists() and chosen.samefile(file):
            raise UsageError(f"{called} is the image itself", "keep masks in a folder of their own")
        return masks.read_mask(chosen, called), called


def _choose(folder: Path, relative: str, name: str) -> Path:
    """The mask of an image in a folder of masks: that of the same name, whatever its suffix."""
    inner = Path(relative)
    if inner.is_absolute() or ".." in inner.parts:
        inner = Path(inner.name)
    beside = (folder / inner).parent.glob("*")
    found = sorted(path for path in beside if path.stem == inner.stem and path.suffix.lower() in SUFFIXES)
    if len(found) != 1:
        raise UsageError(
            f"{name} has {len(found) or 'no'} mask{'s' if found else ''} in the folder of masks",
            "give each image one, of the same name: PNG, JPEG or TIFF",
        )
    return found[0]


def inpaint_to_folder(
    ask: Ask,
    source: Path,
    where: Where,
    out: Path,
    *,
    n: int = 1,
    seed: int = 0,
    strength: float = 1.0,
    base: str | Path | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    fit: Fit | None = None,
    resolution: int | None = None,
    device: str = "auto",
    c2pa: ManifestSigner | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Redraw a part of an image, or of every image of a folder or manifest, `n` times each, into `out`.

    All images and masks are looked at before the first is redrawn. Picture k comes from `seed + k`. Embeddings are
    opened as in `generate_to_folder`. `c2pa` signs a manifest into each picture, which says nothing of its image.

    Raises:
        UsageError: as `embhub.diffusion.drawing.inpainting.arrange`, naming the row; no image, no mask, or no place
        for it.
    """
    parts = ask.parts
    signed_files.check(c2pa, [*ask.prompts, ask.negative])
    where.check()
    destinations.check_folder(out)
    check_base(base, device)
    check_resolution(base, resolution)
    listing = _list(source)
    opened, against = ask.open(), ask.open_negatives()
    how = common_fit([(item.embedding.token, item.embedding.training) for item in opened], fit)
    if where.mask is not None and not where.mask.exists():
        raise UsageError(f"there is no mask {where.mask}", "name an image, or a folder with one for each")
    say_loading(on_progress)
    for _ in _scenes(listing, where, how, 1):
        pass
    from embhub.diffusion.drawing.generation import prepare
    from embhub.diffusion.drawing.inpainting import check_kind, redraw

    loaded = [item.embedding for item in opened]
    announce(on_progress, "loading the base")
    studio = prepare(
        loaded, base=base, steps=steps, guidance_scale=guidance_scale, resolution=resolution, fit=how,
        negative=ask.negative, negative_embeddings=[item.embedding for item in against], device=device,
        check=check_kind,
    )  # fmt: skip
    total, origin = n * len(listing.samples), origin_of(opened, studio, COMPOSITE)
    pictures: list[dict[str, Any]] = []
    for picture in redraw(studio, _scenes(listing, where, how, n), parts, seed=seed, strength=strength):
        number = len(pictures)
        file = write_picture(picture, out / f"{number:04d}.png", origin, mode=PRIVATE)
        pictures.append({"file": file, listing.kind: listing.samples[number // n].row, "seed": seed + number})
        if on_progress:
            on_progress(Progress("redrawing", len(pictures), total))
    signed = signed_files.sign(
        c2pa, out, [str(one["file"]) for one in pictures], opened=opened, prompt=describe_parts(parts),
        base=(studio.base.name, origin.base), source_type=COMPOSITE, mode=PRIVATE,
    )  # fmt: skip
    facts = {
        **describe_parts(parts), **where.facts(), "strength": strength, "n": n, "seed": seed, **studio.facts(),
        "embeddings": describe(opened, against), "pictures": pictures, **signed,
    }  # fmt: skip
    write_manifest(out, SCHEMA, facts, mode=PRIVATE)
    return report(out, len(pictures), [*opened, *against])


def _list(source: Path) -> Listing:
    if source.is_file() and source.suffix.lower() in SUFFIXES:
        return Listing((Sample(source, None, row=1),), (source.name,), "image")
    return list_images(source, None, None)


def _scenes(listing: Listing, where: Where, fit: Fit, n: int) -> Iterator[Scene]:
    """The scenes in order, each `n` times, read when they are asked for."""
    from embhub.diffusion.drawing.inpainting import arrange

    for sample, relative in zip(listing.samples, listing.relative, strict=True):
        name = f"{listing.kind} {sample.row}"
        image = _read(sample.path, name)
        mask, called = where.find(image, sample.path, relative, name)
        scene = arrange(image, mask, growth=where.grow, border=where.border, fit=fit, where=called)
        yield from [scene] * n


def _read(path: Path, name: str) -> Image.Image:
    """The image in mode L or RGB, every pixel as the file has it."""
    modes: list[str] = []
    image = read_pixels(path, name, lambda found: modes.append(found.mode))
    if not modes:
        raise UsageError(f"{name} is a DICOM file or a volume", "window it to 8-bit grey first, and redraw that")
    if modes[0] in DEEP:
        raise UsageError(
            f"{name} has more than 8 bits, which would not be kept", "window it to 8-bit grey first, and redraw that"
        )
    if modes[0] not in ("L", "RGB"):
        raise UsageError(f"{name} is of mode {modes[0]}", "save it as 8-bit grey or RGB")
    return image.convert(modes[0])
