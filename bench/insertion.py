"""`python -m bench.insertion`: put findings into images without any; how often does a classifier see them?

The classifier is trained on real images alone, of patients whom neither the embedding nor the images under test have.
It is asked of the images as they were (*untouched*), the same with the finding inpainted (*inserted*), and the same
with the same place inpainted after the prompt of healthy images (*redrawn healthy*), so that traces of inpainting are
not counted as findings. Phantoms on `builtin`, real chest X-rays on `builtin-xray`. Places, seeds and settings stand
here; strength and guidance were chosen by looking at pictures of other seeds (`--look DIR`), before anything was
judged. Whole films are redrawn at several strengths, and all of them are told. Pictures are drawn in bfloat16.

Each set is kept in bench/results/insertion.json as it ends, and is not drawn again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bases.workshop import xray
from bases.workshop.counting import tensor
from bases.workshop.xray_judge import colour
from bench import machine
from bench.findings import (
    LEARNED,
    SUBJECTS,
    TOKEN,
    Judge,
    Pictures,
    Subject,
    ask_for,
    judge,
    keep_rows,
    real,
    shares,
    studio,
)
from bench.other_ways import RANK
from embhub.artifact import embedding
from embhub.diffusion.evaluation import classifier
from embhub.diffusion.generation.generation import Prompt, Studio, prepare
from embhub.diffusion.generation.redrawing import arrange, redraw_scenes
from embhub.diffusion.training import adapter_fit, inversion
from embhub.diffusion.training.precision import in_bfloat16, precision
from embhub.images import masks
from embhub.options.adapter import AdapterRecipe
from embhub.phantoms import draw

RESULTS = Path(__file__).parent / "results" / "insertion.json"
SHIPPED = Path(__file__).parents[1] / "examples/embeddings/cxr-bacterial-pneumonia.safetensors"
COUNT, SEED, LOOK_SEED, LOOK = 60, 5000, 900, 6
MARGIN = 4
"""Pixels by which a box is wider than the finding that a phantom of the same patient would have."""
STRENGTH, FILM_GUIDANCE = 1.0, 4.0
"""Phantoms are drawn with the guidance that their base recommends. Films at the 1.5 of theirs showed little haze."""
STRONGER = 6.0
"""Guidance of a second setting for phantoms, chosen by looking again at pictures of other seeds once the first figures
(those of cxr-effusion) were known; it is judged on other patients, with other seeds. So are the `pushed` films (weights
of 2 for the finding and -1 for healthy), chosen once the figures of both lungs were known."""
FILMS = 110
INSERTED = ("cxr-effusion", "bright ring", "prostate-cspca")
LUNGS = {"both lungs": [(16, 24, 40, 76), (72, 24, 40, 76)], "one lung": [(16, 24, 40, 76)]}
"""Boxes x, y, width, height in films of 128 x 128."""
WHOLE = (0.7, 0.8, 0.9)
"""Strengths at which whole films are redrawn."""
CAPTION = f"{xray.HEAD}, child"
GOAL = 0.95
Row = dict[str, Any]
Verdicts = dict[str, Judge]


@dataclass(frozen=True)
class Trial:
    """Images without a finding, a place in each (None for all of it), what an arm is drawn with, and who judges."""

    name: str
    base: str
    images: Pictures
    places: Sequence[masks.Mask | None]
    ready: Callable[[str], AbstractContextManager[tuple[Studio, Prompt]]]
    judges: Callable[[], Verdicts]
    positives: Callable[[], Pictures]
    seed: int = SEED
    strength: float = STRENGTH

    def draw(self, arm: str, seed: int, *, strength: float | None = None) -> Pictures:
        """The images of an arm."""
        if arm == "untouched":
            return self.images
        if arm == "real":
            return self.positives()
        with self.ready(arm) as (drawing, prompt):
            scenes = [arrange(Image.fromarray(one), place) for one, place in zip(self.images, self.places, strict=True)]
            with precision(drawing.pipe, mixed=in_bfloat16("cpu")):
                pictures = list(redraw_scenes(drawing, scenes, prompt, seed=seed, strength=strength or self.strength))
            return np.stack([np.asarray(picture) for picture in pictures])


def phantoms(subject: Subject, count: int = COUNT, seed: int = SEED, guidance: float | None = None) -> Trial:
    """Healthy phantoms, each of another patient, and where a finding of that patient lies; drawn with `guidance`, or as
    the base recommends."""
    rng = np.random.default_rng(seed)
    images, places = [], []
    for patient in range(seed, seed + count):
        images.append(draw(subject.modality, None, rng, patient=patient).image)
        shown = draw(subject.modality, subject.finding(rng), rng, patient=patient).mask
        rows, columns = np.nonzero(shown > 0.25)
        place = np.zeros(shown.shape, bool)
        place[
            max(0, rows.min() - MARGIN) : rows.max() + 1 + MARGIN,
            max(0, columns.min() - MARGIN) : columns.max() + 1 + MARGIN,
        ] = True
        places.append(place)

    @contextmanager
    def ready(arm: str) -> Iterator[tuple[Studio, Prompt]]:
        with ask_for(subject) as prompt:
            drawing = replace(studio(), guidance=guidance or studio().guidance)
            yield drawing, prompt if arm == "inserted" else subject.healthy

    return Trial(
        f"{subject.name}, guidance {guidance:g}" if guidance else subject.name,
        "builtin", np.stack(images), places, ready,
        lambda: {f"against {kind}": judge(subject.name, kind) for kind in ("healthy", "look-alikes")},
        lambda: real(subject, count, seed + 1), seed,
    )  # fmt: skip


def films(
    data: Path,
    place: str | float,
    *,
    count: int | None = None,
    part: str = "test",
    pushed: bool = False,
    adapter: bool = False,
) -> Trial:
    """Normal films of patients whom neither embedding nor judge has, and the lungs as places, or whole films at a
    strength. The base has not learned those of the part `test`. `pushed` films are moved away from the healthy prompt
    as well as towards the finding. With `adapter` one of all attention layers draws the finding; *redrawn healthy* is
    the base without it."""
    shown = xray.read(data, part, ("normal",))
    learned = {patient for one in ("base", "site") for patient in xray.read(data, one, (xray.LEFT_OUT,)).patients}
    chosen = [number for number, patient in enumerate(shown.patients) if patient not in learned]
    images = colour(shown.images[chosen][LOOK if pushed else 0 :][:count])
    strength, called, marked = STRENGTH, str(place), None
    if isinstance(place, float):
        strength, called = place, f"whole film, strength {place:g}"
    else:
        marked = np.any([masks.from_box(box, (xray.SIDE, xray.SIDE)) for box in LUNGS[place]], axis=0)

    @contextmanager
    def ready(arm: str) -> Iterator[tuple[Studio, Prompt]]:
        drawing = replace(xray_studio(), guidance=FILM_GUIDANCE)
        finding, healthy = f"{CAPTION}, {drawing.tokens[0]}", f"{CAPTION}, normal"
        if arm == "inserted" and adapter:
            with adapted(drawing, data) as text:
                yield replace(drawing, tokens=(TOKEN,)), text
            return
        # A studio insists that its token is mentioned; the healthy prompt must not.
        free = replace(drawing, tokens=())
        wanted: Prompt = [(finding, 2.0), (healthy, -1.0)] if pushed else finding
        yield free, wanted if arm == "inserted" else healthy

    return Trial(
        f"bacterial pneumonia, {called}{', pushed' if pushed else ''}{', adapter' if adapter else ''}",
        "builtin-xray", images, [marked] * len(images), ready,
        lambda: {"against healthy": xray_judge(data)},
        lambda: colour(xray.read(data, "test", (xray.LEFT_OUT,)).images),
        SEED + 1000 if pushed else SEED, strength,
    )  # fmt: skip


@cache
def xray_studio() -> Studio:
    return prepare([embedding.read(SHIPPED)], base="builtin-xray", device="cpu")


@contextmanager
def adapted(drawing: Studio, data: Path) -> Iterator[str]:
    """The base with an adapter of all attention layers, learned without privacy from 100 films with the finding; yields
    the prompt. It is taken out again."""
    sick, text = xray.hospital(data, xray.LEFT_OUT, LEARNED), f"{CAPTION}, {TOKEN}"
    latents = inversion.encode_images(drawing.pipe, tensor(colour(sick.images)))
    recipe = adapter_fit.settle(AdapterRecipe(rank=RANK, target_modules="attention"), xray.SIDE, "cpu")
    adapter_fit.learn(drawing.pipe, latents, text, recipe, 0)
    try:
        yield text
    finally:
        adapter_fit.remove(drawing.pipe.unet)


@cache
def xray_judge(data: Path) -> Judge:
    """The mean of three classifiers of real films, normal against bacterial pneumonia, of the part for judges."""
    shown = xray.read(data, "judge", ("normal", xray.LEFT_OUT))
    labels = (shown.labels == xray.LABELS.index(xray.LEFT_OUT)).astype(np.int64)
    models = [
        classifier.fit(colour(shown.images), labels, classes=("without", "with"), steps=400, seed=seed)
        for seed in range(3)
    ]
    return lambda pictures: np.mean([model.probabilities(pictures)[:, 1] for model in models], axis=0)


def gather(data: Path, count: int = COUNT, seed: int = SEED, part: str = "test") -> list[Trial]:
    """All trials, those that tell most first; of films all that the part has, unless fewer are looked at."""
    there = (data / "chest-xray").exists()
    most = None if part == "test" else count
    places: list[str | float] = [*LUNGS, *WHOLE]
    shown = [films(data, place, count=most, part=part) for place in places] if there else []
    if there:
        shown.append(films(data, "both lungs", count=most, part=part, adapter=True))
        shown.append(films(data, "both lungs", count=most or FILMS, part="site", pushed=part == "test"))
    drawn = [phantoms(subject, count, seed) for subject in map(SUBJECTS.__getitem__, INSERTED)]
    stronger = [phantoms(SUBJECTS[name], count, seed + 1000, STRONGER) for name in INSERTED]
    return [*drawn[:1], *shown, *drawn[1:], *stronger]


def look(folder: Path, data: Path) -> None:
    """Pictures of other seeds and patients, before anything is judged: for each trial a row untouched, inserted at .8
    and at its own strength, and redrawn healthy. Pictures of real films are for this machine alone."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for trial in gather(data, LOOK, LOOK_SEED, "site"):
        lines = [trial.images]
        for arm, strength in (("inserted", 0.8), ("inserted", None), ("redrawn healthy", None)):
            lines.append(trial.draw(arm, LOOK_SEED, strength=strength))
        sheet = np.concatenate([np.concatenate(list(line), axis=1) for line in lines])
        picture = Image.fromarray(sheet).resize((sheet.shape[1] * 2, sheet.shape[0] * 2), Image.Resampling.NEAREST)
        picture.save(folder / f"{trial.name}.png")


def sheet(folder: Path) -> None:
    """The picture of docs/explanation/using-embeddings.md: the first phantoms of the second setting, a column each, two
    findings; untouched, inserted, redrawn healthy."""
    blocks = []
    for name in ("cxr-effusion", "prostate-cspca"):
        trial = phantoms(SUBJECTS[name], 4, SEED + 1000, STRONGER)
        lines = [trial.draw(arm, trial.seed) for arm in ("untouched", "inserted", "redrawn healthy")]
        blocks.append(np.concatenate([np.concatenate(list(line), axis=1) for line in lines]))
    Image.fromarray(np.concatenate(blocks, axis=1)).save(folder / "using-insertion.png", optimize=True)


def study(trials: Sequence[Trial], done: Sequence[Row], keep: Callable[[Row], None]) -> None:
    """Every set of every trial that is not there yet."""
    have = {(row["base"], row["finding"], row["set"]) for row in done}
    for trial in trials:
        for arm in ("untouched", "real", "inserted", "redrawn healthy"):
            if (trial.base, trial.name, arm) in have:
                continue
            began = time.process_time()
            pictures = trial.draw(arm, trial.seed)
            called = {kind: shares(found(pictures) > 0.5) for kind, found in trial.judges().items()}
            seconds = round(time.process_time() - began, 1)
            keep({"base": trial.base, "finding": trial.name, "set": arm, "called positive": called, "seconds": seconds})


def table(rows: Sequence[Row]) -> str:
    """Shares called positive with their intervals, of as many images as were inserted, and which goals are met."""
    lines = [
        "| base | finding | classifier | real with it | inserted | untouched | redrawn healthy | images | goals met |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    found: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows:
        for kind, called in row["called positive"].items():
            found.setdefault((row["base"], row["finding"], kind), {})[row["set"]] = called
    for (base, finding, kind), sets in found.items():
        shown = [_words(sets.get(name)) for name in ("real", "inserted", "untouched", "redrawn healthy")]
        count, goals = "", ""
        if {"inserted", "untouched"} <= set(sets):
            met = (sets["inserted"]["share"] >= GOAL, 1 - sets["untouched"]["share"] >= GOAL)
            goals = {(True, True): "both", (True, False): "inserted", (False, True): "untouched"}.get(met, "none")
            count = str(sets["inserted"]["of"])
        lines.append(f"| {base} | {finding} | {kind} | {' | '.join(shown)} | {count} | {goals} |")
    return "\n".join(lines)


def _words(called: Row | None) -> str:
    return f"{called['share']:.1%} [{called['low']:.1%}, {called['high']:.1%}]" if called else "-"


def main() -> None:
    """Run what is missing, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.insertion", description=__doc__)
    parser.add_argument("--look", type=Path, metavar="DIR", help="write pictures to look at, and judge nothing")
    parser.add_argument("--sheet", type=Path, metavar="DIR", help="write the picture of the documentation, no more")
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    parser.add_argument("--only", action="append", metavar="FINDING", help="this one; may be given several times")
    parser.add_argument("--table", action="store_true", help="print what is there, and draw nothing")
    parser.add_argument("--rows", type=Path, metavar="DIR", help="where learned rows are kept for other studies")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_rows(asked.rows)
    if asked.look:
        look(asked.look, asked.data)
        return
    if asked.sheet:
        sheet(asked.sheet)
        return
    rows: list[Row] = json.loads(asked.results.read_text()) if asked.results.exists() else []

    def keep(row: Row) -> None:
        rows.append({**row, "day": date.today().isoformat(), "processor": machine.describe()["processor"]})
        asked.results.parent.mkdir(parents=True, exist_ok=True)
        asked.results.write_text(json.dumps(rows, indent=1) + "\n")
        print(table(rows[-1:]).splitlines()[-1], flush=True)

    if not asked.table:
        trials = gather(asked.data)
        study([trial for trial in trials if not asked.only or trial.name in asked.only], rows, keep)
    print(table(rows))


if __name__ == "__main__":
    main()
