"""`python -m bench.first_seed`: the protocol of "Medical diffusion on a budget" in small.

An embedding of each class is learned from 100 or from 10 images, and draws images; a classifier is taught with real
images, with real and drawn ones, and with drawn ones alone, the same number of steps each, and measured on other
patients. What was decided before any figure: the grid, the seeds, and the rule for the noise that leaves real images
room (`set_noise`), which looks at real images alone, and not at the test images. Everything drawn and taught is kept in
a folder: the study can be left and gone on with.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bases.workshop.xray import default_data
from bench import first_seed_material as material
from bench import machine, marked
from bench.first_seed_material import IMAGES, VECTORS, Part, Task
from embhub.cards.evaluation import REAL_ALONE
from embhub.diffusion.evaluation import classifier, fitting, outcome
from embhub.diffusion.evaluation.cells import Cell, Labelled
from embhub.diffusion.evaluation.networks import find
from embhub.diffusion.evaluation.regimes import Lesson
from embhub.durable import write_atomic
from embhub.progress import Progress

RESULTS = Path(__file__).parent / "results" / "first_seed.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/does-it-help.md"
WORK = Path(__file__).parents[1] / "build" / "first-seed"
SEEDS, STEPS, SIDE = 5, 150, 32
NOISES, ROOM = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0), 0.85
Pictures = NDArray[np.uint8]
Row = dict[str, Any]


def judge(task: Task, work: Path, *, seeds: int, arms: Sequence[tuple[int, int]]) -> Row:
    """All figures of one task, with the arms (vectors, images learned from) that were drawn."""
    noise, tried = set_noise(task, work)
    pool, test = cover(task.learn, noise, 1), cover(task.test, noise, 2)
    few = subset(pool, min(IMAGES))
    drawn = {name_of(*arm): join(*material.drawn(task, *arm, work), noise) for arm in arms}
    figures: Row = {
        "task": task.name, "base": task.base, "finding": task.finding, "noise": noise, "real_alone_by_noise": tried,
        "test_images": len(test), "test_patients": len(set(test.patients)), "aucs": [], "differences": [],
    }  # fmt: skip
    for images, known in ((max(IMAGES), pool), (min(IMAGES), few)):
        learned = {name_of(v, n): drawn[name_of(v, n)] for v, n in arms if n == images}
        taught = fitting.teach(
            cells(len(known), learned), known, {name: [one] for name, one in learned.items()}, test, choices=_choices(),
            seeds=seeds, keep=work / "fits", on_progress=say,
        )  # fmt: skip
        figures["aucs"] += [one.model_dump(mode="json") for one in outcome.aucs(test, taught, {})]
        found = [one for one in outcome.differences(test, taught, {}) if one.over == REAL_ALONE]
        figures["differences"] += [one.model_dump(mode="json") for one in found]
    return figures


def _choices() -> fitting.Choices:
    return fitting.Choices(find("small", steps=STEPS), SIDE)


def say(progress: Progress) -> None:
    """A line a seed and cell, for the log."""
    print(f"  {progress.done} of {progress.total}", flush=True)


def cells(real: int, arms: Mapping[str, Labelled]) -> list[Cell]:
    """Real images alone; for each arm, drawn ones beside them and drawn ones alone."""
    found = [Cell(real)]
    for name, drawn in arms.items():
        found += [Cell(real, name, len(drawn)), Cell(0, name, len(drawn))]
    return found


def set_noise(task: Task, work: Path) -> tuple[float, dict[str, float]]:
    """The first level of grey noise at which real images alone come to ROOM or less, on images that test nothing."""
    kept = work / f"{task.name}-noise.json"
    if kept.exists():
        before: dict[str, float] = json.loads(kept.read_text())
        return float(list(before)[-1]), before
    tried: dict[str, float] = {}
    for noise in NOISES:
        pool, tune = cover(task.learn, noise, 1), cover(task.tune, noise, 3)
        choices = _choices()
        taught = fitting.fit([Lesson(pool, choices.learner.steps)], choices, seed=99)
        area = classifier.area_under_curve(tune.labels == 1, taught.probabilities(tune.images)[:, 1])
        tried[f"{noise:g}"] = round(area, 4)
        if area <= ROOM:
            break
    write_atomic(kept, json.dumps(tried).encode())
    return noise, tried


def cover(part: Part, noise: float, seed: int) -> Labelled:
    """The images under grey noise of this standard deviation, in half ranges."""
    return Labelled(grain(part.images, noise, seed), part.labels, part.patients)


def join(negative: Pictures, positive: Pictures, noise: float) -> Labelled:
    """Drawn images of both classes under the same noise; each counts as a person of its own."""
    images = grain(np.concatenate([negative, positive]), noise, 4)
    labels = np.repeat(np.array([0, 1]), [len(negative), len(positive)])
    return Labelled(images, labels, tuple(str(place) for place in range(len(images))))


def grain(images: Pictures, noise: float, seed: int) -> Pictures:
    """Images (N, H, W, 3) with one grey value of noise a pixel, clipped."""
    values = np.random.default_rng(seed).normal(0, noise * 127.5, (*images.shape[:3], 1))
    return np.clip(images + values, 0, 255).astype(np.uint8)


def subset(pool: Labelled, each: int) -> Labelled:
    """The first so many images of each class: those that the smaller embeddings were learned from."""
    places = np.concatenate([np.flatnonzero(pool.labels == value)[:each] for value in (0, 1)])
    return Labelled(pool.images[places], pool.labels[places], tuple(pool.patients[place] for place in places))


def name_of(vectors: int, images: int) -> str:
    """An arm's name."""
    return f"{vectors} vectors, {images} images"


def table(rows: Sequence[Row]) -> str:
    """AUC with 95 % intervals, and beside it what the drawn images add."""
    heads = ("task", "taught with", "AUC", "95 %", "gain over real alone", "95 %", "the drawn images")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        gains = {(one["real"], one["arm"]): one for one in row["differences"]}
        for one in sorted(row["aucs"], key=lambda found: (-found["real"], found["arm"])):
            parts = [f"{one['real']} real"] if one["real"] else []
            parts += [f"{one['drawn']} drawn ({one['arm']})"] if one["arm"] else []
            line = [row["task"], " and ".join(parts), f"{one['auc']:.3f}", span(one["interval"], ".3f")]
            gain = gains.get((one["real"], one["arm"]))
            line += [f"{gain['gain']:+.3f}", span(gain["interval"], "+.3f"), gain["outcome"]] if gain else [""] * 3
            lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines)


def span(pair: Sequence[float], form: str) -> str:
    """`[low, high]`."""
    return f"[{pair[0]:{form}}, {pair[1]:{form}}]"


def draw_all(data: Path, work: Path) -> Iterator[tuple[Task, list[tuple[int, int]]]]:
    """Learn and draw what is not there yet; each task with the arms that it has."""
    for vectors in sorted(VECTORS, reverse=True):  # what tells most comes first
        for images in IMAGES:
            for task in material.tasks(data):
                material.drawn(task, vectors, images, work)
                print(f"{task.name}: drawn, {name_of(vectors, images)}", flush=True)
    yield from ready(data, work)


def ready(data: Path, work: Path) -> Iterator[tuple[Task, list[tuple[int, int]]]]:
    """Every task with the arms that were drawn so far."""
    for task in material.tasks(data):
        grid = [(vectors, images) for images in IMAGES for vectors in VECTORS]
        yield task, [arm for arm in grid if material.is_drawn(task, *arm, work)]


def put_into(page: str, results: Mapping[str, Any]) -> str:
    """The page with what was measured between its two marks."""
    protocol = "\n".join(f"| {name.replace('_', ' ')} | {value} |" for name, value in results["protocol"].items())
    tasks = "\n".join(
        f"| {row['task']} | {row['finding']} | {row['noise']:g} | "
        + ", ".join(f"{level}: {auc:.3f}" for level, auc in row["real_alone_by_noise"].items())
        + f" | {row['test_images']} of {row['test_patients']} |"
        for row in results["tasks"]
    )
    return marked.put(
        page,
        f"{table(results['tasks'])}\n\n"
        "| task | finding | noise | AUC of real alone, by noise, on images apart | test images of patients |\n"
        f"|---|---|---|---|---|\n{tasks}\n\n| protocol | |\n|---|---|\n{protocol}\n",
    )


def main() -> None:
    """Draw, judge, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.first_seed", description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data(), help="folder with chest-xray/")
    parser.add_argument("--work", type=Path, default=WORK, help="what was drawn and taught")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--judge", action="store_true", help="draw nothing: judge what was drawn so far")
    parser.add_argument("--write", action="store_true", help="write the table into docs, from --results, and stop")
    asked = parser.parse_args()
    if asked.write:
        PAGE.write_text(put_into(PAGE.read_text(), json.loads(asked.results.read_text())))
        return
    torch.set_num_threads(1)
    protocol = {
        "day": date.today().isoformat(), "processor": machine.describe()["processor"], "seeds": asked.seeds,
        "classifier": f"small, {STEPS} steps of 32 images, {SIDE} x {SIDE} pixels",
        "drawn_per_class": material.DRAWN, "learned_per_class": list(IMAGES), "vectors": list(VECTORS),
        "training_steps": material.STEPS, "sampling_steps": material.SAMPLING,
        "noise_rule": f"first of {NOISES} with AUC {ROOM} or less, real alone",
    }  # fmt: skip
    rows: list[Row] = []
    for task, arms in (ready if asked.judge else draw_all)(asked.data, asked.work):
        if not arms:
            continue
        rows.append(judge(task, asked.work, seeds=asked.seeds, arms=arms))
        results = json.dumps({"protocol": protocol, "tasks": rows}, indent=1)
        write_atomic(asked.results, results.encode() + b"\n")  # after each task: what is there is a study
    print(table(rows))


if __name__ == "__main__":
    main()
