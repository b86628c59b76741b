"""`python -m bench.planted`: is a patient whose image is seen more often than others' given away by one file?

Of 50 phantom patients that an embedding learns from, 10 are planted: their image is in the training 8 times, as where
one patient has many slices that look alike. So a planted image is seen about as often as each of 10 images is in
`bench.capacity`, and the others about as often as each of 100. Eight embeddings learn from random halves of a
population, are attacked and copy-checked as there. Numbers and seeds stand here, fixed before anything was measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import capacity, marked, phantom_patients
from bench.results_file import ResultsFile, Row
from embhub.audits import statistics
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.recipes import COMPACT

RESULTS = Path(__file__).parent / "results" / "planted.json"
VECTORS, IMAGES, STEPS, PLANTED, TIMES = (1, 16), 50, 200, 10, 8
GROUPS = ("planted", "others")


def chosen(*, seed: int) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], np.ndarray[Any, np.dtype[np.bool_]]]:
    """Who is learned from, (S, U), a half of the planted and of the others; and who is planted, (U,)."""
    planted = capacity.balanced_halves(capacity.EMBEDDINGS, 2 * PLANTED, seed=seed)
    others = capacity.balanced_halves(capacity.EMBEDDINGS, 2 * (IMAGES - PLANTED), seed=seed + 1000)
    return np.concatenate([planted, others], axis=1), np.arange(2 * IMAGES) < 2 * PLANTED


def measure(pipe: Any, vectors: int) -> Row:
    """Train on one population, attack it and look for copies."""
    began = time.process_time()
    recipe = replace(COMPACT, num_vectors=vectors, steps=STEPS, batch_size=16, mixed_precision=False)
    inside, planted = chosen(seed=0)
    people = phantom_patients.patients(2 * IMAGES, seed=77_000)
    latents = inversion.encode_images(pipe, people)
    again = [latents[: 2 * PLANTED]] * (TIMES - 1)
    coins = np.concatenate([inside, *[inside[:, : 2 * PLANTED]] * (TIMES - 1)], axis=1)
    learned = phantom_patients.train(pipe, torch.cat([latents, *again]), torch.from_numpy(coins), recipe, seed=77_001)
    scores = capacity.attack(pipe, latents, learned, seed=0)
    row: Row = {"vectors": vectors, "copy_checks": 0}
    strangers = scores[~inside]
    for name, who in zip(GROUPS, (planted, ~planted), strict=True):
        members = scores[:, who][inside[:, who]]
        row[name] = {
            "members": len(members), "found": statistics.hits_at(members, strangers, capacity.FALSE_ALARMS),
            "auc": round(statistics.auc(members, strangers), 4), "copied": 0,
        }  # fmt: skip
    for place in range(capacity.CHECKED):
        suspected = capacity.copies(pipe, people, inside[place], learned[place])
        if suspected is not None:
            row["copy_checks"] += 1
            for number in suspected:
                row[GROUPS[number >= PLANTED]]["copied"] += 1  # a half of the planted come first among the members
    return {**row, "cpu_seconds": round(time.process_time() - began)}


def table(rows: Sequence[Row]) -> str:
    """A line for the planted and one for the others of each number of vectors."""
    lines = [
        "| vectors | patients | times seen | members found at 1 % false alarms | AUC | copies suspected |"
        " members counted |",
        "|---|---|---|---|---|---|---|",
    ]
    once = 16 * STEPS / (PLANTED * TIMES + IMAGES - PLANTED)
    for row in sorted(rows, key=lambda row: row["vectors"]):
        for name, seen in zip(GROUPS, (TIMES * once, once), strict=True):
            found = row[name]
            low, high = statistics.proportion_interval(found["found"], found["members"])
            lines.append(
                f"| {row['vectors']} | {name} | {seen:.0f} | {found['found'] / found['members']:.0%}"
                f" [{low:.0%}, {high:.0%}] | {found['auc']:.2f} | {found['copied']} |"
                f" {found['members']} |"
            )
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.planted", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help="write the table into docs, from --results, and stop")
    asked = parser.parse_args(argv)
    results = ResultsFile(asked.results)
    if asked.write:
        capacity.PAGE.write_text(marked.put(capacity.PAGE.read_text(), table(results.rows), name="planted"))
        return
    torch.set_num_threads(1)
    done, pipe = {row["vectors"] for row in results.rows}, load_pipeline(find_base(capacity.BASE))
    for vectors in VECTORS:
        if vectors not in done:
            results.keep(measure(pipe, vectors))
    print(table(results.rows))


if __name__ == "__main__":
    main()
