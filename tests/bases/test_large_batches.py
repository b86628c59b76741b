"""Large batches for a GPU, in small on a processor: what workers compose, the rate, and batches that overflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

from bases.workshop import large_batches, phantom_material, rendered
from embhub.builtin_bases import info
from embhub.diffusion.adaptation.base_training.text_encoder import CaptionEncoder, make_encoder
from embhub.phantoms.varied import draw_many

FOLDER = info("builtin").path

pytestmark = [pytest.mark.thorough, pytest.mark.exhaustive]


@pytest.fixture(scope="module")
def worker() -> rendered.Rendered:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "FIRST", 64)
        patch.setattr(rendered, "PART", 8)
        return rendered.Rendered(0, 1, FOLDER, "cpu")


@pytest.fixture(scope="module")
def batch(worker: rendered.Rendered) -> rendered.Batch:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "PART", 8)
        latents, pieces, weights = (torch.from_numpy(part) for part in worker.part())
    return latents, pieces, weights


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch) -> large_batches.Learner:
    monkeypatch.setattr(phantom_material, "_HELD_OUT", 15)
    return large_batches.learners_of(["8-8-8"], FOLDER, _encoder(), "cpu", 0)[0]


def _encoder() -> CaptionEncoder:
    tokenizer = CLIPTokenizer.from_pretrained(str(FOLDER / "tokenizer"))
    return CaptionEncoder(tokenizer, make_encoder(tokenizer, 0))


def test_a_part_has_latents_words_and_weights_of_places(batch: rendered.Batch) -> None:
    latents, pieces, weights = batch
    assert (latents.shape, pieces.shape, weights.shape) == ((8, 8, 16, 16), (8, 48, 16), (8, 1, 16, 16))
    assert latents.dtype == weights.dtype == torch.float16
    assert weights.min() >= 1
    assert ((pieces >= 0).sum(-1) >= 1).all()


def test_a_worker_keeps_latents_and_words_but_no_images(worker: rendered.Rendered) -> None:
    before = len(worker.latents)
    worker.grow()
    assert len(worker.latents) == len(worker.shown) == len(worker.odds) == before + rendered.CHUNK
    assert {one.image.size for one in worker.shown} == {0}


def test_what_the_first_worker_rendered_can_be_rendered_again() -> None:
    again = rendered.first_seen(rendered.CHUNK + 2)
    first, second = rendered.chunk_of(0, 0, 0), rendered.chunk_of(0, 0, 1)
    assert np.array_equal(again, np.stack([one.image for one in [*first, *second[:2]]]))
    assert not np.array_equal(rendered.chunk_of(0, 1, 0)[0].image, first[0].image)


def test_bags_read_as_captions(batch: rendered.Batch) -> None:
    encoder = _encoder()
    captions = [phantom_material.varied_caption(one) for one in draw_many(6, 3)]
    assert torch.equal(encoder(captions), encoder.read(torch.from_numpy(encoder.bags(captions))))
    assert encoder.read(batch[1]).shape == (8, 48, 128)


def test_the_rate_warms_up_and_ends_at_nothing() -> None:
    plan = large_batches.Plan(minutes=10, choose_after=1, cool_after=5, peak=2e-3)
    assert plan.rate(0, 0) < 1e-5
    assert plan.rate(1000, 4) == pytest.approx(2e-3)
    assert plan.rate(1000, 7.5) == pytest.approx(1e-3)
    assert plan.rate(1000, 10) == plan.rate(1000, 12) == 0


def test_a_step_changes_weights_and_one_that_overflows_does_not(
    batch: rendered.Batch, learner: large_batches.Learner, tmp_path: Path
) -> None:
    with torch.no_grad():
        hidden = _encoder().read(batch[1])
    before = [value.clone() for value in learner.course.model.parameters()]
    learner.learn(batch, hidden, 1e-3, 0)
    after = [value.clone() for value in learner.course.model.parameters()]
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    broken = (torch.full_like(batch[0], float("inf")), batch[1], batch[2])
    learner.learn(broken, hidden, 1e-3, 1)
    now = list(learner.course.model.parameters())
    assert all(torch.equal(one, other) for one, other in zip(after, now, strict=True))
    assert all(bool(torch.isfinite(value).all()) for values in learner.course.averages.values for value in values)
    figures = learner.measure()
    learner.write(tmp_path)
    assert np.isfinite(figures["held_out_loss"])
    assert (tmp_path / "denoiser-8-8-8.safetensors").stat().st_size > 0
