"""What a copy check leaves beside the embedding: drawn samples where none were named, the report, and its page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from embhub import embedding, runs
from embhub.copies import page
from embhub.copies.report import Report
from embhub.diffusion.auditing import choose_sides
from embhub.diffusion.copying.checking import Checked, check_copies
from embhub.diffusion.generation import generate
from embhub.errors import UsageError
from embhub.progress import OnProgress
from embhub.site import places, site_files
from embhub.site.files import write_atomic

SAMPLES = ".samples"
DRAWN = 8
_NUMBERED = re.compile(r"[0-9]{4,}\.png|\.[0-9]{4,}\.png\..+")  # or what is left of one after a kill


def check_to_file(
    file: Path,
    *,
    samples: Path | None = None,
    n: int = DRAWN,
    prompt: str | None = None,
    seed: int = 0,
    out: Path | None = None,
    html: Path | None = None,
    show_pairs: bool = False,
    on_progress: OnProgress | None = None,
    **choices: Any,
) -> tuple[Report, dict[str, Any]]:
    """Check (see `embhub.diffusion.copying.checking.check_copies`) and write the report and its page, mode 0600.

    Without `samples`, `n` images of `prompt` (the training's caption where None) are drawn into `STEM.samples` first.
    `show_pairs` puts each image and its nearest training image on the page.

    Raises:
        UsageError: no caption to draw, or as `check_copies`.
    """
    target = out or site_files.beside(file, site_files.COPIES)
    shown = html or target.with_suffix(".html")
    for place in (target, shown):
        places.check_file(place)
    if samples is None:
        samples = site_files.beside(file, SAMPLES)
        _draw(file, samples, n=n, prompt=prompt, seed=seed, on_progress=on_progress, **choices)
    checked = check_copies(file, samples, on_progress=on_progress, **choices)
    report = checked.report
    pairs = _pairs(checked) if show_pairs else ()
    write_atomic(target, report.to_bytes(), mode=0o600)
    write_atomic(shown, page.render(report, title=file.stem, pairs=pairs).encode(), mode=0o600)
    return report, {
        "verdict": report.verdict,
        "meaning": report.statement,
        "images": f"{len(report.samples)} in {samples}",
        "suspected": ", ".join(sample.name for sample in report.suspected),
        "report": str(target),
        "page": str(shown),
        "warning": page.SHOWS_PATIENTS if pairs else "",
    }


def _draw(
    file: Path, folder: Path, *, n: int, prompt: str | None, seed: int, on_progress: OnProgress | None, **choices: Any
) -> None:
    made = embedding.read(file)
    run = runs.find(made.digest)
    choose_sides(run, choices.get("members"), choices.get("nonmembers"))  # what is missing is said before the drawing
    caption = run.caption if run else str(made.training.get("caption", ""))
    if prompt is None and "{}" not in caption:
        raise UsageError("it is not known with which words this embedding was trained", 'say --prompt "… {}"')
    base = choices.get("base") or (run.base if run else made.base_name)
    earlier = _drawn_before(folder)
    images = generate(
        prompt or caption, embeddings=[made], n=n, seed=seed, base=base, device=choices.get("device") or "auto",
        on_progress=on_progress,
    )  # fmt: skip
    for old in earlier:  # a report speaks of exactly what lies there
        old.unlink()
    for number, image in enumerate(images):
        write_atomic(folder / f"{number:04d}.png", _png(image))


def _drawn_before(folder: Path) -> list[Path]:
    """What an earlier check drew into its folder.

    Raises:
        UsageError: the folder is somebody's: it holds anything else.
    """
    places.check_folder(folder)
    found = sorted(folder.iterdir()) if folder.exists() else []
    if not all(_NUMBERED.fullmatch(one.name) and one.is_file() for one in found):
        raise UsageError(
            f"{folder} holds other things than images that a check drew",
            f"check the images there with --samples {folder}, or move them away",
        )
    return found


def _pairs(checked: Checked) -> Sequence[tuple[str, str]]:
    """Each sample and the training image that is nearest on the measure with the smallest p-value."""
    pairs = []
    for sample, picture, near in zip(checked.report.samples, checked.samples, checked.nearest, strict=True):
        worst = min(sample.measures, key=lambda name: sample.measures[name].p)
        pairs.append((_address(picture), _address(checked.members[near[worst]])))
    return pairs


def _address(image: Tensor) -> str:
    values = ((image + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return "data:image/png;base64," + base64.b64encode(_png(Image.fromarray(values))).decode()


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
