"""Which family a loaded pipeline is of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from embhub.artifact.fingerprint import BadBaseError
from embhub.diffusion.families import schedule
from embhub.diffusion.families.family import Encoder, Family, encoders
from embhub.diffusion.families.flux import FLUX
from embhub.diffusion.families.flux2 import FLUX2
from embhub.diffusion.families.kandinsky3 import KANDINSKY3
from embhub.diffusion.families.kandinsky22 import COMBINED, DECODER, PRIOR
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.families.pixart import PIXART
from embhub.diffusion.families.qwenimage import QWENIMAGE
from embhub.diffusion.families.sana import SANA
from embhub.diffusion.families.sd import SD
from embhub.diffusion.families.sd3 import SD3
from embhub.diffusion.families.sdxl import SDXL
from embhub.diffusion.families.zimage import ZIMAGE
from embhub.errors import UsageError

FAMILIES: tuple[Family, ...] = (
    SD,
    SDXL,
    SD3,
    FLUX,
    PIXART,
    SANA,
    ZIMAGE,
    FLUX2,
    QWENIMAGE,
    KANDINSKY3,
    PRIOR,
    DECODER,
    COMBINED,
)


def detect(pipe: Pipeline) -> Family:
    """The family of a loaded pipeline.

    Raises:
        UsageError: no adapter knows this kind of pipeline, or one of its text encoders was left out.
    """
    if (family := find(pipe)) is None:
        raise UsageError(
            f"no adapter for a {type(pipe).__name__}",
            "docs/how-to/base-families.md lists the kinds of base that there are adapters for",
        )
    there = {encoder.name for encoder in encoders(pipe)}
    if missing := [name for name in family.encoders if name not in there]:
        raise UsageError(
            f"this {type(pipe).__name__} was loaded without its {missing[0]}",
            "embeddings have rows for every text encoder: use a folder that holds them all",
        )
    return family


def find(pipe: Pipeline) -> Family | None:
    """The same by its class alone; None where there is no adapter."""
    kinds = {kind.__name__ for kind in type(pipe).__mro__}
    return next((known for known in FAMILIES if kinds & set(known.pipelines)), None)


def of_class(kind: str) -> Family | None:
    """The family of pipelines of the class `kind`, as the index of a base's folder has it; None where there is no
    adapter, or `kind` is empty."""
    return next((known for known in FAMILIES if kind in known.pipelines), None)


def check_trainable(pipe: Pipeline) -> None:
    """Refuse a base that draws and that no loss here can be computed on, before anything slow is done.

    Raises:
        BadBaseError: a U-Net that is also told of a mask, or a scheduler that predicts none of what `loss` knows.
    """
    schedule.prediction_type(pipe)
    model = getattr(pipe, detect(pipe).denoiser)
    autoencoder = getattr(pipe, "vae", None)
    if detect(pipe).denoiser != "unet" or autoencoder is None:
        return
    _check_channels(int(model.config.in_channels), int(autoencoder.config.latent_channels))


def check_configured(folder: Path, kind: str) -> None:
    """Refuse likewise, by the configuration in a base's folder, before anything is loaded; `kind` is its pipeline's
    class. What it does not say is left to `check_trainable`.

    Raises:
        BadBaseError: a U-Net that is also told of a mask.
    """
    if (family := of_class(kind)) is None or family.denoiser != "unet":
        return
    try:
        unet, autoencoder = (json.loads((folder / part / "config.json").read_bytes()) for part in ("unet", "vae"))
        reads, makes = int(unet["in_channels"]), int(autoencoder["latent_channels"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    _check_channels(reads, makes)


def _check_channels(reads: int, makes: int) -> None:
    if reads != makes:
        raise BadBaseError(
            f"this base's U-Net reads {reads} channels, and its autoencoder makes {makes}: it was made to inpaint or to"
            " be told of another image",
            "train on the text-to-image base that it comes from; `generate --from` loads the embedding into this one",
        )


def resolution(pipe: Pipeline) -> int:
    """Side of the square images, in pixels, that the denoiser was trained for."""
    return detect(pipe).resolution(pipe)


def image_size_arguments(pipe: Pipeline, side: int | None = None) -> dict[str, Any]:
    """The size of images for a pipeline's call, where it must be told it: another than it would choose. With it go
    the options without which the call would not keep to the size or to the prompt."""
    family = find(pipe)
    own = family.resolution(pipe) if family else None
    if side is None and family and family.passes_image_size:
        side = own
    if side is None or (side == own and family and not family.passes_image_size):
        return {}
    return {"height": side, "width": side, **(family.call if family else {})}


def denoiser(pipe: Pipeline) -> Any:
    """The network that takes noise off: a U-Net or a transformer."""
    return getattr(pipe, detect(pipe).denoiser)


def device_of(pipe: Pipeline) -> torch.device:
    """Where the denoiser computes.

    `pipe.device` says the same. It walks through every module, and on a small base takes as long as the prediction.
    """
    parameter: torch.Tensor = next(denoiser(pipe).parameters())
    return parameter.device


def room(pipe: Pipeline, encoder: Encoder) -> int:
    """Most tokens of a prompt that the pipeline reads with an encoder."""
    family = detect(pipe)
    most = min(int(encoder.tokenizer.model_max_length), family.longest.get(encoder.name, 10**9))
    return most - (family.overhead(pipe) if family.overhead else 0)
