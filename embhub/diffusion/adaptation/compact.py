"""From a site's images to a compact adapter: low-rank changes of how a U-Net reads text, in one file of under 1 MB.

Far fewer numbers than a fine-tuned component, and more than token embeddings. Without privacy: no mechanism of
`embhub.diffusion.dp` trains one, so its header says `privacy: none`, and the ledger counts a loss without bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from embhub import destinations
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.adapter import TARGETS, TOOL
from embhub.artifact.embedding import Embedding
from embhub.diffusion.adaptation.loop import pace
from embhub.diffusion.bases.pipelines import find_base, load_pipeline, size_rule, trainable_attention
from embhub.diffusion.families import check_trainable, detect, device_of, loss, noise_levels, prediction_type
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import memory
from embhub.diffusion.training.captions import check_caption
from embhub.diffusion.training.inversion import HIGH, DivergedError
from embhub.diffusion.training.latents import encode
from embhub.diffusion.training.precision import repeatable
from embhub.diffusion.training.remarks import Remarks, Say
from embhub.diffusion.training.seeding import draw_seed, make_generator
from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.images.holdout import split
from embhub.images.images import ImageSet, read_images, record
from embhub.ledger import budget
from embhub.options.adapter import AdapterRecipe
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import Selection
from embhub.progress import OnProgress, Progress, announce
from embhub.site import runs

_LAYOUTS = ("sd", "sdxl")
_HIGH_NOISE = 0.3  # of a batch, from the noisiest 30 % of the schedule: there layout is decided


@dataclass(frozen=True)
class Adapted:
    """The adapter, its private record, the loss of every step, and the mean loss of held-out images before and after
    (None without held-out images)."""

    adapter: Embedding
    run: runs.Run
    losses: tuple[float, ...]
    heldout_before: float | None
    heldout_after: float | None
    notes: tuple[str, ...]
    path: Path | None


def train_adapter(
    images: str | Path | ImageSet,
    *,
    token: str,
    caption: str,
    base: str | Path = "builtin",
    recipe: AdapterRecipe | None = None,
    selection: Selection | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    on_note: Say | None = None,
) -> Adapted:
    """Learn a compact adapter; arguments as of `embhub.train`.

    The token is plain text to the base's tokenizer: prompts with it and the adapter belong together, and prompts
    without it change, too.

    Raises:
        UsageError: bad images, prompt template or settings; a base of another kind than Stable Diffusion 1, 2 or XL; a
            loss that is not a number.
        ArtifactError: a token that breaks the rules of the format, or an adapter of more than 1 MB.
        PrivacyError: names that look like patients; a cap of the site's ledger, which counts this as infinite.
        ConfigError: `out` cannot be written.
    """
    chosen, selection, remarks = recipe or AdapterRecipe(), selection or Selection(), Remarks(on_note)
    artifact.check_token(token)
    caption = check_caption(caption, token)
    path = destinations.check_embedding(out, overwrite=overwrite)
    seed = draw_seed() if seed is None else seed
    found = find_base(base)
    if not isinstance(images, ImageSet):
        images = read_images(images, manifest=selection.manifest, where=selection.where, on_progress=on_progress)
    preprocessing = preprocessing or Preprocessing()
    remarks.warn(*images.notes, *images.describe_fit(preprocessing.fit))
    members, kept_back = split(images, selection.holdout, seed)
    announce(on_progress, "loading the base")
    identity = fingerprint.take(found.folder)
    with memory.explained(None):
        pipe = load_pipeline(found, device=device)
    check_trainable(pipe)
    if detect(pipe).layout not in _LAYOUTS:
        raise UsageError(
            f"no adapter for a {type(pipe).__name__}",
            "adapters are for Stable Diffusion 1, 2 and XL; embeddings for all",
        )
    preprocessing = replace(preprocessing, resolution=size_rule(pipe).choose(preprocessing.resolution))
    settled = _settle(chosen, preprocessing.resolution or 0)
    text = caption.replace("{}", token)
    inside = encode(pipe, members, on_progress, preprocessing).latents
    outside = encode(pipe, kept_back, preprocessing=preprocessing).latents if len(kept_back) else None
    before = _measure(pipe, outside, text)
    with budget.reserve(
        members.names(), unit="patient" if members.has_patients else "image", mechanism="none", steps=1,
        pictures=members.pictures(), on_note=remarks.warn,
    ) as reservation:  # fmt: skip
        reservation.spend(1)
        losses = _learn(pipe, inside, text, settled, seed, _stepper(on_progress, settled))
    after = _measure(pipe, outside, text)
    adapter = artifact.build(
        _matrices(pipe.unet), token=token, base=identity, base_name=found.name,
        training=_describe(pipe, caption, settled, preprocessing),
    )  # fmt: skip
    run = runs.Run(
        embedding_digest=adapter.digest, base=str(base), caption=caption, token=token, vectors=settled.rank,
        members=record(members), holdout=record(kept_back),
        settings={"adapter": asdict(settled), "seed": seed, "preprocessing": asdict(preprocessing)},
    )  # fmt: skip
    runs.save(run)
    if path is not None:
        write_atomic(path, adapter.data)
    reservation.release(adapter.digest)
    return Adapted(adapter, run, losses, before, after, remarks.kept, path)


def _settle(recipe: AdapterRecipe, side: int) -> AdapterRecipe:
    """What suits a base of this resolution, where nothing was chosen."""
    steps, rate, batch = (400, 3e-3, 16) if side <= 128 else (2000, 5e-4, 4)
    return replace(
        recipe,
        steps=recipe.steps or steps,
        learning_rate=recipe.learning_rate or rate,
        batch_size=recipe.batch_size or batch,
    )


def _learn(
    pipe: Pipeline, latents: Tensor, text: str, recipe: AdapterRecipe, seed: int, on_step: Callable[[int, float], None]
) -> tuple[float, ...]:
    """Add the adapter to the U-Net and learn it there. All draws come from `seed`."""
    generator, family, unet = make_generator(seed), detect(pipe), pipe.unet
    steps, rate, size = recipe.steps or 1, recipe.learning_rate or 0.0, recipe.batch_size or 1
    with torch.random.fork_rng(devices=[]):
        unet.add_adapter(
            LoraConfig(r=recipe.rank, lora_alpha=recipe.rank, init_lora_weights="gaussian", target_modules=TARGETS)
        )
    learning = {name: weight for name, weight in unet.named_parameters() if weight.requires_grad}
    for name, weight in learning.items():
        weight.data = weight.data.float()
        if ".lora_A." in name:  # of all bits of the seed, which is secret: torch's own start counts the lowest 32
            weight.data = torch.randn(weight.shape, generator=generator).to(pipe.device) / recipe.rank
    weights = list(learning.values())
    optimizer, losses = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0), list[float]()
    with torch.no_grad():
        condition = family.condition(pipe, [text])
    levels, high = noise_levels(pipe), int(_HIGH_NOISE * size)
    device = device_of(pipe)
    with trainable_attention(pipe), repeatable(pipe):
        for step in range(steps):
            chosen = torch.randint(len(latents), (size,), generator=generator)
            times = torch.cat([
                torch.randint(levels, (size - high,), generator=generator),
                torch.randint(int(HIGH * levels), levels, (high,), generator=generator),
            ])  # fmt: skip
            noise = torch.randn((size, *latents.shape[1:]), generator=generator)
            batch = latents[chosen].to(device)
            error = loss(pipe, family, batch, condition, noise.to(device), times.to(device)).mean()
            optimizer.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            norm = float(nn.utils.clip_grad_norm_(weights, 1.0))
            if not math.isfinite(norm) or not math.isfinite(error.item()):
                raise DivergedError(f"loss or gradient at step {step + 1} is not a number", "lower the learning rate")
            for group in optimizer.param_groups:
                group["lr"] = rate * pace(step, steps)
            optimizer.step()
            losses.append(error.item())
            on_step(step + 1, losses[-1])
    unet.requires_grad_(False)
    return tuple(losses)


@torch.no_grad()
def _measure(pipe: Pipeline, latents: Tensor | None, text: str, draws: int = 4) -> float | None:
    """Mean loss over images, on noise and times that are always the same."""
    if latents is None:
        return None
    generator, family, total = torch.Generator().manual_seed(0), detect(pipe), 0.0
    device = device_of(pipe)
    condition = family.condition(pipe, [text])
    for draw in range(draws):
        level = int(noise_levels(pipe) * (draw + 0.5) / draws)
        for batch in torch.split(latents, 16):
            noise = torch.randn(batch.shape, generator=generator).to(device)
            times = torch.full((len(batch),), level, device=device)
            total += float(loss(pipe, family, batch.to(device), condition, noise, times).sum())
    return total / (draws * len(latents))


def _matrices(unet: Any) -> dict[str, NDArray[Any]]:
    """The learned matrices under the names that diffusers loads."""
    return {
        f"unet.{name}": value.detach().float().cpu().numpy() for name, value in get_peft_model_state_dict(unet).items()
    }


def _describe(
    pipe: Pipeline, caption: str, recipe: AdapterRecipe, preprocessing: Preprocessing
) -> dict[str, str | int | float]:
    facts: dict[str, str | int | float] = {
        "caption": caption,
        "rank": recipe.rank,
        "steps": recipe.steps or 0,
        "learning_rate": recipe.learning_rate or 0.0,
        "batch_size": recipe.batch_size or 0,
        "optimizer": "AdamW",
        "weight_decay": 0,
        "loss": "mean squared error",
        "precision": "float32",
        "prediction_type": prediction_type(pipe),
        "resolution": preprocessing.resolution or 0,
        "tool": TOOL,
    }
    return facts if preprocessing.fit == "crop" else facts | {"fit": preprocessing.fit}


def _stepper(on_progress: OnProgress | None, recipe: AdapterRecipe) -> Callable[[int, float], None]:
    def on_step(step: int, error: float) -> None:
        if on_progress:
            on_progress(Progress("adapting", step, recipe.steps or 0, f"loss {error:.3f}"))

    return on_step
