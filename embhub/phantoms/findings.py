"""What a phantom can show: findings as combinations of attributes, their words, and what is held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

MODALITIES = ("cxr", "prostate", "histology")
SHAPES = ("spot", "oval", "ring", "line", "level")  # in this order, on which depends what a seed draws
TONES = ("dark", "bright")
SIZES = ("small", "large")
EDGES = ("sharp", "soft")
PLACES = ("upper", "middle", "lower")
SIDES = ("right", "left")  # the patient's right is the viewer's left

PREFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cxr": ("chest x-ray", "frontal chest x-ray"),
        "prostate": ("prostate mri", "axial t2 prostate mri"),
        "histology": ("histology", "histology slide"),
    }
)

_SHAPE_ODDS = (0.23, 0.25, 0.16, 0.16, 0.20)
# How often each word is left out of a caption, so that a model learns what an unsaid attribute leaves open.
_DROP = {"tone": 0.1, "size": 0.2, "edge": 0.25, "place": 0.1, "side": 0.2}


@dataclass(frozen=True)
class Finding:
    """One lesion. `strength` is its opacity, 0 to 1; below 0.6 it is called faint."""

    shape: str
    tone: str
    size: str
    edge: str
    place: str
    side: str
    strength: float = 1.0


@dataclass(frozen=True)
class HeldOut:
    """A combination that no base model is shown or told of.

    `shapes`, `tone` and `place` fence off what `random_finding` never returns; `shape` and `edge` (inside the fence)
    are what the target itself looks like. `words` spells the target out in words a base knows one by one.
    """

    name: str
    modality: str
    shapes: tuple[str, ...]
    tone: str
    place: str
    shape: str
    edge: str
    words: str

    def covers(self, modality: str, finding: Finding) -> bool:
        """Whether `finding` in `modality` lies inside the fence."""
        return (
            modality == self.modality
            and finding.shape in self.shapes
            and finding.tone == self.tone
            and finding.place == self.place
        )


HELD_OUT: Mapping[str, HeldOut] = MappingProxyType(
    {
        "prostate-cspca": HeldOut(
            "prostate-cspca", "prostate", ("spot", "oval"), "dark", "lower", "oval", "sharp", "dark sharp oval in lower"
        ),
        "cxr-effusion": HeldOut(
            "cxr-effusion", "cxr", ("level",), "bright", "lower", "level", "sharp", "bright sharp level in lower"
        ),
    }
)


def is_held_out(modality: str, finding: Finding) -> bool:
    """Whether `finding` belongs to a held-out combination of `modality`."""
    return any(held.covers(modality, finding) for held in HELD_OUT.values())


def random_finding(modality: str, rng: np.random.Generator) -> Finding:
    """A finding drawn at random, never a held-out one."""
    while True:
        finding = Finding(
            shape=SHAPES[int(rng.choice(len(SHAPES), p=_SHAPE_ODDS))],
            tone=TONES[int(rng.integers(2))],
            size=SIZES[int(rng.integers(2))],
            edge=EDGES[int(rng.integers(2))],
            place=PLACES[int(rng.integers(3))],
            side=SIDES[int(rng.integers(2))],
            strength=float(rng.uniform(0.4, 0.6) if rng.random() < 0.1 else rng.uniform(0.7, 1.0)),
        )
        if not is_held_out(modality, finding):
            return finding


def target_finding(name: str, rng: np.random.Generator, strength: tuple[float, float] = (0.7, 1.0)) -> Finding:
    """The held-out finding `name` (a key of `HELD_OUT`), at a random size, side and strength."""
    held = HELD_OUT[name]
    return Finding(
        shape=held.shape,
        tone=held.tone,
        size=SIZES[int(rng.integers(2))],
        edge=held.edge,
        place=held.place,
        side=SIDES[int(rng.integers(2))],
        strength=float(rng.uniform(*strength)),
    )


def near_miss(name: str, rng: np.random.Generator) -> Finding:
    """A look-alike of the held-out finding: one attribute that matters changed (tone, place or shape), never the
    target."""
    held = HELD_OUT[name]
    finding = target_finding(name, rng)
    while held.covers(held.modality, finding):
        which = int(rng.integers(4))
        if which == 0:
            finding = replace(finding, tone=next(tone for tone in TONES if tone != held.tone))
        elif which == 1:
            places = [place for place in PLACES if place != held.place]
            finding = replace(finding, place=places[int(rng.integers(len(places)))])
        else:  # the hardest: same tone and place, other shape
            shapes = [shape for shape in SHAPES if shape not in held.shapes]
            finding = replace(finding, shape=shapes[int(rng.integers(len(shapes)))])
    return replace(finding, edge=EDGES[int(rng.integers(2))])


def describe(finding: Finding, rng: np.random.Generator | None = None) -> str:
    """Words for a finding, e.g. `dark small sharp oval in lower left`.

    With `rng`, words are left out at random and the shape is sometimes just `lesion`; without, all are said.
    """

    def said(attribute: str) -> bool:
        return rng is None or rng.random() >= _DROP[attribute]

    words = ["faint"] if finding.strength < 0.6 and said("tone") else []
    words += [
        word for key, word in (("tone", finding.tone), ("size", finding.size), ("edge", finding.edge)) if said(key)
    ]
    words.append("lesion" if rng is not None and rng.random() < 0.1 else finding.shape)
    where = [word for key, word in (("place", finding.place), ("side", finding.side)) if said(key)]
    return " ".join([*words, "in", *where] if where else words)


def caption(modality: str, findings: tuple[Finding, ...], rng: np.random.Generator | None = None) -> str:
    """The caption of a phantom: `prostate mri with dark small oval in lower left`, or `chest x-ray, normal`.

    With `rng` the modality's phrase, the words said and the joint (`with` or a comma) vary, and one caption in twelve
    says only `lesion`.
    """
    phrases = PREFIXES[modality]
    prefix = phrases[int(rng.random() < 0.25)] if rng is not None else phrases[0]
    comma = rng is not None and rng.random() < 0.3
    if not findings:
        return f"{prefix}, normal" if comma else f"{prefix} normal"
    joint = ", " if comma else " with "
    if rng is not None and rng.random() < 0.08:
        return prefix + joint + "lesion"
    return prefix + joint + " and ".join(describe(finding, rng) for finding in findings)
