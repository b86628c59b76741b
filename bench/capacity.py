"""`python -m bench.capacity`: how many patients can a file of so many vectors give away?

A population is twice as many phantom patients as an embedding learns from, an image each. Eight embeddings learn from
random halves of it, all by one recipe. Each is attacked with the other seven as references (LiRA), by somebody who
holds everybody's images, the base and the file; no label is used before scores are counted. A member is found where
the score is above that of all but one in a hundred of the people who were not learned from. Small populations are
repeated, so that every cell counts a hundred members or more. A copy check looks at images that two embeddings of each
population generate, where there are patients enough for one.

Grid, seeds and the threshold stand here, fixed before anything was measured; a cell is kept as it ends, so the study
can be left and gone on with.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import marked, phantom_patients
from bench.results_file import ResultsFile, Row
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.audits import statistics
from embhub.copies import tail
from embhub.diffusion.attacks.evidence import draw, measure_losses
from embhub.diffusion.attacks.shadows import score_in_turn
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.copying.comparing import compare
from embhub.diffusion.training import inversion
from embhub.diffusion.training.recipes import COMPACT

RESULTS = Path(__file__).parent / "results" / "capacity.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/capacity.md"
BASE = "builtin"
EMBEDDINGS, DRAWS, MEMBERS, FALSE_ALARMS = 8, 8, 100, 0.01
CHECKED, GENERATED = 2, 16
VECTORS, IMAGES, STEPS = (1, 4, 16, 40), (2, 10, 50, 200), 200
LONGER = ((16, 10, 50), (16, 10, 800), (16, 50, 50), (16, 50, 800))
"""Cells of another number of steps: vectors, images, steps."""
Cell = tuple[int, int, int]


def cells() -> list[Cell]:
    """Vectors, images and steps of every cell, the cheap ones first."""
    found = [(vectors, images, STEPS) for images in IMAGES for vectors in VECTORS] + list(LONGER)
    return sorted(found, key=lambda cell: (cell[1] * cell[2], cell[0]))


def measure(pipe: Any, cell: Cell) -> Row:
    """One cell: populations until there are `MEMBERS`, each trained on, attacked and copy-checked."""
    vectors, images, steps = cell
    recipe = replace(COMPACT, num_vectors=vectors, steps=steps, batch_size=min(16, images), mixed_precision=False)
    began, populations = time.process_time(), max(1, -(-MEMBERS // (EMBEDDINGS * images)))
    members, others, areas, copied, looked = [], [], [], 0, 0
    for number in range(populations):
        people = phantom_patients.patients(2 * images, seed=1000 * images + number)
        latents = inversion.encode_images(pipe, people)
        halves = balanced_halves(EMBEDDINGS, 2 * images, seed=number)
        learned = phantom_patients.train(pipe, latents, torch.from_numpy(halves), recipe, seed=10_000 * number + 1)
        scores = attack(pipe, latents, learned, seed=number)
        for row, inside in zip(scores, halves, strict=True):
            members += row[inside].tolist()
            others += row[~inside].tolist()
            areas.append(statistics.auc(row[inside], row[~inside]))
        for place in range(CHECKED):
            found = copies(pipe, people, halves[place], learned[place])
            copied, looked = copied + len(found or ()), looked + (0 if found is None else 1)
    hits = statistics.hits_at(members, others, FALSE_ALARMS)
    return {
        "vectors": vectors, "images": images, "steps": steps, "numbers": vectors * width(learned[0]),
        "populations": populations, "members": len(members), "found": hits, "auc": round(float(np.mean(areas)), 4),
        "copy_checks": looked, "copied": copied, "cpu_seconds": round(time.process_time() - began),
    }  # fmt: skip


def balanced_halves(embeddings: int, people: int, *, seed: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which people each embedding learns from, (S, U): exactly half of them, drawn at random."""
    ranks = np.random.default_rng([seed, 3]).random((embeddings, people)).argsort(axis=1).argsort(axis=1)
    return ranks < people // 2


def attack(
    pipe: Any, latents: Tensor, learned: Sequence[Mapping[str, Tensor]], *, seed: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Scores (S, U) of everybody against each embedding; an embedding's mean is taken off, which needs no label."""
    draws = draw(pipe, latents.shape[1:], count=DRAWS, seed=seed)
    told: Any = {"caption": phantom_patients.CAPTION, "token": phantom_patients.TOKEN}
    losses = torch.stack([measure_losses(pipe, latents, draws, rows=rows, **told) for rows in learned])
    scores = score_in_turn(losses)
    found: np.ndarray[Any, np.dtype[np.float64]] = (scores - scores.mean(1, keepdim=True)).numpy()
    return found


def copies(pipe: Any, people: Tensor, inside: Any, rows: Mapping[str, Tensor]) -> set[int] | None:
    """The members, by number, whose images a copy check suspects among generated ones; None with too few people."""
    trained, kept = people[torch.from_numpy(inside)], people[torch.from_numpy(~inside)]
    if len(trained) < tail.FEWEST_MEMBERS or len(kept) < tail.FEWEST_CONTROLS:
        return None
    from embhub.diffusion.generation.generation import generate

    made = artifact.build(
        {"emb_params": rows["text_encoder"].numpy()}, token=phantom_patients.TOKEN,
        base=fingerprint.take(find_base(BASE).folder), base_name=BASE, training={"caption": phantom_patients.CAPTION},
    )  # fmt: skip
    pictures = generate(phantom_patients.CAPTION, embeddings=[made], base=BASE, n=GENERATED, seed=1)
    drawn = torch.from_numpy(np.stack([np.asarray(one.convert("RGB")) for one in pictures]))
    found = compare(pipe, trained, range(len(trained)), kept, drawn.permute(0, 3, 1, 2).float() / 127.5 - 1, alpha=0.05)
    nearest = np.stack(list(found.nearest.values()), 1)[found.suspected]
    return {int(number) for number in nearest[:, 0]} if len(nearest) else set()


def width(rows: Mapping[str, Tensor]) -> int:
    return sum(int(part.shape[-1]) for part in rows.values())


def table(rows: Sequence[Row]) -> str:
    """A row for each cell: the share of members found, with its interval, and what that means for a file."""
    lines = [
        "| vectors | images | steps | members found at 1 % false alarms | AUC | found per file |"
        " copies suspected | members counted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (row["steps"] != STEPS, row["images"], row["vectors"], row["steps"])):
        share = row["found"] / row["members"]
        low, high = statistics.proportion_interval(row["found"], row["members"])
        copies = row["copied"] if row["copy_checks"] else "-"
        lines.append(
            f"| {row['vectors']} | {row['images']} | {row['steps']} |"
            f" {share:.0%} [{low:.0%}, {high:.0%}] | {row['auc']:.2f} | {share * row['images']:.1f} | {copies} |"
            f" {row['members']} |"
        )
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the cells that are not there yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--images", type=int, action="append", choices=IMAGES, help="cells of so many images alone")
    parser.add_argument("--vectors", type=int, action="append", choices=VECTORS, help="cells of so many vectors alone")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--write", action="store_true", help="write the table into docs, from --results, and stop")
    asked = parser.parse_args(argv)
    results = ResultsFile(asked.results, asked.device)
    if asked.write:
        PAGE.write_text(marked.put(PAGE.read_text(), table(results.rows)))
        return
    torch.set_num_threads(1)
    pipe = load_pipeline(find_base(BASE), device=asked.device)
    done = {(row["vectors"], row["images"], row["steps"]) for row in results.rows}
    for cell in cells():
        if cell not in done and cell[0] in (asked.vectors or VECTORS) and cell[1] in (asked.images or IMAGES):
            results.keep(measure(pipe, cell))
            print(f"done: vectors, images, steps {cell}", flush=True)
    print(table(results.rows))


if __name__ == "__main__":
    main()
