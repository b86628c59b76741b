"""`python -m bench.privacy --part step|utility`: what differential privacy costs, in time and in what is learned.

*step*: a step of DP-SGD beside a plain one on as many images, and beside the same gradients by Opacus's hooks.
*utility*: the loss on patients kept back (`embhub.diffusion.training.eval_loss`, fixed noise and times, as in
`bench.defaults`) after private training at epsilon 1, 2, 4 and 8, by both mechanisms, with several seeds. Every run
goes into a JSON file as it ends, and is not run again: the study can be left and gone on with.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from bases.workshop import xray
from bases.workshop.counting import tensor
from bases.workshop.xray_judge import colour
from bench import marked
from bench.defaults import TOKEN, phantoms
from bench.measurement import clocked, compare
from bench.results_file import ResultsFile, Row
from embhub.builtin_bases import info
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.dp import private_training, settings
from embhub.diffusion.dp.dpsgd import PrivateDescent
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.recipes import COMPACT, resolve
from embhub.diffusion.training.result import Task
from embhub.options.fields import options_of
from embhub.options.training import PrivacySettings, Recipe

RESULTS = Path(__file__).parent / "results" / "privacy.json"
EPSILONS, KEPT = (1.0, 8.0, 2.0, 4.0), 60
NOTHING, PLAIN = "nothing learned", "plain, 8 vectors, 200 steps"
PAGE = Path(__file__).parents[1] / "docs/explanation/private-training.md"
PATIENTS = {"builtin": 100, "builtin-xray": 80}


@dataclass(frozen=True)
class Material:
    """A base, and latents of images to learn from with whose they are, and of images of other patients."""

    name: str
    pipe: Pipeline
    caption: str
    inside: Tensor
    names: tuple[str, ...]
    outside: Tensor

    def measure(self, rows: Any) -> float:
        """Loss on the images kept back; rows None: by the caption's words alone."""
        return inversion.mean_loss(self.pipe, self.outside, token=TOKEN, caption=self.caption, rows=rows, draws=10)


def gather(name: str, data: Path) -> Material:
    """Phantoms of a finding that `builtin` never saw, an image a patient; or films of a label that `builtin-xray` never
    saw, of as many patients, who may have several."""
    pipe = load_pipeline(info(name).path, device="cpu")
    if name == "builtin":
        caption, learned, kept = phantoms()
        names = tuple(str(number) for number in range(len(learned)))
    else:
        site = xray.hospital(data, xray.LEFT_OUT, 10_000)
        first = dict.fromkeys(site.patients)
        chosen, others = (set(list(first)[part]) for part in (slice(PATIENTS[name]), slice(PATIENTS[name], None)))
        inside = [i for i, patient in enumerate(site.patients) if patient in chosen]
        outside = [i for i, patient in enumerate(site.patients) if patient in others][:KEPT]
        caption, learned, kept = f"{xray.HEAD}, {{}}", colour(site.images[inside]), colour(site.images[outside])
        names = tuple(site.patients[i] for i in inside)
    encoded = [inversion.encode_images(pipe, tensor(np.asarray(part))) for part in (learned, kept)]
    return Material(name, pipe, caption, encoded[0], names, encoded[1])


_FIELDS = {"vectors": "num_vectors", "directions": "subspace_dim", "draws": "noise_draws"}
"""Options by their names in the results, which stay as they were published."""


def arms() -> Iterator[tuple[str, float | None, dict[str, Any]]]:
    """Name, epsilon, and what is said beside the defaults; what tells most comes first."""
    yield NOTHING, None, {}
    for epsilon in EPSILONS:
        yield "dp-sgd", epsilon, {}
        if epsilon in (1.0, 8.0):
            yield "dp-sgd, 32 directions", epsilon, {"directions": 32, "learning_rate": 0.3}
            yield "dp-sgd, 4 vectors", epsilon, {"vectors": 4}
            yield "dp-sgd, 100 steps", epsilon, {"steps": 100}
            yield "dp-sgd, 25 steps", epsilon, {"steps": 25}
            yield "dp-sgd, 8 patients x 2 draws a step", epsilon, {"draws": 2, "batch_size": 8}
    for epsilon in EPSILONS:
        yield "dp-agg", epsilon, {"mechanism": "dp-agg"}
    yield PLAIN, None, {}
    yield "plain, 1 vector, 200 steps", None, {"vectors": 1}


def run_arm(material: Material, name: str, epsilon: float | None, said: dict[str, Any], seed: int) -> Row:
    """One training and its loss on the patients kept back."""
    began = time.process_time()
    rows: Mapping[str, Tensor] | None = None
    sigma = None
    if epsilon is not None:
        chosen = {_FIELDS.get(name, name): value for name, value in said.items()}
        recipe_of = Recipe(**{name: value for name, value in chosen.items() if name in options_of(Recipe)})
        privacy = {name: value for name, value in chosen.items() if name in options_of(PrivacySettings)}
        asked = settings.resolve(PrivacySettings(epsilon, n_public=PATIENTS[material.name], **privacy))
        recipe = resolve(
            recipe_of, settings.default_recipe(material.pipe, asked, PATIENTS[material.name]), device="cpu"
        )
        mechanism, _ = settings.calibrate(asked, recipe, PATIENTS[material.name])
        task = Task(material.pipe, "", TOKEN, material.caption, recipe)
        rows = private_training.fit(task, asked, material.inside, material.names, mechanism)
        sigma = mechanism.noise_multiplier
    elif name.startswith("plain"):
        recipe = replace(COMPACT, **{_FIELDS.get(option, option): value for option, value in said.items()})
        rows = inversion.fit(
            material.pipe, material.inside, token=TOKEN, caption=material.caption, recipe=recipe, seed=seed
        ).rows
    spent = time.process_time() - began
    return {
        "part": "utility", "base": material.name, "arm": name, "epsilon": epsilon, "seed": seed, "said": said,
        "sigma": sigma, "loss": material.measure(rows), "seconds": round(spent, 1),
    }  # fmt: skip


def study(material: Material, seeds: int, done: list[Row], keep: Callable[[Row], None], only: Sequence[str]) -> None:
    """Every arm, a seed at a time, so that what is there is a study at any moment."""
    have = {(row["base"], row["arm"], row["epsilon"], row["seed"]) for row in done if row["part"] == "utility"}
    for seed in range(seeds):
        for name, epsilon, said in arms():
            once = name == "nothing learned" and seed > 0
            if once or (only and name not in only) or (material.name, name, epsilon, seed) in have:
                continue
            keep(run_arm(material, name, epsilon, said, seed))


class Hooked(nn.Module):
    """The same loss with its coordinates in a layer that Opacus hooks; its pipeline stays outside."""

    def __init__(self, loss: PatientLoss) -> None:
        super().__init__()
        self._loss, self.coordinates = loss, nn.Embedding(1, loss.frame.size)

    def forward(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Losses (P,) of P patients with `draws` latents each, (P, draws, C, h, w)."""
        leaf = self.coordinates(torch.zeros(len(clean), 1, dtype=torch.long))[:, 0]
        return self._loss.losses(leaf, clean.flatten(0, 1), noise.flatten(0, 1), times.flatten())


@dataclass(frozen=True)
class Steady(Mechanism):
    """A mechanism that draws the same number each time, so that steps compare: for the clock alone."""

    def sample(self, units: int) -> NDArray[np.int64]:
        """`denominator` of the units."""
        return np.sort(np.random.default_rng().choice(units, self.denominator, replace=False))


def race(material: Material, *, repeats: int, turn: int, patients: int, draws: int) -> list[Row]:
    """A private step on `patients` x `draws` images, beside a plain one on as many, and beside Opacus's gradients."""
    from opacus import GradSampleModule

    asked = settings.resolve(PrivacySettings(2.0, n_public=PATIENTS[material.name], noise_draws=draws))
    images = patients * draws
    recipe = replace(
        settings.default_recipe(material.pipe, asked, PATIENTS[material.name]),
        batch_size=patients,
        micro_batch_size=images,
    )
    mechanism, _ = settings.calibrate(asked, recipe, PATIENTS[material.name])
    task = Task(material.pipe, "", TOKEN, material.caption, recipe)
    loss = private_training.prepare_rows(task, asked, material.inside, material.names)
    steady = Steady(mechanism.sample_rate, mechanism.max_grad_norm, mechanism.noise_multiplier, patients)
    descent = PrivateDescent(loss, steady, recipe)
    plain = inversion.Inversion(
        material.pipe, material.inside, token=TOKEN, caption=material.caption,
        recipe=replace(COMPACT, num_vectors=recipe.num_vectors, batch_size=images), seed=0,
    )  # fmt: skip
    hooked = GradSampleModule(Hooked(loss), loss_reduction="sum")
    shape = (patients, draws, *material.inside.shape[1:])
    clean = material.inside[torch.randint(len(material.inside), (images,))].view(shape)

    def by_hooks() -> None:
        noise, times = torch.randn(shape), torch.randint(100, 1000, (patients, draws))
        hooked(clean, noise, times).sum().backward()
        found = hooked._module.coordinates.weight.grad_sample[:, 0]
        mechanism.release(mechanism.bound(found.double().numpy()).sum(0))
        hooked.zero_grad()

    found = []
    with plain.active():
        for name, act in (("plain", plain.step), ("opacus hooks", by_hooks)):
            both = compare(clocked(descent.step, times=turn), clocked(act, times=turn), repeats=repeats)
            ours_over = [mine.cpu / theirs.cpu for mine, theirs in zip(both.ours, both.peer, strict=True)]
            found.append({
                "part": "step", "base": material.name, "arm": f"dp-sgd over {name}", "patients": patients,
                "draws": draws, "ratio": sorted(ours_over)[len(ours_over) // 2], "low": min(ours_over),
                "high": max(ours_over), "seconds": fmean(turn.cpu for turn in both.ours),
            })  # fmt: skip
    return found


def table(rows: Sequence[Row]) -> str:
    """Means with 95 % intervals over the seeds (Student's t), and the steps beside other steps."""
    return f"{utilities(rows)}\n\n{steps(rows)}"


def utilities(rows: Sequence[Row]) -> str:
    """What was learned at which epsilon. The share is of the way from nothing learned to the plain training's loss; its
    interval is that of its own runs, and holds nothing of the plain training's."""
    lines = [
        "| base | training | epsilon | held-out loss | share of the plain gain | runs | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["part"] == "utility":
            groups.setdefault((row["base"], row["arm"], row["epsilon"]), []).append(row)
    for base, arm, epsilon in sorted(groups, key=lambda key: (key[0], key[2] or 0, key[1])):
        runs = groups[base, arm, epsilon]
        losses = [run["loss"] for run in runs]
        half = stats.t.ppf(0.975, len(losses) - 1) * stdev(losses) / len(losses) ** 0.5 if len(losses) > 1 else None
        shown = f"{fmean(losses):.4f}" + (f" ± {half:.4f}" if half is not None else "")
        ends = [groups.get((base, name, None)) for name in (NOTHING, PLAIN)]
        share = ""
        if all(ends):
            least, most = (fmean(run["loss"] for run in end or ()) for end in ends)
            share = f"{(least - fmean(losses)) / (least - most):.0%}"
            share += f" ± {half / (least - most):.0%}" if half is not None else ""
        seconds = fmean(run["seconds"] for run in runs)
        lines.append(f"| `{base}` | {arm} | {epsilon or '-'} | {shown} | {share} | {len(losses)} | {seconds:.0f} |")
    return "\n".join(lines)


def steps(rows: Sequence[Row]) -> str:
    """A private step's processor time over that of others."""
    lines = ["| base | a step, patients x draws | ratio (least to largest) | seconds |", "|---|---|---|---|"]
    for row in rows:
        if row["part"] == "step":
            lines.append(
                f"| `{row['base']}` | {row['arm']}: {row['patients']} x {row['draws']} | "
                f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f}) | {row['seconds']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for, and print all that is there."""
    parser = argparse.ArgumentParser(prog="python -m bench.privacy", description=__doc__)
    parser.add_argument("--part", action="append", choices=("step", "utility"), default=[])
    parser.add_argument("--base", choices=("builtin", "builtin-xray"), default="builtin")
    parser.add_argument("--only", action="append", default=[], metavar="ARM", help="these arms, by their whole names")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--turn", type=int, default=3, help="steps a turn of the clock")
    parser.add_argument("--data", type=Path, default=xray.default_data(), help="folder with chest-xray/")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--write", action="store_true", help=f"write the tables into docs/explanation/{PAGE.name}")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    results = ResultsFile(asked.results)

    def keep(row: Row) -> None:
        results.keep(row)
        print({name: row.get(name) for name in ("base", "arm", "epsilon", "seed", "loss", "ratio")}, flush=True)

    if asked.part and asked.base == "builtin-xray" and not (asked.data / "chest-xray").exists():
        parser.error(f"no X-rays in {asked.data}")
    if asked.part:
        material = gather(asked.base, asked.data)
    if "step" in asked.part:
        for patients, draws in ((16, 1), (4, 4)):
            for row in race(material, repeats=asked.repeats, turn=asked.turn, patients=patients, draws=draws):
                keep(row)
    if "utility" in asked.part:
        study(material, asked.seeds, list(results.rows), keep, asked.only)
    print(table(results.rows))
    if asked.write:
        PAGE.write_text(marked.put(PAGE.read_text(encoding="utf-8"), table(results.rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
