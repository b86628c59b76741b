"""From a site's images to an embedding: keep some patients back, learn rows, write one file and a private record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import LAYOUTS, Embedding
from embhub.diffusion.bases.adapted import refuse_claim
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.dp import settings
from embhub.diffusion.dp.private_training import PrivateTraining
from embhub.diffusion.drawing import previews
from embhub.diffusion.families import detect
from embhub.diffusion.training import memory
from embhub.diffusion.training import per_layer as layered
from embhub.diffusion.training.captions import check_caption, check_words
from embhub.diffusion.training.plain_training import PlainTraining
from embhub.diffusion.training.recipes import Norm, describe, settle
from embhub.diffusion.training.remarks import Remarks, Say
from embhub.diffusion.training.result import Task
from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.images.holdout import split
from embhub.images.images import ImageSet, read_images, record
from embhub.privacy.claim import Mechanism, Unit
from embhub.progress import OnProgress, Progress
from embhub.site import runs

__all__ = ["TrainResult", "check_caption", "describe", "split", "train"]


@dataclass(frozen=True)
class TrainResult:
    """The result of a training.

    Attributes:
        embedding: The embedding.
        run: The private record, which `embhub.site.runs` keeps at this site.
        losses: Training loss of every step.
        heldout_before: Mean loss on held-out images with the prompt's words alone; None without held-out images.
        heldout_after: The same with the embedding.
        notes: Remarks on the images, and warnings of the training.
        path: The file written, or None.
        points: (step, loss) during this run, on held-out images, or on training images where there are none.
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
    per_layer: bool = False,
    start: str | None = None,
    seed: int | None = None,
    epsilon: float | None = None,
    delta: float | None = None,
    unit: Unit | None = None,
    mechanism: Mechanism | None = None,
    n_public: int | None = None,
    max_images: int | None = None,
    directions: int | None = None,
    draws: int | None = None,
    clip: float | None = None,
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
        images: Folder, manifest or volumes file, see `embhub.images.images.read_images`.
        token: The placeholder token, such as `<cspca>`.
        caption: The prompt template to train with, with `{}` for the placeholder token.
        base: A built-in name, a pipeline folder, or `owner/name` of the Hub.
        manifest: Manifest of a folder of images.
        where: Expression that selects rows of the manifest.
        holdout: Share of the patients to hold out for the audit, 0 to 0.9, besides rows with split `holdout`.
        vectors: Number of embedding vectors, 1 to 64.
        steps: Training steps. Like the settings below, the default depends on the base and on privacy (`Recipe`).
        learning_rate: Peak of the learning-rate schedule.
        batch_size: Images in a step.
        micro_batch: Images computed together; lower it if memory is short.
        gradient_checkpointing: Recompute activations to save memory.
        snr_gamma: Gamma of min-SNR loss weighting; None weighs all timesteps alike.
        norm: `free`, or `directional` to keep the mean length of the base's token embeddings.
        per_layer: Learn vectors for each cross-attention layer (P+, arXiv 2303.09522).
        start: Initializer text. By default the words of the prompt template.
        seed: Random seed. By default one is drawn and kept in the private record.
        epsilon: Train with differential privacy that spends at most this. None means without.
        delta: Failure probability. This and the settings below need `epsilon` (`dp.settings.Protection`).
        unit: Whom the guarantee protects: `patient` or `image`.
        mechanism: How gradients are privatised.
        n_public: Number of patients to publish, at most the real one. Required with `epsilon`.
        max_images: The most images of one patient that are used.
        directions: Dimension of the subspace to learn in.
        draws: Noise draws for each image and step.
        clip: The largest L2 norm of one patient's gradient (max_grad_norm).
        device: `auto`, or a torch device.
        dtype: Number type of the file: `float16` or `float32`.
        out: File to write.
        overwrite: Replace `out` where it exists.
        resume: Continue an interrupted training of `out`, to the same bytes. A private training continues with fresh
            noise. Without it, an interrupted training is discarded.
        preview: Generate a sheet of images every so many steps.
        preview_dir: Folder for these sheets. By default one beside `out`.
        on_progress: Called with each step.
        on_note: Called with the memory needed and with each warning. Warnings are in the result, too.

    Returns:
        The embedding, its private record, and the losses.

    Raises:
        UsageError: Bad images, prompt template or settings; fewer than two images; a loss that is not a number; not
            enough memory; or an interrupted training of other images or settings.
        ArtifactError: A placeholder token that breaks the rules of the format.
        PrivacyError: Names that look like patients, one image under two patients, a cap of the site's ledger, or a
            privacy guarantee that cannot be given.
        ConfigError: `out` cannot be written, or the state of an interrupted training is damaged.
        Interrupted: A KeyboardInterrupt from which `resume` can continue.
    """
    artifact.check_token(token)
    caption = check_caption(caption, token)
    check_words("start", start or "")
    path = _check_out(out, overwrite)
    sheets = previews.choose_folder(preview, preview_dir, path)
    if resume and path is None:
        raise UsageError("nothing to go on with: no file to write was named", "give the same `out` as then")
    protection = settings.ask(
        epsilon,
        delta=delta,
        unit=unit,
        mechanism=mechanism,
        n_public=n_public,
        max_images=max_images,
        directions=directions,
        draws=draws,
        clip=clip,
    )
    way: PlainTraining | PrivateTraining
    if protection is None:
        way = PlainTraining(path, resume=resume, seed=seed)
    else:
        settings.check_choices(seed=seed, norm=norm, preview=preview, per_layer=per_layer)
        way = PrivateTraining(path, protection, resume=resume)
    remarks = Remarks(on_note)
    if way.keeper.replaces:
        remarks.say("an interrupted training of this file is given up; --resume would have gone on with it")
    found = find_base(base)
    if protection is not None:
        refuse_claim(found)
    if not isinstance(images, ImageSet):
        images = read_images(images, manifest=manifest, where=where, on_progress=on_progress)
    remarks.warn(*images.notes)
    members, kept_back = way.split(images, holdout)
    _stage(on_progress, "loading the base", 0)
    identity = fingerprint.take(found.folder)
    with memory.explained(None):
        pipe = load_pipeline(found, device=device)
    remarks.warn(*filter(None, [detect(pipe).remark]))
    _stage(on_progress, "loading the base", 1)
    recipe = settle(
        way.default_recipe(pipe),
        vectors=vectors,
        steps=steps,
        learning_rate=learning_rate,
        batch_size=batch_size,
        micro_batch=micro_batch,
        gradient_checkpointing=gradient_checkpointing,
        snr_gamma=snr_gamma,
        norm=norm,
        per_layer=per_layer,
        start=start,
    )
    if preview and not detect(pipe).previews:
        raise UsageError(f"a {type(pipe).__name__} makes no pictures while it is trained on", "leave out --preview")
    if recipe.per_layer:
        layered.check_size(pipe, recipe.vectors, dtype)
    task = Task(pipe, fingerprint.digest(identity), token, caption, recipe)
    sheet = previews.Previews(sheets, preview, found, caption).watch if sheets and preview else None
    with memory.explained(recipe):
        learned = way.learn(task, members, kept_back, remarks, sheet, on_progress)
    embedding = artifact.build(
        _tensors(pipe, learned.rows),
        token=token,
        base=identity,
        base_name=found.name,
        training=describe(pipe, caption, recipe) | dict(learned.facts),
        dtype=dtype,
        privacy=learned.claim,
    )
    facts = {"holdout": holdout, "dtype": dtype, "recipe": asdict(recipe), **way.settings}
    run = _record(embedding, members, kept_back, str(base), caption, facts)
    run = run.model_copy(update={"second_opinion": learned.second_opinion})
    runs.save(run)
    if path is not None:
        write_atomic(path, embedding.data)
    way.keeper.remove()
    learned.reservation.release(embedding.digest)
    return TrainResult(
        embedding=embedding,
        run=run,
        losses=learned.losses,
        heldout_before=learned.before,
        heldout_after=learned.after,
        notes=remarks.kept,
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


def _tensors(pipe: Any, rows: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Learned rows under the names of the file's layout."""
    if "text_encoder" in rows and rows["text_encoder"].ndim == 3:
        return layered.named(rows["text_encoder"])
    return {name: rows[component].numpy() for name, component in LAYOUTS[detect(pipe).layout].items()}


def _record(
    embedding: Embedding, members: ImageSet, kept_back: ImageSet, base: str, caption: str, settings: dict[str, Any]
) -> runs.Run:
    if members.statement is not None:
        settings = {**settings, "deidentification": members.statement.model_dump(mode="json")}
    return runs.Run(
        embedding_digest=embedding.digest,
        base=base,
        caption=caption,
        token=embedding.token,
        vectors=embedding.vectors[0].count,
        members=record(members),
        holdout=record(kept_back),
        settings=settings,
    )


def _stage(on_progress: OnProgress | None, stage: str, done: int, total: int = 1, note: str = "") -> None:
    if on_progress:
        on_progress(Progress(stage, done, total, note))
