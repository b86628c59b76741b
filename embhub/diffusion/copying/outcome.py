"""What a copy check leaves beside the embedding: drawn images where none were named, the report, its page, a sheet."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from embhub import destinations
from embhub.artifact import embedding
from embhub.copies import page
from embhub.copies.report import Report
from embhub.diffusion.copying import drawing, sheets
from embhub.diffusion.copying.checking import ALPHA, Checked, check_copies
from embhub.durable import write_atomic
from embhub.images.member_split import choose_sides
from embhub.progress import OnProgress
from embhub.release import at_the_site
from embhub.site.memory import runs

SAMPLES = ".samples"
DRAWN = 8


def check_to_file(
    file: Path,
    *,
    samples: Path | None = None,
    n: int = DRAWN,
    prompt: str | None = None,
    seed: int = 0,
    out: Path | None = None,
    show_pairs: bool = False,
    sheet: bool = False,
    on_progress: OnProgress | None = None,
    **choices: Any,
) -> tuple[Report | None, dict[str, Any]]:
    """Check (see `embhub.diffusion.copying.checking.check_copies`) and write the report and its page, mode 0600.

    Without `samples`, `n` images of `prompt` (the training's caption where None) are drawn into `STEM.samples` first.
    `show_pairs` puts each image and its nearest training image on the page. `sheet` writes a contact sheet for the card
    where no copies were found; of an embedding with a privacy claim it is drawn without a check: there is no report.

    Raises:
        UsageError: no caption to draw, what a sheet cannot be of, or as `check_copies`.
        PrivacyError: as `sheets.check_request` and `check_copies`.
    """
    target = out or at_the_site.beside(file, at_the_site.COPIES)
    destinations.check_file(target)
    shown = target.with_suffix(".html")
    destinations.check_file(shown)
    made = embedding.read(file)
    run = runs.find(made.digest)
    words = drawing.choose_prompt(made, run, prompt) if samples is None else ""
    how: dict[str, Any] = {
        "base": choices.get("base") or (run.base if run else made.base_name), "n": n, "seed": seed,
        "device": choices.get("device") or "auto", "on_progress": on_progress,
    }  # fmt: skip
    if sheet:
        alpha = choices.get("alpha", ALPHA)
        sheets.check_request(file, samples=samples, n=n, prompt=words, base=how["base"], alpha=alpha)
        if sheets.is_private(made):
            return None, sheets.write(file, made, drawing.draw_with(made, words, **how))
    drawn = None
    if samples is None:
        choose_sides(run, choices.get("members"), choices.get("nonmembers"))  # what is missing is said before drawing
        samples = at_the_site.beside(file, SAMPLES)
        earlier = drawing.list_earlier(samples)
        drawn = drawing.draw_with(made, words, **how)
        drawing.replace(samples, earlier, drawn.images)
    checked = check_copies(file, samples, on_progress=on_progress, **choices)
    report = checked.report
    pairs = _pairs(checked) if show_pairs else ()
    write_atomic(target, report.to_bytes(), mode=0o600)
    write_atomic(shown, page.render(report, title=file.stem, pairs=pairs).encode(), mode=0o600)
    facts = {
        "verdict": report.verdict,
        "meaning": report.statement,
        "images": f"{len(report.samples)} in {samples}",
        "suspected": ", ".join(sample.name for sample in report.suspected),
        "report": str(target),
        "page": str(shown),
        "warning": page.SHOWS_PATIENTS if pairs else "",
    }
    if sheet and drawn is not None:
        found = report.verdict == "no-copies-found"
        facts |= sheets.write(file, made, drawn) if found else sheets.withdraw(file)
    return report, facts


def _pairs(checked: Checked) -> Sequence[tuple[str, str]]:
    """Each sample and the training image that is nearest on the measure with the smallest p-value."""
    pairs = []
    for sample, picture, near in zip(checked.report.samples, checked.samples, checked.nearest, strict=True):
        worst = min(sample.measures, key=lambda name: sample.measures[name].p)
        pairs.append((_address(picture), _address(checked.members[near[worst]])))
    return pairs


def _address(image: Tensor) -> str:
    values = ((image + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return "data:image/png;base64," + base64.b64encode(drawing.encode(Image.fromarray(values))).decode()
