"""Loading a base model: a built-in one, a folder, or a repository of the Hub."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub
import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from embhub.builtin_bases import info
from embhub.diffusion.bases.assembly import assemble
from embhub.diffusion.bases.found import ADAPTED, FoundBase, quiet
from embhub.diffusion.bases.replacements import find_folder, parse_base
from embhub.diffusion.bases.sizes import SizeRule, rule_of
from embhub.diffusion.families import FAMILIES, denoiser, detect
from embhub.diffusion.families.pipeline import Pipeline
from embhub.errors import UsageError

_PUBLIC_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def find_base(base: str | Path = "builtin") -> FoundBase:
    """Find a built-in base, a pipeline folder, or a repository `owner/name[@revision]` of the Hub, which is downloaded.

    `BASE + unet=SOURCE + lora=SOURCE` has parts replaced, see `embhub.diffusion.bases.assembly`.

    Raises:
        UsageError: no such base, the Hub cannot deliver it, or a replaced part does not fit.
        ArtifactError: a replaced part has no weights, or pickled ones.
        ConfigError: a built-in base is missing from this installation, or the cache cannot be written.
    """
    first, replacements = parse_base(str(base))
    if replacements:
        return assemble(find_base(first), replacements)
    folder = find_folder(base)
    if isinstance(folder, tuple):
        return FoundBase(folder[0], _download(*folder))
    known = info(folder) if (folder / "base.json").is_file() else None
    name = known.name if known else folder.resolve().name
    return FoundBase(name if _PUBLIC_NAME.fullmatch(name) else "local-base", folder, known.recommended if known else {})


def load_pipeline(
    base: str | Path | FoundBase = "builtin", *, device: str = "auto", dtype: torch.dtype | None = None
) -> Pipeline:
    """A frozen pipeline of `base`, in evaluation mode, without a progress bar of its own.

    Weights come from safetensors only. `device` is `auto` (CUDA, then Apple's, then the processor) or a torch device;
    `dtype` defaults to float32; for large families on a GPU (SDXL, SD 3, FLUX) to bfloat16.

    Raises:
        UsageError: no such base or device, or a folder that is not a diffusion pipeline of a supported kind.
        BadBaseError: its configuration does not say for images of which size it was made.
    """
    found = base if isinstance(base, FoundBase) else find_base(base)
    place = choose_device(device)
    with quiet():  # the class is imported here, and with it what transformers has to say of torchvision
        _check_kind(found)
    try:
        precision = dtype or _usual_precision(found.folder, place)
        # Read in that precision from the start: 17 billion weights in float32 fill most machines.
        reading = {} if precision is torch.float32 else {"torch_dtype": precision}
        with quiet(), warnings.catch_warnings():
            # Newer releases of diffusers call it `dtype`, which older ones do not know.
            warnings.filterwarnings("ignore", ".*torch_dtype", FutureWarning)
            pipe = diffusers.DiffusionPipeline.from_pretrained(
                str(found.folder), use_safetensors=True, local_files_only=True, **reading
            )
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        reason = (str(error).splitlines() or ["unknown reason"])[0][:200]
        raise UsageError(
            f"{found.name} cannot be loaded as a diffusion pipeline: {reason}",
            "a base is a folder in diffusers' format with safetensors weights",
        ) from error
    detect(pipe)
    size_rule(pipe)
    pipe.set_progress_bar_config(disable=True)
    freeze(pipe)
    with quiet():
        placed: Pipeline = pipe.to(place, precision)
    return placed


def _check_kind(found: FoundBase) -> None:
    """Refuse a kind of pipeline that there is an adapter for, and that the installed diffusers is too old for."""
    kind = found.kind
    if any(kind in family.pipelines for family in FAMILIES) and not hasattr(diffusers, kind):
        raise UsageError(
            f"{found.name} is a {kind}, which diffusers {diffusers.__version__} does not have",
            "install a newer diffusers: pip install --upgrade diffusers",
        )


def size_rule(pipe: Pipeline) -> SizeRule:
    """Which resolutions a loaded pipeline can be used at.

    Raises:
        BadBaseError: its configuration does not say for images of which size it was made.
    """
    family = detect(pipe)
    part = getattr(pipe, "decoder_pipe", pipe)  # of two pipelines in one, the part that draws
    return rule_of(family.name, lambda name: _config(getattr(part, name)))


def _config(part: Any) -> Mapping[str, Any]:
    """A component's configuration: diffusers' are mappings, those of transformers objects."""
    found = part.config
    return found if isinstance(found, Mapping) else found.to_dict()


def _usual_precision(folder: Path, place: torch.device) -> torch.dtype:
    kind = json.loads((folder / "model_index.json").read_bytes()).get("_class_name")
    halved = any(family.half_on_gpu and kind in family.pipelines for family in FAMILIES)
    return torch.bfloat16 if halved and place.type == "cuda" else torch.float32


def _download(name: str, revision: str | None) -> Path:
    try:
        with quiet():
            folder = Path(diffusers.DiffusionPipeline.download(name, revision=revision, use_safetensors=True))
            # diffusers leaves behind what it does not load: the marks of a base that a site's images made
            huggingface_hub.snapshot_download(
                name, revision=folder.name, allow_patterns=["model_index.json", ADAPTED, f"*/{ADAPTED}"]
            )
            return folder
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"the base {name} cannot be fetched from the Hub",
            "check name and network; accept its licence there and `hf auth login` if it asks; or name a local folder",
        ) from error


def choose_device(device: str = "auto") -> torch.device:
    """The device that `auto` stands for here, or the named one.

    Raises:
        UsageError: a device that this machine has not.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"this machine has no device {device!r}", "use --device auto or cpu") from error
    return place


def freeze(pipe: Pipeline) -> None:
    """Put every model of a pipeline into evaluation mode, with no gradient for any weight."""
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False).eval()


@contextmanager
def trainable_attention(pipe: Pipeline) -> Iterator[None]:
    """On a processor, plain attention while open: the fused kernel's backward pass takes half as long again there.

    Where all of a denoiser's attention is of the usual kind; others, such as joint attention, have no plain twin.
    """
    model = denoiser(pipe)
    before = dict(getattr(model, "attn_processors", {}))
    plain = bool(before) and all(type(part) in (AttnProcessor, AttnProcessor2_0) for part in before.values())
    if pipe.device.type != "cpu" or not plain:
        yield
        return
    model.set_attn_processor(AttnProcessor())
    try:
        yield
    finally:
        model.set_attn_processor(before)
