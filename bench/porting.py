"""`python -m bench.porting`: how much of what direct inversion reaches does a ported embedding reach?

The old base is the X-ray base of 64 pixels of commit 5254313, the new one the built-in X-ray base of 128. Films of
bacterial pneumonia of the `site` part are learned from twice: on the old base, and directly on the new one. The first
embedding is ported. A judge of the `judge` part's films says how probable pneumonia is in images that the new base
generates, with equal seeds, by the port, by the direct embedding and by the prompt's words alone. `reach` is the gain
of the port over the words divided by that of the direct embedding. The loss is that of held-out films of the same part.
Seeds and settings stand here, fixed before anything was judged; a seed is kept as it ends.

    git archive 5254313 embhub/diffusion/base/builtin-xray | tar x -C OLD
    python -m bench.porting --old OLD/embhub/diffusion/base/builtin-xray

`--write` updates the table of the page from what was kept.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bases.workshop import xray
from bases.workshop.xray_judge import Judge, xray_judge_for
from bench import marked
from bench.results_file import ResultsFile, Row
from embhub.audits import statistics

RESULTS = Path(__file__).parent / "results" / "porting.json"
PAGE = Path(__file__).parents[1] / "docs/how-to/port-an-embedding.md"
NEW = "builtin-xray"
LABEL, TOKEN = "bacterial pneumonia", "<bacterial>"
CAPTION = f"{xray.HEAD}, {{}}"
SEEDS = (1, 2, 3)
FILMS, HELD_OUT, GENERATED, STEPS, BATCH, PORTED = 40, 24, 16, 100, 8, 48
FIRST_IMAGE = 9000
ARMS, CALLED = ("words", "direct", "port"), "called pneumonia"
FIGURES = {
    "P(pneumonia)": "mean probability of pneumonia", CALLED: "called pneumonia by the judge",
    "loss": "loss on held-out X-rays",
}  # fmt: skip
"""Figures as they are kept, and as the table calls them."""


def measure(seed: int, old: str, data: Path, look: Judge, *, ported: int = PORTED) -> Row:
    """One seed: two trainings, a port, and what the judge and the loss say of each."""
    from embhub.diffusion.adaptation.porting import port
    from embhub.diffusion.train import train
    from embhub.options.training import Recipe, Selection

    films = xray.read(data, "site", [LABEL], side=224)
    order = np.random.default_rng(seed).permutation(sorted(set(films.patients)))
    shown, unseen = _of(films, order[:FILMS]), _of(films, order[FILMS : FILMS + HELD_OUT])
    recipe: dict[str, Any] = {"recipe": Recipe(steps=STEPS, batch_size=BATCH), "selection": Selection(holdout=0.0)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, film in enumerate(shown):
            Image.fromarray(film).save(folder / f"{number:03}.png")
        told = {"token": TOKEN, "caption": CAPTION, "seed": seed, **recipe}
        first = train(folder, base=old, **told)
        direct = train(folder, base=NEW, **told)
    moved = port(first.embedding, to=NEW, base=old, images=ported, seed=seed, recipe=recipe["recipe"])
    arms = {"words": None, "direct": direct.embedding, "port": moved.embedding}
    found: Row = {"seed": seed, "films": len(shown), "held out": len(unseen), "ported from": ported}
    found |= {"steps": STEPS, "batch": BATCH}
    for name, embedding in arms.items():
        chances = 1 - look(_generate(embedding))[:, 0]
        found[name] = {
            "P(pneumonia)": round(float(chances.mean()), 3),
            "called pneumonia": round(float((chances > 0.5).mean()), 3),
            "loss": round(_loss(embedding, unseen), 5),
        }
    return found


def reach(rows: list[Row], figure: str) -> list[float]:
    """The port's gain over the words as a share of the direct embedding's, for each seed."""
    gains = ((row["port"][figure] - row["words"][figure], row["direct"][figure] - row["words"][figure]) for row in rows)
    return [port / direct for port, direct in gains if direct]


def table(rows: list[Row]) -> str:
    """A row for each seed and figure, with exact 95 % intervals for shares of images; the means; and the reach."""
    lines = ["| seed | figure | words alone | direct inversion | ported | reach |", "|---|---|---|---|---|---|"]
    for row in rows:
        for figure, named in FIGURES.items():
            cells = " | ".join(_show(figure, row[arm][figure]) for arm in ARMS)
            share = "".join(f"{one:.0%}" for one in reach([row], figure))
            lines.append(f"| {row['seed']} | {named} | {cells} | {share} |")
    for figure, named in FIGURES.items():
        means = (float(np.mean([row[arm][figure] for row in rows])) for arm in ARMS)
        cells = " | ".join(f"{mean:.0%}" if figure == CALLED else f"{mean:.4g}" for mean in means)
        lines.append(f"| mean of {len(rows)} | {named} | {cells} | {np.mean(reach(rows, figure)):.0%} |")
    return "\n".join(lines) + "\n"


def _show(figure: str, value: float) -> str:
    if figure != CALLED:
        return f"{value:.4g}"
    low, high = statistics.proportion_interval(round(value * GENERATED), GENERATED)
    return f"{value:.0%} [{low:.0%}, {high:.0%}]"


def _of(films: xray.Films, patients: NDArray[np.str_]) -> list[NDArray[np.uint8]]:
    """The first film of each of these patients."""
    return [films.images[films.patients.index(str(patient))] for patient in patients]


def _generate(embedding: Any) -> NDArray[np.uint8]:
    from embhub.diffusion.drawing.generation import generate

    prompt, given = (xray.HEAD, []) if embedding is None else (CAPTION, [embedding])
    pictures = generate(prompt, embeddings=given, base=NEW, n=GENERATED, seed=FIRST_IMAGE)
    return np.stack([np.asarray(picture) for picture in pictures])


def _loss(embedding: Any, films: list[NDArray[np.uint8]]) -> float:
    from embhub.diffusion.bases.pipelines import load_pipeline, size_rule
    from embhub.diffusion.drawing.loading import tensors
    from embhub.diffusion.training.eval_loss import losses_with
    from embhub.diffusion.training.inversion import encode_images
    from embhub.images import pixels

    pipe = load_pipeline(NEW)
    side = size_rule(pipe).own
    shown = np.stack([pixels.fit(Image.fromarray(film).convert("RGB"), side) for film in films])
    rows = None if embedding is None else tensors(embedding)
    latents = encode_images(pipe, torch.from_numpy(shown))
    return float(losses_with(pipe, latents, token=TOKEN, caption=CAPTION, rows=rows).mean())


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description="the share of direct inversion that a port reaches")
    parser.add_argument("--old", help="folder of the X-ray base of 64 pixels")
    parser.add_argument("--data", type=Path, default=xray.default_data())
    parser.add_argument("--ported", type=int, default=PORTED, help="images that a port generates")
    parser.add_argument("--write", action="store_true", help=f"write the table into docs/how-to/{PAGE.name}, and stop")
    arguments = parser.parse_args()
    results, look = ResultsFile(RESULTS), None
    if arguments.write:
        PAGE.write_text(marked.put(PAGE.read_text(encoding="utf-8"), table(results.rows)), encoding="utf-8")
        return
    if arguments.old is None:
        parser.error("--old is needed, but for --write")
    done = {(row["seed"], row["ported from"]) for row in results.rows}
    with tempfile.TemporaryDirectory() as home:
        os.environ["EMBHUB_HOME"] = home  # the trainings of a study are no business of the site's ledger
        for seed in SEEDS:
            if (seed, arguments.ported) not in done:
                look = look or xray_judge_for(arguments.data, NEW, members=1, steps=300)
                results.keep(measure(seed, arguments.old, arguments.data, look, ported=arguments.ported))
    print(table(results.rows))


if __name__ == "__main__":
    main()
