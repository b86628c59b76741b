"""One bounded vote a patient: what is counted, what noise hides, and that broken code does not pass the self-test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from embhub.diffusion.dp import noise, selftest
from embhub.diffusion.dp.candidates import Candidates
from embhub.diffusion.dp.mechanism import SLACK, Mechanism, Vectors
from embhub.diffusion.dp.selftest_runs import MadeUpVoters, draw_votes
from embhub.diffusion.dp.votes import Evolution
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import PrivacyError
from embhub.privacy.calibration import calibrate_sigma
from embhub.privacy.self_test import SelfTest, find_implausible
from tests.support.quick import others_thorough

RECIPE = ResolvedRecipe(num_vectors=1, steps=3, learning_rate=0.1, warm_up=1)
CANDIDATES, ROUNDS = 16, 3
SIGMA = calibrate_sigma(epsilon=2.0, delta=1e-5, q=1.0, steps=ROUNDS)
RIGHT = Mechanism(sample_rate=1.0, max_grad_norm=1.0, noise_multiplier=SIGMA, denominator=20)
SILENT = Mechanism(sample_rate=1.0, max_grad_norm=1.0, noise_multiplier=0.0, denominator=20)


@pytest.fixture(scope="module", autouse=True)
def shorter_self_test() -> None:
    """Here it has its full length."""


def run(mechanism: Mechanism = RIGHT, rounds: int = ROUNDS) -> SelfTest:
    return selftest.run(mechanism, kind="votes", width=CANDIDATES, recipe=RECIPE, steps=rounds, epsilon=2.0, delta=1e-5)


def evolve(mechanism: Mechanism, people: int) -> tuple[Evolution, MadeUpVoters, np.ndarray]:
    votes = draw_votes(people, CANDIDATES)
    voters = MadeUpVoters(votes)
    voters.people = np.arange(people)
    first = Candidates(torch.randn(CANDIDATES, 5), torch.ones(5))
    return Evolution(voters, mechanism, first), voters, votes


def test_everybody_has_one_vote_and_one_person_more_changes_the_counts_by_no_more_than_one() -> None:
    evolution, voters, votes = evolve(SILENT, 50)
    counts = evolution.tally()
    assert np.allclose(counts, (1 - SLACK) * votes.sum(0))
    voters.people = np.arange(49)
    assert np.linalg.norm(counts - evolution.tally()) <= 1.0


def test_equal_losses_are_one_vote_too(monkeypatch: pytest.MonkeyPatch) -> None:
    evolution, voters, _ = evolve(SILENT, 3)
    monkeypatch.setattr(voters, "losses", lambda *_: np.zeros(CANDIDATES))
    assert evolution.tally().sum() == pytest.approx(3 * (1 - SLACK))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_who_has_no_loss_that_is_a_number_has_no_vote(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others' votes stay as they are, and nothing is raised: it would tell that this person came."""
    evolution, voters, votes = evolve(SILENT, 4)
    of_people = voters.losses
    monkeypatch.setattr(
        voters, "losses", lambda place, *rest: np.full(CANDIDATES, bad) if place == 1 else of_people(place, *rest)
    )
    counts = evolution.tally()
    assert np.allclose(counts, (1 - SLACK) * votes[[0, 2, 3]].sum(0)) and counts.sum() > 2


def test_a_candidate_without_a_loss_gets_no_vote(monkeypatch: pytest.MonkeyPatch) -> None:
    evolution, voters, _ = evolve(SILENT, 3)
    losses = np.linspace(1, 2, CANDIDATES)
    losses[0] = float("nan")
    monkeypatch.setattr(voters, "losses", lambda *_: losses)
    counts = evolution.tally()
    assert counts[1] == pytest.approx(3 * (1 - SLACK)) and counts.sum() == pytest.approx(counts[1])


def test_what_comes_next_depends_on_noisy_counts_alone() -> None:
    """The same released counts give the same candidates, whoever voted."""
    made = []
    for people in (3, 40):
        torch.manual_seed(0)
        evolution, _, _ = evolve(RIGHT, people)
        evolution.candidates.follow(np.linspace(0, 1, CANDIDATES), noise=0.1)
        made.append(evolution.candidates)
    assert torch.equal(made[0].points, made[1].points) and torch.equal(made[0].centre, made[1].centre)
    assert made[0].points.shape == (CANDIDATES, 5)


def test_counts_within_the_noise_weigh_nothing() -> None:
    candidates = Candidates(torch.eye(CANDIDATES), torch.ones(CANDIDATES))
    shares = np.full(CANDIDATES, 0.1)
    shares[[3, 5]] = 0.9, 0.5
    candidates.follow(shares, noise=0.1)
    expected = torch.zeros(CANDIDATES, dtype=torch.float64)
    expected[3], expected[5] = 0.7, 0.3
    assert torch.allclose(candidates.centre, expected)
    candidates.follow(np.linspace(0, 0.1, CANDIDATES), noise=0.1)
    assert torch.allclose(candidates.centre, expected), "it stays where it was"


def test_points_lie_along_the_directions_that_were_allowed() -> None:
    scale = torch.tensor([1.0, 1.0, 0.0, 0.0])
    candidates = Candidates(torch.zeros(1, 4), scale)
    candidates.add_about_centre(6)
    assert candidates.points.shape == (7, 4) and (candidates.points[:, 2:] == 0).all()
    assert torch.allclose(candidates.points[1:].norm(dim=1), torch.tensor(2.0, dtype=torch.float64))


@pytest.mark.parametrize("rounds", [1, ROUNDS])
def test_right_code_passes(rounds: int) -> None:
    sigma = calibrate_sigma(epsilon=2.0, delta=1e-5, q=1.0, steps=rounds)
    found = run(Mechanism(1.0, 1.0, sigma, 20), rounds)
    assert found.passed and found.own_width.dimension == CANDIDATES and found.sampling_p is None
    assert not find_implausible(found, epsilon=2.0, delta=1e-5, sampled=False)


def bounded(self: Evolution, place: int) -> Vectors:
    vote = np.zeros((1, len(self.candidates)))
    vote[0, int(self.voters.losses(place, self.candidates.points, self.taken).argmin())] = 1.0
    counted: Vectors = self.mechanism.bound(vote)[0]
    return counted


def count_twice(self: Evolution) -> Vectors:
    """Every vote is counted two times."""
    return 2 * sum((bounded(self, place) for place in range(len(self.voters))), np.zeros(len(self.candidates)))


def ask_twice(self: Evolution) -> Vectors:
    """Everybody votes two times, as if each had two images and each image a vote."""
    return sum((bounded(self, place // 2) for place in range(2 * len(self.voters))), np.zeros(len(self.candidates)))


def count_one_twice(self: Evolution) -> Vectors:
    """One person in ten has a second vote."""
    again = [*range(len(self.voters)), *range(0, len(self.voters), 10)]
    return sum((bounded(self, place) for place in again), np.zeros(len(self.candidates)))


def vote_for_two(self: Evolution) -> Vectors:
    """A vote for the best and one for the second best, which together are longer than 1."""
    total = np.zeros(len(self.candidates))
    for place in range(len(self.voters)):
        order = self.voters.losses(place, self.candidates.points, self.taken).argsort()
        total[order[0]] += 1 - SLACK
        total[(order[0] + 1) % len(total)] += 1 - SLACK
    return total


def count_losses(self: Evolution) -> Vectors:
    """Losses instead of votes, which nothing bounds."""
    total = np.zeros(len(self.candidates))
    for place in range(len(self.voters)):
        total -= self.voters.losses(place, self.candidates.points, self.taken)
    return total


def leave_noise_out(self: Evolution, counts: Vectors) -> None:
    self.shares = counts / self.mechanism.denominator
    self.taken += 1


def spare_noise(self: Evolution, counts: Vectors) -> None:
    """A twentieth too little noise."""
    drawn = 0.95 * self.mechanism.noise_multiplier * noise.draw_normal(counts.size)
    self.shares = (counts + drawn) / self.mechanism.denominator


def spare_the_first_round(self: Evolution, counts: Vectors) -> None:
    """No noise in the first round, whose candidates are public."""
    if self.taken:
        return advance(self, counts)
    self.shares = counts / self.mechanism.denominator
    self.candidates.follow(self.shares, noise=public_noise(self))
    self.taken += 1
    return None


def spare_the_last_round(self: Evolution, counts: Vectors) -> None:
    """A tenth of the noise in the last round: of a fifth, 16 counts show too little in one case of five."""
    if self.taken != ROUNDS - 1:
        return advance(self, counts)
    drawn = self.mechanism.noise_multiplier * noise.draw_normal(counts.size) / 10
    self.shares = (counts + drawn) / self.mechanism.denominator
    self.candidates.follow(self.shares, noise=public_noise(self))
    self.taken += 1
    return None


advance: Callable[[Evolution, Vectors], None] = Evolution.advance

kept: dict[int, Vectors] = {}


def keep_noise(self: Evolution, counts: Vectors) -> None:
    """The same noise in every round."""
    drawn = kept.setdefault(counts.size, noise.draw_normal(counts.size))
    self.shares = (counts + self.mechanism.noise_multiplier * drawn) / self.mechanism.denominator


def noise_per_patient(self: Evolution, counts: Vectors) -> None:
    """Noise that shrinks with the number of voters."""
    drawn = self.mechanism.noise_multiplier * noise.draw_normal(counts.size) / max(1.0, counts.sum()) ** 0.5
    self.shares = (counts + drawn) / self.mechanism.denominator


def public_noise(self: Evolution) -> float:
    return self.mechanism.noise_multiplier / self.mechanism.denominator


def follow_bare_counts(self: Evolution, counts: Vectors) -> None:
    """Noisy counts to look at, bare ones to make the next candidates of."""
    self.shares = self.mechanism.release(counts)
    self.candidates.follow(
        counts / self.mechanism.denominator, noise=self.mechanism.noise_multiplier / self.mechanism.denominator
    )


def release_twice(self: Evolution, counts: Vectors) -> None:
    """Noise for the counts to look at, other noise for those that the next candidates are made of."""
    self.shares = self.mechanism.release(counts)
    self.candidates.follow(
        self.mechanism.release(counts), noise=self.mechanism.noise_multiplier / self.mechanism.denominator
    )


def follow_twice(self: Evolution, counts: Vectors) -> None:
    """The centre moves two times, each by noisy counts of its own."""
    for _ in range(2):
        self.shares = self.mechanism.release(counts)
        self.candidates.follow(self.shares, noise=public_noise(self))


def judge_by_the_true_number(self: Evolution, counts: Vectors) -> None:
    """What stands out depends on how many people are there."""
    self.shares = self.mechanism.release(counts)
    self.candidates.follow(self.shares, noise=self.mechanism.noise_multiplier / max(1, len(self.voters)))


BROKEN: list[tuple[str, Callable[..., object], str]] = [
    ("tally", count_twice, "clip"),
    ("tally", ask_twice, "clip"),
    ("tally", count_one_twice, "clip"),
    ("tally", vote_for_two, "clip"),
    ("tally", count_losses, "clip"),
    ("advance", leave_noise_out, "noise"),
    ("advance", spare_noise, "noise"),
    ("advance", spare_the_first_round, "noise"),
    ("advance", spare_the_last_round, "noise"),
    ("advance", keep_noise, "noise"),
    ("advance", noise_per_patient, "noise"),
    ("advance", follow_bare_counts, "noise"),
    ("advance", release_twice, "clip"),
    ("advance", follow_twice, "clip"),
    ("advance", judge_by_the_true_number, "clip"),
]


ALWAYS = (count_one_twice, vote_for_two, spare_noise, spare_the_last_round, release_twice)
"""Faults that are hard to see, of each kind; `make test` tries these."""


@pytest.mark.parametrize(
    ("method", "broken", "name"),
    others_thorough(BROKEN, [row for row in BROKEN if row[1] in ALWAYS]),
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_broken_votes_are_caught_and_named(
    method: str, broken: Callable[..., object], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evolution, method, broken)
    with pytest.raises(PrivacyError, match=rf"self-test \(.*{name} at the run's own width") as caught:
        run()
    assert caught.value.exit_code == 6


def test_a_round_without_some_people_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is left out must not depend on anything that a claim does not say."""
    whole = MadeUpVoters.__len__
    monkeypatch.setattr(MadeUpVoters, "__len__", lambda self: max(0, whole(self) - 1))
    with pytest.raises(PrivacyError, match="sampling at the run's own width"):
        run()
