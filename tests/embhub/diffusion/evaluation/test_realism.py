"""Real X-rays, spoiled in known ways: each figure that is meant to see it says that they are worse than real ones."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from bases.workshop import xray
from bases.workshop.xray_judge import colour
from embhub.cards.evaluation import Fidelity
from embhub.diffusion.evaluation import realism
from embhub.diffusion.evaluation.cells import Labelled, Pictures, of_class
from embhub.diffusion.evaluation.fitting import Choices
from embhub.diffusion.evaluation.networks import find
from tests.support.tools import DATA, needs_films

pytestmark = [
    pytest.mark.thorough,
    needs_films,
]
SICK, SIDE, EACH = xray.LABELS.index("bacterial pneumonia"), 64, 60
HIGHER_IS_WORSE = ("kid", "cmmd", "fd", "ms_ssim")
SEES = {
    "blurred": ("kid", "cmmd", "fd", "detail"),
    "wrong class": ("kid", "cmmd", "fd", "density", "coverage", "agreement"),
    "repeated": ("kid", "cmmd", "fd", "coverage", "spacing", "ms_ssim"),
    "copies": ("nearest",),
}


@pytest.fixture(scope="module")
def few_pairs() -> None:
    """All pairs count here."""


def films(part: str) -> Labelled:
    found = xray.read(DATA, part, ("normal", "bacterial pneumonia"), side=SIDE)
    return Labelled(colour(found.images), (found.labels == SICK).astype(np.int64), found.patients)


def both(normal: Pictures, sick: Pictures) -> list[Labelled]:
    labels = np.repeat([0, 1], [len(normal), len(sick)])
    return [Labelled(np.concatenate([normal, sick]), labels, tuple(map(str, range(len(labels)))))]


def blur(images: Pictures) -> Pictures:
    return np.stack([np.asarray(Image.fromarray(one).filter(ImageFilter.GaussianBlur(1.6))) for one in images])


@pytest.fixture(scope="module")
def measured() -> dict[tuple[str, str], Fidelity]:
    pool, test, others = films("judge"), films("test"), films("site")
    normal, sick = (of_class(others, value).images[:EACH] for value in (0, 1))
    known = [of_class(pool, value).images for value in (0, 1)]
    arms = {
        "real": both(normal, sick),
        "blurred": both(blur(normal), blur(sick)),
        "wrong class": both(sick, normal),
        "repeated": both(np.repeat(normal[:6], 10, axis=0), np.repeat(sick[:6], 10, axis=0)),
        "copies": both(known[0], known[1]),
    }
    choices = Choices(find("small", steps=150), SIDE)
    rows = realism.rows(pool, arms, test, ("sick", ["normal"]), choices)
    return {(row.arm, row.label): row for row in rows}


@pytest.mark.parametrize("label", ["sick", "normal"])
@pytest.mark.parametrize("spoiled", list(SEES))
def test_what_is_spoiled_scores_worse_than_real(
    measured: dict[tuple[str, str], Fidelity], spoiled: str, label: str
) -> None:
    bad = measured[spoiled, label]
    for other in ("", "real"):  # the other half of the training patients, and other patients still
        good = measured[other, label]
        for figure in SEES[spoiled]:
            one, two = getattr(bad, figure), getattr(good, figure)
            assert one > two if figure in HIGHER_IS_WORSE else one < two, (figure, one, two)
