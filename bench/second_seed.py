"""`python -m bench.second_seed`: a compact model of the domain against one of another domain that was adapted.

The question of Prompt to Polyp in small: `builtin-xray`, taught X-rays from nothing, beside `builtin`, which saw
phantoms alone, adapted to the same hospital's films by each way that `python -m bench.components` measures. This study
takes the pictures that the other one drew (its `--work` folder), draws those of the compact model with the same seeds
and settings, and judges all of them alike. Both bases have the same size, so cost is what a site must learn, keep and
send, not what a larger network takes to run.

Prompts, seeds and numbers of pictures are those of the other study, fixed before anything was seen.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bases.workshop import xray
from bases.workshop.sampling import sample
from bases.workshop.xray_judge import colour, xray_judge_for
from bench import components, machine
from bench.components import CLASSES, DRAWN, GUIDANCE, SAMPLING
from embhub.builtin_bases import resolve
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.evaluation import classifier, fidelity
from embhub.diffusion.training.inversion import default_recipe

RESULTS = Path(__file__).parent / "results" / "second_seed.json"
PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "compact-or-adapted.md"
COMPACT = "builtin-xray, as it is"
PROMPTS = {"normal": "frontal chest x-ray, normal", "pneumonia": "frontal chest x-ray, viral pneumonia"}
REAL = "real films of other patients"
ARMS = ("original", "textual inversion", "text encoder", "U-Net", "U-Net and text encoder", "U-Net, LoRA of rank 8")
Pictures = NDArray[np.uint8]
Row = dict[str, Any]


def draw_compact(seed: int) -> dict[str, Pictures]:
    """Pictures of the compact model, by the other study's settings."""
    pipe = load_pipeline("builtin-xray", device="cpu")
    settings: dict[str, Any] = {"guidance": GUIDANCE, "steps": SAMPLING, "seed": 5000 + 1000 * seed}
    return {name: sample(pipe, prompt, DRAWN, **settings) for name, prompt in PROMPTS.items()}


def gather(work: Path, seed: int) -> dict[str, dict[str, Pictures]]:
    """The pictures of every arm that the other study has finished."""
    found = {}
    for arm in ARMS:
        path = work / f"{arm}-{seed}.npz"
        if path.exists():
            with np.load(path) as kept:
                found[arm] = {name: kept[name] for name in CLASSES}
    return found


def judge(data: Path, arms: Mapping[str, Mapping[str, Pictures]]) -> dict[str, Row]:
    """Likeness to films of other patients (KID, precision, recall, diversity), and agreement of judges with prompts.

    The features are of a classifier taught the `site` part; the judges of the `judge` part, also of its copies through
    either base's autoencoder; real films are of the `test` part. No two parts share a patient.
    """
    site, test = xray.read(data, "site"), xray.read(data, "test")
    taught = classifier.fit(colour(site.images), site.labels, classes=xray.LABELS, steps=400, seed=11)
    features = fidelity.Features(taught, colour(site.images))
    shown = {name: colour(test.images[(test.labels != 0) == number]) for number, name in enumerate(CLASSES)}
    judges = [xray_judge_for(data, base) for base in ("builtin", "builtin-xray")]
    real = np.concatenate([shown[name][DRAWN : 2 * DRAWN] for name in CLASSES])
    everything = {REAL: {name: shown[name][:DRAWN] for name in CLASSES}, **arms}
    likeness = fidelity.compare(
        features, {arm: np.concatenate([p[name] for name in CLASSES]) for arm, p in everything.items()}, real
    )
    rows = {}
    for arm, pictures in everything.items():
        sick = {name: np.mean([1 - each(pictures[name])[:, 0] for each in judges], axis=0) for name in CLASSES}
        rows[arm] = {
            **{name: round(value, 4) for name, value in asdict(likeness[arm]).items()},
            "called_normal_of_normal": round(float((sick["normal"] < 0.5).mean()), 3),
            "called_pneumonia_of_pneumonia": round(float((sick["pneumonia"] > 0.5).mean()), 3),
        }
    return rows


def costs(work: Path, components_results: Path, arms: Sequence[str]) -> dict[str, Row]:
    """What a site learns and sends: bytes of the files that an arm adds, and CPU seconds of its training."""
    study = json.loads(components_results.read_text())
    seconds = {row["arm"]: row.get("seconds") for row in study["rows"]}
    found: dict[str, Row] = {}
    folder = resolve("builtin-xray")
    assert folder is not None
    whole = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    for arm in arms:
        path = work / f"{arm}-0.safetensors"
        size: int | None = path.stat().st_size if path.exists() else None
        if arm == "textual inversion":
            pipe = load_pipeline("builtin", device="cpu")
            width = int(pipe.text_encoder.config.hidden_size)
            size = len(CLASSES) * default_recipe(pipe).num_vectors * width * 2  # float16, without headers
        found[arm] = {"bytes": whole if arm == COMPACT else size, "cpu_seconds": seconds.get(arm)}
    return found


_OPENING = """# Compact or adapted?

Prompt to Polyp asks whether a small model of the domain can stand beside a large one that was adapted. In small:
`builtin-xray`, which learned X-rays from nothing, beside `builtin`, which saw drawn phantoms alone and was adapted to
the same hospital's films. Both have the same size here, so this says nothing about large networks: it compares ways to
get to X-rays, by what they give and what a site has to learn and send.

Written by `python -m bench.second_seed --write` from the pictures of `python -m bench.components`: {drawn} a class
(normal, pneumonia), {steps} steps, guidance {guidance:g}, seed {seed}. Features and judges learned from patients of
their own; real films are of others again. KID's features are not Inception's: figures compare within this table only.
The first row is what real films come to. There is one training an arm, so that small differences are chance.

"""
_COLUMNS = (
    "arm", "KID (sd of subsets)", "precision", "recall", "diversity", "normal called so", "pneumonia called so",
    "bytes", "CPU s",
)  # fmt: skip
_CLOSING = """
Bytes are what a site adds and sends, CPU seconds what it spends on learning (as the other study measured them).

The `builtin-xray` of this study had 64 pixels and was taught normal chests and viral pneumonia; bacterial pneumonia,
which is among the real films, was left out of it on purpose. The present one knows normal chests alone and was not
measured here. The adapted arms learned from both kinds.

The `builtin` of this study had 64 pixels, too. The [present one](base-models.md) was not measured here.

**What was found.** The model of the domain is ahead of every adapted one here in likeness, precision and recall (arms
with an adapted decoder are not among them). Next is the adapted denoiser, in more bytes (float32, where the model of
the domain is stored in halves). What is small to send, a LoRA or an embedding, pleases a judge of pneumonia and
draws few normal chests: on a base that never saw the modality an embedding alone brings none of its pictures near to
real ones (precision 0). An embedding belongs on a base that knows the modality already, which is what `builtin-xray`
is for. The model of the domain learned for an hour or two ([base models](base-models.md)), the adapted arms for less
than two minutes: more steps might bring them closer, which was not measured.

Measured on {processor}, one thread.
"""


def render(study: Mapping[str, Any]) -> str:
    """The page."""
    settings = study["settings"]
    opening = _OPENING.format(
        drawn=settings["drawn_a_class"], steps=settings["sampling_steps"], guidance=settings["guidance"],
        seed=settings["seed"],
    )  # fmt: skip
    return opening + table(study) + _CLOSING.format(processor=settings["machine"].get("processor", "a processor"))


def table(study: Mapping[str, Any]) -> str:
    """An arm a line."""
    return f"| {' | '.join(_COLUMNS)} |\n{'|---' * len(_COLUMNS)}|\n" + "".join(map(_line, study["rows"]))


def _line(row: Mapping[str, Any]) -> str:
    size = "" if row.get("bytes") is None else f"{row['bytes']:,}"
    spent = "" if row.get("cpu_seconds") is None else f"{row['cpu_seconds']:,.0f}"
    if row["arm"] == COMPACT:
        spent = "not measured here"
    return (
        f"| {row['arm']} | {row['kid']:.3f} ({row['kid_sd']:.3f}) | {row['precision']:.2f} | {row['recall']:.2f} | "
        f"{row['diversity']:.2f} | {row['called_normal_of_normal']:.0%} | {row['called_pneumonia_of_pneumonia']:.0%} | "
        f"{size} | {spent} |\n"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Judge what is there, print the table, write it on demand."""
    parser = argparse.ArgumentParser(prog="python -m bench.second_seed", description=__doc__)
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    parser.add_argument("--work", type=Path, required=True, help="--work of bench.components")
    parser.add_argument("--components", type=Path, default=components.RESULTS, help="--results of bench.components")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help=f"write the results and docs/explanation/{PAGE.name}")
    asked = parser.parse_args(argv)
    torch.set_num_threads(1)
    began, kept = time.process_time(), asked.work / "compact-0.npz"
    if not kept.exists():
        np.savez_compressed(kept, **draw_compact(0))  # type: ignore[arg-type]  # numpy's stub takes a keyword for a flag
    with np.load(kept) as compact:
        arms = {COMPACT: {name: compact[name] for name in CLASSES}, **gather(asked.work, 0)}
    judged, spent = judge(asked.data, arms), costs(asked.work, asked.components, tuple(arms))
    study = {
        "settings": {
            "drawn_a_class": DRAWN, "guidance": GUIDANCE, "sampling_steps": SAMPLING, "seed": 0,
            "prompts_of_the_compact_model": PROMPTS, "machine": machine.describe(),
            "cpu_seconds_of_this_study": round(time.process_time() - began),
        },
        "rows": [{"arm": arm, **row, **spent.get(arm, {})} for arm, row in judged.items()],
    }  # fmt: skip
    print(render(study))
    if asked.write:
        asked.results.write_text(json.dumps(study, indent=1) + "\n")
        PAGE.write_text(render(study), encoding="utf-8")


if __name__ == "__main__":
    main()
