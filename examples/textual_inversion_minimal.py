"""Textual inversion in one file, without embhub's training code: the vectors of `embhub train`, bit for bit.

    python examples/textual_inversion_minimal.py MANIFEST OUT.safetensors [--steps N] [--seed S]

The diffusion model stays frozen; a few new token embeddings are the only parameters (Gal et al. 2022, arXiv
2208.01618). It follows the plain recipe on the base `builtin`, on a CPU. It leaves out checks of images and patients,
the held-out split, differential privacy, the ledger, resuming, and the header of the file.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image, ImageOps
from safetensors.torch import save_file
from torch.nn import functional as F

from embhub import builtin_bases as base
from embhub.diffusion.training.precision import in_bfloat16

TOKEN, PROMPT = "<cspca>", "prostate mri with {}"  # the placeholder token, and the prompt template to train with
NUM_VECTORS, BATCH_SIZE = 8, 16
LEARNING_RATE, WARM_UP = 0.1, 20
HIGH_NOISE, LOWEST = 0.4, 0.1  # 40 % of a batch from the noisiest 30 % of the timesteps, the rest from above 10 %


def load_images(manifest: Path, resolution: int) -> torch.Tensor:
    """Read the images that a manifest lists, (N, 3, resolution, resolution) in [-1, 1]."""
    with manifest.open(newline="") as file:
        paths = [manifest.parent / row["path"] for row in csv.DictReader(file)]
    squares = [
        ImageOps.fit(Image.open(path).convert("RGB"), (resolution, resolution), Image.Resampling.LANCZOS)
        for path in paths
    ]
    arrays = [np.asarray(square, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1 for square in squares]
    return torch.from_numpy(np.stack(arrays))


@torch.no_grad()
def encode(pipe: Any, images: torch.Tensor, count: int = 8) -> torch.Tensor:
    """Encode images to latents once; the autoencoder takes no part in the training.

    The batch width is constant, so that an image's latents do not depend on how many others there are.
    """
    latents = []
    for part in images.split(32):  # type: ignore[no-untyped-call]
        for batch in part.split(count):
            filled = torch.cat([batch, batch[-1:].expand(count - len(batch), -1, -1, -1)])
            latents.append(pipe.vae.encode(filled).latent_dist.mode()[: len(batch)])
    scaling_factor: float = pipe.vae.config.scaling_factor
    return torch.cat(latents) * scaling_factor


def initial_vectors(pipe: Any, generator: torch.Generator) -> torch.Tensor:
    """Start from the mean token embedding of the prompt's words, at the length of one word, with a little noise."""
    table: torch.Tensor = pipe.text_encoder.get_input_embeddings().weight.detach()
    words = table[pipe.tokenizer(PROMPT.replace("{}", " "), add_special_tokens=False).input_ids]
    mean: torch.Tensor = F.normalize(words.mean(0), dim=0) * words.norm(dim=1).mean()
    return mean + 0.3 * words.std() * torch.randn(NUM_VECTORS, table.shape[1], generator=generator)


def table_unit(pipe: Any) -> float:
    """The unit of the learning rate: the size of a typical number in the base's own token embeddings, read before ours
    are inserted or after."""
    table = pipe.text_encoder.get_input_embeddings()
    rows = getattr(table, "table", table).weight.detach().float()
    return float(rows.norm(dim=1).mean()) / math.sqrt(rows.shape[1])


class WithPlaceholders(torch.nn.Module):
    """A frozen table of token embeddings that answers the ids from `first` on with trainable vectors."""

    def __init__(self, table: torch.nn.Embedding, vectors: torch.nn.Parameter, first: int) -> None:
        super().__init__()
        self.table, self.vectors, self.first = table, vectors, first

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Token embeddings (B, length, d) of ids (B, length)."""
        ours = ids >= self.first
        learned = F.embedding((ids - self.first).masked_fill(~ours, 0), self.vectors)
        return torch.where(ours[..., None], learned, self.table(ids.masked_fill(ours, 0)))


def insert(pipe: Any, vectors: torch.nn.Parameter) -> str:
    """Teach tokenizer and text encoder one placeholder for each vector; returns what stands in the prompt."""
    names = [f"{TOKEN[:-1]}|{number}>" for number in range(NUM_VECTORS)]
    pipe.tokenizer.add_tokens(names)
    first = pipe.tokenizer.convert_tokens_to_ids(names[0])
    table = pipe.text_encoder.get_input_embeddings()
    pipe.text_encoder.set_input_embeddings(WithPlaceholders(table, vectors, first))
    return " ".join(names)


def draw_batch(pipe: Any, latents: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Draw the latents of a batch with replacement, their timesteps, and the noise."""
    levels, share = pipe.scheduler.config.num_train_timesteps, HIGH_NOISE * BATCH_SIZE
    chosen = torch.randint(len(latents), (BATCH_SIZE,), generator=generator)
    high = int(share) + int(torch.rand((), generator=generator) < share % 1)  # a coin for the part of an image
    even = torch.randint(int(LOWEST * levels), levels, (BATCH_SIZE - high,), generator=generator)
    noisy = torch.randint(int(0.7 * levels), levels, (high,), generator=generator)
    noise = torch.randn(BATCH_SIZE, *latents.shape[1:], generator=generator)
    return latents[chosen], torch.cat([even, noisy]), noise


def compute_loss(
    pipe: Any, prompt: str, latents: torch.Tensor, timesteps: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Return the mean squared error of v, which this base predicts (Salimans and Ho 2022, arXiv 2202.00512)."""
    alpha = pipe.scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    signal, strength = alpha.sqrt(), (1 - alpha).sqrt()
    target = signal * noise - strength * latents
    with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16("cpu")):  # where the processor has instructions
        hidden, _ = pipe.encode_prompt(prompt, "cpu", 1, do_classifier_free_guidance=False)
        hidden = hidden.expand(len(latents), -1, -1)
        predicted = pipe.unet(signal * latents + strength * noise, timesteps, encoder_hidden_states=hidden).sample
    return F.mse_loss(predicted.float(), target, reduction="none").flatten(1).mean(1).sum() / len(latents)


def schedule(step: int, steps: int) -> float:
    """Return the learning-rate schedule's factor: linear warm-up, then half a cosine down to a twentieth."""
    return min(1.0, (step + 1) / WARM_UP) * max(0.05, 0.5 + 0.5 * math.cos(math.pi * step / steps))


def train(manifest: Path, *, steps: int, seed: int) -> torch.Tensor:
    """Learn the embedding vectors, (NUM_VECTORS, d) float32."""
    pipe = StableDiffusionPipeline.from_pretrained(base.resolve("builtin"), use_safetensors=True)
    for model in (pipe.vae, pipe.text_encoder, pipe.unet):
        model.requires_grad_(False).eval()
    pipe.unet.set_attn_processor(AttnProcessor())  # on a processor its backward pass is faster than the fused kernel's
    latents = encode(pipe, load_images(manifest, pipe.unet.config.sample_size * pipe.vae_scale_factor))

    generator = torch.Generator().manual_seed(seed)
    vectors = torch.nn.Parameter(initial_vectors(pipe, generator))
    prompt = PROMPT.replace("{}", insert(pipe, vectors))
    unit = table_unit(pipe)
    optimizer = torch.optim.AdamW([vectors], eps=1e-8 / unit, weight_decay=0.0)
    for step in range(steps):
        loss = compute_loss(pipe, prompt, *draw_batch(pipe, latents, generator))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * schedule(step, steps) * unit
        optimizer.step()
        print(f"step {step + 1}/{steps}: loss {loss.item():.4f}")
    return vectors.detach()


def main() -> None:
    """Train, and write the vectors in float16 under the name that diffusers and other programs read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path, help="CSV with a column `path`, relative to the manifest")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    vectors = train(chosen.manifest, steps=chosen.steps, seed=chosen.seed)
    save_file({"emb_params": vectors.half()}, chosen.out)


if __name__ == "__main__":
    main()
