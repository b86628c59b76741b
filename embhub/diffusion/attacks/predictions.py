"""Attacks on the denoiser's own predictions: no noise is drawn, it is what the denoiser says it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from embhub.diffusion import families
from embhub.diffusion.attacks.evidence import BATCH, Evidence, Suspect
from embhub.diffusion.families import Condition

SECMI_LEVEL, SECMI_INTERVAL = 0.1, 0.01
"""Of the schedule: 100 and 10 of 1,000 timesteps, as the paper has them."""
PIA_LEVEL, PIA_ORDER = 0.2, 4
"""Timestep 200 of 1,000 and the 4-norm, the paper's choice for latent diffusion."""


def score_by_step_error(evidence: Evidence) -> Tensor:
    """SecMI: a step forth and back along the deterministic path returns nearer to where it began for members.

    The t-error of Duan et al. 2023, arXiv 2302.01316, with its sign turned.

    Raises:
        ValueError: no embedding to ask.
        UsageError: a base that predicts neither noise, v nor the sample.
    """
    suspect = evidence.interrogate()
    interval = max(1, int(SECMI_INTERVAL * families.noise_levels(suspect.pipe)))
    times = range(0, max(interval, int(SECMI_LEVEL * families.noise_levels(suspect.pipe))) + 1, interval)

    def score(denoiser: Denoiser, latents: Tensor) -> Tensor:
        place = latents
        for time, after in pairwise(times):
            place = denoiser.move(place, time, after)
        forth = denoiser.move(place, times[-1], times[-1] + interval)
        back = denoiser.move(forth, times[-1] + interval, times[-1])
        return -(back - place).square().flatten(1).sum(1)

    return score_batches(suspect, score)


def score_by_proximal_start(evidence: Evidence) -> Tensor:
    """PIA: noise predicted at the start, laid on the image, is predicted again more exactly for members.

    Kong et al. 2023, arXiv 2305.18355, with its sign turned.

    Raises:
        ValueError: no embedding to ask.
        UsageError: a base that predicts neither noise, v nor the sample.
    """
    suspect = evidence.interrogate()
    time = int(PIA_LEVEL * families.noise_levels(suspect.pipe))

    def score(denoiser: Denoiser, latents: Tensor) -> Tensor:
        first = denoiser.noise_in(latents, 0)
        again = denoiser.noise_in(families.add_noise(suspect.pipe, latents, first, denoiser.times(latents, time)), time)
        distance: Tensor = torch.linalg.vector_norm((first - again).flatten(1), ord=PIA_ORDER, dim=1)
        return -distance

    return score_batches(suspect, score)


@dataclass(frozen=True)
class Denoiser:
    """The base with the embedding, as a predictor of noise."""

    suspect: Suspect
    condition: Condition

    def times(self, latents: Tensor, time: int) -> Tensor:
        """The same time for every one of (B, C, h, w)."""
        return torch.full((len(latents),), time, device=latents.device)

    def noise_in(self, noisy: Tensor, time: int) -> Tensor:
        """The noise that the denoiser sees at `time` in (B, C, h, w), float32."""
        return families.predict_noise(self.suspect.pipe, noisy, self.condition, self.times(noisy, time))

    def move(self, noisy: Tensor, time: int, to: int) -> Tensor:
        """One step of DDIM (Song et al. 2020, arXiv 2010.02502), forth or back, with no noise drawn."""
        noise = self.noise_in(noisy, time)
        clean = families.take_noise(self.suspect.pipe, noisy, noise, self.times(noisy, time))
        return families.add_noise(self.suspect.pipe, clean, noise, self.times(noisy, to))


def score_batches(suspect: Suspect, score: Callable[[Denoiser, Tensor], Tensor]) -> Tensor:
    """What `score` says of every batch of the latents in question, as (N,), float64."""
    with torch.no_grad():
        return torch.cat([score(denoiser, batch).double().cpu() for denoiser, batch in _batches(suspect)])


def _batches(suspect: Suspect) -> Iterator[tuple[Denoiser, Tensor]]:
    """Each batch, with the denoiser that is told of its prompts."""
    shared = None if suspect.prompts and suspect.prompts.own else Denoiser(suspect, suspect.condition(suspect.rows))
    for number, batch in enumerate(torch.split(suspect.latents, BATCH)):
        places = range(number * BATCH, number * BATCH + len(batch))
        yield (
            shared or Denoiser(suspect, suspect.conditions(suspect.rows, places)),
            batch.to(suspect.pipe.device).float(),
        )
