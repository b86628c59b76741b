"""`python -m bench.worth`: what generated images are worth in patients, over modalities and privacy budgets.

Hospital B has few real images of a finding; hospital A's embeddings generate more. The judge is a published network
that stays as it is. For each modality of bench/worth.json: what the generated images are worth alone, and what they add
to real ones, over real images alone, over generated normals, over the nearest words of the base, with the ceiling of
hospital A's own images. Fixed before anything was seen: this file, the settings, and the parts of the data. Everything
generated is kept in `--work`: the study can be left and gone on with.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from bases.workshop.xray import default_data
from bench import machine, marked
from bench import worth_material as material
from embhub.builtin_bases import resolve
from embhub.cards.evaluation import CEILING, NORMALS, REAL_ALONE, Difference, Worth
from embhub.diffusion.evaluation import fitting, outcome
from embhub.diffusion.evaluation.cells import Cell, Labelled, of_class
from embhub.diffusion.evaluation.networks import find
from embhub.diffusion.evaluation.regimes import join
from embhub.durable import write_atomic

SETTINGS = Path(__file__).parent / "worth.json"
RESULTS = Path(__file__).parent / "results" / "worth.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/worth-in-patients.md"
WORK = Path(__file__).parents[1] / "build" / "worth"
PER_CLASS = (5, 10, 20, 50, 100)
EMBEDDINGS, REPEATS, GENERATED, SIDE = 5, 2, 300, 128
Row = dict[str, Any]


def modalities(path: Path = SETTINGS) -> list[material.Modality]:
    """The settings file."""
    lines = json.loads(path.read_text(encoding="utf-8"))
    return [material.Modality(**{**line, "negative": tuple(line["negative"])}) for line in lines]


def judge(data: Path, one: material.Modality, work: Path, embeddings: int, epsilons: Sequence[float]) -> Row:
    """Every figure of one modality: each arm against the same controls."""
    pool, test, site = material.real(data, one, "judge"), material.real(data, one, "test"), material.site(data, one)
    counts = [2 * number for number in PER_CLASS if 2 * number <= pool.most]
    found: Row = {
        "modality": one.set, "finding": one.finding, "test_images": len(test),
        "test_patients": len(set(test.patients)), "arms": [],
    }  # fmt: skip
    words = _all(material.WORDS, work, embeddings)
    for epsilon in (None, *epsilons):
        arm = material.name_of(epsilon)
        mine = _all(arm, work, embeddings)
        if mine is None or words is None:
            continue
        ceiling = join(of_class(site, 1), of_class(mine[0], 0))
        amount = mine[0].most
        cells = [Cell(count) for count in counts] + [Cell(0, arm, amount)]
        for count in counts:
            cells += [Cell(count, arm, amount), Cell(count, arm, amount, "normals")]
            cells += [Cell(count, material.WORDS, amount), Cell(count, CEILING, ceiling.most)]
        arms = {arm: mine, material.WORDS: words, CEILING: [ceiling]}
        choices = fitting.Choices(find("pretrained"), SIDE, mirror=False, real_share=0.5)
        taught = fitting.teach(cells, pool, arms, test, choices=choices, seeds=REPEATS * embeddings)
        sets = {arm: len(mine), material.WORDS: len(words)}
        worth = outcome.worth(test, taught, pool, sets)
        found["arms"].append(
            {
                "arm": arm,
                "worth": worth.model_dump(mode="json") if worth else None,
                "differences": [one.model_dump(mode="json") for one in outcome.differences(test, taught, sets)],
            }
        )
    return found


def _all(arm: str, work: Path, embeddings: int) -> list[Labelled] | None:
    parts = [material.generated(arm, seed, work) for seed in range(embeddings)]
    there = [part for part in parts if part is not None]
    return there if len(there) == embeddings else None


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A row for each modality, arm and number of real images."""
    heads = ("modality", "images of", "alone worth, real patients a class", "real a class", "over real alone",
             "over generated normals", "over nearest words", "ceiling over real alone")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for one in results:
        for arm in one["arms"]:
            rows = [Difference.model_validate(row) for row in arm["differences"]]
            worth = Worth.model_validate(arm["worth"]).words if arm["worth"] else ""
            for count in sorted({row.real for row in rows if row.real}):
                gains = [_gain(rows, arm["arm"], count, over) for over in (REAL_ALONE, NORMALS, material.WORDS)]
                cells = [one["modality"], arm["arm"], worth, str(count // 2), *gains]
                lines.append("| " + " | ".join([*cells, _gain(rows, CEILING, count, REAL_ALONE)]) + " |")
    return "\n".join(lines)


def _gain(rows: Sequence[Difference], arm: str, count: int, over: str) -> str:
    for row in rows:
        if (row.arm, row.real, row.over, row.regime) == (arm, count, over, "mixed"):
            shown = f"{row.gain:+.3f} [{row.interval[0]:+.3f}, {row.interval[1]:+.3f}]"
            return f"{shown} undecided" if row.undecided else shown
    return ""


def main(argv: Sequence[str] | None = None) -> None:
    """Generate, judge, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.worth", description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of the public images")
    parser.add_argument("--work", type=Path, default=WORK, help="what was generated")
    parser.add_argument("--base", action="append", default=[], metavar="SET=FOLDER", help="a base that is not shipped")
    parser.add_argument("--only", nargs="*", metavar="SET", help="these sets alone")
    parser.add_argument("--embeddings", type=int, default=EMBEDDINGS)
    parser.add_argument("--generated", type=int, default=GENERATED, help="images of a class that each generates")
    parser.add_argument("--epsilon", type=float, nargs="*", default=(), help="private arms, such as 8 4 2 1")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--judge", action="store_true", help="generate nothing")
    parser.add_argument("--write", action="store_true", help="write the table into docs, from --results, and stop")
    asked = parser.parse_args(argv)
    if asked.write:
        results = json.loads(asked.results.read_text(encoding="utf-8"))
        page = marked.put(PAGE.read_text(encoding="utf-8"), table(results["modalities"]))
        PAGE.write_text(page, encoding="utf-8")
        return
    torch.set_num_threads(1)
    bases = dict(line.split("=", 1) for line in asked.base)
    found = []
    for one in modalities():
        base = Path(bases[one.set]) if one.set in bases else resolve(one.set) if one.set.startswith("builtin") else None
        if base is None or (asked.only and one.set not in asked.only):
            continue
        work = asked.work / one.set
        if not asked.judge:
            for line in material.generate(
                asked.data, one, base, work, embeddings=asked.embeddings, epsilons=tuple(asked.epsilon),
                count=asked.generated,
            ):  # fmt: skip
                print(line, flush=True)
        found.append(judge(asked.data, one, work, asked.embeddings, asked.epsilon))
    protocol = {
        "day": date.today().isoformat(), "processor": machine.describe()["processor"], "embeddings": asked.embeddings,
        "seeds": REPEATS * asked.embeddings, "generated_of_each_class": asked.generated, "real_share": 0.5,
    }  # fmt: skip
    write_atomic(asked.results, json.dumps({"protocol": protocol, "modalities": found}, indent=1).encode() + b"\n")
    print(table(found))


if __name__ == "__main__":
    main()
