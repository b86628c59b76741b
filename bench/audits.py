"""`python -m bench.audits --part truths|cost`: what attacks find where the truth is known, and what an audit costs.

*truths*: embeddings of `builtin` that leak much or a little, and people whom nobody learned from; how often each attack
says "leak" at 2.5 % (`bench.leaks`). *cost*: a `standard` audit of 100 images in
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

import torch

from bench import leaks, marked
from bench.leaks import CAPTION, TOKEN, patients
from bench.results_file import ResultsFile, Row
from embhub.audits import statistics
from embhub.audits.verdict import ALPHA
from embhub.diffusion.attacks import shadow_training, shadows
from embhub.diffusion.attacks.evidence import draw
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.inversion import ResolvedRecipe
from embhub.diffusion.training.recipes import COMPACT

RESULTS = Path(__file__).parent / "results" / "audits.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/audits.md"
SHADOWS = (2, 4, 8)
Keep = Callable[[Row], None]


def weigh(pipe: Pipeline, keep: Keep, *, images: int, recipe: ResolvedRecipe, most: int) -> None:
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
    lines = leaks.table([row for row in rows if row["part"] == "truths"])
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
    parser.add_argument("--groups", type=int, default=leaks.GROUPS, help="of four trials each")
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
        if "truths" in asked.part:
            leaks.run(pipe, results, groups=asked.groups)
        if "cost" in asked.part and not any(row["part"] == "cost" for row in rows):
            weigh(
                pipe, results.keep, images=asked.images, recipe=replace(COMPACT, steps=asked.steps), most=asked.shadows
            )
    print(table(rows))
    if asked.write:
        PAGE.write_text(marked.put(PAGE.read_text(encoding="utf-8"), table(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
