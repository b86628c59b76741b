"""`python -m bench.regimes`: do drawn X-rays help a classifier of real ones, in four regimes and against two controls?

Hospital B has few real films, hospital A's embeddings draw more. Every regime of `embhub evaluate` (mixed, pretrained,
filtered, drawn alone) with 20, 50 and 100 real films a class; controls are drawn normals alone, images of the nearest
words that the base was taught, and early stopping. Several embeddings of one recipe are one arm, plain or trained with
patient-level privacy. No base saw any of these patients. Fixed before anything was seen: the grid, the seeds, and the
rule for the noise, which looks at real images alone that neither train nor test.

Everything drawn and taught is kept in `--work`: the study can be left and gone on with, and made larger.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bases.workshop.xray import default_data
from bench import machine, marked
from bench import regimes_material as material
from bench.first_seed import grain, say, span
from embhub.cards.evaluation import NORMALS, REAL_ALONE, STOPPED_EARLY, Difference
from embhub.diffusion.evaluation import classifier, fitting, outcome, paired
from embhub.diffusion.evaluation.cells import Cell, Labelled, choose, grid, take
from embhub.diffusion.evaluation.networks import find
from embhub.diffusion.evaluation.regimes import Lesson, stoppable
from embhub.durable import write_atomic
from embhub.options.regimes import Regime

RESULTS = Path(__file__).parent / "results" / "regimes.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/four-regimes.md"
WORK = Path(__file__).parents[1] / "build" / "regimes"
REGIMES: tuple[Regime, ...] = ("mixed", "pretrained", "filtered")
NOISES, ROOM = (0.0, 1.0, 2.0, 3.0, 4.0), 0.9
Row = dict[str, Any]


@dataclass(frozen=True)
class Design:
    """The size of the study; `repeats` seeds for each embedding, `per_class` real films, `drawn` images of a class."""

    embeddings: int = 5
    repeats: int = 2
    per_class: tuple[int, ...] = (20, 50, 100)
    drawn: int = 30
    epsilons: tuple[float, ...] = ()
    side: int = 64
    steps: int = 200


def judge(data: Path, work: Path, design: Design) -> Row:
    """Every figure, with the embeddings that were drawn so far."""
    real = material.real(data)
    choices = fitting.Choices(find("small", steps=design.steps), design.side)
    noise, tried = set_noise(real.tune, choices)
    pool, test = cover(real.pool, noise, 1), cover(real.test, noise, 2)
    arms = _arms(work, design, noise)
    seeds = design.repeats * design.embeddings
    counts = [2 * number for number in design.per_class if 2 * number <= pool.most]
    amounts = dict.fromkeys(arms, (2 * design.drawn,))
    cells = grid(counts, amounts, REGIMES, stopped=stoppable(pool, counts, seeds))
    cells += [Cell(count, material.PLAIN, 2 * design.drawn, "normals") for count in counts]
    taught = fitting.teach(cells, pool, arms, test, choices=choices, seeds=seeds, keep=work / "fits", on_progress=say)
    sets = {name: len(them) for name, them in arms.items()}
    return {
        "noise": noise, "real_alone_by_noise": tried, "seeds": seeds, "embeddings": sets,
        "pool": _count(pool), "test": _count(test),
        "aucs": [one.model_dump(mode="json") for one in outcome.aucs(test, taught, sets)],
        "differences": [one.model_dump(mode="json") for one in differences(test, taught, sets)],
    }  # fmt: skip


def differences(test: Labelled, taught: fitting.Taught, sets: Mapping[str, int]) -> list[Difference]:
    """As `outcome.differences`, and private arms are compared with generated normals and with the nearest words, too.

    The normals are the same in every arm. p-values are adjusted for all rows together.
    """
    rows = list(outcome.differences(test, taught, sets))
    for arm in (name for name in sets if name not in (material.PLAIN, material.WORDS)):
        scores = {
            replace(cell, arm=arm) if cell.regime == "normals" else cell: each
            for cell, each in taught.scores.items()
            if cell.arm in ("", arm, material.WORDS) or cell.regime == "normals"
        }
        own = outcome.differences(
            test, fitting.Taught(scores, {}), {arm: sets[arm], material.WORDS: sets[material.WORDS]}
        )
        rows += [row for row in own if row.arm == arm and row.over in (NORMALS, material.WORDS)]
    adjusted = paired.holm([row.p for row in rows if row.p is not None])
    return [row.model_copy(update={"p_holm": round(p, 6)}) for row, p in zip(rows, adjusted, strict=True)]


def _arms(work: Path, design: Design, noise: float) -> dict[str, list[Labelled]]:
    """The images of each arm that has as many embeddings as are asked for, under the noise of all others."""
    found = {}
    for name in (material.PLAIN, *map(material.name_of, design.epsilons), material.WORDS):
        drawn = [material.drawn(name, seed, work) for seed in range(design.embeddings)]
        there = [cover(one, noise, 10 + seed) for seed, one in enumerate(drawn) if one is not None]
        if len(there) == design.embeddings:
            found[name] = there
    return found


def set_noise(tune: Labelled, choices: fitting.Choices) -> tuple[float, dict[str, float]]:
    """The first level of grey noise at which 12 real films a class come to ROOM or less on the others of `tune`."""
    tried: dict[str, float] = {}
    for noise in NOISES:
        covered = cover(tune, noise, 3)
        people = sorted(set(covered.patients))
        learners = {people[place] for place in np.random.default_rng(0).permutation(len(people))[: len(people) // 2]}
        known = np.array([patient in learners for patient in covered.patients])
        half, rest = (take(covered, np.flatnonzero(kind)) for kind in (known, ~known))
        lesson = Lesson(take(half, choose(half, min(24, half.most), 0)), choices.learner.steps)
        scores = fitting.fit([lesson], choices, seed=99).probabilities(rest.images)[:, 1]
        tried[f"{noise:g}"] = round(classifier.area_under_curve(rest.labels == 1, scores), 4)
        if tried[f"{noise:g}"] <= ROOM:
            break
    return noise, tried


def cover(part: Labelled, noise: float, seed: int) -> Labelled:
    """The images under grey noise of this standard deviation, in half ranges."""
    return Labelled(grain(part.images, noise, seed) if noise else part.images, part.labels, part.patients)


def _count(part: Labelled) -> dict[str, int]:
    return {"films": len(part), "with_the_finding": int(part.labels.sum()), "patients": len(set(part.patients))}


def table(found: Mapping[str, Any]) -> str:
    """AUC of each cell, and what it has over each control."""
    heads = ("real X-rays per class", "generated images", "AUC", *(f"over {name}" for name in _controls(found)))
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for one in sorted(found["aucs"], key=lambda row: (row["real"], row["arm"], row["regime"])):
        line = [str(one["real"] // 2) if one["real"] else "none", _describe(one)]
        line.append(f"{one['auc']:.3f} {span(one['interval'], '.3f')}")
        line += [_difference(found, one, name) for name in _controls(found)]
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines)


def _controls(found: Mapping[str, Any]) -> list[str]:
    known = [REAL_ALONE, STOPPED_EARLY, NORMALS]
    return known + sorted({row["over"] for row in found["differences"]} - set(known))


def _describe(one: Row) -> str:
    if not one["drawn"]:
        return "none, stopped early" if one["regime"] == "stopped early" else "none"
    regime = {"mixed": "mixed" if one["real"] else "alone", "normals": "normals alone, mixed"}
    kept = "" if one["kept"] is None else f" ({one['kept']:.0%} kept)"
    return f"{one['arm']}, {regime.get(one['regime'], one['regime'])}{kept}"


def _difference(found: Mapping[str, Any], one: Row, over: str) -> str:
    for values in found["differences"]:
        row = Difference.model_validate(values)
        if (row.real, row.arm, row.drawn, row.regime, row.over) == (
            one["real"], one["arm"], one["drawn"], one["regime"], over,
        ):  # fmt: skip
            sure = " *" if row.p_holm is not None and row.p_holm < 0.05 else ""
            return f"{row.gain:+.3f} {span(row.interval, '+.3f')}{sure}"
    return ""


SPELLED = {
    "drawn_of_each_class": "generated images per class", "films_of_an_embedding": "X-rays per embedding",
    "films": "X-rays",
}  # fmt: skip
"""Names of the results file as the page says them."""
A_CLASS = "real films a class", "real X-rays per class"


def put_into(page: str, results: Mapping[str, Any]) -> str:
    """The page with what was measured between its two marks."""
    rows = {**results["protocol"], **{name: results[name] for name in ("noise", "seeds", "pool", "test")}}
    rows["AUC of real X-rays alone, by noise"] = results["real_alone_by_noise"]
    rows["embeddings of each arm"] = results["embeddings"]
    protocol = "\n".join(
        f"| {SPELLED.get(name, name.replace('_', ' '))} | {_plain(value)} |" for name, value in rows.items()
    )
    return marked.put(page, f"{table(results)}\n\n| protocol | |\n|---|---|\n{protocol}\n")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{SPELLED.get(name, name.replace('_', ' '))}: {one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value).replace(*A_CLASS)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw, judge, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.regimes", description=__doc__)
    usual = Design()
    parser.add_argument("--data", type=Path, default=default_data(), help="folder with chest-xray/")
    parser.add_argument("--work", type=Path, default=WORK, help="what was drawn and taught")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--embeddings", type=int, default=usual.embeddings, help="embeddings of each arm")
    parser.add_argument("--repeats", type=int, default=usual.repeats, help="seeds of the classifier for each")
    parser.add_argument("--per-class", type=int, nargs="+", default=usual.per_class, help="real films a class")
    parser.add_argument("--epsilon", type=float, nargs="*", default=usual.epsilons, help="private arms, such as 8 2")
    parser.add_argument("--side", type=int, default=usual.side, help="pixels")
    parser.add_argument("--steps", type=int, default=usual.steps, help="of the classifier")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for embeddings and images")
    parser.add_argument("--judge", action="store_true", help="draw nothing: judge what was drawn so far")
    parser.add_argument("--write", action="store_true", help="write the table into docs, from --results, and stop")
    asked = parser.parse_args(argv)
    if asked.write:
        PAGE.write_text(put_into(PAGE.read_text(), json.loads(asked.results.read_text())))
        return
    torch.set_num_threads(1)
    design = Design(
        asked.embeddings, asked.repeats, tuple(asked.per_class), usual.drawn, tuple(asked.epsilon), asked.side,
        asked.steps,
    )  # fmt: skip
    if not asked.judge:
        for line in material.draw(
            asked.data, asked.work, embeddings=design.embeddings, epsilons=design.epsilons, device=asked.device
        ):
            print(f"drawn: {line}", flush=True)
    protocol = {
        "day": date.today().isoformat(), "processor": machine.describe()["processor"],
        "classifier": f"small, {design.steps} steps of 32 images, {design.side} x {design.side} pixels",
        "drawn_of_each_class": design.drawn, "films_of_an_embedding": material.LEARNED,
        "noise_rule": f"first of {NOISES} with AUC {ROOM} or less, 12 real X-rays per class alone",
    }  # fmt: skip
    found = {"protocol": protocol, **judge(asked.data, asked.work, design)}
    asked.results.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(asked.results, json.dumps(found, indent=1).encode() + b"\n")
    print(table(found))


if __name__ == "__main__":
    main()
