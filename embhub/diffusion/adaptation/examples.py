"""What is learned from: latents made once, a caption for each image, and pictures where the decoder is adapted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from embhub.diffusion.families import resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.captions import check_words
from embhub.diffusion.training.latents import encode
from embhub.diffusion.training.prompts import refuse_captions
from embhub.errors import UsageError
from embhub.images.images import ImageSet
from embhub.progress import OnProgress


@dataclass(frozen=True)
class Examples:
    """Latents (N, C, h, w) of images, a caption each, and `pictures`: places (B,) to pictures (B, 3, H, W) in [-1, 1].

    `digest` tells the images of two sets apart.
    """

    latents: Tensor
    captions: tuple[str, ...]
    pictures: Callable[[Tensor], Tensor]
    digest: str = ""

    def __len__(self) -> int:
        return len(self.latents)


def encode_examples(pipe: Pipeline, images: ImageSet, caption: str, on_progress: OnProgress | None = None) -> Examples:
    """The examples that a set of images gives under a caption; pictures are read again when asked for.

    Raises:
        UsageError: as `write_captions`; an image under half of the base's resolution, or one that has gone since.
        PrivacyError: as `write_captions`.
    """
    captions, size = write_captions(images, caption), resolution(pipe)

    def read(chosen: Tensor) -> Tensor:
        places, back = torch.unique(chosen, return_inverse=True)
        return torch.from_numpy(images.subset(places.tolist()).load(size))[back]

    encoded = encode(pipe, images, on_progress)
    return Examples(encoded.latents, tuple(captions), read, encoded.digest)


def write_captions(images: ImageSet, caption: str) -> list[str]:
    """The caption of each image: `{}` in it stands for the image's label.

    Raises:
        UsageError: `{}` with an image that has no label, a caption too long, or captions in the manifest.
        PrivacyError: words that look like a person's.
    """
    refuse_captions(images, "fine-tuning a component")
    caption = " ".join(caption.split())
    if "{}" in caption and not all(sample.label for sample in images.samples):
        raise UsageError(
            "the caption has {} for the label, and an image has none",
            "give a manifest with a column `label`, or a caption without {}",
        )
    written = [caption.replace("{}", sample.label) for sample in images.samples]
    for one in set(written):
        check_words("caption", one)
    return written
