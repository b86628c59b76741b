"""Leaks whose truth is known: what every attack of an audit says of embeddings that remember, and of strangers.

A group is 24 patients of one image each, and 24 strangers. Twelve embeddings are learned by one recipe, each from about
half of the patients: four references, in which every patient is twice, and eight targets with coins of their own. The
first four targets are audited as files are, with the other eleven embeddings for references (`lira` has only
the four); each is a trial. The headline `lira-shadows` pools two targets, so eight make four trials. Each stranger
keeps the coin of one patient, and nobody learned from any of them: what is said of strangers is a false alarm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from bases.workshop.counting import tensor
from bench.apart import balance_coins, score_apart
from bench.results_file import ResultsFile, Row
from embhub.audits import statistics
from embhub.audits.attack_figures import IN_TURN
from embhub.audits.report import SUITES
from embhub.audits.verdict import ALPHA
from embhub.diffusion.attacks import THOROUGH, WITH_REFERENCES, shadows
from embhub.diffusion.attacks.evidence import Draws, Evidence, Suspect, draw, measure_losses
from embhub.diffusion.attacks.losses import score_by_lira
from embhub.diffusion.attacks.shadows import Shadows
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import batched, inversion
from embhub.diffusion.training.inversion import ResolvedRecipe
from embhub.phantoms import draw as draw_phantom
from embhub.phantoms import random_shape

CAPTION, TOKEN = "prostate mri, {}", "<bench>"
GROUPS, PATIENTS, REFERENCES, TARGETS, FILES, POOLED, DRAWS = 5, 24, 4, 8, 4, 2, 8
STRONG = ResolvedRecipe(num_vectors=32, steps=100, learning_rate=0.1, batch_size=8, high_noise=0.6)
LEAKS: Mapping[str, ResolvedRecipe] = {"strong leak": STRONG, "small leak": replace(STRONG, steps=20)}
NONE = "no leak"
"""Strangers, looked at with the embeddings of the strong leak."""
HEADLINE = SUITES["thorough"][0]
MEASURED = {  # the headline, and what is tried on files
    suite: (HEADLINE, *(name for name in SUITES[suite] if not name.endswith(IN_TURN)))
    for suite in ("standard", "thorough")
}


def patients(count: int, seed: int) -> Tensor:
    """Phantom prostates of all kinds of findings, an image each: membership is a matter of place alone."""
    generator = np.random.default_rng([7, seed])
    images = [draw_phantom("prostate", random_shape("prostate", generator), generator).image for _ in range(count)]
    return tensor(np.stack(images))


def run(pipe: Pipeline, results: ResultsFile, *, groups: int) -> None:
    """Every group that is not there whole; what an interrupted one left is measured again."""
    for number in range(groups):
        for truth in LEAKS:
            wanted = {truth, NONE} if truth == "strong leak" else {truth}
            kept = [row for row in results.rows if (row.get("group"), row.get("leak")) == (number, truth)]
            if {(row["truth"], row["attack"], row["trial"]) for row in kept} >= {
                (name, attack, trial) for name in wanted for attack in MEASURED["thorough"] for trial in range(FILES)
            }:
                continue
            results.rows[:] = [row for row in results.rows if row not in kept]
            for row in try_group(pipe, number, truth):
                results.keep({"part": "truths", "leak": truth, "group": number, **row})
                if row["attack"] == MEASURED["thorough"][-1]:
                    print(f"group {number}, {row['truth']}, trial {row['trial']} done", flush=True)


def try_group(pipe: Pipeline, number: int, truth: str) -> Iterator[Row]:
    """Train one group's embeddings, and try every attack on its patients; of a strong leak, on strangers too."""
    images = patients(2 * PATIENTS, number)
    latents = inversion.encode_images(pipe, images)
    coins = torch.from_numpy(
        np.concatenate([
            balance_coins(REFERENCES, PATIENTS, seed=number), shadows.flip_coins(TARGETS, PATIENTS, seed=number)
        ])
    )  # fmt: skip
    learned = train(pipe, latents[:PATIENTS], coins, LEAKS[truth], seed=1000 * number)
    draws = draw(pipe, latents.shape[1:], count=DRAWS, seed=number)
    sides = {truth: slice(0, PATIENTS)}
    if LEAKS[truth] == STRONG:
        sides[NONE] = slice(PATIENTS, 2 * PATIENTS)
    drawn: dict[int, list[Tensor]] = {}
    for name, side in sides.items():
        trial = Trial(pipe, images[side], latents[side], draws, coins, learned, drawn)
        for file in range(FILES):
            for attack, (scores, inside) in trial.attack(file):
                members, others = scores[inside].numpy(), scores[~inside].numpy()
                yield {
                    "truth": name, "trial": file, "attack": attack, "auc": statistics.auc(members, others),
                    "p": statistics.p_value(members, others), "units": [len(members), len(others)],
                }  # fmt: skip


def train(
    pipe: Pipeline, latents: Tensor, coins: Tensor, recipe: ResolvedRecipe, *, seed: int
) -> list[Mapping[str, Tensor]]:
    """One embedding a row of `coins` (S, N)."""
    jobs = [(latents[chosen], seed + place) for place, chosen in enumerate(coins)]
    return [
        fit.rows
        for shared in batched.group(len(jobs), recipe)
        for fit in batched.fit_many(
            pipe, [jobs[place] for place in shared], token=TOKEN, caption=CAPTION, recipe=recipe
        )
    ]


class Trial:
    """Audits of some people, with embeddings that are there: `coins` (S, N) say who is counted as a member of which.

    `drawn` keeps what each audited file drew, for the next people that it is tried on.
    """

    def __init__(
        self,
        pipe: Pipeline,
        images: Tensor,
        latents: Tensor,
        draws: Draws,
        coins: Tensor,
        learned: list[Mapping[str, Tensor]],
        drawn: dict[int, list[Tensor]],
    ) -> None:
        self._suspect = Suspect(pipe, latents, draws, CAPTION, TOKEN, learned[0], images=images)
        self._coins, self._learned, self._drawn = coins, learned, drawn
        self._losses = torch.stack([self._measure(rows) for rows in learned])
        self._without = self._measure(None)

    def attack(self, file: int) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
        """Scores of every attack of the thorough suite, and who is counted as a member, for the target `file`."""
        place = REFERENCES + file
        yield HEADLINE, self._pool(file)
        others = torch.arange(len(self._learned)) != place
        suspect = replace(self._suspect, rows=self._learned[place], seed=file)
        suspect.drawn.extend(self._drawn.get(file, []))
        every = Evidence(
            self._losses[place], self._without, self._losses[others], ~self._coins[others], suspect=suspect
        )
        few = replace(every, references=self._losses[:REFERENCES], unseen=~self._coins[:REFERENCES])
        yield "lira", (score_by_lira(few), self._coins[place])
        for name, function in {**WITH_REFERENCES, **THOROUGH}.items():
            yield name, (function(every), self._coins[place])
        self._drawn[file] = suspect.drawn

    def _pool(self, file: int) -> tuple[Tensor, Tensor]:
        """The headline, over two targets of its own."""
        chosen = slice(REFERENCES + POOLED * file, REFERENCES + POOLED * (file + 1))
        references = Shadows(self._losses[:REFERENCES], self._coins[:REFERENCES])
        scores = score_apart(references, self._losses[chosen])
        scores, inside = (scores - scores.mean(1, keepdim=True)).flatten(), self._coins[chosen].flatten()
        order = inside.long().argsort(descending=True, stable=True)
        return scores[order], inside[order]

    def _measure(self, rows: Mapping[str, Tensor] | None) -> Tensor:
        suspect = self._suspect
        return measure_losses(suspect.pipe, suspect.latents, suspect.draws, caption=CAPTION, token=TOKEN, rows=rows)


def table(rows: list[Row]) -> list[str]:
    """How often each attack says "leak" where there is none, a small and a strong one; and how often an audit does."""
    truths = (NONE, "small leak", "strong leak")
    trials: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        trials.setdefault((row["truth"], row["attack"]), []).append(row)
    lines = [
        "| attack | " + " | ".join(f"{truth}: says leak | mean AUC" for truth in truths) + " |",
        "|---|" + "---|" * 2 * len(truths),
    ]
    for name in MEASURED["thorough"]:
        cells = [_cells([row["p"] <= ALPHA for row in found], [row["auc"] for row in found])
                 for found in (trials.get((truth, name), []) for truth in truths)]  # fmt: skip
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    for suite in ("standard", "thorough"):
        cells = [_cells(_verdicts([row for row in rows if row["truth"] == truth], suite), []) for truth in truths]
        lines.append(f"| all of `{suite}` | " + " | ".join(cells) + " |")
    return lines


def _verdicts(rows: list[Row], suite: str) -> list[bool]:
    """Whether each audit of that suite would say "leak", its level shared among the attacks as the verdict does."""
    names = MEASURED[suite]
    audits: dict[tuple[int, int], dict[str, float]] = {}
    for row in rows:
        if row["attack"] in names:
            audits.setdefault((row["group"], row["trial"]), {})[row["attack"]] = row["p"]
    share = ALPHA / (len(names) - 1)
    return [
        any(p <= (ALPHA if name == HEADLINE else share) for name, p in found.items())
        for found in audits.values() if len(found) == len(names)
    ]  # fmt: skip


def _cells(said: list[bool], areas: list[float]) -> str:
    if not said:
        return "not measured | "
    low, high = statistics.proportion_interval(sum(said), len(said))
    return f"{sum(said)} of {len(said)} [{low:.2f}, {high:.2f}] | " + (f"{np.mean(areas):.2f}" if areas else "")
