"""`python -m bench.audit_designs`: does an audit see as much where each shadow serves as target and as reference?

*apart*: 8 references, 8 targets, 16 trainings. *in turn*: the same 8 targets without any reference, 8 trainings. A
group is 24 phantom patients and 24 strangers. Its 16 embeddings of `builtin` are learned once, and both designs are
tried on the same losses, so differences are paired. Strangers keep the coins of the patients, and nobody learned from
them. Attacks on a file are tried on each reference in turn: with all other shadows, and with the 8 targets alone.

*cost*: processor time of one training's steps, of steps shared by as many shadows as an audit puts into a batch, and of
the measurement of one shadow, alternating; what an audit costs in trainings follows. Groups that are there are kept.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import marked
from bench.apart import balance_coins, score_apart
from bench.leaks import CAPTION, STRONG, TOKEN, patients, train
from bench.results_file import ResultsFile, Row
from embhub.audits import statistics
from embhub.audits.verdict import ALPHA
from embhub.diffusion.attacks import WITH_REFERENCES
from embhub.diffusion.attacks.evidence import Attack, Evidence, draw, measure_losses
from embhub.diffusion.attacks.losses import score_by_lira
from embhub.diffusion.attacks.shadows import SHADOWS, Shadows, flip_coins, score_in_turn
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import batched, inversion
from embhub.diffusion.training.inversion import ResolvedRecipe
from embhub.diffusion.training.recipes import COMPACT

RESULTS = Path(__file__).parent / "results" / "audit_designs.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/audit-designs.md"
PATIENTS, DRAWS, GROUPS, IMAGES = 24, 8, 4, 100
RECIPE = replace(STRONG, steps=20)
"""The small leak of `bench.leaks`: where both designs found everything, nothing could be compared."""
ON_FILES: dict[str, Attack] = {"lira": score_by_lira, **WITH_REFERENCES}


def try_group(pipe: Pipeline, number: int, *, recipe: ResolvedRecipe) -> tuple[Tensor, Tensor]:
    """Losses (16, 2 x PATIENTS, DRAWS) of the references and targets of a group, and coins (16, PATIENTS)."""
    latents = inversion.encode_images(pipe, patients(2 * PATIENTS, 100 + number))
    coins = torch.from_numpy(
        np.concatenate([balance_coins(SHADOWS, PATIENTS, seed=number), flip_coins(SHADOWS, PATIENTS, seed=number)])
    )
    learned = train(pipe, latents[:PATIENTS], coins, recipe, seed=1000 * number)
    draws = draw(pipe, latents.shape[1:], count=DRAWS, seed=number)
    losses = [measure_losses(pipe, latents, draws, caption=CAPTION, token=TOKEN, rows=rows) for rows in learned]
    return torch.stack(losses), coins


def compare(losses: Tensor, coins: Tensor) -> Iterator[Row]:
    """What both designs see of these people (S, N, D), of whom `coins` (S, N) say who counts as a member."""
    apart, turn = Shadows(losses[:SHADOWS], coins[:SHADOWS]), losses[SHADOWS:]
    labels = coins[SHADOWS:]
    for design, scores in (("apart", score_apart(apart, turn)), ("in turn", score_in_turn(turn))):
        yield {"design": design, "attack": "lira-shadows", **_figures(scores - scores.mean(1, keepdim=True), labels)}
    for name, attack in ON_FILES.items():
        for design in ("apart", "in turn"):
            found = [_attack_file(attack, name, design, losses, coins, file) for file in range(SHADOWS)]
            yield {
                "design": design, "attack": name,
                **{key: float(np.mean([one[key] for one in found])) for key in ("auc", "tpr")},
                "says": float(np.mean([one["p"] <= ALPHA for one in found])),
            }  # fmt: skip


def _attack_file(attack: Attack, name: str, design: str, losses: Tensor, coins: Tensor, file: int) -> dict[str, float]:
    places = torch.arange(len(losses))
    chosen = places >= SHADOWS
    if design == "apart":
        chosen = (places != file) & (places < SHADOWS) if name == "lira" else places != file
    own = losses[file]
    scores = attack(Evidence(own, own.mean(0).expand_as(own), losses[chosen], ~coins[chosen]))
    return _figures(scores, coins[file])


def _figures(scores: Tensor, inside: Tensor) -> dict[str, float]:
    members, others = scores[inside].numpy(), scores[~inside].numpy()
    return {
        "auc": float(statistics.auc(members, others)), "p": float(statistics.p_value(members, others)),
        "tpr": statistics.hits_at(members, others, 0.1) / len(members),
    }  # fmt: skip


def weigh(pipe: Pipeline, *, steps: int, rounds: int) -> Iterator[Row]:
    """Processor seconds a step of one training and of one shadow in a shared batch, and of a shadow's measurement."""
    recipe = replace(COMPACT, steps=steps, warm_up=0)
    latents = inversion.encode_images(pipe, patients(IMAGES, 0))
    draws = draw(pipe, latents.shape[1:])
    together = len(batched.group(SHADOWS, recipe)[0])
    half = latents[: IMAGES // 2]
    rows = inversion.fit(pipe, half, token=TOKEN, caption=CAPTION, recipe=replace(recipe, steps=1), seed=0).rows

    def spend(work: Callable[[], Any]) -> float:
        began = time.process_time()
        work()
        return time.process_time() - began

    def learn(count: int) -> Callable[[], Any]:
        jobs = [(half, seed) for seed in range(count)]
        return lambda: batched.fit_many(pipe, jobs, token=TOKEN, caption=CAPTION, recipe=recipe)

    for _ in range(rounds):
        yield {
            "part": "cost", "images": IMAGES, "together": together,
            "alone": spend(learn(1)) / steps, "shared": spend(learn(together)) / steps / together,
            "measured": spend(
                lambda: measure_losses(pipe, latents, draws, caption=CAPTION, token=TOKEN, rows=rows)
            ),
        }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Both designs beside each other, the paired difference with its interval, and the cost."""
    lines = [
        "| attack | people | apart: mean AUC | in turn: mean AUC | difference, 95 % | TPR at 10 %: apart, in turn "
        "| says leak: apart, in turn |",
        "|---|---|---|---|---|---|---|",
    ]
    for attack in ("lira-shadows", *ON_FILES):
        for truth in ("small leak", "no leak"):
            both = [
                [row for row in rows if [row.get(key) for key in ("attack", "truth", "design")] == [attack, truth, way]]
                for way in ("apart", "in turn")
            ]
            if not both[0]:
                continue
            areas, rates, says = (np.array([[_of(row, key) for row in way] for way in both])
                                  for key in ("auc", "tpr", "says"))  # fmt: skip
            lines.append(
                f"| `{attack}` | {truth} | {areas[0].mean():.3f} | {areas[1].mean():.3f} "
                f"| {_interval(areas[1] - areas[0])} "
                f"| {rates[0].mean():.2f}, {rates[1].mean():.2f} | {says[0].mean():.0%}, {says[1].mean():.0%} |"
            )
    if found := [row for row in rows if row.get("part") == "cost"]:
        alone, shared, measured = (float(np.median([row[key] for row in found])) for key in
                                   ("alone", "shared", "measured"))  # fmt: skip
        one = alone * COMPACT.steps
        each = (shared * COMPACT.steps + measured) / one
        lines += ["", "| design | shadows | trainings' time |", "|---|---|---|"]
        lines += [f"| {way} | {count} | {count * each:.1f} |" for way, count in (("apart", 2 * SHADOWS),
                                                                                 ("in turn", SHADOWS))]  # fmt: skip
        lines += ["", f"A training of {COMPACT.steps} steps: {one:.0f} CPU seconds; a shadow in a shared batch of "
                  f"{found[0]['together']}: {shared * COMPACT.steps:.0f}; its measurement on {IMAGES} images: "
                  f"{measured:.0f}."]  # fmt: skip
    return "\n".join(lines)


def _of(row: Row, key: str) -> float:
    return float(row["p"] <= ALPHA) if key == "says" and "says" not in row else float(row[key])


def _interval(differences: Any) -> str:
    from scipy.stats import t

    mean, count = differences.mean(), len(differences)
    if count < 2:
        return f"{mean:+.3f}"
    half = t.ppf(0.975, count - 1) * differences.std(ddof=1) / count**0.5
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


def main() -> None:
    """Run what is missing, and print or write the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.audit_designs", description=__doc__)
    parser.add_argument("--groups", type=int, default=GROUPS)
    parser.add_argument("--rounds", type=int, default=2, help="of the cost")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--losses", type=Path, help="folder that keeps every group's losses")
    parser.add_argument("--write", action="store_true", help=f"write the tables into docs/explanation/{PAGE.name}")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results = ResultsFile(asked.results)
    pipe = load_pipeline(find_base("builtin"), device="cpu")
    for number in range(asked.groups):
        if any(row.get("group") == number for row in results.rows):
            continue
        losses, coins = try_group(pipe, number, recipe=RECIPE)
        if asked.losses:
            asked.losses.mkdir(parents=True, exist_ok=True)
            torch.save({"losses": losses, "coins": coins}, asked.losses / f"{number}.pt")
        for truth, people in (("small leak", slice(0, PATIENTS)), ("no leak", slice(PATIENTS, None))):
            for row in compare(losses[:, people], coins):
                results.keep({"part": "power", "group": number, "truth": truth, **row})
        print(f"group {number} done", flush=True)
    if not any(row["part"] == "cost" for row in results.rows):
        for row in weigh(pipe, steps=10, rounds=asked.rounds):
            results.keep(row)
    print(table(results.rows))
    if asked.write:
        PAGE.write_text(marked.put(PAGE.read_text(encoding="utf-8"), table(results.rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
