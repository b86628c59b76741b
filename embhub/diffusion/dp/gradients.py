"""The gradient of every patient by itself, at about the cost of one for all.

Each patient of a batch gets a copy of the rows (an expanded leaf) and a prompt of its own, so that the ordinary
backward pass ends in one gradient a patient: no hooks on layers, no pass for each. The text encoder runs once a
patient, the denoiser once an image.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from embhub.diffusion.bases.pipelines import trainable_attention
from embhub.diffusion.dp.patients import Patients
from embhub.diffusion.dp.subspace import Frame
from embhub.diffusion.families import Condition, detect, device_of, loss, min_snr_weights, noise_levels
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.per_layer import insert
from embhub.diffusion.training.precision import precision, recomputed
from embhub.diffusion.training.prompts import Prompts, one_for_all
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.diffusion.training.schedule import HIGH
from embhub.errors import UsageError


class Contributions(Protocol):
    """Whose gradients a private training asks for: those of `PatientLoss`, or in a self-test of made-up people."""

    @property
    def patients(self) -> Sized: ...
    @property
    def recipe(self) -> ResolvedRecipe: ...
    @property
    def at_once(self) -> int: ...
    @property
    def size(self) -> int: ...
    def gradients(self, chosen: Sequence[int], coordinates: Tensor) -> Tensor: ...


class PatientLoss:
    """The loss of each patient under the caption, and its gradient by the rows of a placeholder token.

    A patient's loss is the mean over `noise_draws` pairs of noise and time on its images. Their random numbers start
    from the operating system's entropy, for each patient and step anew, and are kept nowhere. Call inside `active`.

    Raises:
        UsageError: too many vectors for the caption, or an unsupported pipeline.
    """

    def __init__(
        self,
        pipe: Pipeline,
        patients: Patients,
        frame: Frame,
        *,
        token: str,
        caption: str,
        recipe: ResolvedRecipe,
        noise_draws: int,
        prompts: Prompts | None = None,
    ) -> None:
        self.pipe, self.patients, self.recipe, self.noise_draws = pipe, patients, recipe, noise_draws
        self._family = detect(pipe)
        self._seed: Callable[[], int] = partial(secrets.randbits, 63)
        self.frame, self._rows = frame, insert(pipe, token, frame.start)
        self._prompts, self._caption, self._token = prompts or one_for_all(caption), caption, token
        if self._prompts.own and self._family.cuts_context:
            raise UsageError(
                f"a {type(pipe).__name__} cuts the prompts of a batch to the longest: a patient's caption would change"
                " another's gradient",
                "leave out the column caption for private training on this base",
            )
        for text in self._prompts.texts:
            self._rows.check_fits(text.replace("{}", token))
        if self._prompts.own and not self._fits(caption):
            self._caption = "{}"  # no image is trained with that caption, and nobody's image needs one that fits

    @property
    def at_once(self) -> int:
        """How many patients are computed at a time, always: `recipe.micro_batch_size` bounds their images."""
        most = self.recipe.micro_batch_size or max(self.recipe.batch_size, self.noise_draws)
        return max(1, min(most // self.noise_draws, self.recipe.batch_size))

    @property
    def size(self) -> int:
        """How many numbers are learned."""
        return self.frame.size

    @contextmanager
    def active(self) -> Iterator[None]:
        """While open, the denoiser is set up for training; it is as it was afterwards."""
        with ExitStack() as stack:
            stack.enter_context(trainable_attention(self.pipe))
            stack.enter_context(recomputed(self.pipe, self.recipe.gradient_checkpointing))
            yield

    def gradients(self, chosen: Sequence[int], coordinates: Tensor) -> Tensor:
        """One gradient for each chosen patient, (P, size) float64 on the processor; give at most `at_once`.

        `coordinates` (size,) are shared, (P, size) each patient's own. Fewer patients than `at_once` are filled up with
        copies of the last, which are thrown away: for another number of them kernels may add in another order, and
        then a patient's gradient would tell, in bfloat16 by up to a hundredth, how many others there are.

        A loss that is not a number gives a gradient that is none, which `Mechanism.bound` counts as zero. Nothing is
        raised and nothing said: a run that ends would tell at which step the patient came.
        """
        count = len(chosen)
        places = [min(place, count - 1) for place in range(max(count, self.at_once))]
        point = coordinates.detach().float().to(device_of(self.pipe)).expand(count, -1)
        leaf = point[places].requires_grad_()
        each = [self._draw(chosen[place]) for place in places]
        drawn = [place for own, _, _ in each for place in own]
        clean = self.patients.take(drawn)
        noise, times = (torch.cat(parts).to(clean.device) for parts in zip(*(rest for _, *rest in each), strict=True))
        return self.gradients_of(leaf, clean, noise, times, places=drawn)[:count]

    def _draw(self, unit: int) -> tuple[list[int], Tensor, Tensor]:
        """Places of a patient's images, noise and times, from a generator of this patient's own.

        From one for all, a patient more would move the draws of everybody after it, and so the sum by more than a clip.
        """
        own = torch.Generator().manual_seed(self._seed())
        places = self.patients.draw_places(unit, self.noise_draws, own)
        noise = torch.randn(self.noise_draws, *self.patients.latents.shape[1:], generator=own)
        return places, noise, self.draw_times(1, own)

    def gradients_of(
        self, leaf: Tensor, clean: Tensor, noise: Tensor, times: Tensor, *, places: Sequence[int] = ()
    ) -> Tensor:
        """The gradient (P, size) of each of `losses`, on the processor; no number where the loss is none."""
        losses = self.losses(leaf, clean, noise, times, places=places)
        (found,) = torch.autograd.grad(losses.sum(), leaf)
        return found.masked_fill(~torch.isfinite(losses.detach())[:, None], torch.nan).double().cpu()

    def losses(
        self, leaf: Tensor, clean: Tensor, noise: Tensor, times: Tensor, *, places: Sequence[int] = ()
    ) -> Tensor:
        """The loss of each of P patients, (P,), at the coordinates `leaf` (P, size); the latents are `noise_draws` a
        patient, at these `places`, or made up where none are given."""
        each = self.conditions(leaf, places)
        with precision(self.pipe, mixed=self.recipe.mixed_precision):
            errors = loss(self.pipe, self._family, clean, each, noise, times)
        if self.recipe.snr_gamma is not None:
            errors = errors * min_snr_weights(self.pipe, times, self.recipe.snr_gamma)
        return errors.view(-1, self.noise_draws).mean(1)

    def draw_times(self, patients: int, generator: torch.Generator) -> Tensor:
        """Times (patients x draws,): each patient's are spread over equal parts of the recipe's distribution."""
        levels, high = noise_levels(self.pipe), self.recipe.high_noise
        offset = torch.rand(patients, self.noise_draws, generator=generator)
        place = (torch.arange(self.noise_draws) + offset) / self.noise_draws
        lowest = self.recipe.lowest
        even = lowest + (1 - lowest) * place / max(1 - high, 1e-9)
        noisy = HIGH + (1 - HIGH) * (place - (1 - high)) / max(high, 1e-9)
        share = torch.where(place < 1 - high, even, noisy)
        return (share * levels).long().clamp(0, levels - 1).flatten()

    def _fits(self, text: str) -> bool:
        try:
            self._rows.check_fits(text.replace("{}", self._token))
        except UsageError:
            return False
        return True

    def conditions(self, leaf: Tensor, places: Sequence[int]) -> Condition:
        """What the denoiser is told of each latent, at the coordinates `leaf` (P, size): P x `noise_draws` of them.

        With captions there is a prompt for every latent, however many are alike. Without `places` the latents are
        nobody's, and no image's own caption is read.
        """
        if self._prompts.own and places:
            return self._condition(leaf.repeat_interleave(self.noise_draws, 0), self._prompts.each(places))
        condition = self._condition(leaf)
        return {name: part.repeat_interleave(self.noise_draws, 0) for name, part in condition.items()}

    def _condition(self, leaf: Tensor, texts: Sequence[str] = ()) -> Condition:
        """What the denoiser is told with the rows of each of P leaves, by the caption for all or a text each."""
        rows, texts = self.frame.rows(leaf), texts or [self._caption] * len(leaf)
        words = [self._rows.expand(text.replace("{}", self._token)) for text in texts]
        with self._rows.active(rows), precision(self.pipe, mixed=self.recipe.mixed_precision):
            return self._family.condition(self.pipe, words)
