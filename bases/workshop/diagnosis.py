"""Where an embedding's images go wrong: `python -m bases.workshop.diagnosis FOLDER cxr-effusion`.

A gate says how many images show the held-out finding and nothing else. This says what the others show, and from which
noise level on the finding is lost: real images with noise of that level are denoised under the embedding.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bases.workshop import varied_judges
from bases.workshop.counting import Pictures, tensor
from bases.workshop.gating import TOKEN
from bases.workshop.judge import Judge, reconstructed
from bases.workshop.readers import reader_for
from bases.workshop.sampling import sample, sample_with
from bases.workshop.varied_judges import Shown
from embhub.builtin_bases import info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.evaluation import classifier
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.inversion import default_recipe
from embhub.diffusion.training.per_layer import insert
from embhub.errors import EmbhubError
from embhub.phantoms.findings import HELD_OUT, PREFIXES, Finding, describe, target_finding
from embhub.phantoms.varied import OVERSIZE

FAULTS = ("right", "left", "too large", "foreign")
"""What a judge of faults sees: the finding on the right, on the left, a finding that is too large, another one."""
TAUGHT = Finding("level", "dark", "large", "sharp", "lower", "right")
"""A taught finding of the shape that is held out with another tone."""
_IMAGES, _REAL = 100, 96
_GUIDANCE, _LEVELS = (1.0, 1.5, 2.5), (949, 849, 749, 599, 449)


@dataclass(frozen=True)
class Shares:
    """Shares of images: by the gate's judge the `target` and the `target_only`, by the judge of faults the target on
    `both` sides, one finding that is `too_large`, and a `foreign` one of another shape, tone or place."""

    target: float
    target_only: float
    both: float
    too_large: float
    foreign: float
    n: int


def faults_of(shown: Shown, finding: str) -> tuple[int, ...]:
    """Which of `FAULTS` hold for a phantom with these findings, 0 or 1 each."""
    held = HELD_OUT[finding]
    covered = [one for one in shown if held.covers(held.modality, one)]
    sides = [any(one.side == side for one in covered) for side in ("right", "left")]
    return tuple(map(int, (*sides, any(one.size == OVERSIZE for one in shown), len(covered) < len(shown))))


@lru_cache(maxsize=2)
def judge_of_faults(finding: str, base: Path, *, size: int = 2700, steps: int = 1500) -> classifier.Classifier:
    """A judge of `FAULTS`, trained on the scenes of the gate's judge; it reads images of 64 pixels
    (`varied_judges.halved`) or larger ones."""
    rng = np.random.default_rng([7, 1])
    scenes = [varied_judges.scene(index, finding, rng)[0] for index in range(size)]
    marks = np.array([faults_of(shown, finding) for shown in scenes], np.int64)
    images = varied_judges.pictures(HELD_OUT[finding].modality, scenes, rng)
    return varied_judges.trained(images, marks, FAULTS, base, steps, 107)


def shares(judge: Judge, faults: classifier.Classifier, seen: Pictures) -> Shares:
    """What both judges count in `seen`."""
    found = judge(seen)
    marks: NDArray[np.bool_] = faults.probabilities(seen) > 0.5
    both = marks[:, 0] & marks[:, 1]
    columns = (found.target, found.target_only, both, marks[:, 2], marks[:, 3])
    target, alone, sides, large, foreign = (round(float(column.mean()), 3) for column in columns)
    return Shares(target, alone, sides, large, foreign, len(seen))


@torch.no_grad()
def regenerated(
    pipe: Pipeline, latents: Tensor, prompts: Sequence[str], level: int, *, guidance: float, steps: int = 20
) -> Pictures:
    """Images (N, H, W, 3) denoised from `latents` (N, C, h, w) with the noise of the highest time step of the sampler
    that is at most `level`. What they have lost was decided at lower noise than that."""
    scheduler: Any = copy.deepcopy(pipe.scheduler)
    scheduler.set_timesteps(steps)
    times = [time for time in scheduler.timesteps if int(time) <= level]
    scheduler.set_begin_index(len(scheduler.timesteps) - len(times))
    kept = scheduler.alphas_cumprod[int(times[0])]
    generator = torch.Generator().manual_seed(5)
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * torch.randn(latents.shape, generator=generator)
    said, nothing = pipe.encode_prompt(list(prompts), "cpu", 1, True)[:2]
    for time in times:
        if guidance == 1:
            noisy = scheduler.step(pipe.unet(noisy, time, said).sample, time, noisy).prev_sample
            continue
        without, under = pipe.unet(torch.cat([noisy] * 2), time, torch.cat([nothing, said])).sample.chunk(2)
        noisy = scheduler.step(without + guidance * (under - without), time, noisy).prev_sample
    shown = pipe.vae.decode(noisy / pipe.vae.config.scaling_factor).sample.float().clamp(-1, 1)
    pictures: Pictures = ((shown + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    return pictures


def diagnose(folder: Path, finding: str, samples: int) -> Iterator[tuple[str, Shares]]:
    """What the judges count in real images, in rebuilt ones, in those of an embedding at several guidances and of one
    with vectors for each layer, and in images that were denoised under the embedding from several noise levels."""
    base, held, real = info(str(folder)), HELD_OUT[finding], np.random.default_rng(303)
    judge, faults = varied_judges.judge_for(finding, base.path), judge_of_faults(finding, base.path)
    shown = varied_judges.pictures(held.modality, [(target_finding(finding, real),) for _ in range(_REAL)], real)
    yield "real", shares(judge, faults, shown)
    yield "rebuilt", shares(judge, faults, reconstructed(shown, base.path))
    pipe, rng = load_pipeline(base.path), np.random.default_rng(202)
    images = varied_judges.pictures(held.modality, [(target_finding(finding, rng),) for _ in range(_IMAGES)], rng)
    latents, caption = inversion.encode_images(pipe, tensor(images)), f"{PREFIXES[held.modality][0]}, {{}}"
    recipe, usual = default_recipe(pipe), base.recommended["guidance"]
    fits = [
        inversion.fit(pipe, latents, token=TOKEN, caption=caption, recipe=replace(recipe, per_layer=each), seed=0).rows
        for each in (False, True)
    ]
    for guidance in _GUIDANCE:
        drawn = sample_with(pipe, fits[0], caption, samples, guidance=guidance, seed=3000)
        yield f"guidance {guidance}", shares(judge, faults, drawn)
    layered = sample_with(pipe, fits[1], caption, samples, guidance=usual, seed=3000)
    yield "vectors for each layer", shares(judge, faults, layered)
    some, inserted = latents[:samples], insert(pipe, TOKEN, fits[0])
    for level in _LEVELS:
        with inserted.active():
            prompts = [inserted.expand(caption.replace("{}", TOKEN))] * len(some)
            drawn = regenerated(pipe, some, prompts, level, guidance=usual)
        yield f"from {level}", shares(judge, faults, drawn)


def diagnose_taught(folder: Path, samples: int) -> Iterator[tuple[str, float]]:
    """Shares of images of `TAUGHT` in which the reader reads every word and nothing amiss: real ones, rebuilt ones,
    generated ones, and those denoised under its caption from several noise levels."""
    base, rng = info(str(folder)), np.random.default_rng(909)
    pipe, read = load_pipeline(base.path), reader_for("cxr", base.path)
    shown = [(replace(TAUGHT, strength=float(rng.uniform(0.7, 1))),) for _ in range(2 * samples)]
    real, prompt = varied_judges.pictures("cxr", shown, rng), f"{PREFIXES['cxr'][0]}, {describe(TAUGHT)}"
    wanted = varied_judges.asked(prompt)

    def right(seen: Pictures) -> float:
        return round(sum(wanted <= words and "misfit" not in words for words in read(seen)) / len(seen), 3)

    yield "taught, real", right(real)
    yield "taught, rebuilt", right(reconstructed(real, base.path))
    for guidance in _GUIDANCE:
        yield f"taught, guidance {guidance}", right(sample(pipe, prompt, samples, guidance=guidance, seed=1000))
    latents = inversion.encode_images(pipe, tensor(real[:samples]))
    for guidance, level in product((1.0, _GUIDANCE[-1]), _LEVELS[1:4]):
        drawn = regenerated(pipe, latents, [prompt] * len(latents), level, guidance=guidance)
        yield f"taught, from {level}, guidance {guidance}", right(drawn)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each kind of images; the error's exit code where it cannot."""
    parser = argparse.ArgumentParser(prog="python -m bases.workshop.diagnosis", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="an exported pipeline folder of 128-pixel phantoms")
    parser.add_argument("finding", choices=sorted(HELD_OUT))
    parser.add_argument("--samples", type=int, default=32)
    chosen = parser.parse_args(argv)
    torch.set_num_threads(1)
    try:
        lines = chain(diagnose(chosen.folder, chosen.finding, chosen.samples),
                      diagnose_taught(chosen.folder, chosen.samples))  # fmt: skip
        for name, found in lines:
            sys.stdout.write(f"{name:34s} {found}\n")
            sys.stdout.flush()
    except EmbhubError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
