"""From a base and a site's images to an adapted base: keep patients back, learn, write a folder that says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from torch import nn

from embhub.artifact import fingerprint
from embhub.diffusion.adaptation.checkpoint import Checkpoint
from embhub.diffusion.adaptation.components import check_lora, learned_weights
from embhub.diffusion.adaptation.examples import Examples, encode_examples
from embhub.diffusion.adaptation.folder import check_place, write_base
from embhub.diffusion.adaptation.loop import AdaptationResult, OnStep, learn, open_accelerator, process_state
from embhub.diffusion.adaptation.objectives import build_objective
from embhub.diffusion.adaptation.plan import Plan, default_plan, resolve, settle_precision
from embhub.diffusion.bases.adapted import NO_CLAIM, Adaptation
from embhub.diffusion.bases.pipelines import find_base, load_pipeline, trainable_attention
from embhub.diffusion.families import check_trainable
from embhub.diffusion.training import memory
from embhub.diffusion.training.precision import recomputed, repeatable
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.diffusion.training.remarks import Remarks, Say
from embhub.errors import UsageError
from embhub.images.holdout import split
from embhub.images.images import ImageSet, read_images
from embhub.ledger import budget
from embhub.options.component import Component, ComponentRecipe
from embhub.options.training import Selection
from embhub.privacy.claim import Unit
from embhub.progress import OnProgress, Progress, announce


def train_component(
    base: str | Path,
    images: str | Path | ImageSet,
    *,
    components: Sequence[str],
    caption: str,
    out: str | Path,
    recipe: ComponentRecipe | None = None,
    selection: Selection | None = None,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    on_note: Say | None = None,
) -> Adaptation | None:
    """Adapt components of a base to images, and write `out`: a pipeline folder, or with `lora_rank` LoRA weights.

    Args:
        base: a built-in name, a pipeline folder, or `owner/name` of the Hub.
        images: folder, manifest or volumes file, see `embhub.images.images.read_images`.
        components: `unet` (the denoiser, whatever it is), `text-encoder` (all of them, their token table excepted), or
            `vae-decoder`. The first two may be adapted together.
        caption: what an image shows; `{}` stands for its label in the manifest.
        out: folder to write.
        recipe: how the components are fine-tuned; what suits the base by default.
        selection: which images are used; a tenth of the patients is held out by default, on which the loss is taken
            before, on the way and after.
        seed: random seed.
        device: `auto` (what accelerate chooses) or `cpu`.
        resume: continue the adaptation of `out` that was interrupted or killed, if there is one.
        overwrite: whether an earlier adaptation in `out` may be replaced.
        on_progress: called with the progress of each stage.
        on_note: called with each remark and warning.

    Returns:
        What was done; None in all but the first of several processes.

    Raises:
        UsageError: bad images, caption or settings; an unknown component, or one that diffusers knows no LoRA of; a
            loss that is not a number; not enough memory; an interrupted adaptation of something else.
        PrivacyError: names that look like patients; a cap of the site's ledger, which counts this as infinite.
        ConfigError: `out` cannot be written, the disk is full, or what an interrupted adaptation left is damaged.
        TrainingInterruptedError: a KeyboardInterrupt that `resume` can go on from.
    """
    if device not in ("auto", "cpu"):
        raise UsageError(f"no device called {device} here", "choose auto, which is accelerate's choice, or cpu")
    recipe, selection = recipe or ComponentRecipe(), selection or Selection(holdout=0.1)
    main = process_state(device).is_main_process
    out, remarks, on_progress = Path(out), Remarks(on_note if main else None), on_progress if main else None
    found = find_base(base)
    check_place(out, overwrite, found)
    first = Plan(cast("tuple[Component, ...]", tuple(components)), 1, 1e-5, 1, lora_rank=recipe.lora_rank)
    if first.lora_rank is not None:
        check_lora(found.kind, first.components)
    if not isinstance(images, ImageSet):
        images = read_images(images, manifest=selection.manifest, where=selection.where, on_progress=on_progress)
    remarks.warn(*images.notes)
    members, held_out = split(images, selection.holdout, seed)
    identity = fingerprint.digest(fingerprint.take(found.folder))
    announce(on_progress, "loading the base")
    with memory.explain_out_of_memory(None):
        pipe = load_pipeline(found, device="cpu")
        check_trainable(pipe)
    plan = resolve(recipe, default_plan(pipe, first.components, lora_rank=recipe.lora_rank))
    accelerator = open_accelerator(plan, device)
    plan = settle_precision(plan, accelerator.device.type)
    with memory.explain_out_of_memory(_as_recipe(plan)):
        pipe.to(accelerator.device)
        inside = encode_examples(pipe, members, caption, on_progress)
        outside = encode_examples(pipe, held_out, caption) if len(held_out) else None
        with torch.random.fork_rng():  # a LoRA starts at random: alike in every process, and when resumed
            torch.manual_seed(seed)
            objective = build_objective(pipe, plan)
        modules = dict(objective.adapted.items())
        checkpoint = Checkpoint(out, _define(plan, inside, outside, identity, seed))
        if checkpoint.path.exists() and not resume:
            remarks.say("discarding an interrupted adaptation of this folder; use --resume to continue it")
        remarks.say(NO_CLAIM)
        with ExitStack() as stack:
            reservation = stack.enter_context(_charge(members, remarks)) if main else None
            stack.enter_context(trainable_attention(pipe))
            stack.enter_context(recomputed(pipe, plan.gradient_checkpointing))
            stack.enter_context(repeatable(pipe))
            learned = learn(
                accelerator,
                objective,
                plan,
                inside,
                outside,
                seed=seed,
                checkpoint=checkpoint,
                resume=resume,
                on_step=_stepper(on_progress, plan),
            )
    if reservation is None:
        return None
    done = _describe(found.name, identity, plan, modules, members, inside, learned)
    write_base(out, pipe, found, modules, done)
    reservation.release(_digest(out))
    checkpoint.remove()
    return done


@contextmanager
def _charge(members: ImageSet, remarks: Remarks) -> Iterator[budget.Reservation]:
    """The site's ledger counts it as a loss without bound for everybody whose images are learned from."""
    unit: Unit = "patient" if members.has_patients else "image"
    remarks.say_if_few(members.names(), unit)
    with budget.reserve(
        members.names(), unit=unit, mechanism="none", steps=1, pictures=members.pictures(), on_note=remarks.warn
    ) as reservation:
        reservation.spend(1)
        yield reservation


def _define(plan: Plan, inside: Examples, outside: Examples | None, identity: str, seed: int) -> dict[str, str]:
    """All that decides the result, under names that a person is shown."""
    words = json.dumps([inside.captions, outside.captions if outside else []])
    return {
        "images": inside.digest,
        "images kept back": outside.digest if outside else "none",
        "captions": hashlib.sha256(words.encode()).hexdigest(),
        "base": identity,
        "seed": str(seed),
        **{name.replace("_", " "): str(value) for name, value in asdict(plan).items()},
    }


def _describe(
    base: str,
    identity: str,
    plan: Plan,
    modules: Mapping[str, nn.Module],
    members: ImageSet,
    inside: Examples,
    learned: AdaptationResult,
) -> Adaptation:
    parts = tuple("vae decoder" if plan.trains_decoder else name for name in modules)
    settings = {name: value for name, value in asdict(plan).items() if name not in ("components", "lora_rank")}
    return Adaptation(
        base=base,
        base_fingerprint=identity,
        parts=parts,
        lora_rank=plan.lora_rank,
        weights=sum(weight.numel() for weight in learned_weights(modules).values()),
        images=len(members),
        patients=len({members.unit(i) for i in range(len(members))}) if members.has_patients else None,
        captions=tuple(dict.fromkeys(inside.captions)),
        settings=settings,
        held_out_loss=(learned.points[0][1], learned.points[-1][1]) if learned.points else None,
    )


def _digest(out: Path) -> str:
    """SHA-256 over the digests of the folder's weights, by their places."""
    lines = []
    for path in sorted(out.rglob("*.safetensors")):
        with path.open("rb") as file:
            lines.append(f"{path.relative_to(out)} {hashlib.file_digest(file, 'sha256').hexdigest()}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _as_recipe(plan: Plan) -> ResolvedRecipe:
    """What the advice on memory looks at: images at a time, and whether activations are computed twice."""
    return ResolvedRecipe(
        batch_size=min(plan.batch_size, 4096),
        micro_batch_size=min(plan.at_once, 4096),
        gradient_checkpointing=plan.gradient_checkpointing,
    )


def _stepper(on_progress: OnProgress | None, plan: Plan) -> OnStep:
    def step(done: int, loss: float, held_out: float | None) -> None:
        if on_progress:
            shown = f"loss {loss:.4f}" if held_out is None else f"held-out loss {held_out:.4f}"
            on_progress(Progress("adapting", done, plan.steps, shown))

    return step
