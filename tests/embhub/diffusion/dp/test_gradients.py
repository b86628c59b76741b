"""The gradient of each patient: as Opacus has it, as a slow loop has it, and nobody else's business."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from opacus import GradSampleModule
from torch import Tensor, nn

from embhub.diffusion import families
from embhub.diffusion.dp import aggregation
from embhub.diffusion.dp.base_trial import BaseTrial
from embhub.diffusion.dp.dpsgd import PrivateDescent
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.mechanism import Mechanism, Vectors
from embhub.diffusion.dp.patients import Patients, group
from embhub.diffusion.dp.selftest_runs import MadeUp, draw_directions
from embhub.diffusion.dp.subspace import lay
from embhub.diffusion.training.inversion import DivergedError
from embhub.diffusion.training.prompts import Prompts
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.diffusion.training.rows import Rows
from embhub.diffusion.training.schedule import pace
from embhub.errors import UsageError
from tests.support import pipelines

RECIPE = ResolvedRecipe(num_vectors=2, steps=3, batch_size=4, mixed_precision=False)
OPEN = Mechanism(sample_rate=1.0, max_grad_norm=1e-3, noise_multiplier=0.0, denominator=5)
UNITS = ["a", "b", "a", "c", "d", "a", "c", "e"]


@pytest.fixture(scope="module", params=["clip", "bert"])
def pipe(request: pytest.FixtureRequest) -> object:
    built = pipelines.build(encoder=request.param)
    for part in (built.unet, built.text_encoder, built.vae):
        part.requires_grad_(False).eval()
    return built


def prepare(pipe: Any, *, draws: int = 3, dimensions: int | None = 8, **changes: Any) -> PatientLoss:
    latents = torch.randn(len(UNITS), 4, 8, 8, generator=torch.Generator().manual_seed(3))
    frame = lay(pipe, "prostate mri", 2, dimensions)
    people = Patients(latents, group(UNITS, 2))
    recipe = replace(RECIPE, **changes)
    return PatientLoss(pipe, people, frame, token="<a>", caption="mri, {}", recipe=recipe, noise_draws=draws)


def reseed(loss: PatientLoss, seed: int = 8) -> None:
    """The same random numbers for each patient in turn, from here on."""
    source = random.Random(seed)
    loss._seed = lambda: source.getrandbits(63)


def inputs(loss: PatientLoss, count: int) -> tuple[Tensor, Tensor, Tensor]:
    clean = torch.randn(count * loss.noise_draws, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))
    return clean, noise, torch.arange(len(clean)) * 37 % 1000


def by_the_leaf(loss: PatientLoss, point: Tensor, count: int) -> Tensor:
    leaf = point.expand(count, -1).clone().requires_grad_()
    with loss.active():
        return torch.autograd.grad(loss.losses(leaf, *inputs(loss, count)).sum(), leaf)[0]


class Wrapped(nn.Module):
    """The same loss with its coordinates in a layer that Opacus knows."""

    def __init__(self, loss: PatientLoss, point: Tensor) -> None:
        super().__init__()
        self._loss, self.coordinates = loss, nn.Embedding(1, len(point))
        self.coordinates.weight.data.copy_(point[None])

    def forward(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        return self._loss.losses(self.coordinates(torch.zeros(len(clean), 1, dtype=torch.long))[:, 0], *(
            part.flatten(0, 1) for part in (clean, noise, times)
        ))  # fmt: skip


@pytest.mark.parametrize("dimensions", [8, None])
def test_gradients_are_those_of_opacus(pipe: Any, dimensions: int | None) -> None:
    loss = prepare(pipe, dimensions=dimensions)
    point = 0.1 * torch.randn(loss.frame.size, generator=torch.Generator().manual_seed(6))
    ours = by_the_leaf(loss, point, 5)
    wrapped = GradSampleModule(Wrapped(loss, point), loss_reduction="sum")
    with loss.active():
        wrapped(*(part.unflatten(0, (5, loss.noise_draws)) for part in inputs(loss, 5))).sum().backward()
    theirs = next(wrapped.parameters()).grad_sample[:, 0]
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


def test_gradients_are_those_of_a_loop_over_patients(pipe: Any) -> None:
    """One patient, one shared copy of the rows, one ordinary backward pass at a time, by the non-private hooks."""
    loss = prepare(pipe)
    point = torch.zeros(loss.frame.size)
    clean, noise, times = inputs(loss, 4)
    found = []
    for number in range(4):
        own = slice(number * loss.noise_draws, (number + 1) * loss.noise_draws)
        rows = Rows(pipe, "<a>", loss.frame.rows(point))
        with loss.active(), rows.active():
            condition = loss._family.condition(pipe, [rows.expand("mri, <a>")])
            families.loss(pipe, loss._family, clean[own], condition, noise[own], times[own]).mean().backward()
        slope = {name: part.grad for name, part in rows.rows.items()}
        found.append(torch.cat([(slope[n] @ loss.frame.directions[n].T).flatten() for n in slope]))
    slow, ours = torch.stack(found), by_the_leaf(loss, point, 4)
    assert float((ours - slow).norm() / slow.norm()) < 1e-5


def test_a_patient_does_not_depend_on_the_others_of_a_batch(pipe: Any) -> None:
    """Same place and shape, other mates: the same bits."""
    loss = prepare(pipe)
    clean, noise, times = inputs(loss, 4)
    leaf = torch.zeros(4, loss.frame.size, requires_grad=True)
    with loss.active():
        one = torch.autograd.grad(loss.losses(leaf, clean, noise, times).sum(), leaf)[0]
        clean[loss.noise_draws :] = 7.0
        leaf = torch.zeros(4, loss.frame.size, requires_grad=True)
        two = torch.autograd.grad(loss.losses(leaf, clean, noise, times).sum(), leaf)[0]
    assert torch.equal(one[0], two[0]) and not torch.equal(one[1], two[1])


def test_what_is_drawn_for_a_patient_does_not_depend_on_who_else_came(pipe: Any) -> None:
    """One generator for all would shift the draws of everybody after a patient more: the sum moves by many clips."""
    found = []
    for chosen in ([3, 4], [3, 0, 4]):
        loss, seeds = prepare(pipe), {unit: 100 + unit for unit in range(5)}
        coming = iter([*chosen, *[chosen[-1]] * loss.at_once])
        loss._seed = map(seeds.__getitem__, coming).__next__
        with loss.active():
            found.append(loss.gradients(chosen, torch.zeros(loss.size)))
    pair, three = found
    torch.testing.assert_close(pair, three[[0, 2]], rtol=1e-4, atol=1e-8)
    assert not torch.allclose(pair[0], pair[1], rtol=0.1)


def test_as_many_patients_are_computed_whoever_came(pipe: Any) -> None:
    """By the number of a batch kernels choose the order of their additions: it must not tell how many others came."""
    loss, seen = prepare(pipe, draws=2, micro_batch_size=6), list[int]()
    hook = pipe.unet.register_forward_pre_hook(lambda _module, told: seen.append(len(told[0])))
    with loss.active():
        for chosen in ([0], [0, 1], [0, 3, 4]):
            own = torch.zeros(len(chosen), loss.frame.size)
            assert loss.gradients(chosen, own).shape == loss.gradients(chosen, own[0]).shape == own.shape
    hook.remove()
    assert loss.at_once == 3 and set(seen) == {6}


def test_each_patient_may_stand_elsewhere(pipe: Any) -> None:
    """As aggregation needs it: coordinates of each patient's own."""
    loss = prepare(pipe)
    places = torch.randn(2, loss.frame.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with loss.active():
        assert loss.gradients([0, 3], places).shape == (2, loss.frame.size)
        assert loss.gradients([0, 3], places[0]).dtype == torch.float64


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_a_loss_that_is_no_number_counts_as_zero_and_changes_nobody_else(pipe: Any, bad: float) -> None:
    """The same bits for the others, also where the patient is last and fills up the batch."""
    for chosen in ([0, 1, 2, 3, 4], [0, 2, 1]):
        there, bounded = list(chosen).index(1), []
        for value in (None, bad):
            loss = prepare(pipe, micro_batch_size=15, batch_size=5)
            if value is not None:
                loss.patients.latents[UNITS.index("b")] = value
            reseed(loss)
            with loss.active():
                bounded.append(OPEN.bound(loss.gradients(chosen, torch.zeros(loss.frame.size)).numpy()))
        sound, found = bounded
        assert not found[there].any() and sound[there].any()
        sound[there] = 0.0
        assert np.array_equal(sound, found)


def test_a_denoiser_that_fails_for_one_patient_spares_the_others(pipe: Any) -> None:
    def fail(_module: nn.Module, _told: Any, out: Any) -> Any:
        out.sample = out.sample.clone()
        out.sample[loss.noise_draws + 1] = float("nan")  # one of three draws of the second patient
        return out

    found = []
    for broken in (False, True):
        loss = prepare(pipe, batch_size=5, micro_batch_size=9)
        reseed(loss)
        hook = pipe.unet.register_forward_hook(fail if broken else lambda *_: None)
        try:
            with loss.active():
                found.append(OPEN.bound(loss.gradients([0, 1, 2], torch.zeros(loss.frame.size)).numpy()))
        finally:
            hook.remove()
    sound, spoilt = found
    assert not spoilt[1].any() and sound[1].any()
    assert np.array_equal(sound[[0, 2]], spoilt[[0, 2]])


def test_own_embeddings_that_are_no_numbers_count_as_zero(pipe: Any) -> None:
    """As in dp-agg: all steps of a patient's own training, and the sum of everybody's."""
    seen: list[Vectors] = []

    class Seen(Mechanism):
        def bound(self, vectors: ArrayLike) -> Vectors:
            seen.append(super().bound(vectors))
            return seen[-1]

    totals = []
    for value in (None, float("nan")):
        loss = prepare(pipe, batch_size=5, micro_batch_size=6)
        if value is not None:
            loss.patients.latents[UNITS.index("b")] = value
        reseed(loss)
        with loss.active():
            totals.append(aggregation.collect(loss, Seen(1.0, 1e-3, 0.0, 5), steps=3))
    rows = np.concatenate(seen)
    sound, spoilt = rows[:5], rows[5:]
    assert not spoilt[1].any() and sound[1].any()
    assert np.array_equal(sound[[0, 2, 3, 4]], spoilt[[0, 2, 3, 4]])
    assert np.allclose(totals[1], sound.sum(0) - sound[1], atol=1e-12) and spoilt.any()


def test_a_step_with_a_broken_image_is_the_step_of_the_others(pipe: Any) -> None:
    loss = prepare(pipe, batch_size=5, micro_batch_size=6, learning_rate=1.0)
    loss.patients.latents[UNITS.index("b")] = float("nan")
    reseed(loss)
    with loss.active():
        parts = [OPEN.bound(loss.gradients(part, torch.zeros(loss.size)).numpy()) for part in ([0, 1], [2, 3], [4])]
        descent = PrivateDescent(loss, OPEN, loss.recipe)
        reseed(loss)
        descent.step()
    others = np.concatenate(parts)[[0, 2, 3, 4]].sum(0) / OPEN.max_grad_norm
    moved = -descent.coordinates.numpy() / pace(0, loss.recipe.steps, loss.recipe.warm_up)
    assert np.allclose(moved, others / OPEN.denominator, rtol=1e-9) and moved.any()


def test_rows_that_are_no_longer_numbers_stop_a_training() -> None:
    """They are made of noised sums, so that this tells of no single patient."""
    made_up = MadeUp(draw_directions(5, 8), replace(RECIPE, learning_rate=10.0, warm_up=1), length=1.0)
    made_up.patients = np.arange(5)
    descent = PrivateDescent(made_up, Mechanism(1.0, 1.0, 1e308, 5), made_up.recipe)
    with pytest.raises(DivergedError, match="no longer numbers"):
        for _ in range(5):
            descent.step()


def test_a_caption_for_all_that_does_not_fit_is_no_matter_where_every_image_has_its_own(pipe: Any) -> None:
    loss = prepare(pipe)
    most = families.room(pipe, families.encoders(pipe)[0])
    long, own = "mri " * most + "{}", tuple(f"mri {number}, {{}}" for number in range(len(UNITS)))
    made: dict[str, Any] = {"token": "<a>", "recipe": RECIPE, "noise_draws": 3}

    def build(caption: str, prompts: Prompts | None) -> PatientLoss:
        return PatientLoss(pipe, loss.patients, loss.frame, caption=caption, prompts=prompts, **made)

    captioned = build(long, Prompts(own, tuple(range(len(UNITS))), own=True))
    with captioned.active():
        assert captioned.gradients([0, 1], torch.zeros(loss.size)).norm(dim=1).min() > 0
        BaseTrial(captioned, 32).check(own_steps=1)
    for prompts in (None, Prompts((long, *own[1:]), tuple(range(len(UNITS))), own=True)):
        with pytest.raises(UsageError, match="this base reads"):
            build(long, prompts)


def test_patients_keep_their_first_images_whoever_else_is_there() -> None:
    assert group(UNITS, 2) == ((0, 2), (1,), (3, 6), (4,), (7,))
    assert group(UNITS, 9) == ((0, 2, 5), (1,), (3, 6), (4,), (7,))


def test_a_patients_images_are_used_evenly() -> None:
    people = Patients(torch.arange(8.0).view(8, 1, 1, 1), group(UNITS, 3))
    generator = torch.Generator().manual_seed(0)
    assert sorted(people.draw_places(0, 6, generator)) == [0, 0, 2, 2, 5, 5]
    assert people.draw_places(1, 6, generator) == [1] * 6


def test_times_are_spread_over_the_recipes_distribution(pipe: Any) -> None:
    loss = prepare(pipe, draws=10, high_noise=0.4, lowest=0.1)
    times = loss.draw_times(500, torch.Generator().manual_seed(0)).view(500, 10)
    assert int(times.min()) >= 100 and int(times.max()) < 1000
    assert ((times >= 700).sum(1) >= 4).all() and times[:, 6:].min() >= 700


def test_no_recipe_leads_to_a_time_that_is_none(pipe: Any) -> None:
    """It would fail only if somebody was sampled, and so say that somebody was."""
    with pytest.raises(UsageError, match="lowest"):
        prepare(pipe, lowest=-1.5)
    loss = prepare(pipe, high_noise=0.0)
    object.__setattr__(loss.recipe, "lowest", -1.5)
    times = loss.draw_times(500, torch.Generator().manual_seed(0))
    assert int(times.min()) == 0 and int(times.max()) < 1000


def test_the_frame_is_public(pipe: Any) -> None:
    """Base and arguments alone decide it; its axes are orthogonal and as long as the base's words."""
    one, two = lay(pipe, "prostate mri", 2, 8), lay(pipe, "prostate mri", 2, 8)
    for name, axes in one.directions.items():
        assert torch.equal(axes, two.directions[name]) and torch.equal(one.start[name], two.start[name])
        gram = axes @ axes.T
        assert torch.allclose(gram, torch.eye(8) * gram[0, 0], atol=1e-4 * float(gram[0, 0]))
    assert one.size == 16
    rows = one.rows(torch.zeros(3, 16))
    assert all(torch.equal(part[1], one.start[name]) for name, part in rows.items())
