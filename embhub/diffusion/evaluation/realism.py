"""How real drawn images look, class by class, beside real images of patients whom the judge has not seen.

The real training images are halved by patient: one half teaches the judge, whose features and answers count; the other
half is the row to compare with. Four questions that no distance of distributions answers are asked beside it: whether
the judge takes an image for its label (agreement), whether fine detail is there (detail), whether images repeat
(spacing, MS-SSIM), and whether they are nearer to training images than other people's images are (nearest).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from embhub.cards import evaluation as document
from embhub.diffusion.evaluation import extractors, fidelity, pretrained
from embhub.diffusion.evaluation.cells import Labelled, Pictures, of_class
from embhub.diffusion.evaluation.fitting import Choices, fit, score
from embhub.diffusion.evaluation.regimes import Lesson, balance, hold_out, join

LARGEST_SAMPLE, SAMPLES, PAIRS = 500, 5, 100
COPY = 0.1
"""Copies are nearer than this share of what real images are apart. JPEG at quality 50 leaves a chest X-ray at 0.03 of
it; none of 667 X-rays has another one of the same label within 0.5 (grey values of 8 x 8 places as features)."""
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
    source = judge if not features else extractors.find(features, choices.side, choices.device)
    space = fidelity.Features(source, learned.images)  # type: ignore[arg-type]
    found = []
    for value, name in ((1, labels[0]), (0, " or ".join(labels[1])[:300])):
        real = of_class(test, value)
        sets = {} if other is None else {"": of_class(other, value).images}
        sets |= {arm: of_class(join(*parts), value).images for arm, parts in arms.items()}
        agreed = {
            arm: float(((score(judge, images, choices) > 0.5) == (value == 1)).mean()) for arm, images in sets.items()
        }
        for arm, measured in fidelity.compare(space, sets, real.images).items():
            images, known = sets[arm], of_class(pool if arm else learned, value).images
            found.append(
                document.Fidelity(
                    arm=arm, label=name, images=measured.images, subset=measured.subset, **_likeness(measured),
                    agreement=_round(agreed[arm]), detail=_round(detail(images, real.images)),
                    spacing=spacing(space, images, real.images), ms_ssim=_round(ms_ssim(images)),
                    nearest=_share(nearest(space, images, known), nearest(space, real.images, known)),
                )
            )  # fmt: skip
    return tuple(found)


def _likeness(measured: fidelity.Likeness) -> dict[str, float | None]:
    """Figures of the features, rounded; None where those of the real images do not differ: all would look real."""
    digits = {
        "kid": 5, "kid_sd": 5, "cmmd": 5, "fd": _DIGITS, "precision": _DIGITS, "recall": _DIGITS, "diversity": _DIGITS,
        "density": _DIGITS, "coverage": _DIGITS,
    }  # fmt: skip
    if measured.diversity is None:
        return dict.fromkeys(digits)
    return {name: round(getattr(measured, name), number) for name, number in digits.items()}


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


def ms_ssim(images: Pictures) -> float:
    """Mean structural similarity over scales of two images of a set, of (N, H, W, 3): higher is less diverse.

    Of `PAIRS` random pairs, as grey values at 224 pixels (Wang, Simoncelli and Bovik 2003,
    doi:10.1109/ACSSC.2003.1292216).
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as similarity

    generator = np.random.Generator(np.random.PCG64(0))
    pairs = np.stack([generator.permutation(len(images))[:2] for _ in range(PAIRS)])
    grey = torch.from_numpy(images.astype(np.float32).mean(3))[:, None] / 255
    large = F.interpolate(grey, (pretrained.SIDE, pretrained.SIDE), mode="bilinear", antialias=True)
    one, other = (large[torch.from_numpy(part)] for part in pairs.T)
    return float(similarity(one, other, data_range=1.0))


def nearest(space: fidelity.Features, images: Pictures, known: Pictures) -> float:
    """Median distance of images to the nearest known one."""
    found: Tensor = torch.cdist(space(torch.from_numpy(np.ascontiguousarray(images))), space(torch.from_numpy(known)))
    return float(found.min(1).values.median())


def spacing(space: fidelity.Features, images: Pictures, real: Pictures) -> float | None:
    """Median distance of an image to the nearest other one of its set, relative to that of `real` ones; None for none.

    The more images, the nearer they are, so both sides are brought to one number, chosen at random. A copy that was not
    chosen would go unseen: an image with one anywhere in its set counts with the distance to it.
    """
    drawn, true = (space(torch.from_numpy(np.ascontiguousarray(part))) for part in (images, real))
    count = min(len(drawn), len(true), LARGEST_SAMPLE)
    unit = nearest_other(true, count)
    return _share(nearest_other(drawn, count, COPY * unit), unit)


def nearest_other(points: Tensor, count: int, copy: float = 0.0) -> float:
    """Mean over samples of `count` points (N, d) of the median distance to the nearest of the others in the sample.

    Where a point of the whole set is nearer than `copy`, its distance counts. One sample if that is all of the set.
    """
    generator = np.random.Generator(np.random.PCG64(0))
    medians = []
    for _ in range(SAMPLES if count < len(points) else 1):
        chosen = torch.from_numpy(generator.permutation(len(points))[:count])
        apart = torch.cdist(points[chosen], points, compute_mode="donot_use_mm_for_euclid_dist")  # 0 is exact
        apart[torch.arange(count), chosen] = float("inf")
        in_set, in_sample = apart.min(1).values, apart[:, chosen].min(1).values
        medians.append(torch.where(in_set < copy, in_set, in_sample).median())
    return float(torch.stack(medians).mean())


def _share(one: float, of: float) -> float | None:
    return _round(one / of) if of else None


def _round(value: float) -> float:
    return round(float(value), _DIGITS)
