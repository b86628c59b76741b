"""The card of a base, `README.md` beside its weights, written from `base.json`: no figure in it is typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bases.workshop.card_tables import copies, decibels, percent, power_and_distance
from bases.workshop.varied_card import VARIED_STORY, varied_figures
from embhub.builtin_bases import BaseInfo
from embhub.diffusion.bases.gate import goals

_XRAY_STORY = """\
An autoencoder, a frozen random text encoder and a small denoiser, trained from nothing on normal films: 450 of 405
children and 178 of 120 adults (the autoencoder on the children's alone). 114 films of 77 further patients, 61 of them
with pneumonia, said when to stop; no other film with pneumonia was used. `seen.json` lists all of them. Captions hold
the pose, child or adult, and words read off the pixels. Small pictures: nothing here is fit for diagnosis."""

_TRIED = {
    "builtin": """\
- Tissue, and a level or ring with something amiss: guidance from 1.0 to 4.0, with and without rescaling, ten or
  twenty steps, and better readers of words. Guidance changes tissue little. A level passes at 1.75, where the prostate
  finding after inversion fails, so that 2.5 stays recommended. The denoiser's loss still fell when its time on a GPU
  was over. Longer training was not tried; of two widths, the better one is shipped.
- Power of prostates at 16 to 24 cycles: the decoder was trained further, beside the denoiser. Rebuilt images rose from
  .84 to .93; generated ones stay below the goal.""",
    "builtin-xray": """\
- Nearest taught words called pneumonia: the same training with films of pneumonia in 10 % of the images, without a
  word for it. The words `smooth, low contrast` were then called pneumonia in 98 to 100 % (one seed, 48 images), for
  films of pneumonia are smoother. So no film of pneumonia is shown. `foxtrot` names a group of films that look alike.
- Planted copies that were not caught: nothing was tried. Quarters of a film, enlarged, and blends of two films are
  found less often than the goal asks.
- Gain of a classifier: with the weights before 2026-11-27, images mixed in, alone, before real ones, and filtered by a
  judge, with 20, 50 and 200 real images a class. None gained over real images. By a published
  network: `docs/explanation/worth-in-patients.md`.""",
}
_LIMITS = """\
- {side} x {side} pixels, 48 tokens of prompt, words of its captions only. What it was not taught it does not know.
- It may draw two findings where one was asked for, merge them, or miss the place; the counts above say how
  often.
- The judge is a small classifier, not a radiologist. A share that it counts is no claim about how pictures
  look.
- The weights hold traces of the images they were trained on. A differential-privacy claim of an embedding
  covers what the embedding learned from its site's images; it does not cover the base that the embedding is
  used with."""


def write_card(base: BaseInfo) -> Path:
    """Write `README.md` into the base's folder and return its path."""
    path = base.path / "README.md"
    path.write_text(render(base), encoding="utf-8")
    return path


def render(base: BaseInfo) -> str:
    """The card as Markdown with front matter."""
    licence = {"Apache-2.0": "apache-2.0", "CC-BY-4.0": "cc-by-4.0"}.get(base.licence, base.licence)
    story = VARIED_STORY if base.name == "builtin" else _XRAY_STORY
    prompts = "\n".join(f"| {label} | `{prompt}` |" for label, prompt in base.prompts.items())
    settings = ", ".join(f"{name} {value:g}" for name, value in base.recommended.items())
    return f"""---
license: {licence}
library_name: diffusers
pipeline_tag: text-to-image
---

# {base.name}

{story}

{_generates(base)}

Licence {base.licence}. {base.attribution}

Left out of its training, neither shown nor written in a caption: {", ".join(base.left_out)}.

Recommended: {settings}.

| taught label | prompt |
|---|---|
{prompts}

## Goals and what was reached

{_gate(base)}

## What was tried for what is missed

{_TRIED[base.name]}

How it was made, and how to train it further: `docs/explanation/base-models.md`.

## What it can and cannot draw, by a judge's count

{_figures(base)}

## Limits

{_LIMITS.format(side=base.resolution)}
"""


def _generates(base: BaseInfo) -> str:
    if (found := base.generates) is None:
        return "What it generates is not stated."
    if not found.modalities:
        return f"Generates: {found.what}. DICOM modality and body part: none, for no scanner makes such images."
    modalities, parts = (", ".join(f"`{code}`" for code in codes) for codes in (found.modalities, found.body_parts))
    return f"Generates: {found.what}. DICOM modality: {modalities}. Body part examined: {parts}."


def _gate(base: BaseInfo) -> str:
    lines = ["| | goal | measured | |", "|---|---|---|---|"]
    rows = goals(base.figures)
    lines += [f"| {row.asked} | {row.goal} | {row.measured} | {'met' if row.met else '**missed**'} |" for row in rows]
    return "\n".join(lines) if rows else "Not measured yet."


def _figures(base: BaseInfo) -> str:
    if not base.figures:
        return "Not measured yet: `python -m bases.workshop.measure` does it."
    return _xray_figures(base.figures) if "judge" in base.figures else varied_figures(base.figures)


def _arms(found: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Mean AUC of every arm of the classifier comparisons, each with the name of its finding."""
    if not found:
        return []
    names = list(found[0][1]["arms"])
    lines = ["", f"| classifier's AUC, real images a class | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for name, one in found:
        means = (f"{sum(values) / len(values):.3f}" for values in one["arms"].values())
        lines.append(f"| {name}, {one['per_class']} ({one['seeds']} seeds) | {' | '.join(means)} |")
    return lines


def _xray_figures(figures: dict[str, Any]) -> str:
    judge = figures["judge"]
    auc = ", ".join(f"{pair} {value:.3f}" for pair, value in judge["auc"].items())
    lines = [
        decibels(figures["autoencoder_db"]),
        "",
        f"The judge was trained on patients of its own; its AUC on {judge['n']} films of {judge['patients']} further "
        f"patients: {auc}. Bacterial and viral pneumonia are hard to tell apart, for the judge as for people.",
        "",
        "| images | called pneumonia | mean P(normal) | mean P(bacterial) | mean P(viral) | n |",
        "|---|---|---|---|---|---|",
    ]
    words = {f"`{counted['prompt']}`": counted for counted in figures["words"].values()}
    groups = {"real": figures["real"], "drawn": figures["taught"], "words": words, "inverted": figures["inverted"]}
    for title, group in groups.items():
        for label, counted in group.items():
            means = " | ".join(f"{value:.2f}" for key, value in counted.items() if key.startswith("mean_p_"))
            name = f"{title}: {label}" + (f" ({counted['images']} images)" if "images" in counted else "")
            lines.append(f"| {name} | {percent(counted['called_pneumonia'])} | {means} | {counted['n']} |")
    lines += _arms([("bacterial pneumonia", one) for one in figures.get("utility", {}).values()])
    lines += power_and_distance(figures)
    if found := figures.get("copies"):
        lines += copies(found)
    near = ", ".join(f"{value:.3f} ({name})" for name, value in figures["nearest_base_film"].items())
    lines += [
        "",
        f"Mean distance to the nearest film that the base learned from (root mean square at half size): {near}.",
    ]
    return "\n".join(lines)
