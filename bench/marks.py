"""How well the mark in the first noise is found again: `python -m bench.marks --base builtin-xray --n 16 --out FILE`.

Generates images with a key, changes them as programs do, strips all metadata, and looks for the mark as
`embhub research detect` does, among 10 keys. Films (`--films DIR`) and phantoms (`--phantoms N`) have no mark: each hit
among them is false.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from embhub.diffusion.generation.generation import Studio, draw, prepare
from embhub.diffusion.generation.tracing.inverting import invert
from embhub.diffusion.generation.tracing.matching import Match, match
from embhub.diffusion.generation.tracing.views import GROUPS, views
from embhub.images.pixels import read_pixels
from embhub.phantoms import draw_many

KEYS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(10)]
PROMPTS = {
    "builtin": ("prostate mri, normal", "chest x-ray, normal", "histology, normal"),
    "builtin-xray": ("frontal chest x-ray, normal",),
}


def as_jpeg(image: Image.Image, quality: int = 60) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def in_window(image: Image.Image, factor: float = 1.2) -> Image.Image:
    values = (np.asarray(image, np.float64) - 127.5) * factor + 127.5
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def cropped(image: Image.Image, share: float = 0.1, place: tuple[float, float] = (0.5, 0.5)) -> Image.Image:
    """A tenth less of each side's length; `place` says which share of that is cut at the left and at the top."""
    cut = round(image.width * share)
    left, top = (int(cut * part) for part in place)
    return image.crop((left, top, left + image.width - cut, top + image.height - cut))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as generated": lambda image: image,
    "JPEG 60": as_jpeg,
    "half the side": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "window x 1.2": in_window,
    "crop of 10 %": cropped,
    "crop of 10 %, off the middle": lambda image: cropped(image, place=(0.2, 0.8)),
}


def look(studio: Studio, image: Image.Image) -> Match | None:
    """As `embhub research detect` looks."""
    for group in views(image.convert("RGB"), studio.side):
        found = match(invert(studio.pipe, torch.from_numpy(np.stack(group))).numpy(), KEYS, tries=GROUPS)
        if found is not None:
            return found
    return None


def measure(studio: Studio, prompts: Iterable[str], n: int, steps: int | None = None) -> Iterator[dict[str, Any]]:
    """A row for each prompt and change."""
    for place, prompt in enumerate(prompts):
        first = 1_000 * place + 17
        images = draw(
            studio.pipe, prompt, n=n, seed=first, steps=steps or studio.steps, guidance_scale=studio.guidance,
            side=studio.side, mark=KEYS[3],
        )  # fmt: skip
        for name, change in CHANGES.items():
            started = time.process_time()
            found = [look(studio, change(image)) for image in images]
            right = sum(
                hit is not None and (hit.key, hit.index) == (KEYS[3], (first + number) % 256)
                for number, hit in enumerate(found)
            )
            wrong = sum(hit is not None for hit in found) - right
            seconds = round((time.process_time() - started) / n, 2)
            yield {"prompt": prompt, "change": name, "n": n, "found": right, "wrong": wrong, "cpu_s_each": seconds}


def count_false(studio: Studio, images: Iterable[Image.Image], what: str) -> Iterator[dict[str, Any]]:
    """Hits among images that have no mark: a row after each hundred, and at the end."""
    hits = number = 0
    for number, image in enumerate(images, 1):
        hits += look(studio, image) is not None
        if number % 100 == 0:
            yield {"unmarked": what, "n": number, "false_hits": hits}
    if number % 100:
        yield {"unmarked": what, "n": number, "false_hits": hits}


def main() -> None:
    """Print a row of JSON each, and write all of them."""
    parser = argparse.ArgumentParser(prog="python -m bench.marks", description=__doc__)
    parser.add_argument("--base", default="builtin-xray", choices=PROMPTS)
    parser.add_argument("--n", type=int, default=16, help="marked images of each prompt")
    parser.add_argument("--films", type=Path, help="folder of films")
    parser.add_argument("--most", type=int, default=10_000, help="films that are looked at, evenly spread")
    parser.add_argument("--phantoms", type=int, default=0)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    studio, rows = prepare(base=chosen.base), []
    for row in _rows(studio, chosen):
        rows.append({"base": chosen.base, **row})
        print(json.dumps(rows[-1]), flush=True)
        if chosen.out:
            chosen.out.write_text(json.dumps(rows, indent=1) + "\n")


def _rows(studio: Studio, chosen: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if chosen.n:
        yield from measure(studio, PROMPTS[chosen.base], chosen.n)
    if chosen.films:
        files = sorted(path for path in chosen.films.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
        files = files[:: max(1, len(files) // chosen.most)][: chosen.most]
        yield from count_false(studio, (read_pixels(path, "film") for path in files), "films")
    if chosen.phantoms:
        yield from count_false(studio, _phantoms(chosen.phantoms), "phantoms")


def _phantoms(count: int) -> Iterator[Image.Image]:
    for phantom in draw_many(count, seed=1):
        yield Image.fromarray(phantom.image)


if __name__ == "__main__":
    main()
