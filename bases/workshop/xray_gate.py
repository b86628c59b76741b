"""Figures of a base of X-rays: what it draws, what inversion adds to it, and what that does for a classifier.

The base has no word for a finding, so what stands for it are the nearest words that it was taught: of its captions,
the one with the lowest loss on the films that the embedding is learned from. Seeds, numbers of samples and settings
stand here, fixed before anything is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bases.workshop import utility, xray
from bases.workshop.counting import Figures, Keep, Pictures, Report, between, decibels, nearest, tensor
from bases.workshop.gating import inverted, nearest_words, settings
from bases.workshop.public_images import SETS, read_rows, rows_seen
from bases.workshop.sampling import sample
from bases.workshop.xray_copies import check_films
from bases.workshop.xray_judge import Judge, colour, feature_network, xray_judge_for
from embhub.builtin_bases import BaseInfo
from embhub.diffusion.adaptation.base_training import pixel_words, poses
from embhub.diffusion.adaptation.base_training.likeness import power_ratios
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.evaluation import fidelity
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion

SAMPLES, IMAGES, SEEDS = 96, 100, 3
UTILITY_SIZES, UTILITY_SEEDS = (10, 20), 10
NOISE = 1.0  # without it few real images saturate; chosen from real-only results
NORMAL, FINDING = xray.TAUGHT, xray.LEFT_OUT
HEAD = f"{xray.HEAD}, child"


def measure_xray(base: BaseInfo, data: Path, report: Report, keep: Keep) -> Figures:
    """Autoencoder, judge on real films, copies of training films, normals, a finding before and after inversion, and a
    comparison of classifiers.

    Raises UsageError where the data is not there.
    """
    pipe, judge = load_pipeline(base.path), xray_judge_for(data, base.path)
    figures = _real(pipe, data, judge)
    report(f"judge {figures['judge']}")
    figures["copies"] = check_films(base, pipe, data, report, keep)
    drawn = {NORMAL: sample(pipe, base.prompts[NORMAL], SAMPLES, seed=1000, **settings(base))}
    figures["taught"] = {NORMAL: {"n": SAMPLES, **_means(judge(drawn[NORMAL]))}}
    test = xray.read(data, "test")
    figures["power"] = power_ratios(tensor(drawn[NORMAL]), tensor(colour(test.images[test.labels == 0])))
    report(f"normals {figures['taught']}, power {figures['power']}")
    figures["nearest_base_film"] = _nearest(data, drawn[NORMAL])
    site = xray.hospital(data, FINDING, IMAGES)
    latents = inversion.encode_images(pipe, tensor(colour(site.images)))
    prompts = {"before": f"{HEAD}, {FINDING}", "nearest words": _nearest_words(pipe, latents)}
    figures["words"] = {}
    for kind, prompt in prompts.items():
        drawn[kind] = sample(pipe, prompt, SAMPLES, seed=3000, **settings(base))
        figures["words"][kind] = {"prompt": prompt, "n": SAMPLES, **_means(judge(drawn[kind]))}
        report(f"{kind}: {figures['words'][kind]}")
    figures["inverted"] = {}
    for seed in range(SEEDS):
        name = f"{FINDING}, seed {seed}"
        drawn[name], learned = inverted(pipe, base, latents, f"{HEAD}, {{}}", SAMPLES, seed)
        figures["inverted"][name] = {"n": SAMPLES, **learned, **_means(judge(drawn[name]))}
        report(f"{name}: {figures['inverted'][name]}")
    for label, pictures in drawn.items():
        keep(label, pictures)
    figures["distance"] = _distances(data, drawn)
    report(f"kernel distance {figures['distance']}")
    figures["utility"] = _utility(data, drawn, report)
    return figures


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


def _nearest_words(pipe: Pipeline, latents: torch.Tensor) -> str:
    """The caption that the base was taught with the lowest loss on films of the finding: two descriptions at most."""
    rows = (*pixel_words.CHEST_LEVELS, *pixel_words.GROUPS)
    single = [f"{HEAD}, {word}" for words in rows for word in words]
    best = nearest_words(pipe, latents, [f"{HEAD}, {NORMAL}", *single])
    pairs = [f"{best}, {word}" for words in rows for word in words if word not in best]
    return nearest_words(pipe, latents, [best, *pairs])


def _distances(data: Path, drawn: dict[str, Pictures]) -> Figures:
    """Kernel distance (KID) of drawn films to real ones with the finding, of patients whom neither saw.

    The features are of a network trained on the `judge` part; real normal films say what another label comes to.
    """
    test = xray.read(data, "test")
    real, normal = (colour(test.images[test.labels == xray.LABELS.index(label)]) for label in (FINDING, NORMAL))
    features = fidelity.Features(feature_network(data), real)
    found = fidelity.compare(features, {**drawn, "real normal": normal}, real)
    return {
        name: {"n": one.images, "kid": round(one.kid, 4), "sd": round(one.kid_sd, 4)} for name, one in found.items()
    }


def _nearest(data: Path, drawn: Pictures) -> Figures:
    """How near drawn normals come to the films that the base saw, beside films of other patients."""
    chosen = SETS["builtin-xray"]
    shown = poses.plain(read_rows(data, chosen, rows_seen(data, chosen)).images)
    taught = ((shown + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    others = colour(xray.read(data, "test", [NORMAL]).images)
    return {"drawn normals": nearest(drawn, taught), "normals of other patients": nearest(others, taught)}


def _utility(data: Path, drawn: dict[str, Pictures], report: Report) -> Figures:
    """Classifiers of another hospital: its few films are of patients that neither embedding nor base saw."""
    pool = xray.other_hospital(data, FINDING, IMAGES)
    test = xray.read(data, "test", (NORMAL, FINDING))
    wanted = xray.LABELS.index(FINDING)
    figures = {}
    for per_class in UTILITY_SIZES:
        found = utility.compare(
            (colour(pool.images), (pool.labels == wanted).astype(np.int64)),
            (colour(test.images), (test.labels == wanted).astype(np.int64)),
            positives=drawn[f"{FINDING}, seed 0"],
            normals=drawn[NORMAL],
            taught=drawn["nearest words"],
            per_class=per_class,
            seeds=UTILITY_SEEDS,
            noise=NOISE,
        )
        figures[str(per_class)] = found.to_dict()
        report(found.words())
    return figures


def _means(scores: NDArray[np.float64], labels: Sequence[str] = xray.LABELS) -> dict[str, float]:
    """Mean probability of each label, and the share called pneumonia of either kind."""
    means = {f"mean_p_{label}": round(float(scores[:, place].mean()), 3) for place, label in enumerate(labels)}
    return {**means, "called_pneumonia": round(float((scores[:, 0] < 0.5).mean()), 3)}
