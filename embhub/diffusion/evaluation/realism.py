"""How real drawn images look, class by class, beside real images of patients whom the judge has not seen.

The real training images are halved by patient: one half teaches the judge, whose features and answers count; the other
half is the row to compare with. Four questions that no distance of distributions answers are asked beside it: whether
the judge takes an image for its label (agreement), whether fine detail is there (detail), whether images repeat
(spacing), and whether they are nearer to training images than other people's images are (nearest).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.cards import evaluation as document
from embhub.diffusion.evaluation import extractors, fidelity
from embhub.diffusion.evaluation.cells import Labelled, Pictures, of_class
from embhub.diffusion.evaluation.fitting import Choices, fit
from embhub.diffusion.evaluation.regimes import Lesson, balance, hold_out, join

_DIGITS = 4


def rows(
    pool: Labelled,
    arms: Mapping[str, Sequence[Labelled]],
    test: Labelled,
    labels: tuple[str, Sequence[str]],
    choices: Choices,
    features: str | None = None,
) -> tuple[document.Fidelity, ...]:
    """A row for each arm and label, and one for real images where there are enough patients to halve them.

    Raises:
        UsageError: there is no such factory of `features`, or it gives something else.
    """
    halves = hold_out(pool, 0, share=0.5)
    learned, other = halves or (pool, None)
    chances = balance(learned.labels, np.ones(len(learned), bool), None)
    judge = fit([Lesson(learned, choices.learner.steps, chances=chances)], choices, seed=0)
    source = extractors.find(features, choices.side, choices.device) if features else judge
    space = fidelity.Features(source, learned.images)
    found = []
    for value, name in ((1, labels[0]), (0, " or ".join(labels[1])[:300])):
        real = of_class(test, value)
        sets = {} if other is None else {"": of_class(other, value).images}
        sets |= {arm: of_class(join(*parts), value).images for arm, parts in arms.items()}
        for arm, measured in fidelity.compare(space, sets, real.images).items():
            images, known = sets[arm], of_class(pool if arm else learned, value).images
            agreed = (judge.probabilities(images)[:, 1] > 0.5) == (value == 1)
            found.append(
                document.Fidelity(
                    arm=arm, label=name, images=measured.images, kid=round(measured.kid, 5),
                    kid_sd=round(measured.kid_sd, 5), subset=measured.subset, precision=_round(measured.precision),
                    recall=_round(measured.recall), diversity=_round(measured.diversity),
                    cmmd=round(measured.cmmd, 5), density=_round(measured.density), coverage=_round(measured.coverage),
                    agreement=_round(float(agreed.mean())), detail=_round(detail(images, real.images)),
                    spacing=_share(spacing(space, images), spacing(space, real.images)),
                    nearest=_share(nearest(space, images, known), nearest(space, real.images, known)),
                )
            )  # fmt: skip
    return tuple(found)


def detail(images: Pictures, real: Pictures) -> float:
    """Power in the upper half of the spatial frequencies, relative to that of real images: under 1 is blurred."""
    return float(_fine_power(images) / max(_fine_power(real), 1e-12))


def _fine_power(images: Pictures) -> np.float64:
    grey = images.astype(np.float64).mean(3)
    power = np.abs(np.fft.fft2(grey - grey.mean((1, 2), keepdims=True))) ** 2
    rows, columns = (np.abs(np.fft.fftfreq(size)) for size in grey.shape[1:])
    radius = np.hypot(rows[:, None], columns[None, :])
    fine: NDArray[np.bool_] = (radius >= 0.25) & (radius <= 0.5)
    return np.float64(power[:, fine].mean())


def nearest(space: fidelity.Features, images: Pictures, known: Pictures) -> float:
    """Median distance of images to the nearest known one."""
    found: Tensor = torch.cdist(space(torch.from_numpy(np.ascontiguousarray(images))), space(torch.from_numpy(known)))
    return float(found.min(1).values.median())


def spacing(space: fidelity.Features, images: Pictures) -> float:
    """Median distance of an image to the nearest other one of the set, of at most 500: 0 where most are there twice."""
    some = space(torch.from_numpy(np.ascontiguousarray(images[:: max(1, len(images) // 500)])))
    apart = torch.cdist(some, some).fill_diagonal_(float("inf"))
    return float(apart.min(1).values.median())


def _share(one: float, of: float) -> float | None:
    return _round(one / of) if of else None


def _round(value: float) -> float:
    return round(float(value), _DIGITS)
