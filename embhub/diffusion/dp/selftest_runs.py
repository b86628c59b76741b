"""Ways that made-up people take through the privatising code in a self-test: the mechanism alone, or a whole optimizer.

Every made-up person has a direction and pulls along it, far harder than is allowed. What comes out is told in units of
the clip, so that code which is right gives the sum of the directions of those who came, a little shortened
(`mechanism.SLACK`), and Gaussian noise of `sigma`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.diffusion.dp import aggregation
from embhub.diffusion.dp.candidates import Candidates
from embhub.diffusion.dp.dpsgd import MOMENTUM, PrivateDescent
from embhub.diffusion.dp.mechanism import Mechanism
from embhub.diffusion.dp.shared import SharedDescent
from embhub.diffusion.dp.votes import VOTE, Evolution
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.diffusion.training.schedule import pace
from embhub.study.grid import Grid

Values = NDArray[np.float64]
Places = NDArray[np.int64]

AT_ONCE = 64
_TOO_LONG = 3
_OWN_STEPS = 2


class TrialRun(Protocol):
    """`directions` (P, d) are of length 1; `longest` is the longest vector that went into a sum, where it can be seen,
    in clips; `length` is how long each should be."""

    directions: NDArray[np.float32]
    longest: float
    length: float

    def step(self, people: Places) -> tuple[Places, Values]:
        """Offer `people` to one step: those who came, and what came out (d,), in clips."""
        ...


def draw_directions(people: int, dimension: int) -> NDArray[np.float32]:
    """Random directions (people, dimension), each number of the same size: Adam, which evens sizes, keeps them so."""
    # They need no secrecy, and numpy draws them twenty times faster.
    signs = np.random.default_rng().integers(0, 2, (people, dimension), dtype=np.int8)
    directions: NDArray[np.float32] = ((2 * signs - 1) / np.sqrt(dimension)).astype(np.float32)
    return directions


class MechanismOnly:
    """The mechanism alone."""

    def __init__(self, mechanism: Mechanism, directions: NDArray[np.float32]) -> None:
        self.mechanism, self.directions = mechanism, directions
        self.longest, self.length = 0.0, 1.0

    def step(self, people: Places) -> tuple[Places, Values]:
        """Sample, bound, sum and release."""
        clip, total = self.mechanism.max_grad_norm, np.zeros(self.directions.shape[1])
        came = people[self.mechanism.sample(len(people))]
        for first in range(0, len(came), AT_ONCE):
            part = self.directions[came[first : first + AT_ONCE]].astype(np.float64)
            bounded = self.mechanism.bound(part * (_TOO_LONG * clip))
            self.longest = max(self.longest, float(np.linalg.norm(bounded, axis=1).max()) / clip)
            total += bounded.sum(0)
        return came, self.mechanism.release(total) * self.mechanism.denominator / clip


class MadeUp:
    """Gradients of made-up people, where a training has those of patients; `patients` are who is offered to a step."""

    def __init__(self, directions: NDArray[np.float32], recipe: ResolvedRecipe, *, length: float) -> None:
        self._pulls = torch.from_numpy(directions).double() * -length
        self.recipe, self.at_once, self.size = recipe, AT_ONCE, directions.shape[1]
        self.patients: Places = np.zeros(0, dtype=np.int64)
        self._came: list[int] = []

    def gradients(self, chosen: Sequence[int], coordinates: Tensor) -> Tensor:  # noqa: ARG002 (as `PatientLoss`)
        """One gradient (P, size) for each chosen person, against their directions."""
        places = self.patients[list(chosen)]
        self._came += places.tolist()
        return self._pulls[torch.from_numpy(places)]

    def take(self) -> Places:
        """Whose gradients were asked for since last time."""
        came, self._came = np.array(self._came, dtype=np.int64), []
        return came


class Descent:
    """The optimizer of dp-sgd as trainings use it; what a step released is taken from how the coordinates moved."""

    def __init__(self, mechanism: Mechanism, directions: NDArray[np.float32], recipe: ResolvedRecipe) -> None:
        self.mechanism, self.directions, self.recipe = mechanism, directions, recipe
        self.longest, self.length = 0.0, 1.0
        self._made_up = MadeUp(directions, recipe, length=_TOO_LONG * mechanism.max_grad_norm)
        self._descent = PrivateDescent(self._made_up, mechanism, recipe)
        self._before = self._momentum = np.zeros(directions.shape[1])

    def step(self, people: Places) -> tuple[Places, Values]:
        """One step of the optimizer."""
        rate = self.recipe.learning_rate * pace(self._descent.taken, self.recipe.steps, self.recipe.warm_up)
        self._made_up.patients = people
        self._descent.step()
        after = self._descent.coordinates.numpy().copy()
        momentum = (self._before - after) / rate
        gradient = momentum - MOMENTUM * self._momentum
        self._before, self._momentum = after, momentum
        return self._made_up.take(), -gradient * self.mechanism.denominator


class Shared:
    """A site's part of a study as sites use it, with noise of all of them on the `grid`; what came out is its sum."""

    def __init__(
        self, mechanism: Mechanism, directions: NDArray[np.float32], recipe: ResolvedRecipe, grid: Grid
    ) -> None:
        self.directions, self.longest, self.length = directions, 0.0, 1.0
        self._made_up = MadeUp(directions, recipe, length=_TOO_LONG * mechanism.max_grad_norm)
        self._descent = SharedDescent(self._made_up, mechanism, recipe, grid)

    def step(self, people: Places) -> tuple[Places, Values]:
        """One contribution."""
        self._made_up.patients = people
        out = self._descent.contribute().view(np.int32) / self._descent.grid.clip_units
        return self._made_up.take(), -out


class Aggregation:
    """dp-agg as trainings use it: an own vector for everybody who comes, by Adam, and the noisy mean."""

    def __init__(self, mechanism: Mechanism, directions: NDArray[np.float32], recipe: ResolvedRecipe) -> None:
        self.mechanism, self.directions = mechanism, directions
        self._made_up = MadeUp(directions, recipe, length=1.0)
        reach = recipe.learning_rate * _OWN_STEPS * np.sqrt(directions.shape[1])
        self.longest, self.length = 0.0, min(1.0, float(reach) / mechanism.max_grad_norm)

    def step(self, people: Places) -> tuple[Places, Values]:
        """One release of everybody's own vectors."""
        self._made_up.patients = people
        total = aggregation.collect(self._made_up, self.mechanism, steps=_OWN_STEPS)
        out = self.mechanism.release(total) * self.mechanism.denominator / self.mechanism.max_grad_norm
        places, steps = np.unique(self._made_up.take(), return_counts=True)
        return np.repeat(places, steps // _OWN_STEPS), out


def draw_votes(people: int, candidates: int) -> NDArray[np.float32]:
    """A candidate for each made-up person, at random: directions (people, candidates) with one 1."""
    chosen = np.random.default_rng().integers(0, candidates, people)
    votes = np.zeros((people, candidates), dtype=np.float32)
    votes[np.arange(people), chosen] = 1.0
    return votes


class MadeUpVoters:
    """Made-up people with losses, where a training has patients with images; `people` are who is offered to a round."""

    def __init__(self, directions: NDArray[np.float32]) -> None:
        self._losses: Values = 1.0 - directions.astype(np.float64)
        self.people: Places = np.zeros(0, dtype=np.int64)
        self._came: list[int] = []

    def __len__(self) -> int:
        return len(self.people)

    def losses(self, place: int, candidates: Tensor, number: int) -> Values:  # noqa: ARG002 (as `PatientVoters`)
        """Loss (M,) of each candidate: 0 for the person's own, 1 for the others."""
        self._came.append(int(self.people[place]))
        found: Values = self._losses[self.people[place]]
        return found

    def take(self) -> Places:
        """Whose losses were asked for since last time."""
        came, self._came = np.array(self._came, dtype=np.int64), []
        return came


class Watched(Candidates):
    """Candidates that take down the noise by which they are told to judge counts."""

    noises: tuple[float, ...] = ()

    def follow(self, shares: Values, *, noise: float) -> None:
        """As `Candidates`."""
        self.noises = (*self.noises, noise)
        super().follow(shares, noise=noise)


class Voting:
    """votes as trainings use them: one vote for everybody who comes; what came out is what the candidates followed.

    A second release of the same counts is added to it, so that it shows as a contribution of twice the length. A
    threshold that depends on who is there would tell their number: it counts as a vote without a bound.
    """

    def __init__(self, mechanism: Mechanism, directions: NDArray[np.float32], recipe: ResolvedRecipe) -> None:  # noqa: ARG002 (as the others)
        self.mechanism, self.directions = mechanism, directions
        self.longest, self.length = 0.0, VOTE / mechanism.max_grad_norm
        self._made_up = MadeUpVoters(directions)
        width = directions.shape[1]
        self._watched = Watched(torch.zeros(width, 1), torch.ones(1))
        self._evolution = Evolution(self._made_up, mechanism, self._watched)
        self._public_noise = mechanism.noise_multiplier * mechanism.max_grad_norm / mechanism.denominator

    def step(self, people: Places) -> tuple[Places, Values]:
        """One round of votes."""
        self._made_up.people = people
        followed, self._watched.noises = self._watched.followed, ()
        followed.clear()
        self._evolution.advance(self._evolution.tally())
        if not np.allclose(self._watched.noises, self._public_noise, rtol=1e-9):
            self.longest = float("inf")
        released = [shares for _, shares in followed]
        if not any(np.array_equal(self._evolution.shares, each) for each in released):
            released.append(self._evolution.shares)
        out: Values = np.sum(released, axis=0) * self.mechanism.denominator / self.mechanism.max_grad_norm
        return self._made_up.take(), out
