"""`python -m bench.private_images`: a classifier that learns from private images alone, by DPImageBench's protocol.

DPImageBench (Gong, Li, Lin and Wang 2025, arXiv 2503.14681) compares ways of making images with differential privacy.
Its rules: a classifier learns from generated images only, its weights are chosen on generated images that were held
back, and the sensitive test images are looked at once, at the end. Textual inversion is not among its methods. Here it
stands, in small, at its two epsilons.

The sensitive images are X-rays of one finding, of 100 patients, who are the unit of privacy. Normal images come from
the base's own words, for every row the same. Rows without privacy say what could be reached: no embedding but the
nearest words that the base was taught (chosen by the loss on X-rays of the same patients), an ordinary embedding, and
real X-rays in place of generated ones.

Every row is kept as it ends and is not measured again. It holds the fingerprint of the base.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bases.workshop import sampling, xray
from bases.workshop.xray_judge import colour
from bench import marked
from bench import private_images_material as material
from bench.private_images_material import CAPTION, FINDING, NORMAL
from bench.results_file import ResultsFile, Row
from embhub.artifact import fingerprint
from embhub.builtin_bases import BaseInfo, info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.evaluation import classifier, fidelity
from embhub.diffusion.evaluation.cells import Labelled
from embhub.diffusion.families.pipeline import Pipeline
from embhub.privacy.choices import Mechanism

RESULTS = Path(__file__).parent / "results" / "private_images.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/private-images.md"
EPSILONS, GENERATED, HELD, STEPS, SIDE = (1.0, 10.0), 100, 5, 300, 64
"""DPImageBench's epsilons; generated images of a class, of which each fifth chooses the weights; the classifier's steps
and pixels."""
WORDS, PLAIN, REAL = "nearest words", "embedding", "real X-rays"
PRIVATE: Mapping[str, Mechanism] = {"dp-sgd": "dp-sgd", "dp-agg": "dp-agg", "votes": "votes"}
"""The mechanism of each private method."""
CONTROLS = (WORDS, PLAIN, REAL)
CLASSES = (NORMAL, FINDING)
Pictures = NDArray[np.uint8]


@dataclass
class Study:
    """A base, the films of hospital A, those of the test, and normal images of the present seed."""

    pipe: Pipeline
    base: BaseInfo
    site: xray.Films
    normals: Pictures
    test: Labelled
    judge: classifier.Classifier
    drawn_normals: tuple[int, Pictures] | None = None

    def images(self, method: str, epsilon: float | None, seed: int) -> tuple[Pictures, Pictures]:
        """Normal images and images of the finding, (N, H, W, 3), to learn from."""
        if method == REAL:
            rng = np.random.default_rng(seed)
            return _some(self.normals, rng), _some(self.site.images, rng)
        if self.drawn_normals is None or self.drawn_normals[0] != seed:
            self.drawn_normals = seed, self._generate(self.base.prompts[NORMAL], seed, first=5_000)
        return self.drawn_normals[1], self._sick(method, epsilon, seed)

    def _sick(self, method: str, epsilon: float | None, seed: int) -> Pictures:
        if method == WORDS:
            return self._generate(material.NEAREST, seed)
        if method == PLAIN:
            rows = material.learn_plainly(self.pipe, self.site, seed)
        elif epsilon is None:
            raise ValueError(f"{method} needs an epsilon")
        else:
            rows = material.learn_privately(self.pipe, self.site, seed, epsilon, mechanism=PRIVATE[method])
        with material.fast(self.pipe):
            return sampling.sample_with(self.pipe, rows, CAPTION, GENERATED, seed=_first(seed), **self._how())

    def _generate(self, prompt: str, seed: int, first: int = 0) -> Pictures:
        with material.fast(self.pipe):
            return sampling.sample(self.pipe, prompt, GENERATED, seed=_first(seed) + first, **self._how())

    def _how(self) -> dict[str, Any]:
        return {"guidance": self.base.recommended["guidance"], "steps": int(self.base.recommended["steps"])}


def _some(films: Pictures, rng: np.random.Generator) -> Pictures:
    return colour(films[rng.permutation(len(films))[:GENERATED]])


def _first(seed: int) -> int:
    return 10_000 * (seed + 1)


def gather(data: Path, device: str = "cpu") -> Study:
    """The base and all films. The network whose features measure fidelity learns from real films of patients who are
    neither in the test nor in any embedding."""
    base = info(material.BASE)
    real = material.real(data)
    judge = classifier.fit(real.pool.images, real.pool.labels, classes=CLASSES, steps=STEPS, side=SIDE)
    normals = xray.read(data, "judge", (NORMAL,)).images
    site = xray.read(data, "site", (FINDING,))
    return Study(load_pipeline(base.path, device=device), base, site, normals, real.test, judge)


def measure(study: Study, method: str, epsilon: float | None, seed: int) -> Row:
    """Figures of one row: of the classifier on test patients, and how near its images of the finding are to theirs."""
    began = time.process_time()
    normal, sick = study.images(method, epsilon, seed)
    scores = score(normal, sick, study.test.images, seed)
    truth = study.test.labels == 1
    alike = fidelity.compare(
        fidelity.Features(study.judge, study.test.images[truth]), {method: sick}, study.test.images[truth]
    )[method]
    return {
        "fingerprint": fingerprint.digest(fingerprint.take(study.base.path)),
        "method": method, "epsilon": epsilon, "seed": seed,
        "auc": round(classifier.area_under_curve(truth, scores), 4),
        "balanced_accuracy": round(float(np.mean([(scores[truth] > 0.5).mean(), (scores[~truth] <= 0.5).mean()])), 4),
        "kid": round(alike.kid, 4), "density": round(alike.density, 4), "coverage": round(alike.coverage, 4),
        "generated": len(sick), "cpu_seconds": round(time.process_time() - began),
    }  # fmt: skip


def score(normal: Pictures, sick: Pictures, test: Pictures, seed: int) -> NDArray[np.float64]:
    """Probabilities (N,) of the finding for `test`, by a classifier of the other images. Its weights are those with the
    lowest loss on each fifth of them, which it did not learn from: no test image chooses anything."""
    images = np.concatenate([normal, sick])
    labels = np.repeat(np.array([0, 1]), [len(normal), len(sick)])
    kept = np.arange(len(images)) % HELD == 0
    fitted = classifier.fit(
        images[~kept], labels[~kept], classes=CLASSES, steps=STEPS, side=SIDE, seed=seed,
        held=(images[kept], labels[kept]),
    )  # fmt: skip
    found: NDArray[np.float64] = fitted.probabilities(test)[:, 1].astype(np.float64)
    return found


def run(study: Study, seeds: int, done: Sequence[Row], keep: Callable[[Row], None], only: Sequence[str] = ()) -> None:
    """Every row that is not there yet, seed by seed, so that what is there is a smaller study. `only` names methods;
    all by default."""
    have = {(row["method"], row["epsilon"], row["seed"]) for row in present(done)}
    for seed in range(seeds):
        cells = [(method, None) for method in CONTROLS]
        for method, epsilon in [*cells, *((method, epsilon) for epsilon in EPSILONS for method in PRIVATE)]:
            if (method, epsilon, seed) not in have and (not only or method in only):
                keep(measure(study, method, epsilon, seed))


def present(rows: Sequence[Row]) -> list[Row]:
    """Rows that were measured on the base's present weights."""
    now = fingerprint.digest(fingerprint.take(info(material.BASE).path))
    return [row for row in rows if row["fingerprint"] == now]


def table(rows: Sequence[Row]) -> str:
    """A row for each method and epsilon: means over seeds, with the least and the largest."""
    if not rows:
        return "Not measured yet."
    lines = ["| images of the finding from | epsilon | AUC | balanced accuracy | KID | density | coverage | runs |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    order = [*((method, None) for method in CONTROLS), *((m, e) for e in EPSILONS for m in PRIVATE)]
    for method, epsilon in order:
        these = [row for row in rows if (row["method"], row["epsilon"]) == (method, epsilon)]
        if these:
            figures = [_show(these, name) for name in ("auc", "balanced_accuracy", "kid", "density", "coverage")]
            budget = "-" if epsilon is None else f"{epsilon:g}"
            lines.append(f"| {method} | {budget} | {' | '.join(figures)} | {len(these)} |")
    return "\n".join(lines)


def _show(rows: Sequence[Row], name: str) -> str:
    values = [row[name] for row in rows]
    several = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{fmean(values):.3f}{several}"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is not there yet, and print all that is."""
    parser = argparse.ArgumentParser(prog="python -m bench.private_images", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    parser.add_argument("--method", action="append", choices=(*CONTROLS, *PRIVATE), default=[])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help=f"only write the table into docs/explanation/{PAGE.name}")
    asked = parser.parse_args(argv)
    results = ResultsFile(asked.results, asked.device)
    if not asked.write:
        torch.set_num_threads(1)

        def keep(row: Row) -> None:
            results.keep(row)
            print(row, flush=True)

        run(gather(asked.data, asked.device), asked.seeds, list(results.rows), keep, asked.method)
    shown = table(present(results.rows))
    print(shown)
    if asked.write:
        PAGE.write_text(marked.put(PAGE.read_text(encoding="utf-8"), shown), encoding="utf-8")


if __name__ == "__main__":
    main()
