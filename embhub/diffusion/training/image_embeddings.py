"""An image embedding that is learned in the place of a token's rows, for decoders that read images and no words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from embhub.diffusion.families import image_vectors
from embhub.diffusion.families.image_vectors import LEARNING, NAME, PLUGGED, Learning
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.rows import Rows
from embhub.errors import UsageError


class ImageRows(Rows):
    """The one vector of a token, a parameter (1, D); used as `Rows` are.

    Raises:
        UsageError: a vector of another shape than the decoder reads.
    """

    def __init__(self, pipe: Pipeline, token: str, start: Mapping[str, Tensor]) -> None:
        nn.Module.__init__(self)
        vector, shape = start.get(NAME), (1, image_vectors.width(pipe))
        if set(start) != {NAME} or vector is None or vector.shape != shape:
            raise UsageError(f"this decoder reads one image embedding of {shape[1]} numbers", "use the right base")
        self.token, self._pipe, self._placeholder = token, pipe, f"{token[:-1]}|0>"
        self.rows = nn.ParameterDict({NAME: nn.Parameter(vector.detach().float().clone().to(pipe.device))})

    def expand(self, prompt: str) -> str:
        """`prompt` with the token replaced by its placeholder."""
        return prompt.replace(self.token, self._placeholder)

    def check_fits(self, prompt: str) -> None:
        """Any prompt fits: nothing of it is read but the token."""

    @contextmanager
    def active(self, each: Mapping[str, Tensor] | None = None) -> Iterator[None]:
        """While open, the decoder is told of the vector where the placeholder stands; `each` is (P, 1, D)."""
        LEARNING[self._pipe.unet] = Learning(self._placeholder, (each or self.rows)[NAME])
        try:
            yield
        finally:
            del LEARNING[self._pipe.unet]

    def plug_in(self) -> None:
        """Stay in the pipeline for drawing: the token alone is the prompt."""
        PLUGGED.setdefault(self._pipe.unet, {})[self.token] = self.rows[NAME].detach()[0]
