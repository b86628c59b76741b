"""What a base of varied phantoms learns from: batches of every modality, weights that captions alone decide."""

from __future__ import annotations

import pytest
import torch

from bases.workshop import phantom_material
from bases.workshop.phantom_material import NamedPlaces, of_phantoms
from embhub.diffusion.adaptation.base_training import running
from embhub.diffusion.adaptation.base_training.captions import Caption
from embhub.phantoms import varied
from embhub.phantoms.findings import MODALITIES


@pytest.fixture(scope="module")
def places() -> NamedPlaces:
    return NamedPlaces(varied.draw_many(200, 1))


def test_small_batches_meet_every_modality() -> None:
    kinds = {one.modality for first in range(5) for one in varied.draw_many(2, first, first=first)}
    assert kinds == set(MODALITIES)


def test_batches_of_two_have_coloured_images_and_the_place_of_findings() -> None:
    draw = of_phantoms(pool_size=5).draw
    batches = [draw(2, torch.Generator().manual_seed(seed)) for seed in range(6)]
    assert {tuple(batch.shape) for batch in batches} == {(2, 4, 128, 128)}
    assert any((batch[:, 0] - batch[:, 1]).abs().max() > 0.1 for batch in batches)
    marks = torch.cat([batch[:, 3] for batch in batches])
    assert marks.min() == 0 and 0.5 < marks.max() <= 1


@pytest.mark.thorough
def test_a_caption_without_a_finding_names_no_place(places: NamedPlaces) -> None:
    assert (places(Caption()) == 1).all()
    assert places(Caption("chest x-ray, normal")).max() == pytest.approx(1 + phantom_material._REGION)


@pytest.mark.thorough
def test_weights_are_where_the_caption_says(places: NamedPlaces) -> None:
    for head in ("chest x-ray with", "frontal chest x-ray,", "prostate mri with", "histology slide with"):
        for place, rows in (("upper", slice(0, 8)), ("lower", slice(8, 16))):
            for side, columns in (("right", slice(0, 8)), ("left", slice(8, 16))):
                weights = places(Caption(head, (f"dark spot in {place} {side}",)))
                most = weights.flatten().argmax()
                assert weights.max() == pytest.approx(1 + phantom_material._NAMED)
                assert weights[0, rows, columns].flatten().max() == weights.flatten()[most], (head, place, side)


def test_a_rate_cools_to_nothing_between_two_steps() -> None:
    rates = [running.learning_rate(step, 1.0, cool=(100, 200)) for step in (99, 100, 150, 200, 300)]
    assert rates == [1.0, 1.0, 0.5, 0.0, 0.0]
