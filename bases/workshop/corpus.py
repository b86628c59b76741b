"""What a base learns from: images, where to look in them, and captions with their words apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from embhub.phantoms.drawing import draw_base
from embhub.phantoms.findings import MODALITIES, Finding, caption


@dataclass(frozen=True)
class Caption:
    """`head`, then `phrases` with `joint` between them; empty all through for an image without a caption.

    Only phrases are ever scrambled or merged: they say what is seen, the head says what kind of picture it is.
    """

    head: str = ""
    phrases: tuple[str, ...] = ()
    joint: str = ""

    @property
    def text(self) -> str:
        """The caption as one string."""
        return f"{self.head} {f' {self.joint} '.join(self.phrases)}".strip()


Probe = tuple[tuple[str, ...], Tensor, list[list[Caption]]]


@dataclass(frozen=True)
class Corpus:
    """Training images of a base.

    `images` uint8 (N, 64, 64, 3); `focus` float16 (N, 64, 64), 0 to 1, where findings are; `group` int64 (N,), the
    kind of picture; `odds` (N,) how often to draw it; `caption(index, rng)` a fresh caption; `vocabulary` texts to
    learn a tokenizer from; `probe` names, images and, for each name, their captions: the right ones, then ones with a
    word swapped. `mirror` allows moving and flipping images for the autoencoder; `smooth` says that detail can be
    spared for latents that are easier to denoise.
    """

    images: Tensor
    focus: Tensor
    group: Tensor
    odds: Tensor
    caption: Callable[[int, np.random.Generator], Caption]
    vocabulary: Sequence[str]
    probe: Probe
    mirror: bool = False
    smooth: bool = False


def phantoms(count: int, seed: int) -> Corpus:
    """Phantoms of every modality, none with a held-out finding."""
    drawn = draw_base(count, seed)
    facts: list[tuple[str, tuple[Finding, ...]]] = [(phantom.modality, phantom.findings) for phantom in drawn]

    def describe(index: int, rng: np.random.Generator) -> Caption:
        if rng.random() < 0.1:
            return Caption()
        modality, findings = facts[index]
        text = caption(modality, findings, rng)
        for joint in (" with ", ", "):
            head, found, tail = text.partition(joint)
            if found and findings:
                return Caption(f"{head}{joint.rstrip()}", tuple(tail.split(" and ")), "and")
        return Caption(text)

    def split(modality: str, findings: tuple[Finding, ...]) -> Caption:
        head, _, tail = caption(modality, findings).partition(" with ")
        return Caption(f"{head} with", (tail,))

    single = [index for index, (_, findings) in enumerate(facts) if len(findings) == 1]
    sharp = [index for index in single if facts[index][0] != "histology" and facts[index][1][0].shape != "patch"][:64]
    right = [(facts[index][0], facts[index][1][0]) for index in sharp]
    swaps: dict[str, Callable[[Finding], Finding]] = {
        "right": lambda one: one,
        "place": lambda one: replace(one, place="upper" if one.place == "lower" else "lower"),
        "side": lambda one: replace(one, side="left" if one.side == "right" else "right"),
        "tone": lambda one: replace(one, tone="dark" if one.tone == "bright" else "bright"),
        "shape": lambda one: replace(one, shape="ring" if one.shape == "level" else "level"),
    }
    lists = [[split(modality, (swap(finding),)) for modality, finding in right] for swap in swaps.values()]
    odds = torch.tensor(
        [(0.5, 1.0, 0.4)[len(findings)] * (0.6 if kind == "histology" else 1) for kind, findings in facts]
    )
    rng = np.random.default_rng(seed)
    texts = [caption(modality, findings, rng) for modality, findings in facts[:6000]]
    return Corpus(
        images=torch.from_numpy(np.stack([phantom.image for phantom in drawn])),
        focus=torch.from_numpy(np.stack([phantom.mask.astype(np.float16) for phantom in drawn])),
        group=torch.tensor([MODALITIES.index(phantom.modality) for phantom in drawn]),
        odds=odds,
        caption=describe,
        vocabulary=texts,
        probe=(tuple(swaps), torch.tensor(sharp), lists),
        smooth=True,
    )
