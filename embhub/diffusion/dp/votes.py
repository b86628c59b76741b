"""Private Evolution by votes (Lin, Gopi, Kulkarni, Nori and Yekhanin 2023, arXiv 2305.15560), one vote a patient.

A round has candidates for the rows: from words of the base and a fixed seed at first, later from what earlier rounds
released. Every patient votes for one of them, the one with the lowest denoising loss on the patient's images; noise and
times of that loss are the same for everybody and depend on no image. A vote is a vector with one 1, so one patient more
or less changes the counts by a vector of length 1. The counts get noise (`mechanism.release`), and all that follows is
arithmetic on what is public then: only votes read images.

No slack makes up for a vote that flips because somebody else is there: latents have to be made one image at a time.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from embhub.diffusion.dp.candidates import Candidates
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.dp.mechanism import Mechanism, Vectors

VOTE = 1.0
"""Length of a vote: what `max_grad_norm` is for this mechanism."""
_PUBLIC_SEED = 0
"""Noise and times by which candidates are compared are no secret: they only have to be the same for everybody."""


class Voters(Protocol):
    """Who votes: patients, or in a self-test made-up people."""

    def __len__(self) -> int: ...
    def losses(self, place: int, candidates: Tensor, number: int) -> NDArray[np.float64]:
        """Loss (M,) of each of M candidates (M, size) for the voter at `place`, in round `number`."""
        ...


class Evolution:
    """Votes on candidates, round by round; `candidates.centre` is what came out so far.

    `shares` (M,) are the noisy counts of the last round over the declared number of patients. Like the centre they are
    private no more; still only the centre after all rounds is written anywhere.
    """

    def __init__(self, voters: Voters, mechanism: Mechanism, candidates: Candidates) -> None:
        self.voters, self.mechanism, self.candidates = voters, mechanism, candidates
        self.shares: Vectors = np.zeros(len(candidates))
        self.taken = 0

    def tally(self) -> Vectors:
        """The counts (M,) of one round. They are private: only `advance` may have them.

        A candidate whose loss is not a number gets no vote, and who has none but such has no vote. Nothing is raised
        and nothing said: a run that ends would tell who came.
        """
        points = self.candidates.points
        chosen = self.mechanism.sample(len(self.voters)).tolist()
        counts: Vectors = np.zeros(len(points))
        for place in chosen:
            losses = self.voters.losses(place, points, self.taken)
            finite = np.isfinite(losses)
            vote = np.zeros((1, len(points)))
            if finite.any():
                vote[0, int(np.where(finite, losses, np.inf).argmin())] = VOTE
            counts += self.mechanism.bound(vote)[0]
        return counts

    def advance(self, counts: Vectors) -> None:
        """Release the counts of a round with noise, and make the next candidates of what was released."""
        self.shares = self.mechanism.release(counts)
        self.candidates.follow(self.shares, noise=self.mechanism.noise_multiplier / self.mechanism.denominator)
        self.taken += 1


class PatientVoters:
    """The patients of a loss. Call `losses` inside `PatientLoss.active`."""

    def __init__(self, loss: PatientLoss) -> None:
        self._loss = loss

    def __len__(self) -> int:
        return len(self._loss.patients)

    def losses(self, place: int, candidates: Tensor, number: int) -> NDArray[np.float64]:
        """The mean over the patient's images and over `noise_draws` pairs of noise and time, (M,).

        No other patient's images are in the same computation, and its shape depends on nobody.
        """
        loss, images = self._loss, self._loss.patients.images[place]
        total = torch.zeros(len(candidates), dtype=torch.float64)
        with torch.no_grad():
            for image in images:
                parts = [self._compare(image, part, number) for part in torch.split(candidates, loss.at_once)]
                total += torch.cat(parts)
        found: NDArray[np.float64] = (total / len(images)).numpy()
        return found

    def _compare(self, image: int, candidates: Tensor, number: int) -> Tensor:
        loss, draws = self._loss, self._loss.noise_draws
        generator = torch.Generator().manual_seed(_PUBLIC_SEED + number)
        places = [image] * (len(candidates) * draws)
        clean = loss.patients.take(places)
        noise = torch.randn(draws, *clean.shape[1:], generator=generator).to(clean.device)
        times = loss.draw_times(1, generator).to(clean.device)
        leaf = candidates.float().to(clean.device)
        repeated = noise.repeat(len(candidates), *[1] * (noise.ndim - 1)), times.repeat(len(candidates))
        return loss.losses(leaf, clean, *repeated, places=places).double().cpu()
