"""Redrawing an image after a prompt: a place in it, or the whole of it.

The denoiser sees the whole image, brought to the resolution of its base, and draws what is marked so that it fits. What
comes back is laid over the original at its own size: drawn pixels where the mask is, a border that fades out, and every
pixel beyond that border as it was, bit for bit. A whole image (SDEdit, Meng et al. 2022, arXiv 2108.01073) is a mask
of everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline
from PIL import Image

from embhub.diffusion.bases.found import quiet
from embhub.diffusion.families import detect, of_class
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.generation.composition import at_once, composed
from embhub.diffusion.generation.finite import finite_images
from embhub.diffusion.generation.generation import Prompt, Studio, check_lengths, check_settings, generators, prepare
from embhub.diffusion.generation.loading import Source, open_embedding
from embhub.diffusion.generation.negatives import told_negative
from embhub.diffusion.generation.weighted_prompts import Part
from embhub.diffusion.training.precision import pictures_at_once
from embhub.errors import UsageError
from embhub.images import masks
from embhub.images.framing import Framing, frame, is_too_small
from embhub.images.masks import Mask, check_mask, fade, from_box, to_cells
from embhub.options.preprocessing import Fit, common_fit
from embhub.options.redrawing import Box, choose_strength
from embhub.progress import OnProgress, Progress

_REDRAWING = ("sd", "sdxl")
"""Families whose stock pipelines for inpainting are used here, for whole images as well."""
_BORDER = 32
"""The border is as wide as the image's smaller side divided by this, unless it is said."""


@dataclass(frozen=True)
class Scene:
    """An image in mode L or RGB, and what of it is redrawn: bool (height, width). `border` in pixels of the image.

    The denoiser sees the image as training did: with `crop` the central square alone, and the mask lies inside it.
    """

    image: Image.Image
    mask: Mask
    border: float
    fit: Fit = "crop"

    def frame(self, side: int) -> Framing:
        """Where the image lies in the denoiser's square of `side` pixels."""
        return frame(self.image.size, side, self.fit)

    def inside(self, values: Any) -> Any:
        """The part of an array (height, width, …) that the denoiser sees."""
        left, top, width, height = self.frame(1).seen
        return values[top : top + height, left : left + width]


def arrange(
    image: Image.Image, mask: Mask | None, *, growth: int = 0, border: float | None = None, fit: Fit = "crop",
    where: str = "the mask",
) -> Scene:  # fmt: skip
    """A scene, once image and mask are known to fit; the mask is grown by `growth` pixels (shrunk, below 0).

    Without a mask it is all that the denoiser sees: the whole image, or with `crop` its central square alone.

    Raises:
        UsageError: another mode or size; a mask that marks nothing, everything, or what the denoiser does not see.
    """
    if image.mode not in ("L", "RGB"):
        raise UsageError(f"an image of mode {image.mode} cannot be redrawn", "save it as 8-bit grey or RGB")
    if mask is None:
        left, top, across, down = frame(image.size, 1, fit).seen
        seen = image.crop((left, top, left + across, top + down))
        return Scene(seen, np.ones((down, across), bool), 0, fit)
    check_mask(mask, image.size, where)
    if growth:
        mask = masks.grow(mask, growth)
        check_mask(mask, image.size, f"{where}, {'grown' if growth > 0 else 'shrunk'} by {abs(growth)} pixels,")
    width = min(image.size) / _BORDER if border is None else border
    if not 0 <= width <= min(image.size):
        raise UsageError(f"a border of {width:g} pixels", f"choose 0 to {min(image.size)}")
    scene = Scene(image, mask, max(width, 1.0) if border is None else width, fit)
    left, top, across, down = scene.frame(1).seen
    if scene.inside(mask).sum() < mask.sum():
        raise UsageError(
            f"{where} reaches out of the central square, which alone is redrawn: "
            f"{left},{top},{across},{down} as x,y,width,height",
            "mark a place inside it, cut the image to a square around the place, or show all of it: --fit pad",
        )
    return scene


def redraw(
    image: Image.Image,
    prompt: Prompt,
    *,
    mask: Mask | None = None,
    box: Box | None = None,
    embeddings: Sequence[Source] = (),
    n: int = 1,
    seed: int = 0,
    steps: int | None = None,
    guidance_scale: float | None = None,
    strength: float | None = None,
    grow: int = 0,
    border: float | None = None,
    fit: Fit | None = None,
    resolution: int | None = None,
    negative: str | None = None,
    negative_embeddings: Sequence[Source] = (),
    base: str | Path | None = None,
    batch_size: int = 8,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> list[Image.Image]:
    """Redraw an image after a prompt: a place in it (inpainting), or the whole of it (image-to-image).

    The denoiser sees the whole image in the base's resolution, and begins with it and as much noise as `strength`
    says. A U-Net with 4 input channels is shown the unmarked part, noised, at every step (Lugmayr et al. 2022, arXiv
    2201.09865, without resampling); one with 9 was trained to inpaint. Beyond the border of a place, every pixel
    stays as it was, bit for bit.

    Args:
        image: Mode L or RGB.
        prompt: As for `generate`.
        mask: The part to redraw, bool (height, width). Without this and `box`, the whole image.
        box: The part to redraw: x, y, width, height in pixels.
        embeddings: As for `generate`.
        n: Number of images.
        seed: Image i follows from `seed + i` alone.
        steps: As for `generate`.
        guidance_scale: As for `generate`.
        strength: Share of the noise schedule, above 0, up to 1. At 1 the old part has no influence; near 0 little
            changes. By default 1 in a place, .7 for a whole image.
        grow: Widen the marked part by this many pixels.
        border: Width in pixels over which new fades into old. By default 1/32 of the shorter side.
        fit: How the image is fitted into the square that the base sees. By default as the embeddings were trained.
            With `crop` a place must lie in the central square, and of a whole image that square comes back.
        resolution: As for `generate`.
        negative: As for `generate`.
        negative_embeddings: As for `generate`.
        base: As for `generate`.
        batch_size: As for `generate`.
        device: As for `generate`.
        on_progress: Called with each image.

    Returns:
        `n` images of the size and mode of `image`.

    Raises:
        UsageError: Both a mask and a box; a mask that does not fit; a base that cannot redraw; or as `generate`.
        ArtifactError: An embedding made for another base, or placeholder tokens that collide.

    Example:
        >>> import embhub
        >>> from PIL import Image
        >>> image = Image.open("images/images/00000.png")
        >>> redrawn = embhub.redraw(
        ...     image, "prostate mri, {}", box=(20, 20, 24, 24), embeddings=["prostate-cspca.safetensors"], steps=2
        ... )
        >>> redrawn[0].size == image.size, redrawn[0].getpixel((0, 0)) == image.getpixel((0, 0))
        (True, True)
    """
    if mask is not None and box is not None:
        raise UsageError("a place is a mask or a box, not both", "give one, or neither to redraw the whole image")
    marked = from_box(box, image.size) if box is not None else None if mask is None else np.asarray(mask, bool)
    opened = [open_embedding(embedding) for embedding in embeddings]
    how = common_fit([(item.token, item.training) for item in opened], fit)
    scene = arrange(image, marked, growth=grow, border=border, fit=how)
    studio = prepare(
        opened, base=base, steps=steps, guidance_scale=guidance_scale, resolution=resolution, negative=negative,
        negative_embeddings=negative_embeddings, device=device, mark=False, check=check_kind,
    )  # fmt: skip
    share = choose_strength(strength, in_a_place=marked is not None)
    pictures = redraw_scenes(studio, [scene] * n, prompt, seed=seed, strength=share, batch_size=batch_size)
    drawn = []
    for picture in pictures:
        drawn.append(picture)
        if on_progress:
            on_progress(Progress("redrawing", len(drawn), n))
    return drawn


def redraw_scenes(
    studio: Studio,
    scenes: Iterable[Scene],
    prompt: Prompt,
    *,
    seed: int = 0,
    strength: float = 1.0,
    batch_size: int = 8,
) -> Iterator[Image.Image]:
    """Every scene with its marked part drawn anew; picture i comes from scene i and `seed + i` alone.

    Raises:
        UsageError: as `redraw`, when the first picture is asked for.
    """
    check_settings(1, studio.steps, batch_size)
    if not 0 < strength <= 1 or int(studio.steps * strength) < 1:
        raise UsageError(
            f"a strength of {strength:g} leaves no step of {studio.steps}", "choose one up to 1, or more steps"
        )
    parts = studio.fill(prompt)
    pipe = _inpainter(studio.pipe)
    check_lengths(pipe, (*parts, *([Part(studio.negative)] if studio.negative else [])))
    side = studio.side
    with composed(pipe, parts, guidance=studio.guidance) as text:
        first, waiting = seed, iter(scenes)
        while group := list(islice(waiting, at_once(min(batch_size, pictures_at_once(side)), parts))):
            with _as_four_channels(pipe), finite_images():
                drawn = pipe(
                    [text] * len(group),
                    image=[scene.frame(side).apply(scene.image.convert("RGB")) for scene in group],
                    mask_image=[_cells(scene, side, int(pipe.vae_scale_factor)) for scene in group],
                    height=side,
                    width=side,
                    strength=strength,
                    num_inference_steps=studio.steps,
                    guidance_scale=studio.guidance,
                    generator=generators(range(first, first + len(group))),
                    **told_negative(studio.negative, len(group)),
                ).images
            first += len(group)
            yield from (_lay_over(scene, new) for scene, new in zip(group, drawn, strict=True))


def check_kind(kind: str) -> None:
    """Refuse a class of pipelines that redraws no image here, before such a base is loaded.

    Raises:
        UsageError: it is none of Stable Diffusion 1, 2 and XL; a class that no adapter knows is left to the loader.
    """
    if (family := of_class(kind)) and family.name not in _REDRAWING:
        raise _refusal(kind)


def _refusal(kind: str) -> UsageError:
    return UsageError(f"a {kind} cannot redraw an image here", "use a Stable Diffusion 1, 2 or XL base")


def _inpainter(pipe: Pipeline) -> Any:
    """The stock pipeline that inpaints with the parts of this one, tokens of embeddings included."""
    kind = detect(pipe).name
    if kind not in _REDRAWING:
        raise _refusal(type(pipe).__name__)
    channels = int(pipe.unet.config.in_channels)
    if channels not in (int(pipe.vae.config.latent_channels), 9):
        raise UsageError(
            f"a U-Net of {channels} input channels cannot redraw an image",
            "use a base whose U-Net takes latents alone, or one of 9 channels that was trained to inpaint",
        )
    if "Inpaint" in type(pipe).__name__:
        return pipe
    with quiet():
        made = (
            StableDiffusionXLInpaintPipeline(**pipe.components)
            if kind == "sdxl"
            else StableDiffusionInpaintPipeline(**pipe.components, requires_safety_checker=False)
        )
    made.set_progress_bar_config(disable=True)
    return made


@contextmanager
def _as_four_channels(pipe: Pipeline) -> Iterator[None]:
    """While open, a U-Net that takes latents of another number of channels says 4.

    By that number alone the stock pipeline tells a U-Net that takes latents from one that was trained to inpaint. What
    it computes stays the same.
    """
    channels = int(pipe.unet.config.in_channels)
    if channels != int(pipe.vae.config.latent_channels):
        yield
        return
    pipe.unet.register_to_config(in_channels=4)
    try:
        yield
    finally:
        pipe.unet.register_to_config(in_channels=channels)


def check_size(size: tuple[int, int], side: int, fit: Fit, where: str = "the image") -> None:
    """Refuse an image of `size` (width, height) that the base of `side` pixels would see mostly made up.

    Raises:
        UsageError: it is under half of that.
    """
    if is_too_small(size, side, fit):
        raise UsageError(
            f"{where} has {size[0]} x {size[1]} pixels, under half of the base's {side}",
            "use larger images, or a base of a lower resolution",
        )


def _cells(scene: Scene, side: int, cell: int) -> Image.Image:
    check_size(scene.image.size, side, scene.fit)
    return Image.fromarray(
        to_cells(scene.inside(scene.mask), side, cell, scene.frame(side).placed).astype(np.uint8) * 255
    )


def _lay_over(scene: Scene, drawn: Image.Image) -> Image.Image:
    """The drawn square over the original at its own size: all of it in the mask, less and less over the border."""
    new = scene.frame(drawn.width).undo(drawn.convert(scene.image.mode))
    result = np.array(scene.image)
    share = scene.inside(fade(scene.mask, scene.border))
    share = share if result.ndim == 2 else share[..., None]
    old = scene.inside(result)
    blended = np.rint(old * (1 - share) + np.asarray(new) * share).astype(np.uint8)
    old[...] = np.where(share > 0, blended, old)
    return Image.fromarray(result)
