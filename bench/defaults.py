"""`python -m bench.defaults`: the settings of a training, one changed at a time, by the loss on patients kept back.

The loss is of fixed noise and fixed times (`embhub.diffusion.training.eval_loss.mean_loss`) on images of patients
that nothing was learned from; no judge and no picture has a say. Every variant that was run is in the table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bases.workshop import xray
from bases.workshop.counting import tensor
from bases.workshop.xray_judge import colour
from bench import machine
from embhub.builtin_bases import info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.recipes import COMPACT, ResolvedRecipe
from embhub.phantoms import HELD_OUT, draw, target_finding
from embhub.phantoms.findings import PREFIXES

PAGE = Path(__file__).parents[1] / "docs/explanation/training-defaults.md"
FINDING, LEARNED, KEPT, TOKEN = "prostate-cspca", 100, 60, "<bench>"


def variants() -> Iterator[tuple[str, ResolvedRecipe]]:
    """The default, then every variant with one setting changed; the second seed says how much chance there is."""
    yield "default", COMPACT
    yield "default, another seed", COMPACT
    for vectors in (1, 4, 16):
        yield f"{vectors} vectors", replace(COMPACT, num_vectors=vectors)
    for steps in (100, 400):
        yield f"{steps} steps", replace(COMPACT, steps=steps)
    for rate in (0.01, 0.03, 0.3):
        yield f"learning rate {rate:g}", replace(COMPACT, learning_rate=rate)
    yield "directional", replace(COMPACT, norm="directional")
    yield "starting from `lesion`", replace(COMPACT, initializer_text="lesion")
    for share in (0.0, 0.7):
        yield f"{share:.0%} of each batch at high noise", replace(COMPACT, high_noise=share)
    yield "min-SNR 5", replace(COMPACT, snr_gamma=5.0)


def phantoms() -> tuple[str, np.ndarray, np.ndarray]:
    """Caption, images to learn from and images kept back: the held-out finding of `builtin`."""
    rng, modality = np.random.default_rng(5), HELD_OUT[FINDING].modality
    images = np.stack([draw(modality, target_finding(FINDING, rng), rng).image for _ in range(LEARNED + KEPT)])
    return f"{PREFIXES[modality][0]}, {{}}", images[:LEARNED], images[LEARNED:]


def films(data: Path) -> tuple[str, np.ndarray, np.ndarray]:
    """The same of real X-rays: the label that `builtin-xray` never saw, two hospitals without a common patient."""
    learned, others = xray.hospital(data, xray.LEFT_OUT, LEARNED), xray.other_hospital(data, xray.LEFT_OUT, LEARNED)
    kept = others.images[others.labels == xray.LABELS.index(xray.LEFT_OUT)][:KEPT]
    return f"{xray.HEAD}, {{}}", colour(learned.images), colour(kept)


def study(base: str, caption: str, learned: np.ndarray, kept: np.ndarray) -> list[tuple[str, float, float, float]]:
    """For each variant: loss on the images kept back, on those learned from, seconds of the processor."""
    pipe = load_pipeline(info(base).path)
    inside, outside = (inversion.encode_images(pipe, tensor(part)) for part in (learned, kept))

    def losses(rows: Any) -> tuple[float, float]:
        found = [
            inversion.mean_loss(pipe, part, token=TOKEN, caption=caption, rows=rows, draws=10)
            for part in (outside, inside[: len(outside)])
        ]
        return found[0], found[1]

    rows = [("caption alone, nothing learned", *losses(None), 0.0)]
    for name, recipe in variants():
        began = time.process_time()
        fit = inversion.fit(pipe, inside, token=TOKEN, caption=caption, recipe=recipe, seed=int("another" in name))
        spent = time.process_time() - began
        rows.append((name, *losses(fit.rows), spent))
        print(f"{base}: {name}: {rows[-1][1]:.4f} kept back, {rows[-1][2]:.4f} learned, {spent:.0f} s", flush=True)
    return rows


def page(tables: dict[str, list[tuple[str, float, float, float]]]) -> str:
    """The page of docs."""
    vectors = COMPACT.num_vectors
    text = [
        "# Defaults by measurement",
        "",
        "Written by `python -m bench.defaults --write`, which anybody may run again. One setting is changed at a time,",
        f"from {vectors} vectors, {COMPACT.steps} steps, learning rate {COMPACT.learning_rate:g}, batches of "
        f"{COMPACT.batch_size}, free norm, start from the caption's words, {COMPACT.high_noise:.0%} of each batch at",
        f"high noise. {LEARNED} images were learned from, {KEPT} of other patients kept back; the loss is of fixed",
        "noise at ten fixed times. Lower is better on what was kept back; where only the loss of the learned images",
        "falls, it remembers. Differences as small as those of the two seeds are chance. A min-SNR run is measured",
        "by the plain loss, too. No judge and no picture has a say here; what embeddings draw is counted in each",
        "base's card.",
        "",
        f"Measured on {date.today().isoformat()}: {machine.describe()['processor']}, one thread. The seconds are the "
        "processor's, and rough.",
    ]
    for base, rows in tables.items():
        text += ["", f"## `{base}`", "", "| variant | loss kept back | loss learned | seconds |", "|---|---|---|---|"]
        text += [f"| {name} | {back:.4f} | {learned:.4f} | {spent:.0f} |" for name, back, learned, spent in rows]
    return "\n".join(text) + "\n"


def main() -> None:
    """Run the study; X-rays only where they are."""
    parser = argparse.ArgumentParser(prog="python -m bench.defaults", description=__doc__)
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    parser.add_argument("--only", choices=("builtin", "builtin-xray"))
    parser.add_argument("--write", action="store_true", help=f"write docs/explanation/{PAGE.name}")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    tables = {}
    if asked.only != "builtin-xray":
        tables["builtin"] = study("builtin", *phantoms())
    if asked.only != "builtin" and (asked.data / "chest-xray").exists():
        tables["builtin-xray"] = study("builtin-xray", *films(asked.data))
    text = page(tables)
    print(text)
    if asked.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
