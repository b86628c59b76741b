"""`python -m bench.norms`: rows of free length, rows that only turn, rows for each layer; what a judge sees of each.

Free norm is textual inversion as Gal et al. have it. Directional keeps every row at the length of the base's own (Kim,
Park, Hong and Shim 2025, arXiv 2512.13672; see `embhub.diffusion.training.recipes`). Per layer is P+ with free norms
(Voynov et al. 2023, arXiv 2303.09522). All learn from the same images with the same draws, for each seed other ones;
the judge of the built-in base counts what is drawn. Every run goes into a JSON file as it ends, and is not run again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from scipy import stats

from bases.workshop.counting import tensor
from bases.workshop.judge import Judge
from bases.workshop.sampling import sample_with
from bases.workshop.varied_judges import judge_for
from bench.results_file import ResultsFile, Row
from embhub.builtin_bases import info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion, table_units
from embhub.diffusion.training.recipes import COMPACT, ResolvedRecipe
from embhub.phantoms import HELD_OUT, draw, target_finding
from embhub.phantoms.findings import PREFIXES

PAGE = Path(__file__).parents[1] / "docs/explanation/norms-and-layers.md"
RESULTS = Path(__file__).parent / "results" / "norms.json"
LEARNED, KEPT, SAMPLES, TOKEN = 100, 60, 48, "<bench>"
ARMS: Mapping[str, ResolvedRecipe] = {
    "free": COMPACT,
    "directional": replace(COMPACT, norm="directional"),
    "per layer": replace(COMPACT, per_layer=True),
}
FIGURES = ("loss", "target", "target_only", "length")
VERDICT = ""
"""What a reader may take from the table; written by hand, after it."""


def run_arm(pipe: Pipeline, finding: str, arm: str, seed: int, judge: Judge, base: Any) -> Row:
    """One training: the loss on images kept back, the judge's shares of what it draws, the rows' length in the base's
    own."""
    held = HELD_OUT[finding]
    rng = np.random.default_rng(500 + seed)
    images = np.stack([draw(held.modality, target_finding(finding, rng), rng).image for _ in range(LEARNED + KEPT)])
    inside, outside = (inversion.encode_images(pipe, tensor(part)) for part in (images[:LEARNED], images[LEARNED:]))
    caption, began = f"{PREFIXES[held.modality][0]}, {{}}", time.process_time()
    fit = inversion.fit(pipe, inside, token=TOKEN, caption=caption, recipe=ARMS[arm], seed=seed)
    spent = time.process_time() - began
    pictures = sample_with(
        pipe, fit.rows, caption, SAMPLES, seed=6000 + 100 * seed,
        guidance=base.recommended["guidance"], steps=int(base.recommended["steps"]),
    )  # fmt: skip
    usual = table_units.token_norms(pipe)
    return {
        "base": base.name, "finding": finding, "arm": arm, "seed": seed,
        "loss": inversion.mean_loss(pipe, outside, token=TOKEN, caption=caption, rows=fit.rows, draws=10),
        **judge(pictures).shares(),
        "length": fmean(float(part.norm(dim=-1).mean()) / usual[name] for name, part in fit.rows.items()),
        "seconds": round(spent, 1),
    }  # fmt: skip


def study(findings: Sequence[str], seeds: int, done: Sequence[Row], keep: Callable[[Row], None]) -> None:
    """Every arm of every finding, a seed at a time, so that what is there is a study at any moment."""
    base = info("builtin")
    pipe = load_pipeline(base.path, device="cpu")
    have = {(row["finding"], row["arm"], row["seed"]) for row in done}
    for seed in range(seeds):
        for finding in findings:
            for arm in ARMS:
                if (finding, arm, seed) not in have:
                    keep(run_arm(pipe, finding, arm, seed, judge_for(finding, base.path), base))


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval (Student's t); no width is known of one value."""
    if len(values) < 2:
        return values[0], float("nan")
    half = stats.t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return fmean(values), float(half)


def table(rows: Sequence[Row]) -> str:
    """Means over the seeds for each finding and arm, then each arm's difference from the first, seed by seed."""
    lines = [
        "| finding | rows | loss kept back | judged to show it | and nothing else | length of rows | seeds | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first = next(iter(ARMS))
    found = {(row["finding"], row["arm"], row["seed"]): row for row in rows}
    for finding in dict.fromkeys(row["finding"] for row in rows):
        for arm in ARMS:
            runs = [row for row in rows if (row["finding"], row["arm"]) == (finding, arm)]
            if runs:
                cells = [_cell([row[name] for row in runs], name) for name in FIGURES]
                spent = f"{fmean(row['seconds'] for row in runs):.0f}"
                lines.append(f"| {finding} | {arm} | {' | '.join(cells)} | {len(runs)} | {spent} |")
            pairs = [
                (row, other) for row in runs if (other := found.get((finding, first, row["seed"]))) and arm != first
            ]
            if pairs:
                gaps = [_cell([row[name] - other[name] for row, other in pairs], name, "+") for name in FIGURES]
                lines.append(f"| {finding} | {arm} less {first} | {' | '.join(gaps)} | {len(pairs)} | |")
    return "\n".join(lines)


def _cell(values: Sequence[float], name: str, sign: str = "") -> str:
    mean, half = interval(values)
    digits = 4 if name == "loss" else 2
    return f"{mean:{sign}.{digits}f}" + ("" if np.isnan(half) else f" ± {half:.{digits}f}")


def page(rows: Sequence[Row]) -> str:
    """The page of docs."""
    recipe, names = ARMS["free"], ", ".join(sorted({f"`{row['base']}`" for row in rows}))
    text = [
        "# Norms and layers, measured",
        "",
        "Written by `python -m bench.norms --write` from `bench/results/norms.json`; `--seeds N` runs what is missing.",
        "",
        "- *free*: rows may grow, as Gal et al. have it.",
        "- *directional*: every row keeps the mean length of the base's own and only turns (Kim, Park, Hong and Shim",
        "  2025, [arXiv 2512.13672](https://arxiv.org/abs/2512.13672); here AdamW with gradients along the sphere,",
        "  without their prior).",
        "- *per layer*: rows of free length for each place where the denoiser reads the text (P+, Voynov et al. 2023,",
        "  [arXiv 2303.09522](https://arxiv.org/abs/2303.09522)): as many times the numbers, see",
        "  [how to train per layer](../how-to/train-per-layer.md).",
        "",
        f"Held-out findings of {names}, that it never saw: {LEARNED} phantoms to learn from, {KEPT} others kept back,",
        f"{recipe.num_vectors} vectors, {recipe.steps} steps, batches of {recipe.batch_size}, learning rate "
        f"{recipe.learning_rate:g}. For one seed all arms have",
        "the same images, the same draws in training and in drawing. The loss is of fixed noise at ten fixed times.",
        f"The judge of the base counts {SAMPLES} drawn pictures: how many show the finding, and how many show it and",
        "nothing else; it is a network with faults of its own (see the base's card). The length of rows is in lengths",
        "of the base's words. ± is a 95 % interval over the seeds (Student's t): with two or three it is wide, and it",
        "says nothing of other findings, bases or recipes. Rows *less free* are differences within a seed, which is",
        "what to read. Seconds are the processor's, of a busy machine.",
        "",
        table(rows),
    ]
    return "\n".join(text) + "\n" + VERDICT


def main() -> None:
    """Run what is missing, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.norms", description=__doc__)
    parser.add_argument("--finding", action="append", choices=sorted(HELD_OUT), help="this one; all of them by default")
    parser.add_argument("--seeds", type=int, default=0, help="run so many seeds; 0 only prints")
    parser.add_argument("--write", action="store_true", help=f"write docs/explanation/{PAGE.name}")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results = ResultsFile(asked.results)
    rows = results.rows

    def keep(row: Row) -> None:
        results.keep(row)
        print({name: row[name] for name in ("finding", "arm", "seed", *FIGURES, "seconds")}, flush=True)

    study(asked.finding or list(HELD_OUT), asked.seeds, list(rows), keep)
    print(table(rows))
    if asked.write:
        PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
