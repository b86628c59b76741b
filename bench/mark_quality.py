"""What the mark in the first noise costs in quality: `python -m bench.mark_quality --base builtin --n 200 --out FILE`.

Generates images of one prompt with the mark and without it, from the same seeds, and compares them in two ways. First
the distance of each set to real images of that prompt (Gaussian kernel, `evaluation.fidelity.gaussian_distance`), and
the difference of the two with an interval. Then whether the two sets differ at all: the kernel distance between
them against that of 1,000 random divisions of all images, which gives a p-value. A mark that costs nothing gives a
p-value that is spread evenly between 0 and 1.

Features are 16 x 16 means of grey values beside the logarithm of the power at each spatial frequency, both in
units of the real images' standard deviation. They need no network, and no network can hide a difference in them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from bases.workshop import xray
from bench.marks import KEYS, PROMPTS
from embhub.diffusion.evaluation.fidelity import gaussian_distance
from embhub.diffusion.generation.generation import Studio, draw, prepare
from embhub.diffusion.generation.noise_mark import INDEXES
from embhub.phantoms import draw as draw_phantom

Floats = NDArray[np.float64]
RESAMPLES, DIVISIONS = 200, 1000
_CELLS, _TINY = 16, 1e-6


def features(images: Sequence[NDArray[np.uint8]]) -> Floats:
    """(N, 256 + bands) of grey images (H, W), uint8: means of 16 x 16 cells, and log power by frequency."""
    found = []
    for image in images:
        grey = image.astype(np.float64) / 255
        side = grey.shape[0] // _CELLS * _CELLS
        cells = grey[:side, :side].reshape(_CELLS, side // _CELLS, _CELLS, side // _CELLS).mean((1, 3))
        power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
        rows, columns = (np.fft.fftfreq(length, 1 / length) for length in grey.shape)
        ring = np.rint(np.hypot(rows[:, None], columns[None])).astype(int)
        bands = np.bincount(ring.ravel(), power.ravel())[1 : grey.shape[0] // 2]
        found.append(np.concatenate([cells.ravel(), np.log(bands + _TINY)]))
    return np.stack(found)


def compare(marked: Floats, plain: Floats, real: Floats, *, seed: int = 0) -> dict[str, Any]:
    """Distances to the real images, their difference with a 95 % interval over images, and the p-value of a difference
    between the two sets; all by features (N, d), and marked and plain of the same seeds in the same order."""
    mean, spread = real.mean(0), real.std(0) + _TINY
    one, other, true = (torch.from_numpy((part - mean) / spread) for part in (marked, plain, real))
    rng = np.random.default_rng(seed)
    gaps = []
    for _ in range(RESAMPLES):
        chosen, there = rng.integers(0, len(one), len(one)), rng.integers(0, len(true), len(true))
        # An image that was chosen twice is at no distance to itself: alike for both sets, so it cancels in the gap.
        gaps.append(gaussian_distance(one[chosen], true[there]) - gaussian_distance(other[chosen], true[there]))
    low, high = np.quantile(gaps, [0.025, 0.975])
    return {
        "marked_to_real": round(gaussian_distance(one, true), 4),
        "plain_to_real": round(gaussian_distance(other, true), 4),
        "gap_interval": [round(float(low), 4), round(float(high), 4)],
        "p_value": round(differ(one, other, rng), 4),
        "diversity_marked": round(float(torch.pdist(one).mean() / torch.pdist(true).mean()), 3),
        "diversity_plain": round(float(torch.pdist(other).mean() / torch.pdist(true).mean()), 3),
    }


def differ(one: Tensor, other: Tensor, rng: np.random.Generator) -> float:
    """p-value of a permutation test of the Gaussian-kernel distance between (N, d) and (M, d) (Gretton et al. 2012,
    JMLR 13)."""
    both = torch.cat([one, other])
    distances = torch.cdist(both, both)
    kernel = torch.exp(-distances.square() / (2 * torch.pdist(both).median() ** 2))
    kernel.fill_diagonal_(0)

    def between(side: Tensor) -> float:
        """`side` (N + M,) is 1 for the first set and -1 for the second; sets are of one size."""
        return float(side @ kernel @ side)

    side = torch.cat([torch.ones(len(one)), -torch.ones(len(other))]).double()
    seen = between(side)
    as_far = sum(between(side[torch.from_numpy(rng.permutation(len(side)))]) >= seen for _ in range(DIVISIONS))
    return (1 + as_far) / (1 + DIVISIONS)


def real_images(prompt: str, count: int, side: int, data: Path) -> list[NDArray[np.uint8]]:
    """Grey images (side, side) of what a prompt of `PROMPTS` asks for: normal phantoms, or normal films of patients
    whom no base saw."""
    modality = prompt.split(",")[0]
    if modality.startswith("frontal"):
        films = xray.read(data, "test", (xray.TAUGHT,), side=side)
        return [_grey(image) for image in films.images[:count]]
    rng, name = np.random.default_rng(77), {"prostate mri": "prostate", "chest x-ray": "cxr"}.get(modality, modality)
    return [_grey(draw_phantom(name, None, rng, side=side).image) for _ in range(count)]


def _grey(image: NDArray[np.uint8] | Image.Image) -> NDArray[np.uint8]:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    return np.asarray(picture.convert("L"))


def measure(studio: Studio, prompts: Sequence[str], n: int, data: Path) -> Iterator[dict[str, Any]]:
    """A row for each prompt."""
    for place, prompt in enumerate(prompts):
        marked, plain = (
            draw(
                studio.pipe, prompt, n=n, seed=5_000 * (place + 1), steps=studio.steps, side=studio.side,
                guidance_scale=studio.guidance, mark=key,
            )
            for key in (KEYS[3], None)
        )  # fmt: skip
        real = real_images(prompt, n, studio.side, data)
        found = compare(
            features([_grey(image) for image in marked]), features([_grey(image) for image in plain]), features(real)
        )
        yield {"prompt": prompt, "n": n, "real": len(real), **found}


def main() -> None:
    """Print a row of JSON each, and write all of them."""
    parser = argparse.ArgumentParser(prog="python -m bench.mark_quality", description=__doc__)
    parser.add_argument("--base", default="builtin", choices=PROMPTS)
    parser.add_argument("--n", type=int, default=200, help="images of each prompt, with the mark and without")
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    if chosen.n > INDEXES:
        parser.error(f"a key has {INDEXES} patterns of signs: further images would share them, and not be independent")
    torch.set_num_threads(1)
    studio, rows = prepare(base=chosen.base), []
    for row in measure(studio, PROMPTS[chosen.base], chosen.n, chosen.data):
        rows.append({"base": chosen.base, **row})
        print(json.dumps(rows[-1]), flush=True)
        if chosen.out:
            chosen.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
