"""Which resolutions a base can be trained and drawn at: a rule of its family, read from its configuration.

Imports no torch, so that a resolution that no base allows is refused before anything is loaded. Beyond half and twice
the resolution that a base was made for, the rule says no: denoisers repeat or lose whole structures there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embhub.artifact.fingerprint import BadBaseError
from embhub.diffusion.bases.replacements import find_folder, parse_base
from embhub.errors import UsageError

Config = Callable[[str], Mapping[str, Any]]
"""The configuration of a component, by its name."""

_KANDINSKY3_SIDE = _QWEN_SIDE = 1024
"""Pixels; their configurations have no word for it."""
_KANDINSKY22_SIDE = 512
"""Pixels that the decoder's own call draws, where its U-Net's configuration says nothing."""
_KINDS = (
    ("StableDiffusionXL", "sdxl"),
    ("StableDiffusion3", "sd3"),
    ("StableDiffusion", "sd"),
    ("Flux2Klein", "flux2-klein"),
    ("Flux", "flux"),
    ("PixArtSigma", "pixart"),
    ("SanaPipeline", "sana"),
    ("ZImage", "zimage"),
    ("QwenImage", "qwen-image"),
    ("Kandinsky3", "kandinsky3"),
    ("KandinskyV22Prior", "kandinsky22-prior"),
    ("KandinskyV22Combined", "kandinsky22"),
    ("KandinskyV22", "kandinsky22-decoder"),
)
"""Families of `embhub.diffusion.families`, by how the names of their pipelines begin."""


@dataclass(frozen=True)
class SizeRule:
    """The resolution that a base was made for, and those that it allows: multiples of `multiple` in a range."""

    own: int
    multiple: int
    low: int
    high: int

    def choose(self, wanted: int | None) -> int:
        """The resolution that is wanted, or the base's own.

        Raises:
            UsageError: the base does not allow it.
        """
        if wanted is None or wanted == self.own:
            return self.own
        if self.low == self.high:
            raise UsageError(
                f"this base works at {self.own} pixels only", f"use --resolution {self.own}, or leave it out"
            )
        if not self.low <= wanted <= self.high or wanted % self.multiple:
            raise UsageError(
                f"a resolution of {wanted} pixels does not fit this base, which was made for {self.own}",
                f"choose a multiple of {self.multiple} from {self.low} to {self.high}",
            )
        return wanted

    def allows(self, wanted: int) -> bool:
        """Whether `choose` takes it."""
        return wanted == self.own or (self.low <= wanted <= self.high and wanted % self.multiple == 0)


def rule_of(kind: str, config: Config) -> SizeRule:
    """The rule of a family, by the configurations of its components.

    Raises:
        KeyError, TypeError, ValueError: a configuration that lacks what its family has.
        BadBaseError: the denoiser's says nothing of the size of images.
    """
    if kind == "kandinsky22-prior":
        side = int(config("image_encoder")["image_size"])
        return SizeRule(side, 1, side, side)
    if kind.startswith("kandinsky"):
        cell = _shrinkage(config("movq"))
        latents = config("unet").get("sample_size")
        usual = _KANDINSKY3_SIDE if kind == "kandinsky3" else _KANDINSKY22_SIDE
        own = usual if latents is None else int(latents) * cell
        return _around(own, 64 if kind == "kandinsky3" else cell**2)
    cell = _shrinkage(config("vae"))
    if kind in ("flux", "flux2-klein", "zimage"):
        return _around(int(config("vae")["sample_size"]), 2 * cell)
    if kind == "qwen-image":
        latents = config("transformer").get("sample_size")
        return _around(_QWEN_SIDE if latents is None else int(latents) * cell, 2 * cell)
    if kind in ("sd3", "pixart", "sana"):
        denoiser = config("transformer")
        patch = int(denoiser["patch_size"])
        most = int(denoiser["pos_embed_max_size"]) * patch * cell if kind == "sd3" else None
        # SANA's pipeline takes multiples of 32 pixels only.
        multiple = max(32, patch * cell) if kind == "sana" else patch * cell
        return _around(int(denoiser["sample_size"]) * cell, multiple, most)
    return _around(_latents_side(config("unet")) * cell, cell)


def read_rule(folder: Path) -> SizeRule | None:
    """The rule of the base in a folder; None where its configuration does not say enough.

    What is then unknown is checked once the base is loaded.
    """

    def config(name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads((folder / name / "config.json").read_bytes())
        return found

    try:
        name = str(json.loads((folder / "model_index.json").read_bytes())["_class_name"])
        kind = next(kind for start, kind in _KINDS if name.startswith(start))
        return rule_of(kind, config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return None


def check_resolution(base: str | Path | None, resolution: int | None) -> None:
    """Refuse a resolution that a base on this machine does not allow; one of the Hub is checked once it is loaded.

    Raises:
        UsageError: the base's rule, or no such base.
    """
    if resolution is None or base is None:
        return
    first, replacements = parse_base(str(base))
    folder = find_folder(first)
    if isinstance(folder, Path) and not replacements and (rule := read_rule(folder)) is not None:
        rule.choose(resolution)


def _around(own: int, multiple: int, most: int | None = None) -> SizeRule:
    low, high = -(-own // 2 // multiple) * multiple, 2 * own // multiple * multiple
    return SizeRule(own, multiple, max(multiple, low), high if most is None else max(own, min(high, most)))


def _latents_side(config: Mapping[str, Any]) -> int:
    """Side of the latents that a U-Net was made for, in places; its class has no default for it."""
    side = config.get("sample_size")
    if not isinstance(side, int):
        raise BadBaseError(
            "the configuration of this base's U-Net does not state one `sample_size`, so its image size is unknown",
            "set sample_size in unet/config.json: the side of the base's images in pixels, divided by the"
            " autoencoder's scale (8 in most)",
        )
    return side


def _shrinkage(config: Mapping[str, Any]) -> int:
    """How many pixels a latent is wide."""
    if "temperal_downsample" in config:  # of videos; the misspelling is diffusers' own
        return int(2 ** len(config["temperal_downsample"]))
    return int(2 ** (len(config.get("encoder_block_out_channels") or config["block_out_channels"]) - 1))
