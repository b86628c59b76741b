"""From a site's images to an embedding: keep some patients back, learn rows, write one file and a private record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from embhub import destinations
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import LAYOUTS, Embedding
from embhub.diffusion.bases import live_weights, own_images
from embhub.diffusion.bases.adapted import refuse_claim
from embhub.diffusion.bases.pipelines import find_base, load_pipeline, size_rule
from embhub.diffusion.dp import settings
from embhub.diffusion.dp.private_training import PrivateTraining
from embhub.diffusion.families import check_trainable, detect
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.generation import previews
from embhub.diffusion.training import memory, per_layer
from embhub.diffusion.training.captions import check_caption, check_words
from embhub.diffusion.training.plain_training import PlainTraining
from embhub.diffusion.training.recipes import describe, resolve
from embhub.diffusion.training.remarks import Remarks, Say
from embhub.diffusion.training.result import Task
from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.images.checks import synthetic
from embhub.images.checks.base_fit import settle
from embhub.images.holdout import split
from embhub.images.images import ImageSet, read_images, record
from embhub.ledger.publications import Confirm
from embhub.options.preprocessing import Preprocessing
from embhub.options.training import Preview, PrivacySettings, Recipe, Selection
from embhub.progress import OnProgress, announce
from embhub.site.memory import runs

__all__ = ["TrainResult", "check_caption", "describe", "split", "train"]


@dataclass(frozen=True)
class TrainResult:
    """The result of a training.

    Attributes:
        embedding: The embedding.
        run: The private record, which `embhub.site.memory.runs` keeps at this site.
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
    base: str | Path | None = None,
    recipe: Recipe | None = None,
    privacy: PrivacySettings | None = None,
    selection: Selection | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    preview: Preview | None = None,
    on_progress: OnProgress | None = None,
    on_note: Say | None = None,
    confirm: Confirm | None = None,
) -> TrainResult:
    """Learn an embedding by textual inversion (Gal et al. 2022, arXiv 2208.01618).

    Args:
        images: folder, manifest or volumes file, see `embhub.images.images.read_images`.
        token: the placeholder token of the finding in prompts, such as `<cspca>`.
        caption: the prompt to train with, with `{}` where the placeholder token goes.
        base: a built-in name, a pipeline folder, or `owner/name` of the Hub; by default the built-in one that generates
            what the caption names, if there is one and no DICOM header says otherwise.
        recipe: how token embeddings are learned; what suits the base by default.
        privacy: differential privacy, with an epsilon and a declared number of patients; None for a training without
            privacy, which the file then says.
        selection: which images are trained on, and which share of the patients is held out for the audit.
        preprocessing: how images are fitted into the square that the base sees, and its resolution.
        seed: random seed of the split and of all noise; drawn and kept in the private record by default. A private
            training has none.
        device: `auto`, or a torch device such as `cpu` or `cuda`.
        out: embedding file to write; refused where it exists, unless `overwrite`.
        overwrite: whether `out` may be replaced.
        resume: continue an interrupted training of `out`, if there is one, and end in the same bytes; a private one
            continues with fresh noise. Without it an interrupted training is discarded.
        preview: preview images during the training.
        on_progress: called with the progress of each stage.
        on_note: called with the memory that is needed and with each warning; the result holds the warnings, too.
        confirm: asked before a training with privacy after which the total of all private trainings of this site would
            rule out hardly any attack; without it that is only said.

    Returns:
        The embedding, its private record, and the losses on the way.

    Raises:
        UsageError: Bad images, prompt template or settings; no base named, and none that fits; fewer than two images; a
            loss that is not a number; not enough memory; or an interrupted training of other images or settings.
        ArtifactError: A placeholder token that breaks the rules of the format.
        PrivacyError: Names that look like patients, one image under two patients, a cap of the site's ledger, synthetic
            images in a training with privacy, a privacy guarantee that cannot be given, or nobody confirmed.
        ConfigError: `out` cannot be written, or the state of an interrupted training is damaged.
        TrainingInterruptedError: A KeyboardInterrupt from which `resume` can continue.
    """
    chosen, selection, preview = recipe or Recipe(), selection or Selection(), preview or Preview()
    artifact.check_token(token)
    caption = check_caption(caption, token)
    check_words("initializer text", chosen.initializer_text or "")
    path = destinations.check_embedding(out, overwrite=overwrite)
    sheets = previews.choose_folder(preview.every, preview.folder, path)
    if resume and path is None:
        raise UsageError("nothing to resume: no file to write was named", "give the same `out` as then")
    way = _choose_way(path, chosen, privacy, seed=seed, resume=resume, preview=preview, confirm=confirm)
    remarks = Remarks(on_note)
    if way.checkpoint.replaces:
        remarks.say("discarding an interrupted training of this file; use --resume to continue it")
    if not isinstance(images, ImageSet):
        images = read_images(images, manifest=selection.manifest, where=selection.where, on_progress=on_progress)
    if privacy is not None:
        synthetic.refuse(images.synthetic, images.kind)
    base, about_base = settle(base, caption, images.shown, images.kind)
    remarks.warn(*about_base)
    found = find_base(base)
    if chosen.per_layer:
        per_layer.check_kind(found.kind)
    if privacy is not None:
        refuse_claim(found)
        own_images.refuse(found, images)
    preprocessing = preprocessing or Preprocessing()
    remarks.warn(*images.notes, *images.describe_fit(preprocessing.fit), *images.describe_captions())
    members, held_out = way.split(images, selection.holdout)
    announce(on_progress, "loading the base")
    identity = fingerprint.take(found.folder)
    with memory.explain_out_of_memory(None):
        pipe = load_pipeline(found, device=device)
    weights = None if privacy is None else live_weights.digest(pipe)
    check_trainable(pipe)
    remarks.warn(*filter(None, [detect(pipe).remark]))
    preprocessing = replace(preprocessing, resolution=size_rule(pipe).choose(preprocessing.resolution))
    settled = resolve(chosen, way.default_recipe(pipe), device=pipe.device.type)
    if preview.every and not detect(pipe).previews:
        raise UsageError(f"a {type(pipe).__name__} makes no pictures while it is trained on", "leave out --preview")
    if settled.per_layer:
        per_layer.check_size(pipe, settled.num_vectors, settled.dtype)
    captioned = any(sample.caption is not None for sample in images.samples)
    task = Task(pipe, fingerprint.digest(identity), token, caption, settled, preprocessing)
    sheet = (
        previews.Previews(sheets, preview.every, found, caption, preprocessing.resolution).watch
        if sheets and preview.every
        else None
    )
    with memory.explain_out_of_memory(settled):
        learned = way.learn(task, members, held_out, remarks, sheet, on_progress)
    embedding = artifact.build(
        name_tensors(pipe, learned.rows),
        token=token,
        base=identity,
        base_name=found.name,
        training=describe(pipe, caption, settled, preprocessing, captioned) | dict(learned.facts),
        dtype=settled.dtype,
        privacy=learned.claim,
        base_weights=weights,
    )
    facts = {"holdout": selection.holdout, "recipe": asdict(settled), "preprocessing": asdict(preprocessing)}
    facts |= way.settings
    run = make_record(embedding, members, held_out, str(base), caption, facts)
    run = run.model_copy(update={"second_opinion": learned.second_opinion})
    runs.save(run)
    if path is not None:
        write_atomic(path, embedding.data)
    way.checkpoint.remove()
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


def _choose_way(
    out: Path | None,
    recipe: Recipe,
    privacy: PrivacySettings | None,
    *,
    seed: int | None,
    resume: bool,
    preview: Preview,
    confirm: Confirm | None,
) -> PlainTraining | PrivateTraining:
    """The training with or without privacy.

    Raises:
        UsageError: options that have no place in a private training.
    """
    if privacy is None:
        return PlainTraining(out, resume=resume, seed=seed)
    settings.check_choices(recipe, seed=seed, preview=preview.every)
    return PrivateTraining(out, settings.resolve(privacy), resume=resume, confirm=confirm)


def name_tensors(pipe: Pipeline, rows: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Learned rows under the names of the file's layout."""
    if "text_encoder" in rows and rows["text_encoder"].ndim == 3:
        return per_layer.named(rows["text_encoder"])
    return {name: rows[component].numpy() for name, component in LAYOUTS[detect(pipe).layout].items()}


def make_record(
    embedding: Embedding, members: ImageSet, held_out: ImageSet, base: str, caption: str, settings: dict[str, Any]
) -> runs.Run:
    """The private record of a training, for audits and erasures at this site."""
    if members.statement is not None:
        settings = {**settings, "deidentification": members.statement.model_dump(mode="json")}
    return runs.Run(
        embedding_digest=embedding.digest,
        base=base,
        caption=caption,
        token=embedding.token,
        vectors=embedding.vectors[0].count,
        members=record(members),
        holdout=record(held_out),
        settings=settings,
    )
