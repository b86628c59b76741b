"""Does a base of X-rays draw copies of its training films? The copy check, against every film that it saw.

The films are public, so what was found may stand on the base's card. Phantoms are drawn by a program and are nobody's
images: the gate of their base has no such part.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from bases.workshop import xray
from bases.workshop.counting import Figures, Keep, Pictures, Report, tensor
from bases.workshop.public_images import SETS, read_rows, rows_seen
from bases.workshop.sampling import sample
from bases.workshop.xray_judge import colour
from embhub.builtin_bases import BaseInfo
from embhub.diffusion.adaptation.base_training import poses
from embhub.diffusion.copying.base_copies import compared
from embhub.diffusion.copying.comparing import one_each
from embhub.diffusion.families.pipeline import Pipeline

DRAWN, SEED = 96, 5000
"""Of each taught label; seeds that no other figure of the gate uses."""


def check_films(base: BaseInfo, pipe: Pipeline, data: Path, report: Report, keep: Keep) -> Figures:
    """Draw every taught label and compare with all films that the base learned from or was stopped by.

    Patients of the `test` part say how near a stranger comes.

    Returns counts alone: films, patients, drawn images, how many are suspected, the threshold and the smallest p-value,
    and how many planted copies of each kind were caught. Raises UsageError where the data is not there.
    """
    chosen = SETS["builtin-xray"]
    seen = read_rows(data, chosen, rows_seen(data, chosen))
    others = xray.read(data, "test", (xray.TAUGHT,))
    drawn = _draw(base, pipe, keep)
    found = compared(
        pipe,
        poses.plain(seen.images),
        seen.patients,
        tensor(colour(others.images[one_each(others.patients)])),
        torch.cat([tensor(pictures) for pictures in drawn.values()]),
    )
    figures = {
        "films": len(seen.patients),
        "patients": len(set(seen.patients)),
        "controls": len(set(others.patients)),
        **found,
    }
    report(f"copies {figures}")
    return figures


def _draw(base: BaseInfo, pipe: Pipeline, keep: Keep) -> Mapping[str, Pictures]:
    guidance, steps = base.recommended["guidance"], int(base.recommended["steps"])
    drawn = {
        label: sample(pipe, prompt, DRAWN, guidance=guidance, steps=steps, seed=SEED)
        for label, prompt in base.prompts.items()
    }
    for label, pictures in drawn.items():
        keep(f"compared {label}", pictures)
    return drawn
