"""Pictures drawn while a training runs, from prompts alone: an early look at what the rows so far stand for."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image

from embhub import destinations
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.families import detect
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.generation.generation import draw
from embhub.diffusion.training.eval_loss import without_token
from embhub.diffusion.training.inversion import Inversion
from embhub.durable import write_atomic
from embhub.errors import ConfigError, UsageError
from embhub.formats.synthetic_mark import mark_png

_COLUMNS = 4
_MOST_STEPS = 25
"""Of sampling: a preview is to be cheap."""


class Previews:
    """Every `every` steps a PNG in `folder`: the upper row without the embedding, the lower with it, seed by seed.

    The training's random numbers are not touched. The files are private, mode 0600: nothing has been audited yet.
    """

    def __init__(self, folder: Path, every: int, base: FoundBase, caption: str, side: int | None = None) -> None:
        self._folder, self._every, self._words = folder, every, without_token(caption)
        self._recommended, self._side = base.recommended, side
        self._without: list[Image.Image] = []

    def watch(self, training: Inversion) -> None:
        """Draw a preview where one is due."""
        step = len(training.losses)
        if step == 0 or step % self._every:
            return
        with _undisturbed(training.pipe):
            at_once = min(_COLUMNS, training.recipe.at_once)  # no more than the training has memory for
            self._without = self._without or self._draw(training.pipe, self._words, at_once)
            pictures = self._without + self._draw(training.pipe, training.expand(training.prompt), at_once)
        buffer = io.BytesIO()
        _grid(pictures).save(buffer, "PNG")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(f"cannot write in {self._folder}: {error.strerror}", "choose --preview-dir") from error
        write_atomic(self._folder / f"step-{step:06d}.png", mark_png(buffer.getvalue()), mode=0o600)

    def _draw(self, pipe: Pipeline, prompt: str, at_once: int) -> list[Image.Image]:
        family = detect(pipe)
        steps = min(_MOST_STEPS, int(self._recommended.get("steps", family.steps)))
        guidance = self._recommended.get("guidance", family.guidance)
        return draw(
            pipe, prompt, n=_COLUMNS, seed=0, steps=steps, guidance_scale=guidance, batch_size=at_once, side=self._side
        )  # fmt: skip


def choose_folder(every: int | None, folder: str | Path | None, out: Path | None) -> Path | None:
    """The folder of the previews: the named one, or `NAME-previews` beside `out`; None where none are wanted.

    Raises:
        UsageError: a folder without a number of steps, or no place to write.
        ConfigError: it cannot be written.
    """
    if every is None:
        if folder is not None:
            raise UsageError("a folder for previews, and no previews", "say how often: --preview 50")
        return None
    if every < 1:
        raise UsageError(f"a preview every {every} steps", "choose 1 or more")
    if folder is None and out is None:
        raise UsageError("previews have no place", "name a folder for them, or a file to write")
    chosen = Path(folder) if folder is not None else Path(str(out)).with_name(f"{Path(str(out)).stem}-previews")
    destinations.check_folder(chosen)
    return chosen


@contextmanager
def _undisturbed(pipe: Pipeline) -> Iterator[None]:
    """While open, sampling uses up neither the global random numbers nor the pipeline's scheduler."""
    scheduler = pipe.scheduler
    pipe.scheduler = copy.deepcopy(scheduler)
    try:
        with torch.random.fork_rng([pipe.device] if pipe.device.type == "cuda" else []):
            yield
    finally:
        pipe.scheduler = scheduler


def _grid(pictures: list[Image.Image]) -> Image.Image:
    width, height = pictures[0].size
    sheet = Image.new("RGB", (width * _COLUMNS, height * (len(pictures) // _COLUMNS)))
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (width * (number % _COLUMNS), height * (number // _COLUMNS)))
    return sheet
