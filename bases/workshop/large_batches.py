"""Train the denoiser of phantoms with large batches on a GPU: `python -m bases.workshop.large_batches --help`.

Several widths can learn from the same batches; after some minutes only the one with the lowest held-out loss goes on.
The learning rate falls to nothing at the end of the given minutes, so what comes out depends on the speed of the
machine, and a run that was cut off begins anew.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from bases.workshop import phantom_material
from bases.workshop.rendered import Batch, Batches, CountedBatches
from embhub.diffusion.adaptation.base_training import denoising
from embhub.diffusion.adaptation.base_training.latent_pictures import encode
from embhub.diffusion.adaptation.base_training.text_encoder import CaptionEncoder, make_encoder

_WARM_UP, _FLAT = 300, 4000
_MEASURE_EVERY_S, _COMPILED = 60.0, 10
"""Seconds between measurements; steps after which everything is compiled, and the minutes begin."""


@dataclass(frozen=True)
class Plan:
    """Minutes in all, after which one width goes on alone, and after which the rate falls; images a step; the rate
    after its warm-up."""

    minutes: float
    choose_after: float
    cool_after: float
    batch: int = 1024
    peak: float = 2e-3

    def rate(self, step: int, minutes: float) -> float:
        """The learning rate of step `step`, taken so many minutes after the beginning."""
        flat = self.peak * min(1.0, (step + 1) / _WARM_UP) / math.sqrt(max(1.0, step / _FLAT))
        left = (self.minutes - minutes) / (self.minutes - self.cool_after)
        return flat * min(1.0, max(0.0, left))


class Learner:
    """One width, with its averages and its optimizer."""

    def __init__(self, name: str, course: denoising.Denoising) -> None:
        self.name, self.course, self.loss = name, course, torch.zeros(())
        self.alphas = course.alphas.to(course.settings.device)
        self.figures: dict[str, float] = {}

    def learn(self, batch: Batch, hidden: torch.Tensor, rate: float, step: int) -> None:
        """One step on a batch whose captions' hidden states are (B, 48, 128)."""
        course, device = self.course, self.course.settings.device
        values, weights = batch[0].float(), batch[2].float()
        times = denoising.draw_times(len(values), course.settings.times, torch.Generator().manual_seed(step)).to(device)
        noise = torch.randn_like(values)
        signal = self.alphas[times].view(-1, 1, 1, 1)
        noisy = signal.sqrt() * values + (1 - signal).sqrt() * noise
        target = signal.sqrt() * noise - (1 - signal).sqrt() * values
        course.model.train()
        with torch.autocast(device, torch.bfloat16, enabled=course.fast):
            predicted = course.predict(noisy, times, hidden).sample
        loss = ((predicted.float() - target).square() * weights).mean()
        for group in course.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        course.optimizer.zero_grad()
        loss.backward()
        if not torch.isfinite(torch.nn.utils.clip_grad_norm_(course.parameters, 1.0)):
            return  # both widths once ended in NaN; what is not finite must not reach the weights
        course.optimizer.step()
        course.averages.update(step)
        self.loss = loss.detach()

    def measure(self) -> dict[str, float]:
        """Held-out losses, and how much more the loss is under wrong words; the best average so far is kept."""
        best = self.figures.get("held_out_loss", math.inf)
        found = {"loss": float(self.loss), **self.course.measure()}
        if found["held_out_loss"] < best:
            self.course.keep_best()
            self.figures = found
        return found

    def write(self, folder: Path) -> None:
        """Write the best average so far, in half precision."""
        folder.mkdir(parents=True, exist_ok=True)
        values = {name: value.half().contiguous().cpu() for name, value in self.course.best.items()}
        save_file(values, folder / f"denoiser-{self.name}.safetensors")


def run(learners: list[Learner], batches: CountedBatches, encoder: CaptionEncoder, plan: Plan, out: Path) -> Learner:
    """Train until the plan's minutes are over; the learner that is left, its best average written to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    began = measured = time.monotonic()
    for step, batch in enumerate(batches):
        if step == _COMPILED:
            began = measured = time.monotonic()
        minutes = (time.monotonic() - began) / 60
        rate = plan.rate(step, minutes)
        with torch.no_grad():
            hidden = encoder.read(batch[1])
        for learner in learners:
            learner.learn(batch, hidden, rate, step)
        if time.monotonic() - measured > _MEASURE_EVERY_S or minutes > plan.minutes:
            for learner in learners:
                line = {"step": step + 1, "minutes": minutes, "rate": rate, "phantoms": sum(batches.rendered.values())}
                _log(out, learner, {**line, **learner.measure()})
                learner.write(out)
            measured = time.monotonic()
            if minutes > plan.choose_after and len(learners) > 1:
                learners = [min(learners, key=lambda one: one.figures["held_out_loss"])]
        if minutes > plan.minutes:
            break
    return learners[0]


def _log(out: Path, learner: Learner, figures: dict[str, float]) -> None:
    line = json.dumps({"width": learner.name, **{name: float(f"{value:.5g}") for name, value in figures.items()}})
    print(line, flush=True)
    with (out / "denoiser-log.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def learners_of(widths: Sequence[str], folder: Path, encoder: CaptionEncoder, device: str, seed: int) -> list[Learner]:
    """A learner of each of `widths`, such as "64-96-128"; that of the pipeline in `folder` begins with its weights."""
    autoencoder = AutoencoderKL.from_pretrained(str(folder), subfolder="vae", torch_dtype=torch.float32).to(device)
    material = phantom_material.of_phantoms(seed=seed)
    held_out = encode(autoencoder.eval(), material.held_out.images), material.held_out
    settings = denoising.Settings(seed=seed, times=material.times, device=device, compiled=device == "cuda")
    known = UNet2DConditionModel.from_pretrained(str(folder), subfolder="unet", torch_dtype=torch.float32)
    found = []
    for name in widths:
        shape = tuple(int(width) for width in name.split("-"))
        model = denoising.build(seed, shape)
        if shape == tuple(known.config["block_out_channels"]):
            model.load_state_dict(known.state_dict())
        model.set_attn_processor(AttnProcessor2_0())
        course = denoising.Denoising(model, _no_pools, held_out, denoising.frozen(encoder), settings)
        found.append(Learner(name, course))
    return found


def _no_pools(number: int) -> Any:
    raise RuntimeError(f"batches come from workers, there is no pool {number}")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, and write weights, a log and what was rendered."""
    parser = argparse.ArgumentParser(prog="python -m bases.workshop.large_batches", description=__doc__)
    parser.add_argument("--begin", type=Path, required=True, help="pipeline folder to begin from")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and log")
    parser.add_argument("--widths", nargs="+", default=["96-96-96"], help="channels of the three levels")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--choose-after", type=float, default=0.0, help="minutes after which one width goes on alone")
    parser.add_argument("--cool-after", type=float, required=True, help="minutes after which the learning rate falls")
    parser.add_argument("--batch", type=int, default=1024, help="a multiple of 256")
    parser.add_argument("--peak", type=float, default=2e-3, help="learning rate after its warm-up")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda", help="cpu or cuda")
    chosen = parser.parse_args(argv)
    torch.set_float32_matmul_precision("high")
    batches = Batches(chosen.batch, chosen.workers, chosen.begin, chosen.device, chosen.seed)
    tokenizer = CLIPTokenizer.from_pretrained(str(chosen.begin / "tokenizer"))
    encoder = CaptionEncoder(tokenizer, make_encoder(tokenizer, chosen.seed).to(chosen.device))
    learners = learners_of(chosen.widths, chosen.begin, encoder, chosen.device, chosen.seed)
    plan = Plan(chosen.minutes, chosen.choose_after, chosen.cool_after, chosen.batch, chosen.peak)
    left = run(learners, batches, encoder, plan, chosen.out)
    batches.stop()
    told = {"width": left.name, "minutes": plan.minutes, "rendered": dict(sorted(batches.rendered.items()))}
    (chosen.out / "rendered.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
