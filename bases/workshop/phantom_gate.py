"""Figures of a base of phantoms: what it draws of what it was taught, and of what it was not, before and after
inversion.

Seeds, numbers of samples and settings stand here, fixed before anything is seen.
"""

from __future__ import annotations

import time

import numpy as np

from bases.workshop import attributes
from bases.workshop.counting import Figures, Keep, Pictures, Report, decibels, tensor
from bases.workshop.gating import TOKEN, settings
from bases.workshop.judge import judge_for
from bases.workshop.sampling import sample, sample_with
from embhub.builtin_bases import BaseInfo
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.evaluation import utility
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.inversion import default_recipe
from embhub.phantoms.drawing import draw
from embhub.phantoms.findings import HELD_OUT, MODALITIES, PREFIXES, Finding, near_miss, random_finding, target_finding

TAUGHT, SAMPLES, IMAGES, REAL = 48, 100, 100, 300
PER_CLASS, SEEDS = 20, 10
FAINT, NOISE = (0.2, 0.5), 1.0  # so that few real images leave room; chosen from real-only results
LOOK_ALIKES = {
    "prostate-cspca": "prostate mri, dark sharp ring in lower",
    "cxr-effusion": "chest x-ray, dark sharp level in lower",
}


def measure_phantoms(base: BaseInfo, report: Report, keep: Keep) -> Figures:
    """Autoencoder, taught prompts, held-out findings, and what their images do for a classifier."""
    pipe = load_pipeline(base.path)
    figures: Figures = {"autoencoder_db": {"n": 50}, "taught": {}, "held_out": {}}
    for modality in MODALITIES:
        rng = np.random.default_rng(101)
        images = np.stack([draw(modality, random_finding(modality, rng), rng).image for _ in range(50)])
        figures["autoencoder_db"][modality] = decibels(pipe, images)
    report(f"autoencoder {figures['autoencoder_db']}")
    for label, prompt in base.prompts.items():
        figures["taught"][label] = _taught(pipe, base, label, prompt, keep)
        report(f"taught {label}: {figures['taught'][label]}")
    for name in HELD_OUT:
        figures["held_out"][name] = _held_out(pipe, base, name, report, keep)
    return figures


def _taught(pipe: Pipeline, base: BaseInfo, label: str, prompt: str, keep: Keep) -> Figures:
    """Share of samples of a taught prompt in which its words are recognised, all and each."""
    modality = next(one for one in MODALITIES if prompt.startswith(PREFIXES[one][0]))
    pictures = sample(pipe, prompt, TAUGHT, seed=1000, **settings(base))
    keep(label, pictures)
    wanted = attributes.asked(prompt)
    read = attributes.reader_for(modality, base.path)(pictures)
    each = {word: round(sum(word in words for words in read) / TAUGHT, 3) for word in sorted(wanted)}
    return {"recognised": round(sum(wanted <= words for words in read) / TAUGHT, 3), "each_word": each, "n": TAUGHT}


def _held_out(pipe: Pipeline, base: BaseInfo, name: str, report: Report, keep: Keep) -> Figures:
    """What the judge counts in real images, in samples without an embedding, and in samples with an inverted one."""
    held, judge = HELD_OUT[name], judge_for(name, base.path)
    rng = np.random.default_rng(202)
    figures: Figures = {"n": SAMPLES, "real": _real(name, base, rng)}
    prefix = PREFIXES[held.modality][0]
    prompts = {"before": f"{prefix}, lesion", "in_words": f"{prefix}, {held.words}", "look_alike": LOOK_ALIKES[name]}
    drawn = {}
    for kind, prompt in prompts.items():
        drawn[kind] = sample(pipe, prompt, SAMPLES, seed=2000, **settings(base))
        keep(f"{name} {kind}", drawn[kind])
        figures[kind] = {"prompt": prompt, **judge(drawn[kind]).shares()}
        report(f"{name} {kind}: {figures[kind]}")
    images = np.stack([draw(held.modality, target_finding(name, rng), rng).image for _ in range(IMAGES)])
    latents = inversion.encode_images(pipe, tensor(images))
    caption, recipe, began = f"{prefix}, {{}}", default_recipe(pipe), time.process_time()
    fit = inversion.fit(pipe, latents, token=TOKEN, caption=caption, recipe=recipe, seed=0)
    seconds = round(time.process_time() - began)
    drawn["inverted"] = sample_with(pipe, fit.rows, caption, SAMPLES, seed=3000, **settings(base))
    keep(f"{name} inverted", drawn["inverted"])
    figures["inverted"] = {
        "images": IMAGES, "vectors": recipe.num_vectors, "steps": recipe.steps, "processor_seconds": seconds,
        **judge(drawn["inverted"]).shares(),
    }  # fmt: skip
    report(f"{name} inverted: {figures['inverted']}")
    normals = sample(pipe, f"{prefix}, normal", SAMPLES, seed=4000, **settings(base))
    figures["utility"] = _utility(name, drawn, normals)
    report(f"{name}: {figures['utility']['words']}")
    return figures


def _real(name: str, base: BaseInfo, rng: np.random.Generator) -> Figures:
    """What the judge says of phantoms that nobody trained on, and the share of them it gets right."""
    modality, judge = HELD_OUT[name].modality, judge_for(name, base.path)
    kinds: dict[str, list[Finding | None]] = {
        "target": [target_finding(name, rng) for _ in range(REAL // 3)],
        "look_alike": [near_miss(name, rng) for _ in range(REAL // 3)],
        "normal": [None] * (REAL // 3),
    }
    figures: Figures = {}
    right = 0
    for kind, findings in kinds.items():
        found = judge(np.stack([draw(modality, one, rng).image for one in findings]))
        figures[kind] = found.shares()
        right += int(((found.target == (kind == "target")) & (found.other == (kind == "look_alike"))).sum())
    return {**figures, "right": round(right / REAL, 3), "n": REAL}


def _utility(name: str, drawn: dict[str, Pictures], normals: Pictures) -> Figures:
    """A classifier of faint findings in every arm, with few real images that are none of the embedding's."""
    pool, test = (_labelled(name, count, seed) for count, seed in ((60, 21), (300, 31)))
    found = utility.compare(
        pool,
        test,
        positives=drawn["inverted"],
        normals=normals,
        taught=drawn["before"],
        per_class=PER_CLASS,
        seeds=SEEDS,
        noise=NOISE,
        mirror=False,
    )
    return found.to_dict()


def _labelled(name: str, count: int, seed: int) -> tuple[Pictures, np.ndarray]:
    """`count` phantoms with the finding, faint, and as many normal ones."""
    rng = np.random.default_rng(seed)
    modality = HELD_OUT[name].modality
    findings = [target_finding(name, rng, FAINT) for _ in range(count)]
    shown: list[Finding | None] = [*findings, *([None] * count)]
    return np.stack([draw(modality, one, rng).image for one in shown]), np.repeat([1, 0], count)
