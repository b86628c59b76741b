"""What a base learns from: images, where to look in them, and captions with their words apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from embhub.phantoms import MODALITIES, Finding, caption, draw_base


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


@dataclass(frozen=True)
class Corpus:
    """Training images of a base.

    `images` uint8 (N, 64, 64, 3); `focus` float16 (N, 64, 64), 0 to 1, where findings are; `group` int64 (N,), the kind of
    picture; `caption(index, rng)` a fresh caption of an image; `vocabulary` texts to learn a tokenizer from.
    """

    images: Tensor
    focus: Tensor
    group: Tensor
    caption: Callable[[int, np.random.Generator], Caption]
    vocabulary: Sequence[str]
    mirror: bool = False


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

    rng = np.random.default_rng(seed)
    texts = [caption(modality, findings, rng) for modality, findings in facts[:6000]]
    return Corpus(
        images=torch.from_numpy(np.stack([phantom.image for phantom in drawn])),
        focus=torch.from_numpy(np.stack([phantom.mask.astype(np.float16) for phantom in drawn])),
        group=torch.tensor([MODALITIES.index(phantom.modality) for phantom in drawn]),
        caption=describe,
        vocabulary=texts,
    )
