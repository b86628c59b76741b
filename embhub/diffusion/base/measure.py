"""Measure a built-in base and write what was counted into its card: `python -m embhub.diffusion.base.measure NAME`.

Seeds, numbers of samples and settings are fixed here, before anything is seen; every figure is reported, misses
included.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embhub.diffusion import classifier, inversion
from embhub.diffusion.base import NAMES, BaseInfo, attributes, autoencoder, info, xray
from embhub.diffusion.base.card import write_card
from embhub.diffusion.base.judge import judge_for
from embhub.diffusion.base.sampling import sample, sample_with
from embhub.diffusion.base.train import default_data
from embhub.diffusion.base.xray_judge import colour, xray_judge_for
from embhub.diffusion.inversion import COMPACT
from embhub.diffusion.pipelines import load_pipeline
from embhub.errors import EmbhubError
from embhub.phantoms import HELD_OUT, MODALITIES, Finding, draw, near_miss, random_finding, target_finding
from embhub.phantoms.findings import PREFIXES

TAUGHT, SAMPLES, IMAGES = 24, 48, 100
TOKEN = "<measured>"  # noqa: S105
Figures = dict[str, Any]
Pictures = NDArray[np.uint8]
Report = Callable[[str], None]
Keep = Callable[[str, Pictures], None]


def measure_phantoms(base: BaseInfo, report: Report, keep: Keep) -> Figures:
    """Figures of a base of phantoms: autoencoder, taught prompts, held-out findings before and after inversion."""
    pipe = load_pipeline(base.path)
    figures: Figures = {"autoencoder_db": {"n": 50}, "taught": {}, "held_out": {}}
    for modality in MODALITIES:
        rng = np.random.default_rng(101)
        images = np.stack([draw(modality, random_finding(modality, rng), rng).image for _ in range(50)])
        figures["autoencoder_db"][modality] = _decibels(pipe, images)
    report(f"autoencoder {figures['autoencoder_db']}")
    guidance, steps = base.recommended["guidance"], int(base.recommended["steps"])
    for label, prompt in base.prompts.items():
        modality = next(one for one in MODALITIES if prompt.startswith(PREFIXES[one][0]))
        pictures = sample(pipe, prompt, TAUGHT, guidance=guidance, steps=steps, seed=1000)
        keep(label, pictures)
        wanted = attributes.asked(prompt)
        read = attributes.reader_for(modality, base.path)(pictures)
        each = {word: round(sum(word in words for words in read) / TAUGHT, 3) for word in sorted(wanted)}
        figures["taught"][label] = {
            "recognised": round(sum(wanted <= words for words in read) / TAUGHT, 3),
            "each_word": each,
            "n": TAUGHT,
        }
        report(f"taught {label}: {figures['taught'][label]}")
    for name in HELD_OUT:
        figures["held_out"][name] = _held_out(pipe, base, name, report, keep)
    return figures


def _held_out(pipe: Any, base: BaseInfo, name: str, report: Report, keep: Keep) -> Figures:
    """What the judge counts in real images, in samples without an embedding, and in samples with an inverted one."""
    held = HELD_OUT[name]
    judge = judge_for(name, base.path)
    guidance, steps = base.recommended["guidance"], int(base.recommended["steps"])
    rng = np.random.default_rng(202)
    real: dict[str, list[Finding | None]] = {
        "target": [target_finding(name, rng) for _ in range(SAMPLES)],
        "look_alike": [near_miss(name, rng) for _ in range(SAMPLES)],
        "normal": [None] * SAMPLES,
    }
    figures: Figures = {"n": SAMPLES, "real": {}}
    for kind, findings in real.items():
        shares = judge(np.stack([draw(held.modality, one, rng).image for one in findings])).shares()
        figures["real"][kind] = shares
    prefix = PREFIXES[held.modality][0]
    for kind, prompt in {"before": f"{prefix}, lesion", "in_words": f"{prefix}, {held.words}"}.items():
        pictures = sample(pipe, prompt, SAMPLES, guidance=guidance, steps=steps, seed=2000)
        keep(f"{name} {kind}", pictures)
        figures[kind] = {"prompt": prompt, **judge(pictures).shares()}
        report(f"{name} {kind}: {figures[kind]}")
    images = np.stack([draw(held.modality, target_finding(name, rng), rng).image for _ in range(IMAGES)])
    latents = inversion.encode_images(pipe, _tensor(images))
    caption = f"{prefix}, {{}}"
    fit = inversion.fit(pipe, latents, token=TOKEN, caption=caption, recipe=COMPACT, seed=0)
    pictures = sample_with(pipe, fit.rows, caption, SAMPLES, guidance=guidance, steps=steps, seed=3000)
    keep(f"{name} inverted", pictures)
    figures["inverted"] = {
        "images": IMAGES, "vectors": COMPACT.vectors, "steps": COMPACT.steps, **judge(pictures).shares()
    }  # fmt: skip
    report(f"{name} inverted: {figures['inverted']}")
    return figures


def measure_xray(base: BaseInfo, data: Path, report: Report, keep: Keep, seeds: int = 2) -> Figures:
    """Figures of a base of X-rays: autoencoder, judge on real films, taught prompts, the left-out label inverted."""
    pipe = load_pipeline(base.path)
    test = xray.read(data, "test")
    images = colour(test.images)
    judge = xray_judge_for(data, base.path)
    scores = judge(images)
    figures: Figures = {"autoencoder_db": {"n": len(images), "chest x-ray": _decibels(pipe, images)}}
    auc = {
        "normal against bacterial": _auc(scores, test.labels, 0, 1),
        "viral against bacterial": _auc(scores, test.labels, 2, 1),
    }
    figures["judge"] = {"auc": auc, "n": len(images), "patients": len(set(test.patients))}
    figures["real"] = {
        label: {"n": int((test.labels == place).sum()), **_means(scores[test.labels == place])}
        for place, label in enumerate(xray.LABELS)
    }
    guidance, steps = base.recommended["guidance"], int(base.recommended["steps"])
    figures["taught"] = {}
    for label, prompt in base.prompts.items():
        pictures = sample(pipe, prompt, SAMPLES, guidance=guidance, steps=steps, seed=1000)
        keep(label, pictures)
        figures["taught"][label] = {"n": SAMPLES, **_means(judge(pictures))}
        report(f"taught {label}: {figures['taught'][label]}")
    figures["inverted"] = {}
    for label in (xray.LEFT_OUT, "viral pneumonia", "normal"):
        films = xray.read(data, "site", [label])
        latents = inversion.encode_images(pipe, _tensor(colour(films.images[:IMAGES])))
        for seed in range(seeds if label == xray.LEFT_OUT else 1):
            caption = f"{xray.HEAD}, {{}}"
            fit = inversion.fit(pipe, latents, token=TOKEN, caption=caption, recipe=COMPACT, seed=seed)
            pictures = sample_with(pipe, fit.rows, caption, SAMPLES, guidance=guidance, steps=steps, seed=3000)
            keep(f"{label} inverted {seed}", pictures)
            figures["inverted"][f"{label}, seed {seed}"] = {
                "n": SAMPLES, "images": len(latents), "vectors": COMPACT.vectors, "steps": COMPACT.steps,
                **_means(judge(pictures)),
            }  # fmt: skip
            report(f"inverted {label} {seed}: {figures['inverted'][f'{label}, seed {seed}']}")
    return figures


def _tensor(images: Pictures) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def _decibels(pipe: Any, images: Pictures) -> float:
    drawn = autoencoder.decode(pipe.vae, autoencoder.encode(pipe.vae, torch.from_numpy(images)))
    return round(autoencoder.psnr(drawn, _tensor(images)), 1)


def _auc(scores: NDArray[np.float64], labels: NDArray[np.int64], low: int, high: int) -> float:
    either = (labels == low) | (labels == high)
    difference = scores[either, high] - scores[either, low]
    return round(classifier.area_under_curve(labels[either] == high, difference), 3)


def _means(scores: NDArray[np.float64]) -> dict[str, float]:
    """Mean probability of each label, and the share called pneumonia of either kind."""
    means = {f"mean_p_{label}": round(float(scores[:, place].mean()), 3) for place, label in enumerate(xray.LABELS)}
    return {**means, "called_pneumonia": round(float((scores[:, 0] < 0.5).mean()), 3)}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write base.json and README.md of the base, and grids of what was counted where `--grids` says."""
    parser = argparse.ArgumentParser(prog="python -m embhub.diffusion.base.measure", description="Measure a base.")
    parser.add_argument("name", help=f"{' or '.join(NAMES)}, or a folder that `train` wrote")
    parser.add_argument("--data", type=Path, default=default_data(), help="folder with chest-xray/ (X-rays only)")
    parser.add_argument("--grids", type=Path, help="folder for pictures of everything that was counted")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--card-only", action="store_true", help="write README.md anew from the figures there are")
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def keep(label: str, pictures: Pictures) -> None:
        if chosen.grids:
            _grid(chosen.grids / f"{label.replace(' ', '-').replace(',', '')}.png", pictures)

    try:
        base = info(chosen.name)
        if not chosen.card_only:
            if base.name == "builtin-xray":
                figures = measure_xray(base, chosen.data, report, keep)
            else:
                figures = measure_phantoms(base, report, keep)
            path = base.path / "base.json"
            facts = json.loads(path.read_text(encoding="utf-8")) | {"figures": figures}
            path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        print(write_card(info(base.path)))
    except EmbhubError as error:
        report(f"error: {error}")
        return error.exit_code
    return 0


def _grid(path: Path, pictures: Pictures, columns: int = 12) -> None:
    from PIL import Image

    padded = np.pad(pictures, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = [np.concatenate(list(padded[first : first + columns]), 1) for first in range(0, len(padded), columns)]
    image = Image.fromarray(np.concatenate([row for row in rows if row.shape == rows[0].shape]))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    raise SystemExit(main())
