"""`python -m bench.few_patients`: what private training learns from 5 to 200 patients, by three mechanisms.

One image of each patient is learned from. The measure is the loss on images of other patients at fixed noise and times
(`embhub.diffusion.training.eval_loss`), less that of the prompt's words alone. Beside DP-SGD, DPAgg and votes at each
epsilon stand arms without privacy that say what binds: each mechanism without noise, DPAgg without clipping and with
four times as many steps, votes by the large counts alone, and a plain training.

A row is kept as it ends and is not measured again. It holds the fingerprint of the base; rows of other weights under
the same name stay in the file and are left out of the table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bases.workshop import xray
from bases.workshop.counting import tensor
from bases.workshop.xray_judge import colour
from bench import marked
from bench.defaults import TOKEN
from bench.results_file import ResultsFile, Row
from embhub.artifact import fingerprint
from embhub.builtin_bases import info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.dp import aggregation, private_training, settings
from embhub.diffusion.dp.candidates import STANDS_OUT, first_candidates
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.mechanism import Mechanism, Vectors
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.dp.votes import Evolution, PatientVoters
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.recipes import COMPACT
from embhub.diffusion.training.result import Task
from embhub.options.training import PrivacySettings
from embhub.phantoms import HELD_OUT, draw, target_finding
from embhub.phantoms.findings import PREFIXES

RESULTS = Path(__file__).parent / "results" / "few_patients.json"
PAGE = Path(__file__).parents[1] / "docs/explanation/few-patients.md"
PATIENTS, EPSILONS = (5, 10, 20, 50, 100, 200), (0.5, 1.0, 2.0, 8.0)
FINDING, KEPT, DRAWS, PLAIN_STEPS = "prostate-cspca", 60, 4, 100
MORE_STEPS = 4
"""DPAgg's own trainings are so many times longer in the arm that asks whether steps bind."""
RUNS = 3
"""A cell of so many runs does not say it; the page does."""
SGD, AGG, VOTES = "dp-sgd", "dp-agg", "votes"
SILENT = "without noise"
PRIVATE = (SGD, AGG, VOTES)
START = "start"
CEILINGS = (
    START, "plain", f"{SGD} {SILENT}", f"{AGG} {SILENT}", f"{AGG} {SILENT} or clipping",
    f"{AGG} {SILENT} or clipping, {MORE_STEPS} x steps", f"{VOTES} {SILENT}", f"{VOTES} {SILENT}, large counts alone",
)  # fmt: skip
LARGE_COUNTS = 0.5
"""In the arm that asks whether small counts do harm, counts weigh nothing below this share of the largest."""


@dataclass(frozen=True)
class Material:
    """A base and its fingerprint, and latents of one image a patient: to learn from, and of other patients."""

    name: str
    pipe: Pipeline
    base: str
    caption: str
    inside: Tensor
    outside: Tensor

    def measure(self, rows: Mapping[str, Tensor] | None) -> float:
        """Loss on other patients; rows None: by the prompt's words alone."""
        return inversion.mean_loss(self.pipe, self.outside, token=TOKEN, caption=self.caption, rows=rows, draws=DRAWS)


def gather(name: str, data: Path, device: str = "cpu") -> Material:
    """Phantoms of a finding that `builtin` never saw; or X-rays of a label that `builtin-xray` never saw, of as many
    patients as there are beside `KEPT` // 2 who are kept."""
    found = info(name)
    pipe = load_pipeline(found.path, device=device)
    if name == "builtin":
        rng, modality = np.random.default_rng(5), HELD_OUT[FINDING].modality
        count = max(PATIENTS) + KEPT
        images = np.stack([draw(modality, target_finding(FINDING, rng), rng).image for _ in range(count)])
        caption, learned, kept = f"{PREFIXES[modality][0]}, {{}}", images[:-KEPT], images[-KEPT:]
    else:
        site = xray.hospital(data, xray.LEFT_OUT, 10_000)
        first = [site.patients.index(patient) for patient in dict.fromkeys(site.patients)]
        caption = f"{xray.HEAD}, {{}}"
        learned, kept = colour(site.images[first[: -KEPT // 2]]), colour(site.images[first[-KEPT // 2 :]])
    inside, outside = (inversion.encode_images(pipe, tensor(np.asarray(part))) for part in (learned, kept))
    return Material(name, pipe, fingerprint.digest(fingerprint.take(found.path)), caption, inside, outside)


@dataclass(frozen=True)
class Recording(Mechanism):
    """Clips nothing and keeps what every patient gave: for arms without privacy, and for several epsilons at once."""

    kept: list[Vectors] = field(default_factory=list)

    def bound(self, vectors: ArrayLike) -> Vectors:
        """The vectors as they are."""
        self.kept.append(np.array(vectors, dtype=np.float64))
        return self.kept[-1]


class RememberingVoters(PatientVoters):
    """Votes of the first round are on the same candidates whatever the noise: computed once for all epsilons."""

    def __init__(self, loss: PatientLoss) -> None:
        super().__init__(loss)
        self._first: dict[int, NDArray[np.float64]] = {}

    def losses(self, place: int, candidates: Tensor, number: int) -> NDArray[np.float64]:
        """As `PatientVoters`."""
        if number:
            return super().losses(place, candidates, number)
        if place not in self._first:
            self._first[place] = super().losses(place, candidates, number)
        return self._first[place]


class Study:
    """All arms on the first `patients` of the material; what several arms share is computed once."""

    def __init__(self, material: Material, patients: int) -> None:
        self.material, self.patients = material, patients
        self._latents, self._names = material.inside[:patients], [str(number) for number in range(patients)]
        self._own: dict[int, Vectors] = {}
        self._voters: tuple[PatientLoss, RememberingVoters] | None = None

    def learn(self, arm: str, epsilon: float | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Rows, and what is told of the mechanism."""
        if arm == "plain":
            recipe = replace(COMPACT, num_vectors=1, steps=PLAIN_STEPS, batch_size=min(16, self.patients))
            found = inversion.fit(
                self.material.pipe, self._latents, token=TOKEN, caption=self.material.caption, recipe=recipe, seed=0
            )
            return dict(found.rows), {"steps": PLAIN_STEPS}
        if arm == START:
            protection, task, _, _ = self._set_up(VOTES, None)
            frame = self._prepare(task, protection).frame
            return frame.rows(torch.zeros(frame.size, device=self.material.pipe.device)), {}
        protection, task, mechanism, steps = self._set_up(arm.split()[0], epsilon)
        told = {"sigma": mechanism.noise_multiplier, "steps": steps}
        if arm.startswith(SGD):
            return private_training.fit(task, protection, self._latents, self._names, mechanism), told
        if arm.startswith(AGG):
            return self._aggregate(arm, task, protection, mechanism), told
        return self._vote(arm, task, protection, mechanism, steps), told

    def _set_up(self, kind: Any, epsilon: float | None) -> tuple[Protection, Task, Mechanism, int]:
        """Defaults of a mechanism at an epsilon; None for one without noise, with the steps of the largest epsilon."""
        asked = settings.resolve(PrivacySettings(epsilon or max(EPSILONS), n_public=self.patients, mechanism=kind))
        recipe = settings.default_recipe(self.material.pipe, asked, self.patients)
        if kind == "dp-sgd":
            recipe = replace(recipe, num_vectors=1, steps=50)  # those of few patients, so that all rows compare
        mechanism, steps = settings.calibrate(asked, recipe, self.patients)
        if epsilon is None:
            mechanism = replace(mechanism, noise_multiplier=0.0)
        return asked, Task(self.material.pipe, "", TOKEN, self.material.caption, recipe), mechanism, steps

    def _prepare(self, task: Task, protection: Protection) -> PatientLoss:
        return private_training.prepare_rows(task, protection, self._latents, self._names)

    def _aggregate(self, arm: str, task: Task, protection: Protection, mechanism: Mechanism) -> dict[str, Tensor]:
        loss = self._prepare(task, protection)
        steps = task.recipe.steps * (MORE_STEPS if arm.endswith("steps") else 1)
        if steps not in self._own:
            recording = Recording(1.0, mechanism.max_grad_norm, 0.0, mechanism.denominator)
            with loss.active():
                aggregation.collect(loss, recording, steps=steps)
            self._own[steps] = np.concatenate(recording.kept)
        own = self._own[steps]
        total = own.sum(0) if "or clipping" in arm else mechanism.bound(own).sum(0)
        return loss.frame.rows(torch.from_numpy(mechanism.release(total)).float().to(task.pipe.device))

    def _vote(
        self, arm: str, task: Task, protection: Protection, mechanism: Mechanism, rounds: int
    ) -> dict[str, Tensor]:
        if self._voters is None:
            loss = self._prepare(task, protection)
            self._voters = loss, RememberingVoters(loss)
        loss, voters = self._voters
        first = first_candidates(task.pipe, loss.frame, protection.num_candidates, protection.subspace_dim)
        evolution = Evolution(voters, mechanism, first)
        with loss.active():
            for _ in range(rounds):
                counts = evolution.tally()
                if arm.endswith("large counts alone"):
                    evolution.candidates.follow(counts, noise=LARGE_COUNTS * float(counts.max()) / STANDS_OUT)
                    evolution.taken += 1
                else:
                    evolution.advance(counts)
        return loss.frame.rows(evolution.candidates.centre.float().to(task.pipe.device))


def study(
    material: Material, patients: Sequence[int], wanted: Sequence[float], runs: int, done: Sequence[Row],
    keep: Callable[[Row], None], only: Sequence[str] = (),
) -> None:  # fmt: skip
    """Every cell that is not there yet: ceilings once, private arms `runs` times. `only` names arms; all by default."""
    have = {_key(row) for row in done}
    start: float | None = None
    for count in patients:
        here = Study(material, count)
        cells = [(arm, epsilon, run) for run in range(runs) for epsilon in wanted for arm in PRIVATE]
        for arm, epsilon, run in [*cells, *((arm, None, 0) for arm in CEILINGS)]:
            row: Row = {
                "base": material.name, "fingerprint": material.base, "patients": count, "arm": arm,
                "epsilon": epsilon, "run": run,
            }  # fmt: skip
            if _key(row) in have or (only and arm not in only):
                continue
            start = material.measure(None) if start is None else start
            began = time.process_time()
            rows, told = here.learn(arm, epsilon)
            spent = time.process_time() - began
            keep({**row, **told, "start": start, "loss": material.measure(rows), "cpu_seconds": round(spent, 1)})


def table(rows: Sequence[Row], prints: Mapping[str, str]) -> str:
    """Gains over the prompt's words, times 1,000: a table for each base, of rows measured on its present weights.

    `prints` are the present fingerprints by base.
    """
    parts = []
    for name in sorted({row["base"] for row in rows}):
        present = [row for row in rows if row["base"] == name and row["fingerprint"] == prints.get(name)]
        others = sum(row["base"] == name for row in rows) - len(present)
        if others:
            parts.append(f"{others} rows of other weights of `{name}` are not shown.")
        if present:
            parts.append(_one_table(name, present))
    return "\n\n".join(parts) or "Not measured yet."


def present_table(rows: Sequence[Row]) -> str:
    """The tables of rows measured on the bases' present weights. Each names the weights."""
    return table(rows, _fingerprints(rows))


def _one_table(name: str, rows: Sequence[Row]) -> str:
    counts = sorted({row["patients"] for row in rows})
    groups: dict[tuple[str, float | None], dict[int, list[float]]] = {}
    for row in rows:
        gains = groups.setdefault((row["arm"], row["epsilon"]), {})
        gains.setdefault(row["patients"], []).append(1000 * (row["start"] - row["loss"]))
    order = sorted(groups, key=lambda key: (key[1] is None, key[1] or 0, [*PRIVATE, *CEILINGS].index(key[0])))
    lines = [
        f"On `{name}` (fingerprint {rows[0]['fingerprint'][:16]}), loss {rows[0]['start']:.4f} without training:",
        "",
        f"| training | epsilon | {' | '.join(f'{count} patients' for count in counts)} |",
        f"|---|---|{'---|' * len(counts)}",
    ]
    for arm, epsilon in order:
        shown = [_show(groups[arm, epsilon].get(count, [])) for count in counts]
        lines.append(f"| {arm} | {'-' if epsilon is None else f'{epsilon:g}'} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _show(gains: Sequence[float]) -> str:
    """The mean, and from least to largest where there are several runs: `RUNS`, unless the cell says how many."""
    if not gains:
        return ""
    runs = "" if len(gains) == RUNS else f", {len(gains)} runs"
    several = f" ({min(gains):+.1f} to {max(gains):+.1f}{runs})" if len(gains) > 1 else ""
    return f"{fmean(gains):+.1f}{several}"


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("base", "fingerprint", "patients", "arm", "epsilon", "run"))


def _fingerprints(rows: Sequence[Row]) -> dict[str, str]:
    return {name: fingerprint.digest(fingerprint.take(info(name).path)) for name in {row["base"] for row in rows}}


def main() -> None:
    """Measure what was asked for and is not there yet, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.few_patients", description=__doc__)
    parser.add_argument("--base", choices=("builtin", "builtin-xray"), default="builtin")
    parser.add_argument("--patients", type=int, action="append", choices=PATIENTS)
    parser.add_argument("--epsilon", type=float, action="append", choices=EPSILONS)
    parser.add_argument("--arm", action="append", choices=(*PRIVATE, *CEILINGS), default=[])
    parser.add_argument("--runs", type=int, default=5, help="runs of each private arm")
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help=f"only write the tables into docs/explanation/{PAGE.name}")
    asked = parser.parse_args()
    results = ResultsFile(asked.results, asked.device)
    if not asked.write:
        torch.set_num_threads(1)
        material = gather(asked.base, asked.data, asked.device)
        counts = [count for count in asked.patients or PATIENTS if count <= len(material.inside)]

        def keep(row: Row) -> None:
            results.keep(row)
            print(row, flush=True)

        study(material, counts, asked.epsilon or EPSILONS, asked.runs, list(results.rows), keep, asked.arm)
    shown = present_table(results.rows)
    print(shown)
    if asked.write:
        PAGE.write_text(marked.put(PAGE.read_text(encoding="utf-8"), shown), encoding="utf-8")


if __name__ == "__main__":
    main()
