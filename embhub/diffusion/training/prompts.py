"""What each image is trained with: the prompt template for all, or a caption of its own from the manifest.

A caption is of its image: side, view and device are told apart from the finding. It counts as part of the patient's
record and is never published. The template alone goes into the header.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from embhub.diffusion.families import Condition
from embhub.errors import UsageError
from embhub.images.images import ImageSet
from embhub.images.manifests.sample import Sample


@dataclass(frozen=True)
class Prompts:
    """Different `texts` with `{}` where the token goes, and `which` of them each of N images has.

    `own` is whether the source has captions at all, whatever they say: one text otherwise.
    """

    texts: tuple[str, ...]
    which: tuple[int, ...] = ()
    own: bool = False

    def of(self, places: Sequence[int]) -> tuple[tuple[str, ...], Tensor]:
        """The texts of some images, each once, and which of these each image has, (B,) int64."""
        if not self.own:
            return self.texts, torch.zeros(len(places), dtype=torch.long)
        numbers = [self.which[place] for place in places]
        kept = list(dict.fromkeys(numbers))
        return tuple(self.texts[number] for number in kept), torch.tensor([kept.index(number) for number in numbers])

    def each(self, places: Sequence[int]) -> tuple[str, ...]:
        """The text of every image."""
        return tuple(self.texts[self.which[place] if self.own else 0] for place in places)

    def subset(self, places: Sequence[int]) -> Prompts:
        """Those of some images."""
        return Prompts(self.texts, tuple(self.which[place] for place in places), own=True) if self.own else self


def one_for_all(caption: str) -> Prompts:
    """The prompt template alone."""
    return Prompts((caption,))


def prompts_of(images: ImageSet | Sequence[Sample], caption: str, token: str) -> Prompts:
    """The prompts of images: `caption`, the template, alone or with what their source says of each.

    A caption that holds `{}` or the token stands alone; any other is added to the template behind a comma.

    Raises:
        UsageError: a caption that holds the place of the token twice.
    """
    samples = images.samples if isinstance(images, ImageSet) else images
    if all(sample.caption is None for sample in samples):
        return one_for_all(caption)
    written = [_write(sample, caption, token) for sample in samples]
    texts = tuple(dict.fromkeys(written))
    numbers = {text: number for number, text in enumerate(texts)}
    return Prompts(texts, tuple(numbers[text] for text in written), own=True)


def join_prompts(first: Prompts, second: Prompts) -> Prompts:
    """Those of two sets of images, one after the other.

    Raises:
        UsageError: one of them has captions, the other none.
    """
    if first.own != second.own:
        raise UsageError(
            "the images of one side have captions, those of the other have none",
            "give both a column `caption`, which may be empty, or neither",
        )
    if not first.own:
        return first
    texts = tuple(dict.fromkeys((*first.texts, *second.texts)))
    every = (*first.each(range(len(first.which))), *second.each(range(len(second.which))))
    return Prompts(texts, tuple(texts.index(text) for text in every), own=True)


def refuse_captions(images: ImageSet, what: str) -> None:
    """Whether `what` would leave out what the manifest says of each image.

    Raises:
        UsageError: the manifest has captions.
    """
    if any(sample.caption for sample in images.samples):
        raise UsageError(
            f"{what} has one caption for all images, and the manifest has a column `caption`",
            "leave the column out; `embhub train` uses it",
        )


def gather(condition: Mapping[str, Tensor], which: Tensor) -> Condition:
    """The condition of each of B images from that of P texts; of one text it serves all of them as it is."""
    if all(len(part) == 1 for part in condition.values()):
        return dict(condition)
    return {name: part[which.to(part.device)] for name, part in condition.items()}


def _write(sample: Sample, template: str, token: str) -> str:
    caption = " ".join((sample.caption or "").replace(token, "{}").split())
    if not caption:
        return template
    if "{}" not in caption:
        return f"{template}, {caption}"
    if caption.count("{}") > 1:
        raise UsageError(f"the caption of row {sample.row} has the place of the token twice", "write {} once")
    return caption
