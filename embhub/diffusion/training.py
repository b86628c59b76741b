"""From a site's images to an embedding: keep some patients back, learn rows, write one file and a private record."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from embhub import __version__, fingerprint, runs
from embhub import embedding as artifact
from embhub.diffusion import inversion, memory, previews
from embhub.diffusion.captions import check_caption, check_words
from embhub.diffusion.checkpoints import Keeper
from embhub.diffusion.holdout import split
from embhub.diffusion.images import ImageSet, read_images
from embhub.diffusion.inversion import Fit, Inversion, token_norms
from embhub.diffusion.latents import Encoded, encode
from embhub.diffusion.pipelines import find_base, load_pipeline
from embhub.diffusion.recipes import Norm, Recipe, describe, settle
from embhub.diffusion.signals import Lookout, judge_images
from embhub.diffusion.yardstick import losses_with
from embhub.embedding import LAYOUTS, Embedding
from embhub.errors import ConfigError, UsageError
from embhub.progress import OnProgress, Progress
from embhub.site.files import write_atomic

_TENSOR_NAMES = {component: name for name, component in LAYOUTS["sd"].items()}


__all__ = ["TrainResult", "check_caption", "describe", "split", "train"]

Say = Callable[[str], None]
Watch = Callable[[Inversion], object]


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    `run` is also in the site's private memory (`embhub.runs`). `heldout_before` and `heldout_after` are the mean loss
    on the images kept back, by the caption's words alone and with the embedding; None where none were kept back.
    `notes` are remarks on the images and warnings of the training; `points` are (step, loss) on the way, on some images
    kept back, or learned from where there are none, since the training began or was gone on with.
    """

    embedding: Embedding
    run: runs.Run
    losses: tuple[float, ...]
    heldout_before: float | None
    heldout_after: float | None
    notes: tuple[str, ...]
    path: Path | None
    points: tuple[tuple[int, float], ...] = ()


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
    micro_batch: int | None = None,
    gradient_checkpointing: bool = False,
    snr_gamma: float | None = None,
    norm: Norm | None = None,
    start: str | None = None,
    seed: int | None = None,
    device: str = "auto",
    dtype: str = "float16",
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    preview: int | None = None,
    preview_dir: str | Path | None = None,
    on_progress: OnProgress | None = None,
    on_note: Say | None = None,
) -> TrainResult:
    """Learn an embedding by textual inversion (Gal et al. 2022, arXiv 2208.01618).

    Args:
        images: folder or manifest, see `embhub.diffusion.images.read_images`; `manifest` and `where` are passed to
        it. token: what will stand for the finding in prompts, such as `<cspca>`. caption: the prompt to learn under,
        with `{}` where the token goes. base: a built-in name, a pipeline folder, or `owner/name` of the Hub. holdout:
        share of the patients to keep back for the audit, 0 to 0.9. Rows with split `holdout` are kept back too.
        vectors, steps, learning_rate, batch_size, micro_batch, gradient_checkpointing, snr_gamma, norm, start: see
            `embhub.diffusion.recipes.Recipe`; defaults depend on the base.
        seed: of the split and of every draw; drawn anew and kept in the private record where it is not given.
        dtype: float16 or float32, of the file.
        out: file to write; refused where it exists, unless `overwrite`.
        resume: go on with the training of `out` that was interrupted, if there is one, to the bytes that it would have
            ended in. Without it an interrupted one is replaced.
        preview, preview_dir: every so many steps a sheet of pictures, see `embhub.diffusion.previews.Previews`.
        on_note: told of the memory needed and of each warning when it arises; warnings are in the result too.

    Raises:
        UsageError: bad images, caption or settings; fewer than two images to learn from; a loss that is not a number;
            not enough memory; an interrupted training of other images or settings.
        ArtifactError: a token that breaks the rules of the format.
        PrivacyError: names that look like patients, one picture under two patients.
        ConfigError: `out` cannot be written, or what an interrupted training left is damaged.
        Interrupted: a KeyboardInterrupt that `resume` can go on from.
    """
    artifact.check_token(token)
    caption = check_caption(caption, token)
    check_words("start", start or "")
    path = _check_out(out, overwrite)
    sheets = previews.choose_folder(preview, preview_dir, path)
    if resume and path is None:
        raise UsageError("nothing to go on with: no file to write was named", "give the same `out` as then")
    keeper = Keeper(path, resume=resume)
    seed = keeper.choose_seed(seed)
    notes = _Notes(on_note)
    if keeper.replaces:
        notes.say("an interrupted training of this file is given up; --resume would have gone on with it")
    found = find_base(base)
    if not isinstance(images, ImageSet):
        images = read_images(images, manifest=manifest, where=where, on_progress=on_progress)
    notes.warn(*images.notes)
    members, kept_back = split(images, holdout, seed)
    _stage(on_progress, "loading the base", 0)
    identity = fingerprint.take(found.folder)
    with memory.explained(None):
        pipe = load_pipeline(found, device=device)
    _stage(on_progress, "loading the base", 1)
    recipe = settle(
        inversion.default_recipe(pipe),
        vectors=vectors,
        steps=steps,
        learning_rate=learning_rate,
        batch_size=batch_size,
        micro_batch=micro_batch,
        gradient_checkpointing=gradient_checkpointing,
        snr_gamma=snr_gamma,
        norm=norm,
        start=start,
    )
    task = _Task(pipe, fingerprint.digest(identity), token, caption, recipe, seed)
    sheet = previews.Previews(sheets, preview, found, caption).watch if sheets and preview else None
    with memory.explained(recipe), keeper.held():
        learned = _learn(task, members, kept_back, keeper, notes, sheet, on_progress)
    embedding = artifact.build(
        {_TENSOR_NAMES[name]: rows.numpy() for name, rows in learned.fit.rows.items()},
        token=token,
        base=identity,
        base_name=found.name,
        training=describe(pipe, caption, recipe),
        dtype=dtype,
    )
    settings = {"seed": seed, "holdout": holdout, "dtype": dtype, "recipe": asdict(recipe)}
    run = _record(embedding, members, kept_back, str(base), caption, settings)
    runs.save(run)
    if path is not None:
        write_atomic(path, embedding.data)
    keeper.remove()
    return TrainResult(
        embedding=embedding,
        run=run,
        losses=learned.fit.losses,
        heldout_before=learned.before if len(kept_back) else None,
        heldout_after=learned.after if len(kept_back) else None,
        notes=notes.kept,
        path=path,
        points=learned.points,
    )


def _check_out(out: str | Path | None, overwrite: bool) -> Path | None:
    """Refuse a place that cannot be written before minutes are spent on what should go there."""
    if out is None:
        return None
    path = Path(out)
    if path.suffix != ".safetensors":
        raise UsageError(f"{path} does not end in .safetensors", "name the file to write, such as cspca.safetensors")
    if path.exists() and not overwrite:
        raise UsageError(f"{path} exists", "choose another name, or say --overwrite")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"cannot write {path}", "choose a folder that you may write to")
    return path


@dataclass(frozen=True)
class _Task:
    """What is to be learned, and with what; `base` is the digest of the base's fingerprint."""

    pipe: Any
    base: str
    token: str
    caption: str
    recipe: Recipe
    seed: int

    def define(self, members: Encoded, others: Encoded | None) -> dict[str, str]:
        """All that decides the bytes of the result beside the seed, under names that a person is shown."""
        return {
            "images": members.digest,
            "images kept back": others.digest if others else "",
            "base": self.base,
            "token": self.token,
            "caption": self.caption,
            "device": self.pipe.device.type,
            "version of torch": torch.__version__,
            "version of embhub": __version__,
            **{name: str(value) for name, value in asdict(self.recipe).items()},
        }


@dataclass(frozen=True)
class _Learned:
    """A fit, the mean loss of the images looked at before and after it, and (step, loss) on the way."""

    fit: Fit
    before: float
    after: float
    points: tuple[tuple[int, float], ...]


def _learn(
    task: _Task,
    members: ImageSet,
    kept_back: ImageSet,
    keeper: Keeper,
    notes: _Notes,
    preview: Watch | None,
    on_progress: OnProgress | None,
) -> _Learned:
    """Run the loop, from the start or from what `keeper` has, with an eye on where it leads."""
    pipe, token, caption = task.pipe, task.token, task.caption
    learned_from = encode(pipe, members, on_progress)
    others = encode(pipe, kept_back) if len(kept_back) else None
    state = keeper.define(task.define(learned_from, others), seed=task.seed)
    notes.warn(*judge_images(pipe, learned_from.latents, caption))
    lookout = Lookout((others or learned_from).latents, own=others is None, warn=notes.warn)
    watchers = [memory.Forecast(notes.say).watch, keeper.watch, lookout.watch, *([preview] if preview else [])]
    fit = inversion.fit(
        pipe,
        learned_from.latents,
        token=token,
        caption=caption,
        recipe=task.recipe,
        seed=task.seed,
        resume=state,
        watch=lambda training: [watch(training) for watch in watchers],
        on_step=_stepper(on_progress, task.recipe, lookout),
    )
    shown = others.latents if others else lookout.latents
    before, after = (losses_with(pipe, shown, token=token, caption=caption, rows=rows) for rows in (None, fit.rows))
    lookout.judge_rows(fit.rows, token_norms(pipe))
    lookout.judge_losses(before, after)
    return _Learned(fit, float(before.mean()), float(after.mean()), tuple(lookout.points))


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


def _stepper(on_progress: OnProgress | None, recipe: Recipe, lookout: Lookout) -> Callable[[int, float], None]:
    """Report each step with a smoothed loss: a single one says little."""
    smooth = math.nan

    def on_step(step: int, loss: float) -> None:
        nonlocal smooth
        smooth = loss if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss
        _stage(on_progress, "training", step, recipe.steps, f"loss {smooth:.3f}{lookout.note}")

    return on_step


class _Notes:
    """Remarks for a person, told when they arise; `kept` are those that also belong to the result."""

    def __init__(self, on_note: Say | None) -> None:
        self._on_note = on_note
        self.kept: tuple[str, ...] = ()

    def say(self, sentence: str) -> None:
        if self._on_note:
            self._on_note(sentence)

    def warn(self, *sentences: str) -> None:
        for sentence in sentences:
            self.kept += (sentence,)
            self.say(sentence)
