"""The gradient of every patient by a compact adapter, and the few numbers of it that a private training learns.

Noise falls on every number that is learned, and a whole adapter has many. So its outer matrices are the leading
singular vectors of the weights that it changes, which are public, and only the square matrix between them is learned:
rank x rank numbers for each weight (LoRA-XS, Balazy et al. 2024, arXiv 2405.17604). The file holds an ordinary LoRA.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from embhub.artifact.adapter import TARGETS
from embhub.diffusion.dp.gradients import PerPatientLoss
from embhub.diffusion.dp.patients import Patients, group
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.families import Condition
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.diffusion.training.result import Task


@dataclass(frozen=True)
class Place:
    """A weight W (out, in) that is changed: `down` (r, in) and `up` (out, r) have rows and columns of length 1, along
    its leading singular vectors; `scale` is the mean of their singular values."""

    down: Tensor
    up: Tensor
    scale: float


@dataclass(frozen=True)
class AdapterFrame:
    """An adapter as coordinates: for each place, by its name in the U-Net, an r x r matrix in units of its `scale`."""

    places: Mapping[str, Place]
    rank: int

    @property
    def size(self) -> int:
        """How many numbers are learned."""
        return len(self.places) * self.rank**2

    def between(self, coordinates: Tensor) -> dict[str, Tensor]:
        """The matrices (..., r, r) of each place, from coordinates (..., size); differentiable."""
        parts = coordinates.reshape(*coordinates.shape[:-1], len(self.places), self.rank, self.rank)
        return {name: parts[..., n, :, :] * place.scale for n, (name, place) in enumerate(self.places.items())}

    def rows(self, coordinates: Tensor) -> dict[str, Tensor]:
        """The matrices of the file, from coordinates (size,), under the names that diffusers loads."""
        made = {}
        for name, matrix in self.between(coordinates).items():
            place = self.places[name]
            made[f"unet.{name}.lora_A.weight"] = place.down
            made[f"unet.{name}.lora_B.weight"] = place.up @ matrix
        return made

    def coordinates(self, rows: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `rows`: coordinates (size,)."""
        parts = []
        for name, place in self.places.items():
            change = rows[f"unet.{name}.lora_B.weight"].to(place.up) @ rows[f"unet.{name}.lora_A.weight"].to(place.up)
            parts.append((place.up.T @ change @ place.down.T / place.scale).flatten())
        return torch.cat(parts).cpu()


def lay(unet: nn.Module, rank: int) -> AdapterFrame:
    """The frame of rank `rank` for the keys and values of the cross-attention. It depends on the base alone."""
    return AdapterFrame({name: _lay_place(part.weight, rank) for name, part in _targets(unet)}, rank)


class AdapterLoss(PerPatientLoss):
    """The loss of each patient under the caption, and its gradient by an adapter of the U-Net.

    Each latent of a batch passes a change of its own, so that the ordinary backward pass ends in one gradient for each
    patient. The token is plain text here.
    """

    frame: AdapterFrame

    def __init__(
        self, pipe: Pipeline, patients: Patients, *, text: str, rank: int, recipe: ResolvedRecipe, noise_draws: int
    ) -> None:
        super().__init__(pipe, patients, recipe, noise_draws)
        self.frame = lay(pipe.unet, rank)
        with torch.no_grad():
            self._condition = self._family.condition(pipe, [text])
        self._between: dict[str, Tensor] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """While open, the U-Net is changed by what `gradients` is given, and set up for training."""
        hooks = [part.register_forward_hook(self._hook(name)) for name, part in _targets(self.pipe.unet)]
        try:
            with super().active():
                yield
        finally:
            self._between = {}
            for hook in hooks:
                hook.remove()

    def conditions(self, leaf: Tensor, places: Sequence[int]) -> Condition:  # noqa: ARG002 (it has no captions)
        """The same words for every latent. From here on each latent passes its patient's change: also when activations
        are computed again on the way back."""
        self._between = self.frame.between(leaf.repeat_interleave(self.noise_draws, 0))
        return {
            name: part.expand(len(leaf) * self.noise_draws, *part.shape[1:]) for name, part in self._condition.items()
        }

    def _hook(self, name: str) -> Any:
        place = self.frame.places[name]

        def change(_: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> Tensor:
            inner = given[0].float() @ place.down.T  # (B, tokens, r)
            changed = torch.bmm(inner, self._between[name].transpose(1, 2)) @ place.up.T
            return out + changed.to(out.dtype)

        return change


def prepare(task: Task, protection: Protection, latents: Tensor, names: Sequence[str]) -> AdapterLoss:
    """As `private_training.prepare_rows`, for an adapter whose rank is the task's number of vectors."""
    return AdapterLoss(
        task.pipe,
        Patients(latents.to(task.pipe.device), group(names, protection.max_images_per_patient)),
        text=task.caption.replace("{}", task.token),
        rank=task.recipe.num_vectors,
        recipe=task.recipe,
        noise_draws=protection.noise_draws,
    )


def _targets(unet: nn.Module) -> list[tuple[str, Any]]:
    return [(name, part) for name, part in unet.named_modules() if re.fullmatch(TARGETS, name)]


def _lay_place(weight: Tensor, rank: int) -> Place:
    left, values, right = torch.linalg.svd(weight.detach().double().cpu(), full_matrices=False)
    down, up = right[:rank], left[:, :rank]
    # A singular vector has no sign of its own: its largest number is positive, so that two machines agree.
    signs = down.gather(1, down.abs().argmax(1, keepdim=True)).sign()
    down, up = down * signs, up * signs.T
    return Place(down.float().to(weight.device), up.float().to(weight.device), float(values[:rank].mean()))
