"""Figures of a base of X-rays: what it draws, what inversion adds to it, and what that does for a classifier.

Seeds, numbers of samples and settings stand here, fixed before anything is seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bases.workshop import xray
from bases.workshop.counting import Figures, Keep, Pictures, Report, between, decibels, nearest, tensor
from bases.workshop.sampling import sample, sample_with
from bases.workshop.xray_copies import check_films
from bases.workshop.xray_judge import Judge, colour, xray_judge_for
from embhub.builtin_bases import BaseInfo
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.evaluation import utility
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.inversion import default_recipe

SAMPLES, IMAGES, SEEDS = 48, 100, 3
UTILITY_SIZES, UTILITY_SEEDS, UTILITY_DRAWN = (10, 20), 10, 96
NOISE = 1.0  # without it few real images saturate; chosen from real-only results
TOKEN = "<measured>"  # noqa: S105  # a word of prompts, no secret
NORMAL, LEFT_OUT, VIRAL = "normal", xray.LEFT_OUT, "viral pneumonia"


def measure_xray(base: BaseInfo, data: Path, report: Report, keep: Keep, *, full: bool = True) -> Figures:
    """Autoencoder, judge on real films, copies of training films, taught prompts, labels inverted; unless `full` is off
    also a comparison of classifiers.

    Raises UsageError where the data is not there.
    """
    pipe, judge = load_pipeline(base.path), xray_judge_for(data, base.path)
    figures = _real(pipe, data, judge)
    report(f"judge {figures['judge']}")
    figures["copies"] = check_films(base, pipe, data, report, keep)
    drawn: dict[str, Pictures] = {}
    figures["taught"] = {}
    for label, prompt in base.prompts.items():
        count = UTILITY_DRAWN if full else SAMPLES
        drawn[label] = sample(pipe, prompt, count, seed=1000, **_settings(base))
        keep(label, drawn[label])
        figures["taught"][label] = {"n": count, **_means(judge(drawn[label]))}
        report(f"taught {label}: {figures['taught'][label]}")
    figures["nearest_base_film"] = _nearest(data, drawn[NORMAL])
    figures["inverted"] = {}
    runs = [(LEFT_OUT, seed) for seed in range(SEEDS)] + [(VIRAL, 0), (VIRAL, 1), (NORMAL, 0)]
    for label, seed in runs if full else [(LEFT_OUT, 0), (LEFT_OUT, 1), (LEFT_OUT, 2), (NORMAL, 0)]:
        count = UTILITY_DRAWN if full and (label, seed) == (LEFT_OUT, 0) else SAMPLES
        pictures, settings = _inverted(pipe, base, data, label, seed, count)
        drawn.setdefault(f"inverted {label}", pictures)
        keep(f"{label} inverted {seed}", pictures)
        name = f"{label}, seed {seed}"
        figures["inverted"][name] = {"n": count, **settings, **_means(judge(pictures))}
        report(f"inverted {name}: {figures['inverted'][name]}")
    if full:
        figures["utility"] = _utility(data, drawn, report)
    return figures


def _settings(base: BaseInfo) -> dict[str, Any]:
    return {"guidance": base.recommended["guidance"], "steps": int(base.recommended["steps"])}


def _real(pipe: Pipeline, data: Path, judge: Judge) -> Figures:
    test = xray.read(data, "test")
    images = colour(test.images)
    scores = judge(images)
    auc = {
        "normal against bacterial": between(scores, test.labels, 0, 1),
        "viral against bacterial": between(scores, test.labels, 2, 1),
    }
    return {
        "autoencoder_db": {"n": len(images), "chest x-ray": decibels(pipe, images)},
        "judge": {"auc": auc, "n": len(images), "patients": len(set(test.patients))},
        "real": {
            label: {"n": int((test.labels == place).sum()), **_means(scores[test.labels == place])}
            for place, label in enumerate(xray.LABELS)
        },
    }


def _inverted(
    pipe: Pipeline, base: BaseInfo, data: Path, label: str, seed: int, count: int
) -> tuple[Pictures, dict[str, Any]]:
    """Pictures drawn with rows learned from a hospital's films of one label, and how the rows were learned."""
    films = xray.hospital(data, label, IMAGES)
    latents = inversion.encode_images(pipe, tensor(colour(films.images)))
    caption, recipe = f"{xray.HEAD}, {{}}", default_recipe(pipe)
    fit = inversion.fit(pipe, latents, token=TOKEN, caption=caption, recipe=recipe, seed=seed)
    pictures = sample_with(pipe, fit.rows, caption, count, seed=3000, **_settings(base))
    return pictures, {"images": len(latents), "vectors": recipe.num_vectors, "steps": recipe.steps}


def _nearest(data: Path, drawn: Pictures) -> Figures:
    """How near drawn normals come to the films that the base learned from, beside films of other patients."""
    taught, others = (colour(xray.read(data, part, [NORMAL]).images) for part in ("base", "test"))
    return {"drawn normals": nearest(drawn, taught), "normals of other patients": nearest(others, taught)}


def _utility(data: Path, drawn: dict[str, Pictures], report: Report) -> Figures:
    """Classifiers of another hospital: its few films are of patients that the embedding never saw."""
    films = xray.other_hospital(data, LEFT_OUT, IMAGES)
    test = xray.read(data, "test", (NORMAL, LEFT_OUT))
    wanted = xray.LABELS.index(LEFT_OUT)
    figures = {}
    for per_class in UTILITY_SIZES:
        found = utility.compare(
            (colour(films.images), (films.labels == wanted).astype(np.int64)),
            (colour(test.images), (test.labels == wanted).astype(np.int64)),
            positives=drawn[f"inverted {LEFT_OUT}"],
            normals=drawn[NORMAL],
            taught=drawn[VIRAL],
            per_class=per_class,
            seeds=UTILITY_SEEDS,
            noise=NOISE,
        )
        figures[str(per_class)] = found.to_dict()
        report(found.words())
    return figures


def _means(scores: NDArray[np.float64]) -> dict[str, float]:
    """Mean probability of each label, and the share called pneumonia of either kind."""
    means = {f"mean_p_{label}": round(float(scores[:, place].mean()), 3) for place, label in enumerate(xray.LABELS)}
    return {**means, "called_pneumonia": round(float((scores[:, 0] < 0.5).mean()), 3)}
