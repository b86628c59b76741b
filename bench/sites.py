"""`python -m bench.sites`: what several sites learn together, beside one site that has all their patients.

The measure is that of `bench.privacy`: the loss on patients kept back. Sites are rehearsed in one process, message by
message: masked sums, whole numbers, shares of noise. `cpu_ms` and `bytes` are a site's own for a step, beside its
gradients: what it computes from the first message to the last, and all that it sends and gets, the sum included. Every
run goes into a JSON file as it ends, and is not run again.

`epsilon` is what holds against those who are no site of the study. A site knows its own share of noise: against it, the
epsilon of patients at other sites is that of one share less (`StudyNoise.against_sites`), and so it is larger.
"""

from __future__ import annotations

import argparse
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from cryptography.hazmat.primitives.asymmetric import ec
from scipy import stats
from torch import Tensor

from bases.workshop import xray
from bench.defaults import TOKEN
from bench.privacy import Material, gather
from bench.results_file import ResultsFile, Row
from embhub.diffusion.dp import private_training, settings
from embhub.diffusion.dp.dpsgd import PrivateDescent
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.settings import default_recipe
from embhub.diffusion.dp.shared import SharedDescent
from embhub.diffusion.training.result import Task
from embhub.options.training import PrivacySettings
from embhub.privacy.calibration import calibrate_share
from embhub.privacy.claim import DEFAULT_DELTA
from embhub.privacy.studies import StudyNoise
from embhub.site.signing.keys import SigningKey
from embhub.study.grid import CLIP_UNITS, Grid, Residues
from embhub.study.rehearsal import Rehearsal
from embhub.study.wire import Step

RESULTS = Path(__file__).parent / "results" / "sites.json"
EPSILON = 4.0


@dataclass(frozen=True)
class Arm:
    """So many sites with so many patients each; `declared` are those of all together, `lost` those killed in each step
    once their vector is half on its way."""

    name: str
    sites: int
    each: int
    declared: int
    dropouts: int = 0
    lost: int = 0


ARMS = (
    Arm("one site with all 80 patients", 1, 80, 80),
    Arm("5 sites of 16", 5, 16, 80),
    Arm("20 sites of 4", 20, 4, 80),
    Arm("5 sites of 16, one killed in each step", 5, 16, 80, dropouts=1, lost=1),
    Arm("one site of 12", 1, 12, 10),
    Arm("8 sites of 12", 8, 12, 80),
)


class Part:
    """The patients of one site among those of a loss, as `SharedDescent` asks for them."""

    def __init__(self, loss: PatientLoss, places: Sequence[int]) -> None:
        self._loss, self.patients, self.recipe = loss, places, loss.recipe
        self.at_once, self.size = loss.at_once, loss.size

    def gradients(self, chosen: Sequence[int], coordinates: Tensor) -> Tensor:
        """One gradient (P, size) for each of this site's chosen patients."""
        return self._loss.gradients([self.patients[place] for place in chosen], coordinates)


class Timed(Rehearsal):
    """A rehearsal that counts what sites compute and what passes."""

    cpu = passed = 0.0

    def answer(self, name: str, site: str, data: bytes) -> bytes:
        """As a rehearsal."""
        began = time.process_time()
        sent = super().answer(name, site, data)
        self.cpu += time.process_time() - began
        self.passed += len(data) + len(sent)
        return sent


def together(arm: Arm, loss: PatientLoss, mechanism: Any, steps: int) -> tuple[Tensor, dict[str, float]]:
    """Coordinates that the sites of an arm learn, and what a step cost a site."""
    keys = {f"site-{n:02}": SigningKey("study", ec.generate_private_key(ec.SECP256R1())) for n in range(arm.sites)}
    asked = {"q": mechanism.sample_rate, "steps": steps, "sites": arm.sites, "dropouts": arm.dropouts}
    variance = calibrate_share(epsilon=EPSILON, delta=DEFAULT_DELTA, clip_units=CLIP_UNITS, **asked)
    claim = StudyNoise(
        colluders=0, clip_units=CLIP_UNITS, share_variance=variance, width=loss.size, **asked
    )  # fmt: skip
    assert claim.epsilon(claim.against_outsiders, delta=DEFAULT_DELTA) <= EPSILON
    grid = Grid(mechanism.max_grad_norm, CLIP_UNITS, variance)
    descents = {
        site: SharedDescent(Part(loss, range(n * arm.each, (n + 1) * arm.each)), mechanism, loss.recipe, grid)
        for n, site in enumerate(keys)
    }
    cpu = passed = 0.0
    for number in range(steps):
        step = Step("0" * 64, number, {site: key.public for site, key in keys.items()}, arm.dropouts, 0, loss.size)
        ready: dict[str, Residues] = {site: descent.contribute() for site, descent in descents.items()}
        state = {site: descent.digest() for site, descent in descents.items()}
        lost = secrets.SystemRandom().sample(sorted(keys), arm.lost)
        play = Timed(step, keys, state, ready.__getitem__, {"agree" if number % 2 else "mask": lost})
        total = play.run()
        for descent in descents.values():
            descent.follow(total)
        cpu += play.cpu / arm.sites
        passed += play.passed / arm.sites + 4 / 3 * total.nbytes
    return descents["site-00"].coordinates, {"cpu_ms": 1000 * cpu / steps, "bytes": passed / steps}


def run_arm(material: Material, arm: Arm, seed: int) -> Row:
    """One training, and its loss on the patients kept back."""
    names = list(dict.fromkeys(material.names))[: arm.sites * arm.each]
    inside = [place for place, name in enumerate(material.names) if name in set(names)]
    asked = settings.resolve(PrivacySettings(EPSILON, n_public=arm.declared))
    recipe = default_recipe(material.pipe, asked, arm.declared)
    mechanism, steps = settings.calibrate(asked, recipe, arm.declared)
    task = Task(material.pipe, "", TOKEN, material.caption, recipe)
    own = [material.names[place] for place in inside]
    loss = private_training.prepare_rows(task, asked, material.inside[inside], own)
    costs: Mapping[str, float] = {}
    with loss.active():
        if arm.sites > 1:
            coordinates, costs = together(arm, loss, mechanism, steps)
        else:
            descent = PrivateDescent(loss, mechanism, recipe)
            for _ in range(steps):
                descent.step()
            coordinates = descent.coordinates
    rows = {name: part.cpu() for name, part in loss.frame.rows(coordinates.float()).items()}
    return {
        "base": material.name, "arm": arm.name, "epsilon": EPSILON, "seed": seed, "loss": material.measure(rows),
        **costs,
    }  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Gain over the words alone, means with 95 % intervals over the runs (Student's t)."""
    lines = [f"Epsilon {EPSILON:g} against those who are no site of the study; against a site of it, more.", ""]
    lines += ["| base | sites | held-out gain | runs | CPU, ms | bytes |", "|---|---|---|---|---|---|"]
    for base in sorted({row["base"] for row in rows}):
        nothing = fmean(row["loss"] for row in rows if row["base"] == base and row["arm"] == "nothing learned")
        for arm in ARMS:
            runs = [row for row in rows if (row["base"], row["arm"]) == (base, arm.name)]
            if not runs:
                continue
            gains = [nothing - row["loss"] for row in runs]
            half = stats.t.ppf(0.975, len(gains) - 1) * stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
            cost = [
                f"{fmean(row[name] for row in runs):,.0f}" if name in runs[0] else "" for name in ("cpu_ms", "bytes")
            ]
            lines.append(
                f"| `{base}` | {arm.name} | {fmean(gains):.4f} ± {half:.4f} | {len(gains)} | {' | '.join(cost)} |"
            )
    return "\n".join(lines)


def study(material: Material, seeds: int, rows: Sequence[Row]) -> Iterator[Row]:
    """Every arm, a seed at a time; what is there is not run again."""
    have = {(row["base"], row["arm"], row["seed"]) for row in rows}
    if (material.name, "nothing learned", 0) not in have:
        yield {"base": material.name, "arm": "nothing learned", "seed": 0, "loss": material.measure(None)}
    for seed in range(seeds):
        for arm in ARMS:
            enough = len(set(material.names)) >= arm.sites * arm.each
            if enough and (material.name, arm.name, seed) not in have:
                yield run_arm(material, arm, seed)


def main() -> None:
    """Run what is missing, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.sites", description=__doc__)
    parser.add_argument("--base", choices=("builtin", "builtin-xray"), default="builtin-xray")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results = ResultsFile(asked.results)
    for row in study(gather(asked.base, asked.data), asked.seeds, list(results.rows)):
        results.keep(row)
        print(row, flush=True)
    print(table(results.rows))


if __name__ == "__main__":
    main()
