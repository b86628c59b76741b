"""Redrawing from files to files: which images, where in each, and numbered pictures with a manifest.

What comes out is still a patient's image, a part or all of it drawn anew: it is written for its owner alone (mode
0600). No name of a file that was given in is kept: a picture says which row it came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from embhub import destinations
from embhub.diffusion.bases.naming import check_base
from embhub.diffusion.bases.sizes import check_resolution
from embhub.diffusion.generation import signed_files
from embhub.diffusion.generation.image_files import (
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
from embhub.images.manifests.listing import list_images
from embhub.images.manifests.sample import Listing, Sample
from embhub.images.pixels import DEEP, SUFFIXES, read_pixels
from embhub.options.preprocessing import Fit, common_fit
from embhub.options.redrawing import Redrawing, refuse_others
from embhub.options.sampling import BATCH, Sampling
from embhub.progress import OnProgress, Progress, announce, say_loading

if TYPE_CHECKING:
    from embhub.diffusion.generation.redrawing import Scene

SCHEMA = "embhub.redrawn/1"
PRIVATE = 0o600
UNMARKED = {"scheme": None, "why": "redrawn from an image"}


def redraw_to_folder(
    ask: Ask,
    redrawing: Redrawing,
    out: Path,
    *,
    n: int = 1,
    seed: int = 0,
    sampling: Sampling | None = None,
    c2pa: ManifestSigner | None = None,
    on_progress: OnProgress | None = None,
    base: str | Path | None = None,
    steps: int | None = None,
    guidance_scale: float | None = None,
    resolution: int | None = None,
    device: str = "auto",
    **others: Any,
) -> dict[str, Any]:
    """Redraw an image, or every image of a folder or manifest, `n` times each, into `out`.

    All images and masks are looked at before the first is redrawn. Picture k comes from `seed + k`. Embeddings are
    opened as in `generate_to_folder`, whose other options are refused. `c2pa` signs a manifest into each picture,
    which says nothing of its image.

    Raises:
        UsageError: as `embhub.diffusion.generation.redrawing.arrange`, naming the row; no image, no mask, no place for
            it, or an option that is for new images alone.
    """
    parts, sampling = ask.parts, sampling or Sampling()
    refuse_others({**others, "no_mark": sampling.unmarked})
    signed_files.check(c2pa, [*ask.prompts, ask.negative])
    destinations.check_folder(out)
    check_base(base, device)
    check_resolution(base, resolution)
    listing = _list(Path(str(redrawing.source)))
    opened, against = ask.open(), ask.open_negatives()
    ask.check_words(opened, base)
    fit = common_fit([(item.embedding.token, item.embedding.training) for item in opened], redrawing.fit)
    if redrawing.mask is not None and not redrawing.mask.exists():
        raise UsageError(f"there is no mask {redrawing.mask}", "name an image, or a folder with one for each")
    say_loading(on_progress)
    sizes = [scene.image.size for scene in _scenes(listing, redrawing, fit, 1)]
    from embhub.diffusion.generation.generation import prepare
    from embhub.diffusion.generation.redrawing import check_kind, check_size, redraw_scenes

    announce(on_progress, "loading the base")
    studio = prepare(
        [item.embedding for item in opened], base=base, steps=steps, guidance_scale=guidance_scale,
        resolution=resolution, fit=fit, negative=ask.negative,
        negative_embeddings=[item.embedding for item in against], device=device, sampling=sampling, mark=False,
        check=check_kind,
    )  # fmt: skip
    for sample, size in zip(listing.samples, sizes, strict=True):
        check_size(size, studio.side, fit, f"{listing.kind} {sample.row}")
    scenes, asked = _scenes(listing, redrawing, fit, n), redrawing.facts()
    drawn = redraw_scenes(
        studio, scenes, parts, seed=seed, strength=asked["strength"], batch_size=sampling.batch_size or BATCH
    )
    total, origin = n * len(listing.samples), origin_of(opened, studio, COMPOSITE)
    pictures: list[dict[str, Any]] = []
    for number, picture in enumerate(drawn):
        file = write_picture(picture, out / f"{number:04d}.png", origin, mode=PRIVATE)
        pictures.append({"file": file, listing.kind: listing.samples[number // n].row, "seed": seed + number})
        if on_progress:
            on_progress(Progress("redrawing", len(pictures), total))
    signed = signed_files.sign(
        c2pa, out, [str(one["file"]) for one in pictures], opened=opened, prompt=describe_parts(parts),
        base=(studio.base.name, origin.base), source_type=COMPOSITE, mode=PRIVATE,
    )  # fmt: skip
    facts = {
        **describe_parts(parts), **asked, "n": n, "seed": seed, **studio.facts(), **sampling.facts(),
        "embeddings": describe(opened, against), "pictures": pictures, **signed,
    }  # fmt: skip
    write_manifest(out, SCHEMA, {**facts, "mark": UNMARKED}, mode=PRIVATE)
    return report(out, len(pictures), [*opened, *against])


def _list(source: Path) -> Listing:
    if source.is_file() and source.suffix.lower() in SUFFIXES:
        return Listing((Sample(source, None, row=1),), (source.name,), "image")
    return list_images(source, None, None)


def _scenes(listing: Listing, redrawing: Redrawing, fit: Fit, n: int) -> Iterator[Scene]:
    """The scenes in order, each `n` times, read when they are asked for."""
    from embhub.diffusion.generation.redrawing import arrange

    for sample, relative in zip(listing.samples, listing.relative, strict=True):
        name = f"{listing.kind} {sample.row}"
        image = _read(sample.path, name)
        mask, called = _find(redrawing, image, sample.path, relative, name)
        growth = redrawing.grow or 0
        yield from [arrange(image, mask, growth=growth, border=redrawing.border, fit=fit, where=called)] * n


def _find(
    redrawing: Redrawing, image: Image.Image, file: Path, relative: str, name: str
) -> tuple[masks.Mask | None, str]:
    """The place in one image, whose `file` is at `relative` in its folder, and what messages call it; None for all.

    Raises:
        UsageError: no mask for it or several, or a box that is not inside it.
    """
    if redrawing.area is not None:
        return masks.from_box(redrawing.area, image.size, name), f"the box in {name}"
    if redrawing.mask is None:
        return None, name
    called, mask = f"the mask of {name}", redrawing.mask
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
