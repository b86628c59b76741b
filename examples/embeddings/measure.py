"""What the shipped embedding adds to its base: `python -m examples.embeddings.measure --data DIR`.

Images of the base's normal caption, of its nearest words for the finding, and with the embedding, from the same seeds:
how many a classifier calls pneumonia, and the kernel distance (KID) to real films with the finding. Classifier and
features learned from patients of their own; the real films are of further patients. Then what a published network says
of the same images (`bench.worth`). Some minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from bases.workshop import xray
from bases.workshop.counting import Pictures
from bases.workshop.generated import recognised
from bases.workshop.sampling import sample
from bases.workshop.xray_judge import colour, feature_network, xray_judge_for
from bench import worth, worth_material
from embhub.builtin_bases import info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.evaluation import fidelity, fitting
from embhub.diffusion.evaluation.cells import Labelled
from embhub.diffusion.evaluation.networks import find
from embhub.diffusion.generation.loading import load_into
from examples.demo.story import SHIPPED
from examples.demo.xray_play import WORDS

COUNT, SEED = 96, 3000


def measure(data: Path) -> list[str]:
    """A line for each kind of image."""
    base = info(WORDS.base)
    pipe, judge = load_pipeline(base.path), xray_judge_for(data, base.path)
    test = xray.read(data, "test", (xray.LEFT_OUT,))
    real = colour(test.images)
    guidance, steps = base.recommended["guidance"], int(base.recommended["steps"])
    prompts = {"normal": WORDS.normal, "nearest words": WORDS.generic}
    drawn = {
        name: sample(pipe, text, COUNT, guidance=guidance, steps=steps, seed=SEED) for name, text in prompts.items()
    }
    token = load_into(pipe, SHIPPED)
    prompt = WORDS.caption.replace("{}", token)
    drawn["with the embedding"] = sample(pipe, prompt, COUNT, guidance=guidance, steps=steps, seed=SEED)
    likeness = fidelity.compare(fidelity.Features(feature_network(data), real), drawn, real)
    called = {name: float((judge(images)[:, 0] < 0.5).mean()) for name, images in drawn.items()}
    lines = [f"{name}: called pneumonia {called[name]:.0%}, KID {likeness[name].kid:.2f}, n {COUNT}" for name in drawn]
    return [*lines, *_by_published_network(data, drawn)]


def _by_published_network(data: Path, drawn: dict[str, Pictures]) -> list[str]:
    """The judge of `python -m bench.worth`, with its patients: nobody here trained its features."""
    films = next(one for one in worth.modalities() if one.source == "chest-xray")
    pool, test = (worth_material.real(data, films, part) for part in ("judge", "test"))
    normals = drawn["normal"]
    sets = {
        name: [Labelled(np.concatenate([normals, images]), np.repeat([0, 1], COUNT), tuple(map(str, range(2 * COUNT))))]
        for name, images in drawn.items() if name != "normal"
    }  # fmt: skip
    choices = fitting.Choices(find("pretrained"), 128, mirror=False, real_share=0.5)
    rows = recognised(pool, test, sets, choices)["recognised"]
    return [
        f"published network, {row['images']}: {row['share']:.0%} [{row['low']:.0%}, {row['high']:.0%}], n {row['n']}"
        for row in rows
    ]


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m examples.embeddings.measure", description=__doc__)
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    torch.set_num_threads(1)
    print("\n".join(measure(parser.parse_args().data)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
