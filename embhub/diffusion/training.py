"""From a site's images to an embedding: keep some patients back, learn rows, write one file and a private record."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embhub import embedding as artifact
from embhub import fingerprint, runs
from embhub.cards.personal_data import personal_data
from embhub.diffusion import inversion
from embhub.diffusion.families import prediction_type, resolution
from embhub.diffusion.images import ImageSet, read_images
from embhub.diffusion.inversion import Fit, Recipe
from embhub.diffusion.pipelines import find_base, load_pipeline
from embhub.embedding import LAYOUTS, Embedding
from embhub.errors import ConfigError, PrivacyError, UsageError
from embhub.progress import OnProgress, Progress
from embhub.site.files import write_atomic

_TENSOR_NAMES = {component: name for name, component in LAYOUTS["sd"].items()}


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    `run` is also in the site's private memory (`embhub.runs`). `heldout_before` and `heldout_after` are the mean loss
    on the images kept back, by the caption's words alone and with the embedding; None where none were kept back.
    """

    embedding: Embedding
    run: runs.Run
    losses: tuple[float, ...]
    heldout_before: float | None
    heldout_after: float | None
    notes: tuple[str, ...]
    path: Path | None


def train(
    images: str | Path | ImageSet,
    *,
    token: str,
    caption: str,
    base: str | Path = "builtin",
    manifest: str | Path | None = None,
    where: str | None = None,
    holdout: float = 0.0,
    vectors: int | None = None,
    steps: int | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    snr_gamma: float | None = None,
    start: str | None = None,
    seed: int | None = None,
    device: str = "auto",
    dtype: str = "float16",
    out: str | Path | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
) -> TrainResult:
    """Learn an embedding by textual inversion (Gal et al. 2022, arXiv 2208.01618).

    Args:
        images: folder or manifest, see `embhub.diffusion.images.read_images`; `manifest` and `where` are passed to
        it. token: what will stand for the finding in prompts, such as `<cspca>`. caption: the prompt to learn under,
        with `{}` where the token goes. base: a built-in name, a pipeline folder, or `owner/name` of the Hub. holdout:
        share of the patients to keep back for the audit, 0 to 0.9. Rows with split `holdout` are kept back too.
        vectors, steps, learning_rate, batch_size, snr_gamma, start: see `embhub.diffusion.inversion.Recipe`; defaults
            depend on the base.
        seed: of the split and of every draw; drawn anew and kept in the private record where it is not given.
        dtype: float16 or float32, of the file.
        out: file to write; refused where it exists, unless `overwrite`.

    Raises:
        UsageError: bad images, caption or settings; fewer than two images to learn from; a loss that is not a number.
        ArtifactError: a token that breaks the rules of the format.
        PrivacyError: names that look like patients, one picture under two patients.
        ConfigError: `out` cannot be written.
    """
    artifact.check_token(token)
    caption = check_caption(caption, token)
    _check_words("start", start or "")
    path = _check_out(out, overwrite)
    seed = secrets.randbits(31) if seed is None else seed
    found = find_base(base)
    if not isinstance(images, ImageSet):
        images = read_images(images, manifest=manifest, where=where, on_progress=on_progress)
    members, kept_back = split(images, holdout, seed)
    _stage(on_progress, "loading the base", 0)
    identity = fingerprint.take(found.folder)
    pipe = load_pipeline(found, device=device)
    _stage(on_progress, "loading the base", 1)
    recipe = _settle(
        inversion.default_recipe(pipe),
        vectors=vectors,
        steps=steps,
        learning_rate=learning_rate,
        batch_size=batch_size,
        snr_gamma=snr_gamma,
        start=start,
    )
    latents = _encode(pipe, members, on_progress)
    fit = inversion.fit(
        pipe, latents, token=token, caption=caption, recipe=recipe, seed=seed, on_step=_stepper(on_progress, recipe)
    )
    before, after = _measure(pipe, kept_back, fit, token, caption)
    facts = describe(pipe, caption, recipe)
    embedding = artifact.build(
        {_TENSOR_NAMES[name]: rows.numpy() for name, rows in fit.rows.items()},
        token=token,
        base=identity,
        base_name=found.name,
        training=facts,
        dtype=dtype,
    )
    settings = {"seed": seed, "holdout": holdout, "dtype": dtype, "recipe": asdict(recipe)}
    run = _record(embedding, members, kept_back, str(base), caption, settings)
    runs.save(run)
    if path is not None:
        write_atomic(path, embedding.data)
    return TrainResult(embedding, run, fit.losses, before, after, images.notes, path)


def split(images: ImageSet, holdout: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Members and images kept back: whole patients, drawn by `seed`, the same however the source is ordered.

    Raises:
        UsageError: a share outside 0 to 0.9, too few patients for it, or fewer than two images to learn from.
    """
    if not 0 <= holdout <= 0.9:
        raise UsageError(f"a holdout of {holdout}", "keep back a share of the patients between 0 and 0.9")
    given = {i for i, sample in enumerate(images.samples) if sample.split == "holdout"}
    units = sorted({images.unit(i) for i in range(len(images)) if i not in given})
    number = max(1, round(holdout * len(units))) if holdout else 0
    if number and number >= len(units):
        raise UsageError(
            f"{len(units)} patients are too few to keep {holdout:.0%} back", "add patients, or keep back none"
        )
    drawn = {units[i] for i in np.random.default_rng(seed).permutation(len(units))[:number]}
    back = [i for i in range(len(images)) if i in given or images.unit(i) in drawn]
    front = [i for i in range(len(images)) if i not in set(back)]
    members = images.subset(front)
    members.check_number()
    return members, images.subset(back)


def check_caption(caption: str, token: str) -> str:
    """The caption with `{}` once, where the token goes; the token itself may stand there instead.

    Raises:
        UsageError: no place for the token, two of them, or a caption too long for the file's header.
        PrivacyError: words that look like a person's.
    """
    caption = " ".join(caption.replace(token, "{}").split())
    if caption.count("{}") != 1:
        raise UsageError(
            "the caption must have {} once, where the token goes", 'for example "axial t2 prostate mri, {}"'
        )
    _check_words("caption", caption)
    return caption


def _check_words(name: str, words: str) -> None:
    """Refuse words that cannot go into the file's header, which everybody reads."""
    if len(words) > 300:
        raise UsageError(f"the {name} is longer than 300 characters", "say what kind of picture it is, in a few words")
    if found := personal_data(words):
        raise PrivacyError(f"the {name} looks like personal data: {found[0]}", "it is published: name no person")


def describe(pipe: Any, caption: str, recipe: Recipe) -> dict[str, str | int | float]:
    """What the file's header tells of the training; nothing of the images or the seed."""
    facts: dict[str, str | int | float] = {
        "caption": caption,
        "initial_word": recipe.start or caption.replace("{}", " ").strip(),
        "vectors": recipe.vectors,
        "steps": recipe.steps,
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "optimizer": "AdamW",
        "weight_decay": 0,
        "schedule": f"cosine, {recipe.warm_up} steps of warm-up",
        "timestep_bias": f"{recipe.high_noise:g} of each batch from the noisiest 30 %",
        "loss": "mean squared error" if recipe.snr_gamma is None else "min-SNR",
        "precision": "bfloat16" if recipe.mixed_precision else "float32",
        "prediction_type": prediction_type(pipe),
        "resolution": resolution(pipe),
        "tool": "embhub",
    }
    if recipe.snr_gamma is not None:
        facts["snr_gamma"] = recipe.snr_gamma
    return facts


def _settle(recipe: Recipe, **given: Any) -> Recipe:
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def _check_out(out: str | Path | None, overwrite: bool) -> Path | None:
    """Refuse a place that cannot be written before minutes are spent on what should go there."""
    if out is None:
        return None
    path = Path(out)
    if path.suffix != ".safetensors":
        raise UsageError(f"{path} does not end in .safetensors", "name the file to write, such as cspca.safetensors")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists", "choose another name, or allow it to be overwritten")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"cannot write {path}", "choose a folder that you may write to")
    return path


def _encode(pipe: Any, images: ImageSet, on_progress: OnProgress | None) -> torch.Tensor:
    latents, done = [], 0
    for batch in images.batches(resolution(pipe)):
        latents.append(inversion.encode_images(pipe, batch))
        done += len(batch)
        if on_progress:
            on_progress(Progress("encoding images", done, len(images)))
    return torch.cat(latents)


def _measure(pipe: Any, kept_back: ImageSet, fit: Fit, token: str, caption: str) -> tuple[float | None, float | None]:
    if not len(kept_back):
        return None, None
    latents = _encode(pipe, kept_back, None)
    before = inversion.mean_loss(pipe, latents, token=token, caption=caption, rows=None)
    after = inversion.mean_loss(pipe, latents, token=token, caption=caption, rows=fit.rows)
    return before, after


def _record(
    embedding: Embedding, members: ImageSet, kept_back: ImageSet, base: str, caption: str, settings: dict[str, Any]
) -> runs.Run:
    def remember(images: ImageSet) -> tuple[runs.Sample, ...]:
        return tuple(
            runs.Sample(path=str(sample.path), patient_id=images.unit(i), label=sample.label or None)
            for i, sample in enumerate(images.samples)
        )

    return runs.Run(
        embedding_digest=embedding.digest,
        base=base,
        caption=caption,
        token=embedding.token,
        vectors=embedding.vectors[0].count,
        members=remember(members),
        holdout=remember(kept_back),
        settings=settings,
    )


def _stage(on_progress: OnProgress | None, stage: str, done: int, total: int = 1, note: str = "") -> None:
    if on_progress:
        on_progress(Progress(stage, done, total, note))


def _stepper(on_progress: OnProgress | None, recipe: Recipe) -> Callable[[int, float], None]:
    """Report each step with a smoothed loss: a single one says little."""
    smooth = math.nan

    def on_step(step: int, loss: float) -> None:
        nonlocal smooth
        smooth = loss if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss
        _stage(on_progress, "training", step, recipe.steps, f"loss {smooth:.3f}")

    return on_step
