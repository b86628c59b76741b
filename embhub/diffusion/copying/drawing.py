"""What a copy check draws where no images are named: with the embedding itself, into a folder that is its own."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from embhub import destinations
from embhub.artifact.embedding import Embedding
from embhub.diffusion.generation.generation import draw, prepare
from embhub.durable import write_atomic
from embhub.errors import UsageError
from embhub.formats.synthetic_mark import mark_png
from embhub.progress import OnProgress, announce
from embhub.site.memory import runs

_NUMBERED = re.compile(r"[0-9]{4,}\.png|\.[0-9]{4,}\.png\..+")  # or what is left of one after a kill


@dataclass(frozen=True)
class Drawn:
    """Images, and what drew them: image i comes from `seed` + i."""

    images: tuple[Image.Image, ...]
    prompt: str
    seed: int
    steps: int
    guidance: float


def choose_prompt(made: Embedding, run: runs.Run | None, prompt: str | None) -> str:
    """The words to draw, with the token in them: those given, else the training's caption.

    Raises:
        UsageError: neither is known.
    """
    caption = run.caption if run else str(made.training.get("caption", ""))
    if prompt is None and "{}" not in caption:
        raise UsageError("the caption that this embedding was trained with is not known", 'pass --prompt "… {}"')
    return (prompt or caption).replace("{}", made.token).strip()


def draw_with(
    made: Embedding,
    prompt: str,
    *,
    base: str | Path,
    n: int,
    seed: int,
    device: str = "auto",
    on_progress: OnProgress | None = None,
) -> Drawn:
    """`n` images of a prompt, as `embhub generate` draws them.

    Raises:
        UsageError, ArtifactError: as `embhub.diffusion.generation.generation.generate`.
    """
    announce(on_progress, "loading the base")
    studio = prepare([made], base=base, device=device)
    images = draw(
        studio.pipe, studio.fill(prompt), n=n, seed=seed, steps=studio.steps, guidance_scale=studio.guidance,
        side=studio.side, mark=studio.mark, on_progress=on_progress,
    )  # fmt: skip
    return Drawn(tuple(images), prompt, seed, studio.steps, studio.guidance)


def list_earlier(folder: Path) -> list[Path]:
    """What an earlier check drew into its folder.

    Raises:
        UsageError: the folder is somebody's: it holds anything else.
        ConfigError: it cannot be written.
    """
    destinations.check_folder(folder)
    found = sorted(folder.iterdir()) if folder.exists() else []
    if not all(_NUMBERED.fullmatch(one.name) and one.is_file() for one in found):
        raise UsageError(
            f"{folder} holds other things than images that a check drew",
            f"check the images there with --samples {folder}, or move them away",
        )
    return found


def replace(folder: Path, earlier: Sequence[Path], images: Sequence[Image.Image]) -> None:
    """Put images in the place of the earlier ones: a report speaks of exactly what lies there."""
    for old in earlier:
        old.unlink()
    for number, image in enumerate(images):
        write_atomic(folder / f"{number:04d}.png", encode(image))


def encode(image: Image.Image) -> bytes:
    """A PNG file that says that it is generated."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return mark_png(buffer.getvalue())
