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

from bases.workshop.generated import WORDS, generated, recognised
from bases.workshop.xray import default_data
from bench import machine, marked
from bench import worth_material as material
from embhub.builtin_bases import resolve
from embhub.cards.evaluation import CEILING, NORMALS, NOTHING, REAL_ALONE, Difference, Worth
from embhub.diffusion.bases.pipelines import choose_device
from embhub.diffusion.evaluation import fitting, outcome
from embhub.diffusion.evaluation.cells import Cell, Labelled, of_class
from embhub.diffusion.evaluation.networks import find
from embhub.diffusion.evaluation.page import SIGNIFICANT
from embhub.diffusion.evaluation.regimes import join
from embhub.durable import write_atomic
from embhub.errors import UsageError

SETTINGS = Path(__file__).parent / "worth.json"
RESULTS = Path(__file__).parent / "results" / "worth.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/worth-in-patients.md"
WORK = Path(__file__).parents[1] / "build" / "worth"
PER_CLASS = (5, 10, 20, 50, 100)
EMBEDDINGS, REPEATS, GENERATED, SIDE = 5, 2, 300, 128
_FALLS = "†"
_FALLEN = f"{_FALLS} not after adjustment: the interval lies above or below 0, and Holm's p-value is not below .05."
Row = dict[str, Any]


def modalities(path: Path = SETTINGS) -> list[material.Modality]:
    """The settings file."""
    lines = json.loads(path.read_text(encoding="utf-8"))
    return [material.Modality(**{**line, "negative": tuple(line["negative"])}) for line in lines]


def judge(data: Path, one: material.Modality, work: Path, epsilons: Sequence[float]) -> Row:
    """Every figure of one modality, from the seeds that are there: each arm against the same controls."""
    pool, test, site = material.real(data, one, "judge"), material.real(data, one, "test"), material.site(data, one)
    choices = fitting.Choices(find("pretrained"), SIDE, mirror=False, device=str(choose_device()), real_share=0.5)
    names = (WORDS, *map(material.name_of, (None, *epsilons)))
    sets = {name: made for name in names if len(made := generated(name, work)) > 1}
    found: Row = {
        "modality": one.source, "finding": one.finding, "test_images": len(test),
        "test_patients": len(set(test.patients)), "learned_from": min(material.LEARNED, len(site)),
        **recognised(pool, test, sets, choices), "arms": [],
    }  # fmt: skip
    for arm in sets:
        found["arms"].append({"arm": arm, **_gains(arm, sets, pool, test, site, choices)})
    return found


def _gains(
    arm: str,
    sets: Mapping[str, list[Labelled]],
    pool: Labelled,
    test: Labelled,
    site: Labelled,
    choices: fitting.Choices,
) -> Row:
    """What the images of one arm are worth alone, and what they add to real ones, over each control.

    The nearest words are an arm too: what they are worth alone is the base's, and no embedding's.
    """
    mine, words = sets[arm], sets[WORDS]
    ceiling = join(of_class(site, 1), of_class(mine[0], 0))
    counts = [2 * number for number in PER_CLASS if 2 * number <= pool.most]
    cells = [Cell(count) for count in counts] + [Cell(0, arm, mine[0].most)]
    for count in counts:
        cells += [Cell(count, arm, mine[0].most), Cell(count, arm, mine[0].most, "normals")]
        cells += [Cell(count, WORDS, words[0].most), Cell(count, CEILING, ceiling.most)]
    arms = {arm: mine, WORDS: words, CEILING: [ceiling]}
    taught = fitting.teach(list(dict.fromkeys(cells)), pool, arms, test, choices=choices, seeds=REPEATS * len(mine))
    each = {arm: len(mine), WORDS: len(words)}
    worth = outcome.worth(test, taught, pool, each)
    if worth is None:
        raise UsageError(f"{arm}: hospital B has no images, so nothing can be said of worth")
    return {
        "embeddings": len(mine),
        "worth": worth.model_dump(mode="json"),
        "differences": [row.model_dump(mode="json") for row in outcome.differences(test, taught, each)],
    }


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """What is recognised and worth alone, by modality and arm; gains, a row for each number of real images."""
    return "\n\n".join([_recognised_table(results), _worth_table(results), _gains_table(results)])


def _recognised_table(results: Sequence[Mapping[str, Any]]) -> str:
    lines = _head("modality", "judge's AUC", "images", "called the finding", "KID")
    for one in results:
        rows = one["recognised"]
        for name in dict.fromkeys(row["images"] for row in rows):
            mine = [row for row in rows if row["images"] == name]
            called, kid = (", ".join(texts) for texts in zip(*map(_shown, mine), strict=True))
            lines.append(f"| {one['modality']} | {one['judge_auc']} | {name} | {called} | {kid} |")
    return "\n".join(lines)


def _head(*names: str) -> list[str]:
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]


def _shown(row: Mapping[str, Any]) -> tuple[str, str]:
    return f"{row['share']:.0%}", f"{row['kid']:.2f}"


def _worth_table(results: Sequence[Mapping[str, Any]]) -> str:
    lines = _head("modality", "images of", "embeddings", "generated a class", "alone worth, real patients a class")
    for one in results:
        for arm in one["arms"]:
            worth = Worth.model_validate(arm["worth"])
            about = [one["modality"], arm["arm"], str(arm["embeddings"]), str(worth.drawn // 2), worth.words]
            lines.append("| " + " | ".join(about) + " |")
    return "\n".join(lines)


def _gains_table(results: Sequence[Mapping[str, Any]]) -> str:
    lines = _head("modality", "images of", "real a class", "over real alone", "over generated normals",
                  "over nearest words", "ceiling over real alone")  # fmt: skip
    for one in results:
        for arm in one["arms"]:
            rows = [Difference.model_validate(row) for row in arm["differences"]]
            for count in sorted({row.real for row in rows if row.real}):
                gains = [_gain(rows, arm["arm"], count, over) for over in (REAL_ALONE, NORMALS, WORDS)]
                cells = [one["modality"], arm["arm"], str(count // 2), *gains]
                lines.append("| " + " | ".join([*cells, _gain(rows, CEILING, count, REAL_ALONE)]) + " |")
    shown = "\n".join(lines)
    return f"{shown}\n\n{_FALLEN}" if _FALLS in shown else shown


def _gain(rows: Sequence[Difference], arm: str, count: int, over: str) -> str:
    for row in rows:
        if (row.arm, row.real, row.over, row.regime) == (arm, count, over, "mixed"):
            shown = f"{row.gain:+.3f} [{row.interval[0]:+.3f}, {row.interval[1]:+.3f}]"
            return f"{shown}?" if row.undecided else shown + (_FALLS if _falls(row) else "")
    return ""


def _falls(row: Difference) -> bool:
    """Whether nothing is left of what its interval shows once the p-value is adjusted for the arm's comparisons."""
    return row.outcome != NOTHING and row.p_holm is not None and row.p_holm >= SIGNIFICANT


def _keep(path: Path, found: Sequence[Row]) -> None:
    """Put what was judged now in the place of what is there of the same modality; others stay."""
    kept = {row["modality"]: row for row in json.loads(path.read_bytes())["modalities"]} if path.exists() else {}
    kept |= {row["modality"]: row for row in found}
    rows = [kept[one.source] for one in modalities() if one.source in kept]
    write_atomic(path, json.dumps({"modalities": rows}, indent=1).encode() + b"\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Generate, judge, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.worth", description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data(), help="folder of the public images")
    parser.add_argument("--work", type=Path, default=WORK, help="what was generated")
    parser.add_argument("--base", action="append", default=[], metavar="SET=FOLDER", help="a base that is not shipped")
    parser.add_argument("--only", nargs="*", metavar="FOLDER", help="these folders of images alone")
    parser.add_argument("--embeddings", type=int, default=EMBEDDINGS)
    parser.add_argument("--generated", type=int, default=GENERATED, help="images of a class that each generates")
    parser.add_argument("--epsilon", type=float, nargs="*", default=(), help="private arms, such as 8 4 2 1")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--judge", action="store_true", help="generate nothing")
    parser.add_argument("--no-judging", action="store_true", help="generate alone")
    parser.add_argument("--write", action="store_true", help="write the table into docs, from --results, and stop")
    asked = parser.parse_args(argv)
    if asked.write:
        results = json.loads(asked.results.read_text(encoding="utf-8"))
        page = marked.put(PAGE.read_text(encoding="utf-8"), table(results["modalities"]))
        PAGE.write_text(page, encoding="utf-8")
        return
    torch.set_num_threads(asked.threads)
    bases = dict(line.split("=", 1) for line in asked.base)
    found = []
    for one in modalities():
        if asked.only and one.source not in asked.only:
            continue
        base = Path(bases[one.set]) if one.set in bases else resolve(one.set)
        if base is None:
            continue
        work = asked.work / one.source
        if not asked.judge:
            for line in material.generate(
                asked.data, one, base, work, embeddings=asked.embeddings, epsilons=tuple(asked.epsilon),
                count=asked.generated,
            ):  # fmt: skip
                print(line, flush=True)
        if asked.no_judging:
            continue
        how = {
            "day": date.today().isoformat(), "processor": machine.describe()["processor"],
            "device": str(choose_device()), "classifiers_an_embedding": REPEATS, "real_share": 0.5,
            "guidance": one.guidance, "num_vectors": one.num_vectors, "steps": one.steps,
        }  # fmt: skip
        found.append({**judge(asked.data, one, work, asked.epsilon), "protocol": how})
    _keep(asked.results, found)
    print(table(found))


if __name__ == "__main__":
    main()
