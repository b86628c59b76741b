"""A private training, watched where it cannot go round: at the images, at the mechanism, and at what comes out.

The self-test tries the privatising code on made-up vectors; this looks at the run that is made. In each step as many
vectors have to reach the clip as ids were sampled, nobody else's image may be read, and what is laid on the sum has to
be noise of the planned size. As many sums may be released as steps were announced, and what was learned has to follow
from them alone. Before the first step a made-up patient with eight images moves the sum by the clip at most.

It costs a few additions a step. For code that is right none of it depends on a patient: counts are equal, and noise is
what is left of a release without its sum. So a run that fails here tells of its code, not of its patients.

False alarms: right noise fails once in 10^12, and all else is exact, so that right code cannot fail it. Noise that
fails is never released, so that chance, times e^epsilon, bounds what the test adds to delta.
Half the noise is found in 9 of 10 trainings from 101 released values on, and in all but one in a million from 166 on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from torch import Tensor

from embhub.diffusion.dp import aggregation
from embhub.diffusion.dp.checkpoints import PrivateCheckpoint
from embhub.diffusion.dp.dpsgd import PrivateDescent
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.mechanism import Mechanism, Vectors
from embhub.diffusion.dp.patients import Patients
from embhub.diffusion.dp.selftest import BrokenMechanismError
from embhub.diffusion.dp.votes import Evolution
from embhub.diffusion.training.schedule import pace
from embhub.project import where_to_report

ALPHA = 1e-12
"""The chance that right noise fails."""
EIGHT = 8
"""Images of the made-up patient."""
_ROUNDING = 1e-9


class Watch:
    """What a training of `mechanism` did since it was made. `names` say whose each image is.

    `mechanism` and `patients` of it are what the training has to use. `releases` are what became public, (size,) each;
    a training by votes also leaves its `votes` here, with the candidates of every round. `energy` is the sum of squares
    of the `values` that were laid on the sums, in standard deviations of the planned noise.
    """

    def __init__(self, mechanism: Mechanism, names: Sequence[str]) -> None:
        self.plan, self.names = mechanism, names
        self.mechanism: Mechanism = _WatchedMechanism(
            mechanism.sample_rate,
            mechanism.max_grad_norm,
            mechanism.noise_multiplier,
            mechanism.denominator,
            watch=self,
        )
        self.releases: list[Vectors] = []
        self.votes: Evolution | None = None
        self._faults: set[str] = set()
        self._owners: list[set[str]] = []
        self.energy, self.values = 0.0, 0
        self._sampled, self._read = set[str](), set[str]()
        self._vectors, self._sum = 0, np.zeros(1)

    def patients(self, patients: Patients) -> Patients:
        """The same patients; whose images are read is noted from here on."""
        self._owners = [{self.names[place] for place in places} for places in patients.images]
        if any(len(whose) != 1 for whose in self._owners) or len(self._owners) != len(set(self.names)):
            self._faults.add("who has which image")
        return _WatchedPatients(patients.latents, patients.images, watch=self)

    def check(self, announced: int, learned: Tensor, expected: Tensor) -> None:
        """After the last step: `learned` (size,) is what the training has, `expected` what its releases lead to.

        Raises:
            BrokenMechanismError: the training did not do what its claim would say.
        """
        if len(self.releases) != announced:
            self._faults.add("steps announced and taken")
        if not is_noise(self.energy, self.values):
            self._faults.add("noise on the sum")
        if not torch.allclose(learned.double(), expected.double(), rtol=1e-6, atol=1e-9):
            self._faults.add("what was learned from what was released")
        self.refuse()

    def refuse(self) -> None:
        """Raise BrokenMechanismError where something is wrong so far."""
        if self._faults:
            raise _broken(", ".join(sorted(self._faults)))

    def sampled(self, places: NDArray[np.int64]) -> None:
        """These units take part in the step that begins."""
        if self._read or self._vectors:
            self._faults.add("images of people who were not sampled")
        self._forget()
        self._sampled = set[str]().union(*(self._owners[place] for place in places))

    def read(self, places: Iterable[int]) -> None:
        """These images are read."""
        self._read |= {self.names[place] for place in places}

    def bounded(self, vectors: Vectors) -> None:
        """These vectors come from the clip."""
        self._vectors += len(vectors)
        self._sum = self._sum + vectors.sum(0)
        longest = float(np.linalg.norm(vectors, axis=1).max(initial=0.0))
        if longest > self.plan.max_grad_norm * (1 + _ROUNDING):
            self._faults.add("clip")

    def released(self, mean: Vectors) -> None:
        """The noisy mean of the step is public."""
        scale = self.plan.noise_multiplier * self.plan.max_grad_norm
        left = (mean * self.plan.denominator - self._sum) / scale
        self.energy, self.values = self.energy + float(left @ left), self.values + len(left)
        self.releases.append(mean)
        self.end_step()

    def end_step(self) -> None:
        """The step's sum is made: as many vectors as ids are in it, and nobody else's image was read."""
        if self._vectors != len(self._sampled):
            self._faults.add("vectors that reach the clip and ids that were sampled")
        if not self._read <= self._sampled:
            self._faults.add("images of people who were not sampled")
        self._forget()

    def _forget(self) -> None:
        self._sampled, self._read = set(), set()
        self._vectors, self._sum = 0, np.zeros(1)


@dataclass(frozen=True)
class _WatchedMechanism(Mechanism):
    watch: Watch

    def sample(self, units: int) -> NDArray[np.int64]:
        chosen = super().sample(units)
        self.watch.sampled(chosen)
        return chosen

    def bound(self, vectors: ArrayLike) -> Vectors:
        bounded = super().bound(vectors)
        self.watch.bounded(bounded)
        return bounded

    def release(self, total: Vectors) -> Vectors:
        mean = super().release(total)
        self.watch.released(mean)
        return mean


@dataclass(frozen=True)
class _WatchedPatients(Patients):
    watch: Watch

    def take(self, places: Sequence[int]) -> Tensor:
        self.watch.read(places)
        return super().take(places)


def check_noise(watches: Sequence[Watch]) -> None:
    """BrokenMechanismError where the noise of all these trainings together is not as planned.

    A round of votes on four candidates has four values only: too few to tell half the noise from the whole.
    """
    if not is_noise(sum(watch.energy for watch in watches), sum(watch.values for watch in watches)):
        raise _broken("noise on the sum")


def try_eight_images(
    loss: PatientLoss, mechanism: Mechanism, latent: Tensor, *, kind: str, votes: Evolution | None
) -> None:
    """One patient with eight images moves the sum of a step by the clip at most; else BrokenMechanismError is raised.

    `latent` (1, C, h, w) is a made-up image, `kind` the training's way of learning, with `votes` for that one. Call it
    inside `PatientLoss.active`.
    """
    everybody = loss.patients
    alone = replace(mechanism, sample_rate=1.0, noise_multiplier=0.0, denominator=1)
    loss.patients = Patients(latent.expand(EIGHT, *latent.shape[1:]), (tuple(range(EIGHT)),))
    try:
        if votes is not None:
            votes.mechanism = alone
            moved = votes.tally()
        elif kind == "dp-agg":
            moved = aggregation.collect(loss, alone, steps=1)
        else:
            descent = PrivateDescent(loss, alone, loss.recipe)
            descent.step()
            rate = loss.recipe.learning_rate * pace(0, loss.recipe.steps, loss.recipe.warm_up)
            moved = descent.coordinates.numpy() * mechanism.max_grad_norm / rate
    finally:
        loss.patients = everybody
    if not np.linalg.norm(moved) <= mechanism.max_grad_norm * (1 + _ROUNDING):
        raise _broken("one patient with eight images")


def follow(
    watch: Watch, loss: PatientLoss, saved: PrivateCheckpoint | None, votes: Evolution | None, *, kind: str
) -> Tensor:
    """Where the releases of a training lead (size,), from the public start or from where dp-sgd was `saved`.

    `votes` are those of that way of learning, before the first round.
    """
    if votes is not None:
        for shares in watch.releases:
            votes.candidates.follow(shares, noise=watch.plan.noise_multiplier / watch.plan.denominator)
        return votes.candidates.centre
    if kind == "dp-agg":
        return torch.from_numpy(sum(watch.releases, np.zeros(loss.size)))
    descent = PrivateDescent(loss, watch.plan, loss.recipe)
    if saved is not None:
        descent.restore(saved.state, saved.taken)
    for mean in watch.releases:
        descent.move(torch.from_numpy(mean))
    return descent.coordinates


def is_noise(energy: float, values: int, *, alpha: float = ALPHA) -> bool:
    """Whether so many squares of standard normal values may have this sum; right noise fails with a chance of alpha."""
    law = stats.chi2(max(1, values))
    return bool(values == 0 or 2 * min(law.cdf(energy), law.sf(energy)) >= alpha)


def _broken(what: str) -> BrokenMechanismError:
    return BrokenMechanismError(
        f"the private training did not do what it would claim ({what}): no privacy claim can be made",
        "publish nothing from this run; if nobody changed this installation, report a vulnerability to"
        f" {where_to_report('Security')}",
    )
