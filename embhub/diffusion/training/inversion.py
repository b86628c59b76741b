"""Textual inversion (Gal et al. 2022, arXiv 2208.01618): the loop that learns a few token rows, and nothing else.

The autoencoder is not in the loop: latents are made once. The text encoder runs once a step, since all images share one
prompt. Only the rows are parameters. One seed gives one result on one machine, also when the loop was left and gone on
with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from embhub.diffusion.bases.pipelines import trainable_attention
from embhub.diffusion.families import Condition, detect, encoders, loss, min_snr_weights, noise_levels
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.eval_loss import mean_loss
from embhub.diffusion.training.per_layer import insert, spread
from embhub.diffusion.training.precision import pictures_at_once, precision, recomputed, repeatable
from embhub.diffusion.training.prompts import Prompts, gather, one_for_all
from embhub.diffusion.training.recipes import COMPACT, LARGE, ResolvedRecipe, default_recipe
from embhub.diffusion.training.rows import starting_rows
from embhub.diffusion.training.schedule import draw_batch, pace
from embhub.diffusion.training.seeding import make_generator
from embhub.diffusion.training.table_units import row_optimizer, token_norms, token_units
from embhub.errors import UsageError

__all__ = [
    "COMPACT",
    "LARGE",
    "Fit",
    "Inversion",
    "ResolvedRecipe",
    "State",
    "default_recipe",
    "encode_images",
    "fit",
    "mean_loss",
]

OnStep = Callable[[int, float], None]


class DivergedError(UsageError):
    """The loss or its gradient is no longer a finite number."""


@dataclass(frozen=True)
class Fit:
    """Learned `rows`, (vectors, d) float32 on the processor for each encoder, and the loss of every step.

    With rows for each layer they are (places, vectors, d), here as everywhere in a training.
    """

    rows: Mapping[str, Tensor]
    losses: tuple[float, ...]


@dataclass(frozen=True)
class State:
    """Where a training stands after a whole step: all that decides how it goes on.

    `rows`, `means` and `squares` (AdamW's moments) are (vectors, d) float32 for each encoder; `generator` is the state
    of the random numbers, uint8.
    """

    rows: Mapping[str, Tensor]
    means: Mapping[str, Tensor]
    squares: Mapping[str, Tensor]
    generator: Tensor
    losses: tuple[float, ...]


class Inversion:
    """A training that can be left after any whole step, and gone on with from there to the same bytes.

    `caption` has `{}` where the token goes; `latents` are (N, C, h, w). Call `step` inside `active`.

    Raises:
        UsageError: too many vectors for the caption, or an unsupported pipeline.
    """

    def __init__(
        self, pipe: Pipeline, latents: Tensor, *, token: str, caption: str, recipe: ResolvedRecipe, seed: int,
        prompts: Prompts | None = None,
    ) -> None:  # fmt: skip
        self.pipe, self.caption, self.recipe, self.losses = pipe, caption, recipe, list[float]()
        self._family, self.latents = detect(pipe), latents.to(pipe.device)
        self._generator = make_generator(seed)
        words = recipe.initializer_text or caption.replace("{}", " ")
        start = starting_rows(pipe, words, recipe.num_vectors, generator=self._generator)
        self.inserted = insert(pipe, token, spread(pipe, start) if recipe.per_layer else start)
        self.prompt = caption.replace("{}", token)
        self.token, self.prompts, self._drawn = token, prompts or one_for_all(caption), list[int]()
        for text in self.prompts.texts:
            self.inserted.check_fits(text.replace("{}", token))
        self._norms = token_norms(pipe)
        if recipe.norm == "directional" and not encoders(pipe):
            raise UsageError("an image embedding has no usual length to keep", "leave out --norm directional")
        if recipe.norm == "directional":
            self._retract()
        self._optimizer = row_optimizer(dict(self.inserted.rows), token_units(pipe) if recipe.relative_rate else {})

    @property
    def rows(self) -> dict[str, Tensor]:
        """A copy of the rows as they are, (vectors, d) float32 on the processor for each encoder."""
        return {name: part.detach().float().cpu().clone() for name, part in self.inserted.rows.items()}

    @contextmanager
    def active(self) -> Iterator[None]:
        """While open, the pipeline knows the rows; it is as it was afterwards, whatever ends this."""
        with ExitStack() as stack:
            stack.enter_context(self.inserted.active())
            stack.enter_context(trainable_attention(self.pipe))
            stack.enter_context(recomputed(self.pipe, self.recipe.gradient_checkpointing))
            stack.enter_context(repeatable(self.pipe))
            yield

    def expand(self, prompt: str) -> str:
        """A prompt with the rows' placeholders where the token stands, for the pipeline while this is active."""
        return self.inserted.expand(prompt)

    def condition(self, texts: Sequence[str] = ()) -> Condition:
        """What the denoiser is told of the caption, or of P texts, with the rows as they are."""
        with precision(self.pipe, mixed=self.recipe.mixed_precision):
            return self._family.condition(self.pipe, self.spell(texts or (self.caption,)))

    def spell(self, texts: Sequence[str]) -> list[str]:
        """Texts with the rows' placeholders in place of `{}`."""
        return [self.inserted.expand(text.replace("{}", self.token)) for text in texts]

    def told(self) -> tuple[tuple[str, ...], Tensor]:
        """The texts of the images that were drawn last, and which of them each has."""
        return self.prompts.of(self._drawn)

    def errors(self, latents: Tensor, noise: Tensor, times: Tensor, condition: Condition) -> Tensor:
        """The denoiser's error for each of B latents, (B,), in the precision of the recipe."""
        with precision(self.pipe, mixed=self.recipe.mixed_precision):
            return loss(self.pipe, self._family, latents, condition, noise, times)

    def step(self) -> float:
        """One step of AdamW; returns the loss of its batch.

        Raises:
            DivergedError: the loss or its gradient is not a number.
        """
        latents, times, noise = self.draw()
        self._optimizer.zero_grad()
        return self.apply(self._backward(latents, times, noise))

    def apply(self, error: float) -> float:
        """Move the rows by the gradients that they hold, those of a batch whose mean error is given; returns it.

        Raises:
            DivergedError: the error is not a number, or a gradient whose square is none. The rows stay as they were.
        """
        if not math.isfinite(error):
            raise DivergedError(f"the loss at step {len(self.losses) + 1} is not a number", "lower the learning rate")
        if not self._gradients_are_finite():
            raise DivergedError(
                f"the gradient at step {len(self.losses) + 1} is not a number", "check the images and the base"
            )
        for group in self._optimizer.param_groups:
            rate = self.recipe.learning_rate * pace(len(self.losses), self.recipe.steps, self.recipe.warm_up)
            group["lr"] = rate * group["unit"]
        if self.recipe.norm == "directional":
            self._flatten_gradients()
        self._optimizer.step()
        if self.recipe.norm == "directional":
            self._retract()
        self.losses.append(error)
        return error

    def state(self) -> State:
        """A copy of where it stands, to be called after a whole step."""
        return State(
            self.rows,
            self._moments("exp_avg"),
            self._moments("exp_avg_sq"),
            self._generator.get_state(),
            tuple(self.losses),
        )

    def restore(self, state: State) -> None:
        """Stand where `state` stood: the next step is the one that followed it.

        Raises:
            UsageError: its rows are of another shape.
        """
        shapes = {name: part.shape for name, part in self.inserted.rows.items()}
        if any({name: part.shape for name, part in kept.items()} != shapes for kept in (state.rows, state.means)):
            raise UsageError("the state is of other rows than these", "start afresh")
        self.losses = list(state.losses)
        self._generator.set_state(state.generator)
        known = self._optimizer.state_dict()
        for number, (name, part) in enumerate(self.inserted.rows.items()):
            part.data.copy_(state.rows[name])
            known["state"][number] = {
                "step": torch.tensor(float(len(self.losses))),
                "exp_avg": state.means[name],
                "exp_avg_sq": state.squares[name],
            }
        self._optimizer.load_state_dict(known)

    def _moments(self, name: str) -> dict[str, Tensor]:
        """Copies of AdamW's means or squares; zeros before the first step."""
        held = self._optimizer.state
        return {
            key: held[p][name].clone() if p in held else torch.zeros_like(p) for key, p in self.inserted.rows.items()
        }

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, times and noise of the next batch, in an order of draws that does not depend on the images."""
        place, recipe = self.latents.device, self.recipe
        chosen, times, noise = draw_batch(
            self.latents, recipe.batch_size, noise_levels(self.pipe), self._generator,
            high=recipe.high_noise, lowest=recipe.lowest,
        )  # fmt: skip
        self._drawn = chosen.tolist()
        return self.latents[chosen.to(place)], times.to(place), noise.to(place)

    def _backward(self, latents: Tensor, times: Tensor, noise: Tensor) -> float:
        """Gradients of the rows under the batch's mean error, as many images at a time as the recipe says.

        The text encoder runs once: the parts' gradients meet at its output and go through it together.
        """
        texts, which = self.told()
        condition = self.condition(texts)
        shared = {name: part.detach().requires_grad_(part.requires_grad) for name, part in condition.items()}
        total = torch.zeros((), device=latents.device)
        for first in range(0, len(latents), self.recipe.at_once):
            chosen = slice(first, first + self.recipe.at_once)
            errors = self.errors(latents[chosen], noise[chosen], times[chosen], gather(shared, which[chosen]))
            if self.recipe.snr_gamma is not None:
                errors = errors * min_snr_weights(self.pipe, times[chosen], self.recipe.snr_gamma)
            error = errors.sum() / len(latents)
            error.backward()  # type: ignore[no-untyped-call]
            total += error.detach()
        reached = [name for name, part in shared.items() if part.grad is not None]  # a mask has no gradient
        torch.autograd.backward([condition[name] for name in reached], [shared[name].grad for name in reached])
        return total.item()

    def _gradients_are_finite(self) -> bool:
        """Whether AdamW can use them: an infinite square makes every later step zero, and the loss says nothing."""
        held = [part.grad.square().sum() for part in self.inserted.rows.values() if part.grad is not None]
        return all(bool(torch.isfinite(square)) for square in held)

    def _flatten_gradients(self) -> None:
        """Take off each gradient what would only change its row's length."""
        for part in self.inserted.rows.values():
            direction = torch.nn.functional.normalize(part.detach(), dim=-1)
            if part.grad is not None:
                part.grad -= (part.grad * direction).sum(-1, keepdim=True) * direction

    def _retract(self) -> None:
        """Put each row back to the length of the base's own."""
        for name, part in self.inserted.rows.items():
            part.data.copy_(torch.nn.functional.normalize(part.data, dim=-1) * self._norms[name])


def encode_images(pipe: Pipeline, images: Tensor, *, alone: bool = False) -> Tensor:
    """Latents (N, C, h, w), float32, of images (N, 3, H, W) in [-1, 1]; nothing is drawn at random.

    As many are computed at a time, always: a last part is filled up with copies of its last image, which are thrown
    away. For another number kernels may add in another order, and an image's latents would tell how many others
    there are. With `alone` it is one at a time.
    """
    family, count = detect(pipe), 1 if alone else min(8, pictures_at_once(images.shape[-1], pixels=2**20))
    parts = []
    with torch.no_grad():
        for part in torch.split(images, count):
            filled = torch.cat([part, part[-1:].expand(count - len(part), *part.shape[1:])]) if len(part) else part
            parts.append(family.latents(pipe, filled.to(pipe.device))[: len(part)])
    return torch.cat(parts)


def fit(
    pipe: Pipeline,
    latents: Tensor,
    *,
    token: str,
    caption: str,
    recipe: ResolvedRecipe,
    seed: int,
    on_step: OnStep | None = None,
    resume: State | None = None,
    prompts: Prompts | None = None,
    watch: Callable[[Inversion], object] | None = None,
) -> Fit:
    """Learn rows that make `caption`, with `token` in place of `{}`, stand for the images behind `latents` (N, C, h,
    w).

    The pipeline is as it was afterwards, also when an error or an interrupt ends the loop. All draws come from
    `seed`, in an order that does not depend on the images. `prompts` are those of each image.
    `resume` goes on from there. `watch` looks at the training before the first step and after every one; it
    must draw no random numbers of the training's.

    Raises:
        UsageError: too many vectors for the caption, an unsupported pipeline, or a loss that is no longer a number.
    """
    training = Inversion(pipe, latents, token=token, caption=caption, recipe=recipe, seed=seed, prompts=prompts)
    if resume is not None:
        training.restore(resume)
    with training.active():
        if watch:
            watch(training)
        while len(training.losses) < recipe.steps:
            error = training.step()
            if watch:
                watch(training)
            if on_step:
                on_step(len(training.losses), error)
    return Fit(training.rows, tuple(training.losses))
