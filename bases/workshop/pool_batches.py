"""Train a base of public images with large batches on a GPU: `python -m bases.workshop.pool_batches --help`.

One command takes a set of images to a pipeline folder: it goes on with the autoencoder of `--begin` for some minutes,
whitens its latents, and trains a denoiser, from nothing or from that of `--denoiser`. The averages with the lowest
held-out loss are kept. The learning rate falls to nothing at the end of the given minutes, so a run that was cut off
begins anew. Each pool of posed images serves few steps: one that served 1,000 was learned by heart.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0

from bases.workshop.large_batches import Learner, Plan, run
from bases.workshop.public_images import SETS, material
from bases.workshop.rendered import MERGED, Batch
from bases.workshop.xray import default_data
from embhub.diffusion.adaptation.base_training import denoising, running
from embhub.diffusion.adaptation.base_training.export import export
from embhub.diffusion.adaptation.base_training.latent_pictures import encode, latents_of
from embhub.diffusion.adaptation.base_training.material import Material
from embhub.diffusion.adaptation.base_training.text_encoder import CaptionEncoder
from embhub.diffusion.adaptation.base_training.workbench import Workbench

_AT_ONCE = 256


class PoolBatches:
    """Batches of `size` images on the autoencoder's device, each pool of `material` for so many steps."""

    def __init__(
        self, material: Material, autoencoder: AutoencoderKL, encoder: CaptionEncoder, size: int, steps: int
    ) -> None:
        self._material, self._autoencoder, self._encoder = material, autoencoder, encoder
        self._size, self._steps = size, steps
        self.rendered: dict[int, int] = {}
        """How many posed images each pool had."""

    def __iter__(self) -> Iterator[Batch]:
        device, number = self._autoencoder.device, 0
        while True:
            pool, rng = self._material.pool(number), np.random.default_rng([1, number])
            places = torch.arange(pool.count)
            with torch.no_grad():
                parts = [latents_of(self._autoencoder, pool.images(part)) for part in torch.split(places, _AT_ONCE)]
            latents = torch.cat(parts).float()
            captions = [pool.caption(place, rng) for place in range(pool.count)]
            bags = torch.from_numpy(self._encoder.bags(captions, rng, MERGED)).to(device)
            odds, ones = pool.odds.to(device), torch.ones(self._size, 1, 1, 1, device=device)
            self.rendered[number] = pool.count
            for _ in range(self._steps):
                chosen = torch.multinomial(odds, self._size, replacement=True)
                yield latents[chosen], bags[chosen], ones
            number += 1


def train(
    bench: Workbench,
    plan: Plan,
    limits: running.Limits,
    *,
    pool_steps: int = 120,
    compiled: bool = False,
    known: Path | None = None,
) -> Path:
    """Train autoencoder and denoiser, and write the pipeline; returns its folder.

    `known` is a pipeline with the same autoencoder and tokenizer, whose denoiser is trained further.
    """
    if limits.minutes > 0:
        bench.train_autoencoder(limits, batch=32, crop=0)
    autoencoder = bench.fixed_autoencoder().to(bench.device)
    taught = bench.material
    held_out = encode(autoencoder, taught.held_out.images), taught.held_out
    settings = denoising.Settings(
        seed=bench.seed,
        times=taught.times,
        device=bench.device,
        compiled=compiled,
        zero_terminal_snr=taught.zero_terminal_snr,
    )
    model = denoising.build(bench.seed, taught.widths)
    if known:
        loaded = UNet2DConditionModel.from_pretrained(str(known), subfolder="unet", torch_dtype=torch.float32)
        model.load_state_dict(loaded.state_dict())
    if bench.device == "cuda":
        model.set_attn_processor(AttnProcessor2_0())
    bench.encoder.encoder.to(bench.device)
    course = denoising.Denoising(model, _no_pools, held_out, denoising.frozen(bench.encoder), settings)
    batches = PoolBatches(taught, autoencoder, bench.encoder, plan.batch, pool_steps)
    left = run([Learner(taught.name, course)], batches, bench.encoder, plan, bench.work / "denoiser")
    best = left.course.averages.averaged(0)
    best.load_state_dict(left.course.best)
    export(
        bench.work / "pipeline",
        tokenizer=bench.encoder.tokenizer,
        encoder=bench.encoder.encoder.cpu(),
        autoencoder=autoencoder.cpu(),
        denoiser=model.cpu(),
        average=[value.detach().cpu() for value in best.parameters()],
        facts=bench.material.facts,
        zero_terminal_snr=taught.zero_terminal_snr,
    )
    return bench.work / "pipeline"


def _no_pools(number: int) -> denoising.Latents:
    raise RuntimeError(f"batches come from elsewhere, there is no pool {number}")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and write a pipeline folder and logs."""
    parser = argparse.ArgumentParser(prog="python -m bases.workshop.pool_batches", description=__doc__)
    parser.add_argument("name", choices=sorted(SETS))
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of public images")
    parser.add_argument("--work", type=Path, required=True, help="folder of states, outside the repository")
    parser.add_argument("--begin", type=Path, required=True, help="pipeline folder whose autoencoder to begin with")
    parser.add_argument("--denoiser", type=Path, help="pipeline folder whose denoiser to train further")
    parser.add_argument("--autoencoder-minutes", type=float, default=0.0, help="0: its autoencoder as it is")
    parser.add_argument("--minutes", type=float, required=True, help="minutes for the denoiser")
    parser.add_argument("--cool-after", type=float, required=True, help="minutes after which the learning rate falls")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--pool-steps", type=int, default=120, help="steps that posed images serve")
    parser.add_argument("--peak", type=float, default=1.5e-3, help="learning rate after its warm-up")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda", help="cpu or cuda")
    chosen = parser.parse_args(argv)
    torch.set_float32_matmul_precision("high")
    torch.set_num_threads(2)
    began = time.monotonic()
    taught = material(chosen.name, chosen.data, chosen.seed, chosen.device)
    bench = Workbench(taught, chosen.work, chosen.seed, chosen.device)
    bench.begin_autoencoder(chosen.begin, whitened=chosen.autoencoder_minutes == 0)
    plan = Plan(chosen.minutes, 0.0, chosen.cool_after, chosen.batch, chosen.peak)
    limits = running.Limits(minutes=chosen.autoencoder_minutes)
    folder = train(bench, plan, limits, pool_steps=chosen.pool_steps, compiled=chosen.compile, known=chosen.denoiser)
    made = {"minutes": round((time.monotonic() - began) / 60, 2), "batch": plan.batch, "peak": plan.peak}
    (folder / "made.json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
