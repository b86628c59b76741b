"""From a site's images to a compact adapter: low-rank changes of a U-Net's attention layers, in one file of under 1 MB.

Far fewer numbers than a fine-tuned component, and more than token embeddings. No adapter is trained with differential
privacy: the ledger counts a loss without bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub import destinations
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.adapter import TOOL
from embhub.artifact.embedding import Embedding
from embhub.diffusion.adaptation import adapter_size
from embhub.diffusion.bases.pipelines import find_base, load_pipeline, size_rule
from embhub.diffusion.families import (
    Family,
    check_trainable,
    detect,
    device_of,
    of_class,
    prediction_type,
)
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import adapter_fit, memory
from embhub.diffusion.training.captions import check_caption
from embhub.diffusion.training.eval_loss import image_losses
from embhub.diffusion.training.latents import encode
from embhub.diffusion.training.precision import precision
from embhub.diffusion.training.prompts import refuse_captions
from embhub.diffusion.training.remarks import Remarks, Say
from embhub.diffusion.training.seeding import draw_seed
from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.images.checks.base_fit import settle
from embhub.images.holdout import split
from embhub.images.images import ImageSet, read_images, record
from embhub.ledger import budget
from embhub.options.adapter import AdapterRecipe
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import Selection
from embhub.privacy.claim import Unit
from embhub.progress import OnProgress, Progress, announce
from embhub.site.memory import runs

_LAYOUTS = ("sd", "sdxl")


@dataclass(frozen=True)
class Adapted:
    """The result of a training.

    Attributes:
        adapter: The adapter.
        run: The private record, which `embhub.site.memory.runs` keeps at this site.
        losses: Training loss of every step.
        heldout_before: Mean loss on held-out images without the adapter; None without held-out images.
        heldout_after: The same with the adapter.
        notes: Remarks on the images, and warnings of the training.
        path: The file written, or None.
    """

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
    base: str | Path | None = None,
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
    """Learn a compact adapter: low-rank changes (LoRA) of the denoiser's attention layers.

    The token is plain text to the base's tokenizer: prompts with it and the adapter belong together, and prompts
    without it change, too.

    Args:
        images: folder, manifest or volumes file, see `embhub.images.images.read_images`.
        token: the text that stands for the finding in prompts, such as `<cspca>`.
        caption: the prompt to train with, with `{}` where the token goes.
        base: as for `embhub.train`.
        recipe: how the adapter is learned; what suits the base by default.
        selection: which images are trained on, and which share of the patients is held out for the audit.
        preprocessing: how images are fitted into the square that the base sees, and its resolution.
        seed: random seed; drawn and kept in the private record by default.
        device: `auto`, or a torch device such as `cpu` or `cuda`.
        out: adapter file to write; refused where it exists, unless `overwrite`.
        overwrite: whether `out` may be replaced.
        on_progress: called with the progress of each stage.
        on_note: called with each remark and warning.

    Returns:
        The adapter, its private record, and the losses on the way.

    Raises:
        UsageError: Bad images, prompt template or settings; no base named, and none that fits; a base of another kind
            than Stable Diffusion 1, 2 or XL; a rank that makes a file of more than 1 MB; a loss that is not a number.
        ArtifactError: A token that breaks the rules of the format.
        PrivacyError: Names that look like patients; or a cap of the site's ledger, which counts this training as
            infinite.
        ConfigError: `out` cannot be written.

    Example:
        >>> import embhub
        >>> made = embhub.adapt("images", token="<cspca>", caption="axial t2 mri, {}")  # doctest: +SKIP
        >>> made.adapter.kind  # doctest: +SKIP
        'adapter'
    """
    chosen, selection, remarks = recipe or AdapterRecipe(), selection or Selection(), Remarks(on_note)
    artifact.check_token(token)
    caption = check_caption(caption, token)
    path = destinations.check_embedding(out, overwrite=overwrite)
    if not isinstance(images, ImageSet):
        images = read_images(images, manifest=selection.manifest, where=selection.where, on_progress=on_progress)
    refuse_captions(images, "a compact adapter")
    base, about_base = settle(base, caption, images.shown, images.kind)
    remarks.warn(*about_base)
    found = find_base(base)
    _check_kind(found.kind, of_class(found.kind))
    preprocessing = preprocessing or Preprocessing()
    remarks.warn(*images.notes, *images.describe_fit(preprocessing.fit))
    seed = draw_seed() if seed is None else seed
    members, held_out = split(images, selection.holdout, seed)
    announce(on_progress, "loading the base")
    identity = fingerprint.take(found.folder)
    with memory.explain_out_of_memory(None):
        pipe = load_pipeline(found, device=device)
    check_trainable(pipe)
    _check_kind(type(pipe).__name__, detect(pipe))
    adapter_size.check(pipe.unet, chosen, token=token, base=identity, base_name=found.name)
    preprocessing = replace(preprocessing, resolution=size_rule(pipe).choose(preprocessing.resolution))
    setting = _Setting(pipe, token, caption, preprocessing)
    with memory.explain_out_of_memory(None):
        made = _learn(setting, chosen, members, held_out, seed, remarks, on_progress)
    adapter = artifact.build(
        made.matrices, token=token, base=identity, base_name=found.name,
        training=_describe(pipe, caption, made.recipe, preprocessing),
    )  # fmt: skip
    facts = {"adapter": asdict(made.recipe), "preprocessing": asdict(preprocessing)}
    run = runs.Run(
        embedding_digest=adapter.digest, base=str(base), caption=caption, token=token, vectors=made.recipe.rank,
        members=record(members), holdout=record(held_out),
        settings=facts | {"seed": seed},
    )  # fmt: skip
    runs.save(run)
    if path is not None:
        write_atomic(path, adapter.data)
    made.reservation.release(adapter.digest)
    return Adapted(adapter, run, made.losses, made.before, made.after, remarks.kept, path)


def _check_kind(kind: str, family: Family | None) -> None:
    if family is not None and family.layout not in _LAYOUTS:
        raise UsageError(
            f"no adapter for a {kind}", "adapters are for Stable Diffusion 1, 2 and XL; embeddings for all"
        )


@dataclass(frozen=True)
class _Setting:
    """What is learned where: the base, and how images are shown to it."""

    pipe: Pipeline
    token: str
    caption: str
    preprocessing: Preprocessing


@dataclass(frozen=True)
class _Learned:
    """An adapter's matrices, the recipe with everything filled in, the ledger's entry, and losses."""

    matrices: Mapping[str, NDArray[Any]]
    recipe: AdapterRecipe
    reservation: budget.Reservation
    losses: tuple[float, ...]
    before: float | None
    after: float | None


def _learn(
    setting: _Setting, chosen: AdapterRecipe, members: ImageSet, held_out: ImageSet, seed: int, remarks: Remarks,
    on_progress: OnProgress | None,
) -> _Learned:  # fmt: skip
    """The ledger counts a loss without bound for everybody whose images are learned from."""
    pipe, preprocessing = setting.pipe, setting.preprocessing
    settled = adapter_fit.settle(chosen, preprocessing.resolution or 0, device_of(pipe).type)
    text = setting.caption.replace("{}", setting.token)
    inside = encode(pipe, members, on_progress, preprocessing).latents
    outside = encode(pipe, held_out, preprocessing=preprocessing).latents if len(held_out) else None
    before = _measure(pipe, outside, text, settled)
    unit: Unit = "patient" if members.has_patients else "image"
    remarks.say_if_few(members.names(), unit)
    with budget.reserve(
        members.names(), unit=unit, mechanism="none", steps=1,
        pictures=members.pictures(), on_note=remarks.warn,
    ) as reservation:  # fmt: skip
        reservation.spend(1)
        losses = adapter_fit.learn(pipe, inside, text, settled, seed, _stepper(on_progress, settled))
    after = _measure(pipe, outside, text, settled)
    return _Learned(adapter_fit.read_matrices(pipe.unet), settled, reservation, losses, before, after)


@torch.no_grad()
def _measure(pipe: Pipeline, latents: Tensor | None, text: str, recipe: AdapterRecipe) -> float | None:
    """Mean loss over images, on noise and times that are always the same."""
    if latents is None:
        return None
    condition = detect(pipe).condition(pipe, [text])
    with precision(pipe, mixed=recipe.precision == "bfloat16"):
        return float(image_losses(pipe, latents, condition).mean())


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
        "precision": recipe.precision or "float32",
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
