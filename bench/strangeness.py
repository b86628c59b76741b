"""How strange images are to the shipped bases: `python -m bench.strangeness [FOLDER-OF-REAL-FILMS]` prints medians; see
docs/explanation/training.md on the bound of the warning."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embhub import builtin_bases as bases
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families import resolution
from embhub.diffusion.generation.generation import draw
from embhub.diffusion.training.diagnostics import IMAGES, strangeness
from embhub.diffusion.training.inversion import encode_images
from embhub.images import pixels
from embhub.images.images import read_images
from embhub.phantoms import write_dataset

Pictures = NDArray[Any]
FINDINGS = ("prostate-cspca", "cxr-effusion")


def make_pictures(side: int, films: Path | None) -> dict[str, Pictures]:
    """Sets of 16 pictures (16, 3, side, side) in [-1, 1], by what they are."""
    rng = np.random.default_rng(0)
    found = {f"phantoms, {name}": _draw_phantoms(name, side) for name in FINDINGS}
    if films:
        chosen = sorted(p for p in films.rglob("*") if p.suffix.lower() in {".png", ".jpg", ".jpeg"})
        chosen = chosen[:: max(1, len(chosen) // IMAGES)][:IMAGES]
        real = np.stack([pixels.fit(pixels.read_pixels(path, "film"), side) for path in chosen])
        found |= {"real films": real, "on their side": real.transpose(0, 1, 3, 2).copy(), "exchanged": -real}
    for name, power, channels in (("smooth noise", 1.5, 1), ("rough noise", 1.0, 1), ("coloured noise", 1.0, 3)):
        found[name] = _draw_noise(rng, side, power, channels)
    found["discs"] = np.stack([_draw_discs(rng, side) for _ in range(IMAGES)])
    y, x = np.mgrid[:side, :side]
    boards = [((x + i) // (2 << i % 4) + y // (2 << i % 4)) % 2 * 2.0 - 1 for i in range(IMAGES)]
    found["checkerboards"] = np.stack([np.stack([board] * 3) for board in boards])
    found["white noise"] = rng.uniform(-1, 1, (IMAGES, 3, side, side))
    found["black"] = np.full((IMAGES, 3, side, side), -1.0)
    return {name: part.astype(np.float32) for name, part in found.items()}


def measure(name: str, films: Path | None) -> None:
    """Print the median for each set of pictures, and for what the base draws itself."""
    pipe, known = load_pipeline(name), bases.info(name)
    caption = "prostate mri, {}" if name == "builtin" else "chest x-ray, {}"
    guidance, steps = known.recommended["guidance"], int(known.recommended["steps"])
    sets = make_pictures(resolution(pipe), films)
    for label, prompt in known.prompts.items():
        drawn = draw(pipe, prompt, n=IMAGES, seed=0, steps=steps, guidance_scale=guidance)
        own = np.stack([np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1 for image in drawn])
        sets[f"its own, {label}"] = own
    for label, pictures in sets.items():
        errors = strangeness(pipe, encode_images(pipe, torch.from_numpy(pictures)), caption)
        print(f"| {name} | {label} | {float(errors.median()):.2f} |", flush=True)


def _draw_phantoms(finding: str, side: int) -> Pictures:
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), finding, images=IMAGES, patients=IMAGES, normals=0, seed=0)
        return read_images(folder).load(side)


def _draw_noise(rng: np.random.Generator, side: int, power: float, channels: int) -> Pictures:
    """Noise of which the spectrum falls as in photographs, spread over the whole range."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1
    waves = np.fft.fft2(rng.standard_normal((IMAGES, channels, side, side))) / frequency**power
    noise = np.fft.ifft2(waves).real
    low, high = (pick(noise, axis=(2, 3), keepdims=True) for pick in (np.min, np.max))
    return np.repeat((noise - low) / (high - low) * 2 - 1, 3 // channels, axis=1)


def _draw_discs(rng: np.random.Generator, side: int) -> Pictures:
    """Overlapping discs of any size and tone, "dead leaves" (Lee, Mumford and Huang 2001)."""
    picture, (y, x) = np.zeros((3, side, side)), np.mgrid[:side, :side]
    for _ in range(400):
        radius = 1 / np.sqrt(rng.uniform(1 / 40**2, 1 / 2**2))
        column, row = rng.uniform(0, side, 2)
        picture[:, (x - column) ** 2 + (y - row) ** 2 < radius**2] = rng.uniform(-1, 1, (3, 1))
    return picture


if __name__ == "__main__":
    for base in bases.NAMES:
        measure(base, Path(sys.argv[1]) if len(sys.argv) > 1 else None)
