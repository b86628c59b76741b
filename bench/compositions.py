"""`python -m bench.compositions`: does a finding come with its weight, and do two findings come together?

*Interpolation*: pictures of one seed at weights from 0 to 1 between the prompt of healthy images and that of a finding;
the judged share at each weight, and Page's test of a trend in the judge's probability over seeds (scipy).
*Combination*: two prompts of weight 1 each in one picture, without and with healthy at -1, beside each alone, both in
the words of one prompt, and the prompt of healthy images; two judges say which findings they see.
Judges are those of `bench.findings`, of real images alone. Seeds and settings stand here, fixed before anything was
judged. Pictures are drawn in bfloat16.

Each part is kept in bench/results/compositions.json as it ends, and is not drawn again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from bases.workshop import xray
from bench.findings import SUBJECTS, Judge, Pictures, Subject, ask_for, judge, keep_rows, shares, studio
from bench.insertion import xray_judge, xray_studio
from bench.results_file import ResultsFile, Row
from embhub.diffusion.generation.generation import Prompt, Studio, draw
from embhub.diffusion.training.precision import in_bfloat16, precision
from embhub.phantoms import draw as draw_phantom

RESULTS = Path(__file__).parent / "results" / "compositions.json"
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SERIES, SEED, COMBINED = 20, 7000, 30
PAIRS = (("cxr-effusion", "bright ring"), ("bright spot", "bright ring"))
LATER = "composed, weights 1, 1 and -1 for healthy"
"""Chosen by looking at pictures of other seeds once the figures of weights 1 and 1 were known; drawn from new seeds."""
ARMS = (
    "real images with both", "healthy", "first alone", "second alone", "first and second in one prompt",
    "composed, weights 1 and 1", LATER,
)  # fmt: skip
Ready = Callable[[], AbstractContextManager[tuple[Studio, str, str]]]


def paint(drawing: Studio, prompt: Prompt, count: int, seed: int = SEED) -> Pictures:
    """Pictures of the study's seeds."""
    settings: dict[str, Any] = {"steps": drawing.steps, "guidance_scale": drawing.guidance}
    with precision(drawing.pipe, mixed=in_bfloat16("cpu")):
        pictures = draw(drawing.pipe, prompt, n=count, seed=seed, **settings)
    return np.stack([np.asarray(one) for one in pictures])


def phantom(name: str) -> Ready:
    """A finding of phantoms: the studio, its prompt, and that of healthy images."""

    @contextmanager
    def ready() -> Iterator[tuple[Studio, str, str]]:
        with ask_for(SUBJECTS[name]) as prompt:
            yield studio(), prompt, SUBJECTS[name].healthy

    return ready


@contextmanager
def film() -> Iterator[tuple[Studio, str, str]]:
    """Bacterial pneumonia by the embedding that comes along."""
    drawing = xray_studio()
    yield replace(drawing, tokens=()), f"{xray.HEAD}, {drawing.tokens[0]}", f"{xray.HEAD}, normal"


def interpolate(ready: Ready, judges: dict[str, Judge]) -> Row:
    """Judged shares along the way, and the trend."""
    with ready() as (drawing, finding, healthy):
        columns = [paint(drawing, [(healthy, 1 - weight), (finding, weight)], SERIES) for weight in WEIGHTS]
    found: Row = {"weights": WEIGHTS, "seeds": SERIES, "judged": {}}
    for kind, look in judges.items():
        chances = np.stack([look(pictures) for pictures in columns], axis=1)
        found["judged"][kind] = {
            "shares": [shares(chances[:, place] > 0.5) for place in range(len(WEIGHTS))],
            "mean probability": [round(float(value), 3) for value in chances.mean(0)],
            **trend(chances),
        }
    return found


def trend(chances: NDArray[np.float64]) -> Row:
    """Page's test (1963) of rising values over the columns of (seeds, weights), and the worst fall of the mean."""
    test = stats.page_trend_test(chances)
    steps = np.diff((chances > 0.5).mean(0))
    return {
        "Page's L": float(test.statistic),
        "p": float(f"{test.pvalue:.2g}"),
        "largest fall of the share": round(float(max(0.0, -steps.min())), 3),
    }


def combine(arm: str, one: Subject, other: Subject) -> Pictures:
    """The pictures of an arm of a combination, or the real images that show both."""
    if arm == "real images with both":
        rng = np.random.default_rng(SEED)
        both = [(one.finding(rng), other.finding(rng)) for _ in range(COMBINED)]
        return np.stack([draw_phantom(one.modality, pair, rng).image for pair in both])
    with ask_for(one) as first, ask_for(other) as second:
        prompts: dict[str, Prompt] = {
            "healthy": one.healthy,
            "first alone": first,
            "second alone": second,
            "first and second in one prompt": f"{first} and {second.partition(', ')[2]}",
            "composed, weights 1 and 1": [(first, 1.0), (second, 1.0)],
            LATER: [(first, 1.0), (second, 1.0), (one.healthy, -1.0)],
        }
        return paint(studio(), prompts[arm], COMBINED, SEED + 1000 if arm == LATER else SEED)


def study(data: Path, done: Sequence[Row], keep: Callable[[Row], None], only: Sequence[str] = ()) -> None:
    """Every part that is not there yet."""
    have = {(row["part"], row["of"], row.get("arm")) for row in done}
    ways: list[tuple[str, Ready, Callable[[], dict[str, Judge]]]] = [
        (name, phantom(name), partial(_judges, name)) for name in ("cxr-effusion", "bright ring")
    ]
    if (data / "chest-xray").exists():
        ways.insert(1, ("bacterial pneumonia", film, partial(_film_judges, data)))
    for name, ready, judges in ways:
        if ("interpolation", name, None) not in have and (not only or name in only):
            began = time.process_time()
            found = interpolate(ready, judges())
            keep({"part": "interpolation", "of": name, **found, "seconds": round(time.process_time() - began, 1)})
    for first, second in PAIRS:
        pair = f"{first} and {second}"
        for arm in ARMS:
            if ("combination", pair, arm) in have or (only and pair not in only):
                continue
            pictures = combine(arm, SUBJECTS[first], SUBJECTS[second])
            seen = [judge(name, "look-alikes")(pictures) > 0.5 for name in (first, second)]
            called = {"first": shares(seen[0]), "second": shares(seen[1]), "both": shares(seen[0] & seen[1])}
            keep({"part": "combination", "of": pair, "arm": arm, "judged": called})


def _judges(name: str) -> dict[str, Judge]:
    return {"against healthy": judge(name, "healthy"), "against look-alikes": judge(name, "look-alikes")}


def _film_judges(data: Path) -> dict[str, Judge]:
    return {"against healthy": xray_judge(data)}


def sheet(folder: Path) -> None:
    """The pictures of the page docs/explanation/using-embeddings.md: phantoms alone, of the study's first seeds."""
    from embhub.diffusion.generation.interpolation import draw_series

    with ask_for(SUBJECTS["cxr-effusion"]) as prompt, precision(studio().pipe, mixed=in_bfloat16("cpu")):
        series = draw_series(studio(), SUBJECTS["cxr-effusion"].healthy, prompt, series=6, n=3, seed=SEED)
    series.sheet().save(folder / "using-interpolation.png", optimize=True)


def table(rows: Sequence[Row]) -> str:
    """Shares by weight and arm, with Clopper-Pearson intervals at 95 %."""
    heads = " | ".join(f"{weight:g}" for weight in WEIGHTS)
    lines = [f"| finding | classifier | {heads} | largest fall | Page's test |", "|---" * (len(WEIGHTS) + 4) + "|"]
    for row in (row for row in rows if row["part"] == "interpolation"):
        for kind, found in row["judged"].items():
            shown = " | ".join(_words(one) for one in found["shares"])
            lines.append(
                f"| {row['of']} | {kind} | {shown} | {found['largest fall of the share']:.0%} | p = {found['p']:.1g} |"
            )
    combined = [row for row in rows if row["part"] == "combination"]
    for pair in dict.fromkeys(row["of"] for row in combined):
        lines += ["", f"| {pair} | first seen | second seen | both seen |", "|---|---|---|---|"]
        for row in (row for row in combined if row["of"] == pair):
            shown = " | ".join(_words(row["judged"][name]) for name in ("first", "second", "both"))
            lines.append(f"| {row['arm']} | {shown} |")
    return "\n".join(lines)


def _words(called: Row) -> str:
    return f"{called['share']:.0%} [{called['low']:.0%}, {called['high']:.0%}]"


def main() -> None:
    """Run what is missing, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.compositions", description=__doc__)
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    parser.add_argument("--rows", type=Path, metavar="DIR", help="where learned rows are kept for other studies")
    parser.add_argument("--sheet", type=Path, metavar="DIR", help="write the picture of the documentation, no more")
    parser.add_argument("--only", action="append", metavar="NAME", help="this finding or pair, as results name it")
    parser.add_argument("--table", action="store_true", help="print what is there, and draw nothing")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_rows(asked.rows)
    if asked.sheet:
        sheet(asked.sheet)
        return
    results = ResultsFile(asked.results)
    rows = results.rows

    def keep(row: Row) -> None:
        results.keep(row)
        print(row["part"], row["of"], row.get("arm", ""), flush=True)

    if not asked.table:
        study(asked.data, list(rows), keep, asked.only or ())
    print(table(rows))


if __name__ == "__main__":
    main()
