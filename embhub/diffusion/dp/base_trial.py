"""The base, tried on a made-up image: before a private training is charged, and with what it has learned.

A patient whose loss is not a number contributes zero, and nothing may say so. A base whose loss is not a number for
anybody would so become a file of noise alone, charged and with a claim. That it is broken shows without a patient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from embhub.diffusion.dp.aggregation import train_alone
from embhub.diffusion.dp.gradients import PatientLoss
from embhub.diffusion.training import inversion
from embhub.errors import UsageError

_PUBLIC_SEED = 0
"""The image, its noise and its timesteps are no secret: it is nobody's image."""
_TILES = 8
AT_THE_END = (
    "with what was learned, the base's loss on a made-up image is not a number. Perhaps no patient counted from some"
    " step on, and the file holds noise alone: do not publish it. Train again with a lower --learning-rate, or with"
    " --precision float32"
)


class BaseTrial:
    """A made-up image takes the way of a patient's image: autoencoder, prompt template, denoiser, gradient.

    `side` is that of the training's images, in pixels. With `by_loss` no gradient is taken: votes compare losses, and a
    base may be too large for the way back. Call it inside `PatientLoss.active`. Patients, their images
    and their captions have no part in any of it. `latent` (1, C, h, w) is the image as the base has it.

    Raises:
        UsageError: the base's latents of the image are not numbers.
    """

    def __init__(self, loss: PatientLoss, side: int, *, by_loss: bool = False) -> None:
        self._loss, self._by_loss = loss, by_loss
        self.latent = inversion.encode_images(loss.pipe, make_up(side), alone=True)
        if not torch.isfinite(self.latent).all():
            raise UsageError(
                "the base's latents of a made-up image are not numbers", "check the base's autoencoder: its weights"
            )

    def check(self, *, own_steps: int = 0) -> None:
        """Try the base at the public start, before any budget is set aside.

        Args:
            own_steps: as many steps an embedding of the image's own is trained, too, as dp-agg trains each patient's.

        Raises:
            UsageError: the base's loss or its gradient is not a number.
        """
        start = torch.zeros(self._loss.at_once, self._loss.size, dtype=torch.float64)
        if not self._is_number_at(start):
            raise UsageError(
                "the base's loss on a made-up image is not a number", "check the base, or pass --precision float32"
            )
        generator = _seeded()
        own = train_alone(
            lambda point: self._gradients(point, generator), start[:1], self._loss.recipe.learning_rate, own_steps
        )
        if not torch.isfinite(own).all():
            raise UsageError(
                f"the base's loss on a made-up image is not a number within {own_steps} steps",
                "lower the learning rate, or pass --precision float32",
            )

    def remark(self, coordinates: Tensor) -> str:
        """What a person should know of the noised `coordinates` (size,) that a training has led to; empty if nothing.

        It costs no privacy, whatever it says: it is a function of what is released anyway and of public numbers
        (post-processing). A loss of patients at these coordinates would be one of their images, and is never computed.
        """
        return "" if self._is_number_at(coordinates.expand(self._loss.at_once, -1)) else AT_THE_END

    def _is_number_at(self, points: Tensor) -> bool:
        if self._by_loss:
            with torch.no_grad():
                return bool(torch.isfinite(self._loss.losses(*self._put(points, _seeded()))).all())
        return bool(torch.isfinite(self._gradients(points, _seeded())).all())

    def _gradients(self, points: Tensor, generator: torch.Generator) -> Tensor:
        """The gradient (P, size) at each of P `points`, as `PatientLoss.gradients` has it of patients."""
        leaf, *rest = self._put(points, generator)
        return self._loss.gradients_of(leaf.requires_grad_(), *rest)

    def _put(self, points: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The points, and for each the image, noise and timesteps."""
        clean = self.latent.expand(len(points) * self._loss.noise_draws, *self.latent.shape[1:])
        noise = torch.randn(clean.shape, generator=generator).to(clean.device)
        times = self._loss.draw_times(len(points), generator).to(clean.device)
        return points.detach().float().to(clean.device), clean, noise, times


def make_up(side: int) -> Tensor:
    """An image (1, 3, side, side) in [-1, 1] of random tiles, always the same, with a black margin as scans have it."""
    tiles = torch.rand(1, 3, _TILES, _TILES, generator=_seeded()) * 2 - 1
    tiles[:, :, [0, -1]] = tiles[:, :, :, [0, -1]] = -1.0
    return torch.nn.functional.interpolate(tiles, (side, side), mode="nearest")


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(_PUBLIC_SEED)
