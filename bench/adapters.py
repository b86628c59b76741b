"""`python -m bench.adapters`: a compact adapter beside an embedding: images, loss, leakage and bytes.

Both learn the same held-out finding of `builtin` from one phantom of each of 40 patients, by their default settings; an
embedding also with a patient-level epsilon of 8. A judge that was trained with near-misses says in how many generated
images the finding is seen and nothing else. The loss is that of other patients' images on noise that is always the
same. Leakage is the headline attack of the audit's `quick` suite (loss-difference) on the 40 and on 40 others, with its
interval. Seeds and settings stand here, fixed before anything was judged; a row is kept as it ends.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bases.workshop.counting import tensor
from bases.workshop.gating import share
from bases.workshop.judge import Judge
from bases.workshop.varied_judges import judge_for
from bench import marked
from bench.results_file import ResultsFile, Row
from embhub.builtin_bases import info
from embhub.options.adapter import AdapterRecipe, TargetModules
from embhub.phantoms import HELD_OUT, draw, target_finding
from embhub.phantoms.findings import PREFIXES

RESULTS = Path(__file__).parent / "results" / "adapters.json"
PAGE = Path(__file__).parents[1] / "docs/how-to/train-an-adapter.md"
FINDING, TOKEN, PATIENTS, OTHERS, EPSILON = "prostate-cspca", "<cspca>", 40, 30, 8.0
CAPTION = f"{PREFIXES[HELD_OUT[FINDING].modality][0]}, {{}}"
GENERATED, FIRST_IMAGE, SEEDS = 48, 9000, (1, 2)


@dataclass(frozen=True)
class Arm:
    """What is trained, whether privately, and which modules change; without a kind, the prompt's words alone."""

    name: str
    kind: str = ""
    private: bool = False
    modules: TargetModules = "cross-attention-kv"


ARMS = (
    Arm("the prompt's words alone"),
    Arm("embedding, 8 vectors", "embedding"),
    Arm("adapter of keys and values, rank 2", "adapter"),
    Arm("adapter of all attention, rank 2", "adapter", modules="attention"),
    Arm(f"embedding, epsilon {EPSILON:g}", "embedding", private=True),
)


def measure(arm: Arm, seed: int, look: Judge, *, generated: int = GENERATED, recipe: Any = None) -> Row:
    """Train, audit, generate and judge one arm."""
    from embhub.diffusion.generation.generation import generate

    found: Row = {"arm": arm.name, "seed": seed}
    prompt, given, made = CAPTION.replace(", {}", ""), [], None
    if arm.kind:
        with tempfile.TemporaryDirectory() as name:
            made = _train(arm, seed, Path(name), recipe)
            prompt, given = CAPTION.replace("{}", TOKEN), [made]
            found |= {"bytes": len(made.data), "leakage": _audit(Path(name))}
    pictures = generate(prompt, embeddings=given, base="builtin", n=generated, seed=FIRST_IMAGE, mark=False)
    seen = look(np.stack([np.asarray(picture) for picture in pictures])).target_only
    return found | {"finding and nothing else": {**share(list(seen)), "n": generated}, "loss": round(_loss(made), 5)}


def _train(arm: Arm, seed: int, folder: Path, recipe: Any) -> Any:
    """Learn from half of the patients; the file."""
    from embhub.diffusion.adaptation.compact import train_adapter
    from embhub.diffusion.train import train
    from embhub.options.training import PrivacySettings, Selection

    rng, rows = np.random.default_rng([seed, 1]), ["path,patient_id,split"]
    for number in range(2 * PATIENTS):
        image = draw(HELD_OUT[FINDING].modality, target_finding(FINDING, rng), rng).image
        Image.fromarray(image).save(folder / f"{number:03}.png")
        rows.append(f"{number:03}.png,p{number},{'holdout' if number % 2 else 'train'}")
    (folder / "manifest.csv").write_text("\n".join(rows))
    learn: Any = train if arm.kind == "embedding" else train_adapter
    private = {"privacy": PrivacySettings(EPSILON, n_public=PATIENTS)} if arm.private else {}
    if arm.kind == "adapter":
        recipe = replace(recipe or AdapterRecipe(), target_modules=arm.modules)
    result = learn(
        folder, token=TOKEN, caption=CAPTION, base="builtin", out=folder / "made.safetensors",
        selection=Selection(manifest=folder / "manifest.csv"), seed=None if arm.private else seed,
        **private, **({"recipe": recipe} if recipe else {}),
    )  # fmt: skip
    return result.embedding if arm.kind == "embedding" else result.adapter


def _audit(folder: Path) -> dict[str, float]:
    import embhub

    attack = embhub.audit(folder / "made.safetensors", suite="quick").headline_result
    low, high = attack.auc_interval
    return {"auc": round(attack.auc, 3), "low": round(low, 3), "high": round(high, 3)}


def _loss(made: Any) -> float:
    """Mean loss over other patients' images."""
    from embhub.diffusion.bases.pipelines import load_pipeline
    from embhub.diffusion.generation.loading import load_into, tensors
    from embhub.diffusion.training.eval_loss import mean_loss
    from embhub.diffusion.training.inversion import encode_images

    rng, pipe = np.random.default_rng(77), load_pipeline("builtin")
    images = [draw(HELD_OUT[FINDING].modality, target_finding(FINDING, rng), rng).image for _ in range(OTHERS)]
    rows, caption = None, CAPTION
    if made is not None and made.kind == "adapter":
        load_into(pipe, made)
        caption = CAPTION.replace("{}", TOKEN)
    elif made is not None:
        rows = tensors(made)
    latents = encode_images(pipe, tensor(np.stack(images)))
    return mean_loss(pipe, latents, token=TOKEN, caption=caption, rows=rows)


def table(rows: Sequence[Row]) -> str:
    """A line an arm and seed."""
    lines = [
        "| arm | seed | bytes | finding and nothing else, of images | loss on other patients | AUC of the attack |",
        "|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        for row in (row for row in rows if row["arm"] == arm.name):
            seen, leak = row["finding and nothing else"], row.get("leakage")
            cells = [
                arm.name,
                f"{row['seed']}",
                f"{row['bytes']:,}" if "bytes" in row else "",
                f"{seen['share']:.0%} [{seen['low']:.0%}, {seen['high']:.0%}] of {seen['n']}",
                f"{row['loss']:.4f}",
                f"{leak['auc']:.2f} [{leak['low']:.2f}, {leak['high']:.2f}]" if leak else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.adapters", description=__doc__)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help="write the table into docs, from --results, and stop")
    chosen = parser.parse_args(argv)
    results = ResultsFile(chosen.results)
    if chosen.write:
        PAGE.write_text(marked.put(PAGE.read_text(), table(results.rows)))
        return
    torch.set_num_threads(1)
    done, look = {(row["arm"], row["seed"]) for row in results.rows}, None
    with tempfile.TemporaryDirectory() as home:
        os.environ["EMBHUB_HOME"] = home  # the trainings of a study are no business of the site's ledger
        for seed in SEEDS[: chosen.seeds]:
            for arm in ARMS:
                if (arm.name, seed) not in done and (arm.kind or seed == SEEDS[0]):
                    look = look or judge_for(FINDING, info("builtin").path)
                    results.keep(measure(arm, seed, look))
    print(table(results.rows))


if __name__ == "__main__":
    main()
