"""`embhub base train`: a small base of a modality, from public images with captions, in a form that diffusers loads.

The weights hold traces of the images, and no privacy claim covers them: the images have to be public. Sources of the
recipe: docs/explanation/base-models.md.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embhub import destinations
from embhub.artifact import fingerprint
from embhub.builtin_bases import resolve
from embhub.copies.tail import FEWEST_CONTROLS, FEWEST_MEMBERS
from embhub.diffusion.adaptation import naming
from embhub.diffusion.adaptation.base_training import likeness, poses, running, workbench
from embhub.diffusion.adaptation.base_training.latent_pictures import SIDE, rebuilt
from embhub.diffusion.adaptation.base_training.material import Look, TrainingImages, of_images
from embhub.diffusion.bases.pipelines import choose_device, load_pipeline
from embhub.diffusion.copying.base_copies import compared
from embhub.diffusion.copying.comparing import one_each
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.remarks import Remarks, Say
from embhub.durable import alone, write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.images import pixels
from embhub.images.images import ImageSet, read_images, read_sample
from embhub.images.seen import NAME as SEEN
from embhub.images.seen import Seen
from embhub.images.sketch import sketch
from embhub.progress import OnProgress, Progress
from embhub.site.memory.patients import is_keyed

SOURCE_SIDE = 224
FEWEST = 100
_HELD_OUT_OF = 12
_AUTOENCODER, _DENOISER = 0.25, 0.65
"""Shares of the hours; the rest is for the decoder."""
_STATES, _IMAGES = "training", "training-images"
_CHECKED, _AT_ONCE = 48, 12
"""Images that are compared with those learned from, and how many are generated at a time."""


@dataclass(frozen=True)
class TrainedBase:
    """Where the pipeline lies, its fingerprint, how many images and patients it learned from, and how many images said
    when to stop. `copies` is what the copy check found, None where too few patients were held out for it."""

    out: Path
    fingerprint: str
    images: int
    patients: int
    held_out: int
    copies: dict[str, Any] | None


def train_base(
    images: str | Path,
    out: str | Path,
    *,
    manifest: str | Path | None = None,
    head: str,
    source: str,
    hours: float = 2.0,
    resume: bool = False,
    seed: int = 0,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    on_note: Say | None = None,
) -> TrainedBase:
    """Train a base of 128 x 128 pixels on public images.

    Args:
        images: Folder of images, or a manifest.
        out: Folder for the pipeline. Its folder `training` holds the states that `resume` goes on from.
        manifest: CSV with `path`, `patient_id` and, if there is one, `caption` of each image.
        head: What kind of picture all of them are, such as "breast ultrasound": it is put before each caption.
        source: Name and licence of the images, for the card.
        hours: Hours of computing, wall clock.
        resume: Go on with the training in `out` for so many hours more.
        seed: Seed of weights, poses and order.
        device: `auto`, or a torch device.
        on_progress: Called at the beginning of each stage.
        on_note: Called with each remark on the images.

    Returns:
        Where the base lies and what it learned from.

    Raises:
        UsageError: an empty `head` or `source`, too few images, images that name no patients, a folder whose name
            cannot be published or that holds something else, or `resume` with other images, captions or seed.
        PrivacyError: the folder's name looks like a person's.
        ConfigError: the folder cannot be written, or another process is writing it.
        TrainingInterruptedError: SIGTERM or SIGINT; `resume` goes on with an autoencoder that was not
            finished, else with the denoiser.
    """
    folder, where = Path(out), str(choose_device(device))
    if not (head.strip() and source.strip()):
        raise UsageError("--head or --source is empty", "say what the images are, and their name and licence")
    naming.check_public_name(folder.resolve().name)
    destinations.check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        return _train_in(folder, images, manifest, head, source, hours, resume, seed, where, on_progress, on_note)


def _train_in(
    folder: Path,
    images: str | Path,
    manifest: str | Path | None,
    head: str,
    source: str,
    hours: float,
    resume: bool,
    seed: int,
    where: str,
    on_progress: OnProgress | None,
    on_note: Say | None,
) -> TrainedBase:
    states = folder / _STATES
    if states.exists() is not resume:
        hint = "pass --resume to go on with it, or another --out" if states.exists() else "leave out --resume"
        raise UsageError(f"{folder} holds {'a' if states.exists() else 'no'} training", hint)
    found = read_images(images, manifest=manifest, on_progress=on_progress)
    Remarks(on_note).warn(*found.notes)
    people = [found.unit(place) for place in range(len(found.samples))]
    held_out = [
        sample.split == "holdout" or _is_held_out(name) for sample, name in zip(found.samples, people, strict=True)
    ]
    if len(held_out) - sum(held_out) < FEWEST or not any(held_out):
        raise UsageError(
            f"{len(held_out)} images, of which {sum(held_out)} are held out",
            f"a base needs at least {FEWEST} beside some that are held out: see the column split",
        )
    if not found.has_patients or any(map(is_keyed, people)):
        raise UsageError(
            "not every image names its patient as the public source does",
            "list the images in a manifest with the column patient_id: the base's list of whom it saw is of these ids",
        )
    everything = _read(found, on_progress)
    _check_same(folder / _IMAGES, head, everything, held_out, seed, resume=resume)
    taught, apart = (_part(everything, held_out, kind) for kind in (False, True))
    facts = describe(folder.resolve().name, "other", source, {head: head}, [])
    material = of_images(facts["name"], Look(head), taught, apart, facts, seed=seed, device=where)
    bench = workbench.Workbench(material, states, seed, where)
    if not resume:
        bench.begin_autoencoder(_first_autoencoder(), whitened=False)
    _train(bench, hours, on_progress)
    unlisted, pipeline = bench.export(folder / ".pipeline"), folder / "pipeline"
    if on_progress:
        on_progress(Progress("looking for copies", 0, 1, ""))
    pipe = load_pipeline(unlisted, device=where)
    copies = _compare(pipe, head, taught, apart)
    _write_about(unlisted, found, source, {"autoencoder": _rebuild(pipe, apart), "copies": copies})
    shutil.rmtree(pipeline, ignore_errors=True)  # never one without the list of whom it saw
    unlisted.replace(pipeline)
    return TrainedBase(
        pipeline, fingerprint.digest(fingerprint.take(pipeline)), len(taught.patients), len(set(taught.patients)),
        len(apart.patients), copies,
    )  # fmt: skip


def _check_same(
    kept: Path, head: str, images: TrainingImages, held_out: list[bool], seed: int, *, resume: bool
) -> None:  # fmt: skip
    """The weights hold traces of all images that they ever learned from: the list of them would miss some.

    Of the seed are the text encoder, which no state holds, and the poses.
    """
    facts = json.dumps([head, seed, images.patients, images.phrases, held_out]).encode()
    digest = hashlib.sha256(facts + images.images.numpy().tobytes()).hexdigest()
    if not resume:
        write_atomic(kept, digest.encode())
    elif not kept.is_file() or kept.read_text(encoding="utf-8") != digest:
        raise UsageError(
            "these are not the images, captions, --head and --seed that this version began the training with",
            "pass the same, or begin anew in another --out",
        )


def _rebuild(pipe: Pipeline, apart: TrainingImages) -> dict[str, Any]:
    """How near held-out images are to themselves after encoding and decoding."""
    real = poses.plain(apart.images)
    shown = rebuilt(pipe.vae, real)
    return {
        "n": len(real),
        "psnr_db": round(likeness.decibels(shown, real), 1),
        "ssim": round(likeness.structural_similarity(shown, real), 3),
    }


def _compare(pipe: Pipeline, head: str, taught: TrainingImages, apart: TrainingImages) -> dict[str, Any] | None:
    """Whether the base generates copies of its own images; None where too few patients were held out to say so."""
    if len(set(apart.patients)) < FEWEST_CONTROLS or len(set(taught.patients)) < FEWEST_MEMBERS:
        return None
    owners = list(taught.patients)
    drawn = [
        pipe(
            [head] * _AT_ONCE, num_inference_steps=20, guidance_scale=1.5, output_type="pt",
            generator=torch.Generator().manual_seed(seed),
        ).images * 2 - 1
        for seed in range(0, _CHECKED, _AT_ONCE)
    ]  # fmt: skip
    strangers = poses.plain(apart.images)[one_each(apart.patients)]
    return compared(pipe, poses.plain(taught.images), owners, strangers, torch.cat(drawn).float().cpu())


def _train(bench: workbench.Workbench, hours: float, on_progress: OnProgress | None) -> None:
    stages: tuple[tuple[str, float, Callable[[running.Limits], object]], ...] = (
        ("autoencoder", _AUTOENCODER, bench.train_autoencoder),
        ("denoiser", _DENOISER, bench.train_denoiser),
        ("decoder", 1 - _AUTOENCODER - _DENOISER, partial(bench.train_autoencoder, decoder_only=True)),
    )
    if bench.is_fixed:
        stages = stages[1:]
    whole = sum(share for _, share, _ in stages)
    for number, (name, share, train) in enumerate(stages, start=1):
        if on_progress:
            on_progress(Progress(f"training the {name}", number, len(stages), ""))
        train(running.Limits(minutes=60 * hours * share / whole))


def _first_autoencoder() -> Path:
    """The pipeline whose autoencoder is gone on with: that of phantoms has seen tones, colours and edges."""
    folder = resolve("builtin")
    if folder is None:
        raise ConfigError("the base builtin is not installed", "install embhub-bases")
    return folder


def _is_held_out(patient: str) -> bool:
    return hashlib.sha256(f"held out {patient}".encode()).digest()[0] % _HELD_OUT_OF == 0


def _read(found: ImageSet, on_progress: OnProgress | None) -> TrainingImages:
    pictures = []
    for place, sample in enumerate(found.samples):
        values = (pixels.fit(read_sample(sample, found.kind), SOURCE_SIDE) + 1) * 127.5
        pictures.append(np.rint(values).clip(0, 255).astype(np.uint8))
        if on_progress and place % 100 == 0:
            on_progress(Progress("reading images", place, len(found.samples), ""))
    stacked = np.stack(pictures)
    grey = bool((stacked == stacked[:, :1]).all())
    return TrainingImages(
        torch.from_numpy(stacked[:, :1] if grey else stacked),
        tuple(found.unit(place) for place in range(len(found.samples))),
        tuple(sample.caption or "" for sample in found.samples),
    )


def _part(images: TrainingImages, held_out: list[bool], kind: bool) -> TrainingImages:
    places = [place for place, apart in enumerate(held_out) if apart is kind]
    return TrainingImages(
        images.images[places],
        tuple(images.patients[place] for place in places),
        tuple(images.phrases[place] for place in places),
    )


def describe(name: str, licence: str, source: str, prompts: dict[str, str], left_out: list[str]) -> dict[str, Any]:
    """What is known of a base before anything is measured."""
    return {
        "name": name,
        "family": "sd",
        "licence": licence,
        "attribution": f"Trained on {source}; images were resized.",
        "prompts": prompts,
        "left_out": left_out,
        "resolution": SIDE,
        "recommended": {"guidance": 1.5, "steps": 20},
        "figures": {},
    }


def _write_about(pipeline: Path, found: ImageSet, source: str, figures: dict[str, Any]) -> None:
    """The card, and the list of whom the base saw."""
    patients = frozenset(found.unit(place) for place in range(len(found.samples)))
    seen = Seen(source, patients, tuple(sketch(read_sample(sample)) for sample in found.samples))
    write_atomic(pipeline / SEEN, seen.to_bytes())
    facts = json.loads((pipeline / "base.json").read_text(encoding="utf-8"))
    facts["figures"] |= {name: value for name, value in figures.items() if value is not None}
    write_atomic(pipeline / "base.json", (json.dumps(facts, indent=2) + "\n").encode())
    kept = figures["autoencoder"]
    lines = [
        "---", "library_name: diffusers", "pipeline_tag: text-to-image", "---", "", f"# {facts['name']}", "",
        f"{facts['attribution']} {len(found.samples)} images of {len(patients)} patients; `seen.json` lists them.", "",
        f"{kept['n']} held-out images after the autoencoder: PSNR {kept['psnr_db']} dB, SSIM {kept['ssim']}.", "",
        _say_copies(figures["copies"]), "",
        "The weights hold traces of these images. A privacy claim of an embedding does not cover its base.",
        "Nothing here is fit for diagnosis.",
    ]  # fmt: skip
    write_atomic(pipeline / "README.md", ("\n".join(lines) + "\n").encode())


def _say_copies(copies: dict[str, Any] | None) -> str:
    if copies is None:
        return f"Copies were not looked for: fewer than {FEWEST_CONTROLS} patients were held out."
    missed = [kind for kind, (caught, tried) in copies["planted"].items() if caught * 20 < 18 * tried]
    power = f" Of planted copies these kinds were not reliably found: {', '.join(missed)}." if missed else ""
    return f"Of {copies['n']} generated images {copies['suspected']} are suspected of being copies of its own.{power}"
