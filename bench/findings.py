"""What the studies of using embeddings share: findings of phantoms, how they are asked for, and who judges them.

A judge is a classifier of real images alone (phantoms as they are drawn, none of which went through a model), of
patients that neither the embedding nor the images under test have. It comes in two kinds: one tells the finding from
healthy images, the other also from look-alikes that differ in one attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from bases.workshop.counting import tensor
from embhub.diffusion.evaluation import classifier
from embhub.diffusion.generation.generation import Studio, prepare
from embhub.diffusion.training import inversion
from embhub.diffusion.training.inversion import default_recipe
from embhub.diffusion.training.rows import Rows
from embhub.phantoms import Finding, draw, near_misses, random_shape, target_finding
from embhub.phantoms.findings import PLACES, PREFIXES, SIDES, TONES, describe
from embhub.phantoms.varied import SHAPES

Pictures = NDArray[np.uint8]
Judge = Callable[[Pictures], NDArray[np.float64]]
Against = Literal["healthy", "look-alikes"]
TOKEN = "<measured>"  # a placeholder in a prompt
LEARNED, LEARNED_SEED = 100, 202
JUDGED, JUDGE_SEED = {"healthy": 800, "look-alikes": 1600}, {"healthy": 31, "look-alikes": 32}
JUDGE_STEPS = {"healthy": 250, "look-alikes": 500}


@dataclass(frozen=True)
class Subject:
    """A finding of one modality: a held-out one that an embedding was learned for, or one that the base was taught."""

    name: str
    modality: str
    taught: Finding | None = None

    @property
    def prompt(self) -> str:
        """What draws it; `{}` where the embedding's token goes."""
        prefix = PREFIXES[self.modality][0]
        return f"{prefix}, {describe(self.taught)}" if self.taught else f"{prefix}, {{}}"

    @property
    def healthy(self) -> str:
        """What draws nothing of it."""
        return f"{PREFIXES[self.modality][0]}, normal"

    def finding(self, rng: np.random.Generator) -> Finding:
        """One instance."""
        if self.taught is None:
            return target_finding(self.name, rng)
        return replace(self.taught, strength=float(rng.uniform(0.7, 1.0)))

    def look_alike(self, rng: np.random.Generator) -> Finding:
        """A finding that differs in one attribute that counts."""
        if self.taught is None:
            return near_misses(self.name, rng)[0]
        kinds = (("shape", SHAPES), ("tone", TONES), ("place", PLACES), ("side", SIDES))
        name, words = kinds[int(rng.integers(4))]
        others = [word for word in words if word != getattr(self.taught, name)]
        changed: dict[str, Any] = {name: others[int(rng.integers(len(others)))]}
        return replace(self.finding(rng), **changed)

    def is_it(self, finding: Finding) -> bool:
        """Whether a finding drawn at random is this one after all."""
        if self.taught is None:
            return False  # random findings are never held out
        names = ("shape", "tone", "place", "side")
        return all(getattr(finding, name) == getattr(self.taught, name) for name in names)


SUBJECTS: Mapping[str, Subject] = {
    one.name: one
    for one in (
        Subject("cxr-effusion", "cxr"),
        Subject("prostate-cspca", "prostate"),
        Subject("bright ring", "cxr", Finding("ring", "bright", "large", "sharp", "middle", "right")),
        Subject("bright spot", "cxr", Finding("spot", "bright", "small", "sharp", "upper", "left")),
        Subject("dark ring", "prostate", Finding("ring", "dark", "large", "sharp", "middle", "left")),
    )
}


@lru_cache(maxsize=1)
def studio() -> Studio:
    """The base of phantoms with the settings that it recommends."""
    return prepare(base="builtin", device="cpu")


_kept: list[Path] = []


def keep_rows(folder: Path | None) -> None:
    """Keep what `learn` learns in a folder from now on, and take from it what is there."""
    _kept[:] = [folder] if folder else []


@lru_cache(maxsize=4)
def learn(name: str) -> Mapping[str, Tensor]:
    """Rows of a held-out finding by the default recipe, from 100 phantoms of as many patients; a minute of a core."""
    file = _kept[0] / f"{name}.safetensors" if _kept else None
    if file and file.exists():
        loaded: dict[str, Tensor] = load_file(file)
        return loaded
    subject, pipe = SUBJECTS[name], studio().pipe
    rng = np.random.default_rng(LEARNED_SEED)
    images = np.stack([draw(subject.modality, subject.finding(rng), rng).image for _ in range(LEARNED)])
    latents = inversion.encode_images(pipe, tensor(images))
    recipe = default_recipe(pipe)
    rows = inversion.fit(pipe, latents, token=TOKEN, caption=subject.prompt, recipe=recipe, seed=0).rows
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(rows), file)
    return rows


def real(subject: Subject, count: int, seed: int) -> Pictures:
    """Real images that show the finding, each of another patient."""
    rng = np.random.default_rng(seed)
    return np.stack([draw(subject.modality, subject.finding(rng), rng).image for _ in range(count)])


@lru_cache(maxsize=12)
def judge(name: str, against: Against) -> Judge:
    """The probability (N,) that uint8 images (N, 128, 128, 3) show the finding."""
    subject = SUBJECTS[name]
    rng = np.random.default_rng(JUDGE_SEED[against])
    images, labels = [], []
    for number in range(JUDGED[against]):
        shown, positive = _example(subject, against, number, rng)
        images.append(draw(subject.modality, shown, rng).image)
        labels.append(int(positive))
    model = classifier.fit(
        np.stack(images),
        np.array(labels, np.int64),
        classes=("without", "with"),
        steps=JUDGE_STEPS[against],
        seed=7,
        width=20,
        mirror=False,
    )
    return lambda pictures: model.probabilities(pictures)[:, 1]


@contextmanager
def ask_for(subject: Subject) -> Iterator[str]:
    """The prompt that draws a finding; while open, the pipeline of `studio` knows the rows that it needs."""
    if subject.taught:
        yield subject.prompt
        return
    rows = Rows(studio().pipe, TOKEN, learn(subject.name))
    with rows.active():
        yield rows.expand(subject.prompt.replace("{}", TOKEN))


def _example(
    subject: Subject, against: Against, number: int, rng: np.random.Generator
) -> tuple[tuple[Finding, ...], bool]:
    """Half show the finding, one in five of those with another beside it where look-alikes count; of the other half, a
    third nothing, a third a look-alike and a third any other finding."""
    if number % 2 == 0:
        beside = (_other(subject, rng),) if against == "look-alikes" and number % 10 == 0 else ()
        return (subject.finding(rng), *beside), True
    kind = number // 2 % 3
    if against == "healthy" or kind == 0:
        return (), False
    return ((subject.look_alike(rng),) if kind == 1 else (_other(subject, rng),)), False


def _other(subject: Subject, rng: np.random.Generator) -> Finding:
    while subject.is_it(found := random_shape(subject.modality, rng)):
        pass
    return found


def shares(marks: NDArray[np.bool_]) -> dict[str, Any]:
    """How many of how many, and the share with its Clopper-Pearson interval at 95 %."""
    from embhub.audits.statistics import proportion_interval

    low, high = proportion_interval(int(marks.sum()), len(marks))
    return {
        "of": len(marks), "called": int(marks.sum()), "share": round(float(marks.mean()), 3),
        "low": round(low, 3), "high": round(high, 3),
    }  # fmt: skip
