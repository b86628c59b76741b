"""`python -m bench.audits --part truths|cost`: what attacks find where the truth is known, and what an audit costs.

*truths*: embeddings of `builtin` that leak (overfit on few patients), that cannot (images nobody learned from), and
that were learned privately; how often each attack says "leak" at 2.5 %. *cost*: a `standard` audit of 100 images in
units of one training, and what fewer shadows would have cost and seen. Every trial goes into a JSON file as it ends,
and is not run again.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import marked
from bench.results_file import ResultsFile, Row
from embhub.audits import statistics
from embhub.audits.verdict import ALPHA
from embhub.diffusion import inversion, shadow_training, shadows
from embhub.diffusion.attacks import THOROUGH
from embhub.diffusion.attacks.evidence import Evidence, Suspect, draw, measure_losses
from embhub.diffusion.base.counting import tensor
from embhub.diffusion.dp import private_training, settings
from embhub.diffusion.inversion import Recipe
from embhub.diffusion.learned import Task
from embhub.diffusion.pipelines import find_base, load_pipeline
from embhub.diffusion.recipes import COMPACT
from embhub.phantoms.drawing import draw as draw_phantom
from embhub.phantoms.findings import random_finding

RESULTS = Path(__file__).parent / "results" / "audits.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/audits.md"
CAPTION, TOKEN = "prostate mri, {}", "<bench>"
LEARNED, OTHERS, SPARE = 8, 24, 24
"""Patients of one image each: learned from, to be told from them, and two further halves that nobody learned from."""
LEAKING = Recipe(vectors=32, steps=300, learning_rate=0.1, batch_size=8, high_noise=0.6)
EPSILON, PRIVATE_PATIENTS = 2.0, 30
SHADOWS = (2, 4, 8)
Keep = Callable[[Row], None]


def patients(count: int, seed: int) -> Tensor:
    """Phantom prostates of all kinds of findings, an image each: membership is a matter of place alone."""
    generator = np.random.default_rng([7, seed])
    images = [draw_phantom("prostate", random_finding("prostate", generator), generator).image for _ in range(count)]
    return tensor(np.stack(images))


def try_truths(pipe: Any, seed: int, keep: Keep) -> None:
    """One leaking and one private embedding; each attack on members against others, and on two halves of strangers."""
    latents = inversion.encode_images(pipe, patients(LEARNED + OTHERS + 2 * SPARE, seed))
    fit = inversion.fit(pipe, latents[:LEARNED], token=TOKEN, caption=CAPTION, recipe=LEAKING, seed=seed)
    scores = attack(pipe, latents, fit.rows, seed)
    inside, outside = slice(0, LEARNED), slice(LEARNED, LEARNED + OTHERS)
    first = LEARNED + OTHERS
    one, other = slice(first, first + SPARE), slice(first + SPARE, first + 2 * SPARE)
    for name, found in scores.items():
        keep(judged("overfit", name, found[inside], found[outside], seed))
        keep(judged("strangers", name, found[one], found[other], seed))
    asked = settings.ask(EPSILON, n_public=PRIVATE_PATIENTS)
    assert asked is not None
    recipe = settings.default_recipe(pipe, asked, PRIVATE_PATIENTS)
    mechanism, _ = settings.calibrate(asked, recipe, PRIVATE_PATIENTS)
    names = [str(number) for number in range(PRIVATE_PATIENTS)]
    task = Task(pipe, "", TOKEN, CAPTION, recipe)
    rows = private_training.fit(task, asked, latents[:PRIVATE_PATIENTS], names, mechanism)
    for name, found in attack(pipe, latents, rows, seed).items():
        keep(judged(f"private, epsilon {EPSILON:g}", name, found[:PRIVATE_PATIENTS], found[PRIVATE_PATIENTS:], seed))


def attack(pipe: Any, latents: Tensor, rows: Any, seed: int) -> dict[str, np.ndarray]:
    """Scores of every attack that needs no shadows."""
    draws = draw(pipe, latents.shape[1:], seed=seed)
    suspect = Suspect(pipe, latents, draws, CAPTION, TOKEN, rows)
    with_rows, without = (
        measure_losses(pipe, latents, draws, caption=CAPTION, token=TOKEN, rows=part) for part in (rows, None)
    )
    evidence = Evidence(with_rows, without, suspect=suspect)
    return {name: function(evidence).numpy() for name, function in THOROUGH.items()}


def judged(truth: str, name: str, inside: np.ndarray, outside: np.ndarray, seed: int) -> Row:
    """What an attack says of two groups of patients."""
    return {
        "part": "truths", "truth": truth, "attack": name, "seed": seed, "auc": statistics.auc(inside, outside),
        "p": statistics.p_value(inside, outside), "units": [len(inside), len(outside)],
    }  # fmt: skip


def weigh(pipe: Any, keep: Keep, *, images: int, recipe: Recipe, most: int) -> None:
    """One training, alone and in shared batches; a standard audit's shadows, and what the first few of them see."""
    latents = inversion.encode_images(pipe, patients(images, 0))
    draws = draw(pipe, latents.shape[1:])
    began = time.process_time()
    inversion.fit(pipe, latents[: images // 2], token=TOKEN, caption=CAPTION, recipe=recipe, seed=0)
    training = time.process_time() - began
    units = tuple(f"p{number}" for number in range(images))
    setting = shadows.Setting(pipe, latents, units, CAPTION, TOKEN, recipe, draws)
    seconds: dict[str, float] = {}
    both: list[shadows.Shadows] = []
    for part, coins in (("references", shadows.balance_coins), ("targets", shadows.flip_coins)):
        began = time.process_time()
        both.append(shadow_training.train(setting, coins(most, images, seed=1), seed=len(both) * 100, stage=part))
        seconds[part] = time.process_time() - began
    whole = sum(seconds.values())
    for count in [number for number in SHADOWS if number <= most]:
        chosen = [shadows.Shadows(found.losses[:count], found.inside[:count]) for found in both]
        if bool(chosen[0].inside.all(0).any()):
            continue  # balanced over all of them, and not over the first few: somebody has no reference without them
        pooled = shadows.pool(setting, *chosen)
        area = statistics.auc(pooled.members, pooled.nonmembers)
        size = len(pooled.members), len(pooled.nonmembers)
        keep({
            "part": "cost", "shadows": count, "images": images, "steps": recipe.steps, "training": training,
            "trainings": whole * count / most / training, "auc": area,
            "interval": list(statistics.auc_interval(area, *size)),
            "smallest_auc": statistics.smallest_auc(*size, alpha=ALPHA),
        })  # fmt: skip


def table(rows: list[Row]) -> str:
    """How often each attack says "leak", by truth, with exact intervals; and the cost."""
    lines = ["| truth | attack | says leak | 95 % | mean AUC |", "|---|---|---|---|---|"]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["part"] == "truths":
            groups.setdefault((row["truth"], row["attack"]), []).append(row)
    for (truth, name), trials in sorted(groups.items()):
        hits = sum(trial["p"] <= ALPHA for trial in trials)
        low, high = statistics.proportion_interval(hits, len(trials))
        area = np.mean([trial["auc"] for trial in trials])
        lines.append(f"| {truth} | `{name}` | {hits} of {len(trials)} | {low:.2f} to {high:.2f} | {area:.2f} |")
    lines += ["", "| shadows, of each kind | trainings' time | AUC of LiRA | AUC seen four times in five |"]
    lines.append("|---|---|---|---|")
    for row in rows:
        if row["part"] == "cost":
            low, high = row["interval"]
            lines.append(
                f"| {row['shadows']} | {row['trainings']:.1f} | {row['auc']:.2f} [{low:.2f}, {high:.2f}] | "
                f"{row['smallest_auc']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.audits", description=__doc__)
    parser.add_argument("--part", action="append", choices=("truths", "cost"), default=[])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--steps", type=int, default=COMPACT.steps)
    parser.add_argument("--shadows", type=int, default=max(SHADOWS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help=f"write the tables into docs/explanation/{PAGE.name}")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results = ResultsFile(asked.results)
    rows = results.rows

    with tempfile.TemporaryDirectory() as home:
        os.environ["EMBHUB_HOME"] = home
        pipe = load_pipeline(find_base("builtin"), device="cpu")
        done = {row["seed"] for row in rows if row["part"] == "truths" and row["truth"].startswith("private")}
        for seed in range(asked.trials if "truths" in asked.part else 0):
            if seed not in done:
                rows[:] = [row for row in rows if row["part"] != "truths" or row["seed"] != seed]
                try_truths(pipe, seed, results.keep)
                print(f"trial {seed} done", flush=True)
        if "cost" in asked.part and not any(row["part"] == "cost" for row in rows):
            weigh(
                pipe, results.keep, images=asked.images, recipe=replace(COMPACT, steps=asked.steps), most=asked.shadows
            )
    print(table(rows))
    if asked.write:
        PAGE.write_text(marked.put(PAGE.read_text(encoding="utf-8"), table(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
