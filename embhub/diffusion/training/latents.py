"""Images as a base sees them, made once before a training, and what tells two sets of them apart."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import torch
from torch import Tensor

from embhub.diffusion.families import resolution
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import inversion
from embhub.images.images import ImageSet
from embhub.options.preprocessing import Preprocessing
from embhub.progress import OnProgress, Progress


@dataclass(frozen=True)
class Encoded:
    """Latents (N, C, h, w), and a digest of the pixels behind them, of whose they are, and of their captions."""

    latents: Tensor
    digest: str


def encode(
    pipe: Pipeline,
    images: ImageSet,
    on_progress: OnProgress | None = None,
    preprocessing: Preprocessing = Preprocessing(),  # noqa: B008  # frozen
    *,
    alone: bool = False,
) -> Encoded:
    """Encode all images of a set, a part at a time; nothing is drawn at random.

    With `alone` each image is computed by itself, so that no bit of its latents depends on the others.

    Raises:
        UsageError: an image under half of the base's resolution, or one that has gone since.
    """
    latents, done, digest = [], 0, hashlib.sha256()
    side = preprocessing.resolution or resolution(pipe)
    for batch in images.batches(side, preprocessing.fit):
        latents.append(inversion.encode_images(pipe, torch.from_numpy(batch), alone=alone))
        digest.update(batch.tobytes())
        done += len(batch)
        if on_progress:
            on_progress(Progress("encoding images", done, len(images)))
    digest.update(json.dumps([images.unit(i) for i in range(len(images))]).encode())
    if any(sample.caption is not None for sample in images.samples):
        digest.update(json.dumps([sample.caption for sample in images.samples]).encode())
    return Encoded(torch.cat(latents), digest.hexdigest())
