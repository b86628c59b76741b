"""`python -m bench.components`: which component of a base to adapt to real X-rays, after Chambon et al. 2022.

Arms of one base, `builtin`, which saw phantoms alone: as it is, textual inversion, text encoder, denoiser, both, a LoRA
of the denoiser, and the autoencoder's decoder. All learn from the same films of the `base` part, as many steps of as
many images (textual inversion by its own default recipe); what they draw is judged on films of other patients. Every
arm goes into a JSON file as it ends, and is not run again: the study can be left and gone on with.

Seeds, numbers of steps and pictures, guidance and prompts stand here, fixed before anything was seen.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from bases.workshop import xray
from bases.workshop.counting import decibels, nearest, tensor
from bases.workshop.sampling import sample, sample_with
from bases.workshop.xray_judge import Judge, colour, xray_judge_for
from bench import machine
from bench.likeness import FilmFeatures, kernel_distance
from embhub.diffusion.adaptation import loop
from embhub.diffusion.adaptation.checkpoint import Checkpoint
from embhub.diffusion.adaptation.components import learned_weights
from embhub.diffusion.adaptation.examples import Examples
from embhub.diffusion.adaptation.objectives import build_objective
from embhub.diffusion.adaptation.plan import Plan
from embhub.diffusion.bases.pipelines import load_pipeline, trainable_attention
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.inversion import default_recipe
from embhub.options.component import Component

RESULTS = Path(__file__).parent / "results" / "components.json"
BASE, CLASSES, CAPTION = "builtin", ("normal", "pneumonia"), "chest x-ray, {}"
TAUGHT, KEPT = 300, 40
STEPS, BATCH, RATE, LORA_RATE, RANK = 400, 8, 5e-4, 2e-3, 8
DRAWN, GUIDANCE, SAMPLING = 48, 1.5, 20
Row = dict[str, Any]
Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Arm:
    """A name, what learns in it, and the arm whose result it starts from."""

    name: str
    components: tuple[Component, ...] = ()
    lora: bool = False
    after: str = ""


ARMS = (
    Arm("original"),
    Arm("U-Net", ("unet",)),
    Arm("textual inversion"),
    Arm("text encoder", ("text-encoder",)),
    Arm("U-Net and text encoder", ("unet", "text-encoder")),
    Arm("VAE decoder", ("vae-decoder",)),
    Arm("U-Net, then VAE decoder", ("vae-decoder",), after="U-Net"),
    Arm("U-Net, LoRA of rank 8", ("unet",), lora=True),
)


@dataclass(frozen=True)
class Material:
    """Films of normal chests and of pneumonia to learn from, a few of other patients, and films that judge."""

    taught: dict[str, Pictures]
    kept: dict[str, Pictures]
    test: dict[str, Pictures]
    judge: Judge
    features: FilmFeatures

    def examples(self, pipe: Pipeline, films: Mapping[str, Pictures]) -> Examples:
        """The films of both classes as a base sees them."""
        pictures = tensor(np.concatenate([films[name] for name in CLASSES]))
        captions = tuple(CAPTION.format(name) for name in CLASSES for _ in films[name])
        return Examples(inversion.encode_images(pipe, pictures), captions, lambda chosen: pictures[chosen])


def gather(data: Path) -> Material:
    """The parts of the committed split: `base` teaches, `site` teaches what compares, `judge` what judges."""
    base, test, site = (xray.read(data, part) for part in ("base", "test", "site"))
    sick = (base.labels != 0).astype(np.int64)
    taught, kept = {}, {}
    for number, name in enumerate(CLASSES):
        places = np.random.default_rng(number).permutation(np.flatnonzero(sick == number))
        patients = list(dict.fromkeys(base.patients[i] for i in places))
        back = set(patients[: len(patients) // 8])
        inside = [i for i in places if base.patients[i] not in back][:TAUGHT]
        outside = [i for i in places if base.patients[i] in back][:KEPT]
        taught[name], kept[name] = colour(base.images[inside]), colour(base.images[outside])
    shown = {name: colour(test.images[(test.labels != 0) == number]) for number, name in enumerate(CLASSES)}
    return Material(
        taught, kept, shown, xray_judge_for(data, BASE), FilmFeatures.learn(colour(site.images), site.labels)
    )


def run_arm(material: Material, arm: Arm, seed: int, work: Path) -> Row:
    """Adapt, draw and count."""
    pipe = load_pipeline(BASE, device="cpu")
    if arm.after:
        put_back(pipe, work / f"{arm.after}-{seed}.safetensors")
    began = time.process_time()
    facts: Row = {}
    rows: dict[str, Mapping[str, Tensor]] = {}
    if arm.name == "textual inversion":
        rows = {name: _invert(pipe, material.taught[name], seed) for name in CLASSES}
    elif arm.components:
        facts = adapt(material, pipe, arm, seed, work)
    seconds = time.process_time() - began
    drawn = {name: _draw(pipe, name, rows.get(name), seed) for name in CLASSES}
    np.savez_compressed(work / f"{arm.name}-{seed}.npz", normal=drawn["normal"], pneumonia=drawn["pneumonia"])
    return {
        "arm": arm.name, "seed": seed, "seconds": round(seconds, 1), **facts,
        **judge_pictures(material, drawn, pipe),
    }  # fmt: skip


def adapt(material: Material, pipe: Pipeline, arm: Arm, seed: int, work: Path) -> Row:
    """Adapt the components of an arm in place; the held-out loss before and after."""
    plan = Plan(
        arm.components,
        STEPS,
        LORA_RATE if arm.lora else RATE,
        BATCH,
        high_noise=0.3,
        lora_rank=RANK if arm.lora else None,
    )
    accelerator, objective = loop.open_accelerator(plan, "cpu"), build_objective(pipe, plan)
    members, others = (material.examples(pipe, films) for films in (material.taught, material.kept))
    checkpoint = Checkpoint(work / f"{arm.name}-{seed}", {"arm": arm.name, "seed": str(seed), "plan": str(plan)})
    began, taken = time.process_time(), 0

    def count(*_: object) -> None:
        nonlocal taken
        taken += 1

    with trainable_attention(pipe):
        learned = loop.learn(
            accelerator, objective, plan, members, others,
            seed=seed, looks=2, checkpoint=checkpoint, resume=True, on_step=count,
        )  # fmt: skip
    # Gone on with after a kill, the steps of this process stand for all.
    seconds = (time.process_time() - began) * STEPS / taken
    checkpoint.remove()
    weights = learned_weights(dict(objective.adapted.items()))
    save_file({name: part.detach().clone() for name, part in weights.items()}, work / f"{arm.name}-{seed}.safetensors")
    counted = sum(part.numel() for part in weights.values())
    return {"weights": counted, "held_out_loss": learned.points, "seconds": round(seconds, 1)}


def put_back(pipe: Pipeline, path: Path) -> None:
    """Give a pipeline the weights that an earlier arm learned."""
    for name, value in load_file(path).items():
        place, _, inner = name.partition(".")
        getattr(pipe, place).get_parameter(inner).data.copy_(value)


def judge_pictures(material: Material, drawn: Mapping[str, Pictures], pipe: Pipeline | None = None) -> Row:
    """KID to films of other patients, agreement of the judge with the prompt, nearness to the films taught."""
    pneumonia = {name: 1 - material.judge(pictures)[:, 0] for name, pictures in drawn.items()}
    both = np.concatenate([drawn[name] for name in CLASSES])
    found: Row = {
        "kid": kernel_distance(material.features, np.concatenate(_even(material.test)), both),
        "kid_each": {
            name: kernel_distance(material.features, material.test[name], drawn[name], size=40) for name in CLASSES
        },
        "called_normal_of_normal": round(float((pneumonia["normal"] < 0.5).mean()), 3),
        "called_pneumonia_of_pneumonia": round(float((pneumonia["pneumonia"] > 0.5).mean()), 3),
        "nearest_taught": nearest(both, np.concatenate([material.taught[name] for name in CLASSES])),
        "n": len(both),
    }
    if pipe is not None:
        found["autoencoder_db"] = decibels(pipe, np.concatenate(_even(material.test)))
    return found


def _even(films: Mapping[str, Pictures]) -> list[Pictures]:
    count = min(len(part) for part in films.values())
    return [films[name][:count] for name in CLASSES]


def _invert(pipe: Pipeline, films: Pictures, seed: int) -> Mapping[str, Tensor]:
    latents, recipe = inversion.encode_images(pipe, tensor(films)), default_recipe(pipe)
    return inversion.fit(pipe, latents, token="<study>", caption=CAPTION, recipe=recipe, seed=seed).rows


def _draw(pipe: Pipeline, name: str, rows: Mapping[str, Tensor] | None, seed: int) -> Pictures:
    settings: dict[str, Any] = {"guidance": GUIDANCE, "steps": SAMPLING, "seed": 5000 + 1000 * seed}
    if rows is not None:
        return sample_with(pipe, rows, CAPTION, DRAWN, **settings)
    return sample(pipe, CAPTION.format(name), DRAWN, **settings)


def main(argv: Sequence[str] | None = None) -> None:
    """Run what is not in the results yet, and print each arm."""
    parser = argparse.ArgumentParser(prog="python -m bench.components", description=__doc__)
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, required=True, help="folder for weights and pictures of the arms")
    chosen = parser.parse_args(argv)
    torch.set_num_threads(1)
    chosen.work.mkdir(parents=True, exist_ok=True)
    study = json.loads(chosen.results.read_text()) if chosen.results.exists() else {"rows": []}
    study["settings"] = {
        "taught_a_class": TAUGHT, "steps": STEPS, "batch": BATCH, "learning_rate": RATE,
        "lora_learning_rate": LORA_RATE,
        "drawn_a_class": DRAWN, "guidance": GUIDANCE, "sampling_steps": SAMPLING, "machine": machine.describe(),
    }  # fmt: skip
    material = gather(chosen.data)

    def keep(row: Row) -> None:
        study["rows"].append(row)
        chosen.results.write_text(json.dumps(study, indent=1) + "\n")
        print({name: value for name, value in row.items() if name != "held_out_loss"}, flush=True)

    have = {(row["arm"], row["seed"]) for row in study["rows"]}
    if ("real films of other patients", 0) not in have:
        taught = {name: part[:DRAWN] for name, part in material.kept.items()}
        keep({"arm": "real films of other patients", "seed": 0, **judge_pictures(material, taught)})
    for seed in range(chosen.seeds):
        for arm in ARMS:
            if (arm.name, seed) not in have:
                keep(run_arm(material, arm, seed, chosen.work))


if __name__ == "__main__":
    main()
