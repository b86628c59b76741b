"""Made-up patients through whole trainings: right code shows what is claimed at most, code that spares them more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.claimed import read_claim
from embhub.artifact.embedding import Embedding
from embhub.audits.report import AuditReport
from embhub.diffusion.attacks import canary_patients
from embhub.diffusion.attacks.auditing import audit
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.dp.dpsgd import PrivateDescent
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.mechanism import Vectors
from embhub.diffusion.dp.selftest import BrokenMechanismError
from embhub.diffusion.dp.subspace import lay
from embhub.diffusion.dp.votes import Evolution, PatientVoters
from embhub.errors import UsageError
from embhub.privacy.calibration import calibrate_sigma
from embhub.release.checks.claims import refuted
from tests.support import pipelines
from tests.support.claims import SELF_TEST, SELF_TEST_OF_ALL, make_claim
from tests.support.quick import quick

TRAININGS, CANARIES = 2, 12


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary_patients, "TRAININGS", TRAININGS)
    monkeypatch.setattr(canary_patients, "CANARIES", CANARIES)
    monkeypatch.setattr(canary_patients, "GRADIENTS", 120)


def claimed(mechanism: str = "dp-sgd") -> Embedding:
    """An embedding of `builtin` that claims an epsilon of 0.5."""
    batch, steps = {"dp-sgd": (80, 6), "dp-agg": (100, 1), "votes": (100, 2)}[mechanism]
    block = SELF_TEST if mechanism == "dp-sgd" else SELF_TEST_OF_ALL
    claim = make_claim(
        mechanism=mechanism, batch=batch, steps=steps, clip=1e-3 if mechanism == "dp-sgd" else 1.0,
        sigma=calibrate_sigma(epsilon=0.5, delta=1e-5, q=batch / 100, steps=steps),
        self_test=block.model_copy(update={"own_width": SELF_TEST.own_width.model_copy(update={"dimension": 128})}),
    )  # fmt: skip
    return artifact.build(
        {"emb_params": np.zeros((1, 128))}, token="<a>", base=fingerprint.take(find_base("builtin").folder),
        base_name="builtin", training={"caption": "prostate mri, {}"}, privacy=claim,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("mechanism", quick([], thorough=["dp-agg"], exhaustive=["dp-sgd", "votes"]))
def test_right_code_shows_no_more_than_is_claimed(mechanism: str) -> None:
    """A reader's audit: no training is remembered here, and nothing but the file and embhub is at hand.

    In CI the demonstration audits a training of DP-SGD, with four times as many made-up patients; test_votes.py
    tries the votes alone.
    """
    target = claimed(mechanism)
    report = audit(target, suite="mechanism", device="cpu")
    patients = report.attack("mechanism-patients")
    assert sum(map(len, patients.ranks)) == TRAININGS * CANARIES
    assert report.verdict == "bounded-by-claim" and f"{TRAININGS * CANARIES} made-up patients" in report.statement
    assert refuted(target.privacy, report) is None
    assert AuditReport.parse(report.to_bytes()).check() == []


def spare_noise(self: PrivateDescent) -> None:
    """Noise for the self-test's made-up gradients, none where gradients are those of images."""
    if not isinstance(self.loss, PatientLoss):
        return whole(self)
    chosen = self.mechanism.sample(len(self.loss.patients)).tolist()
    total = torch.zeros_like(self.coordinates).numpy()
    for place in chosen:
        total += self.mechanism.bound(self.loss.gradients([place], self.coordinates).numpy()).sum(0)
    self.move(torch.from_numpy(total / self.mechanism.denominator))
    self.taken += 1
    return None


def spare_the_clip(self: PrivateDescent) -> None:
    """The same with the clip."""
    if not isinstance(self.loss, PatientLoss):
        return whole(self)
    chosen = self.mechanism.sample(len(self.loss.patients)).tolist()
    total: Vectors = np.zeros(self.loss.size)
    for place in chosen:
        total += self.loss.gradients([place], self.coordinates).numpy().sum(0)
    self.move(torch.from_numpy(self.mechanism.release(total)))
    self.taken += 1
    return None


whole: Any = PrivateDescent.step


@pytest.mark.parametrize("step", quick([], thorough=[spare_the_clip], exhaustive=[spare_noise]))
def test_a_build_that_is_right_with_made_up_gradients_alone_is_found_out(
    step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PrivateDescent, "step", step)
    with pytest.raises(BrokenMechanismError, match="the private training did not do what it would claim"):
        audit(claimed(), suite="mechanism", device="cpu")


def spare_votes(self: Evolution, counts: Vectors) -> None:
    """Noise for made-up votes, none where votes are those of images."""
    if not isinstance(self.voters, PatientVoters):
        return advance(self, counts)
    self.shares = counts / self.mechanism.denominator
    self.candidates.follow(self.shares, noise=self.mechanism.noise_multiplier / self.mechanism.denominator)
    self.taken += 1
    return None


def spare_most_noise(self: Evolution, counts: Vectors) -> None:
    """A tenth of the noise where votes are those of images."""
    if isinstance(self.voters, PatientVoters):
        whole_noise = self.mechanism
        self.mechanism = replace(whole_noise, noise_multiplier=whole_noise.noise_multiplier / 10)
        advance(self, counts)
        self.mechanism = whole_noise
        return None
    return advance(self, counts)


def follow_bare_counts(self: Evolution, counts: Vectors) -> None:
    """Noisy counts to look at; where votes are those of images, the next candidates are made of bare ones."""
    if not isinstance(self.voters, PatientVoters):
        return advance(self, counts)
    self.shares = self.mechanism.release(counts)
    self.candidates.follow(counts / self.mechanism.denominator, noise=0.1)
    self.taken += 1
    return None


advance: Any = Evolution.advance


@pytest.mark.parametrize("broken", quick([], thorough=[spare_most_noise], exhaustive=[spare_votes, follow_bare_counts]))
def test_votes_of_images_that_get_too_little_noise_are_found_out(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evolution, "advance", broken)
    with pytest.raises(BrokenMechanismError, match="the private training did not do what it would claim"):
        audit(claimed("votes"), suite="mechanism", device="cpu")


@pytest.mark.parametrize("mechanism", ["dp-sgd", "dp-agg", "votes"])
def test_a_base_that_gives_nobody_a_loss_makes_no_report(mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody would contribute zero, and code without any noise would look as if it hid them."""
    target = claimed(mechanism)
    pipe = load_pipeline(find_base("builtin"), device="cpu")
    pipe.vae.encoder.conv_in.bias.data[0] = float("nan")
    with pytest.raises(UsageError, match="made-up image are not numbers"):
        canary_patients.guess_patients(target, read_claim(target), pipe)


@pytest.mark.thorough
def test_without_the_base_only_vectors_are_tried() -> None:
    elsewhere = artifact.build(
        {"emb_params": np.zeros((1, 128))}, token="<a>", base=None, base_name="a-base-of-others",
        training={}, privacy=claimed().privacy,
    )  # fmt: skip
    report = audit(elsewhere, suite="mechanism", device="cpu")
    assert [result.name for result in report.attacks] == ["mechanism-canaries"]
    assert "Private trainings of made-up patients were not tried" in report.statement and report.check() == []


@pytest.mark.thorough
def test_long_trainings_are_cut_short_and_never_made_longer() -> None:
    pipe = load_pipeline(find_base("builtin"), device="cpu")
    target = claimed()
    for steps, taken in ((4, 4), (100_000, 120 // (TRAININGS * (canary_patients.DECLARED + CANARIES // 2) // 2))):
        claim = make_claim(batch=50, steps=steps, sigma=200.0)
        assert canary_patients._plan(target, claim, pipe)[1].recipe.steps == taken


def test_coordinates_are_those_that_made_the_rows() -> None:
    frame = lay(pipelines.build(), "prostate mri", 3, 5)
    wanted = torch.randn(frame.size)
    assert torch.allclose(frame.coordinates(frame.rows(wanted)), wanted, atol=1e-4)
