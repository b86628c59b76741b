"""The fingerprint of a pipeline in memory: the same figures that `embhub.artifact.fingerprint.take` reads from a
folder.

Embeddings that were loaded before do not count: their rows and tokens are left out.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from embhub.artifact import body_probe, fingerprint
from embhub.diffusion.families import Encoder, encoders, is_flow
from embhub.diffusion.families.pipeline import Pipeline
from embhub.errors import ArtifactError
from embhub.formats.slices import SliceReader

ADAPTER = "embhub-"
"""How the names begin under which adapters are plugged into a pipeline."""
_BASE_ROWS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_DENOISERS: WeakKeyDictionary[torch.nn.Module, dict[str, Any]] = WeakKeyDictionary()
"""Figures of denoisers whose weights have been replaced by integers since."""


def take(pipe: Pipeline) -> dict[str, Any]:
    """Fingerprint a loaded pipeline; equal to that of the folder it came from, within the tolerance of its precision.

    Raises:
        ArtifactError: a part is missing, or its weights are not in memory (offloaded to disk).
    """
    denoiser = _denoiser_of(pipe)
    kind = "flow" if is_flow(pipe) else None
    taken: dict[str, Any] = {
        "schema": fingerprint.SCHEMA,
        "prediction_type": kind or str(getattr(pipe.scheduler.config, "prediction_type", None) or "epsilon"),
        "encoders": {encoder.name: _take_encoder(encoder) for encoder in encoders(pipe)},
        "denoiser": _DENOISERS.get(denoiser) or _take_denoiser(denoiser),
    }
    if autoencoder := next((getattr(pipe, n) for n in fingerprint.AUTOENCODERS if getattr(pipe, n, None)), None):
        taken["autoencoder"] = body_probe.take(_ModuleReader(autoencoder))
    return taken


def remember_denoiser(pipe: Pipeline) -> None:
    """Take the denoiser's figures now, before its weights are quantized: from then on these count.

    Raises:
        ArtifactError: the pipeline has no denoiser.
    """
    denoiser = _denoiser_of(pipe)
    _DENOISERS[denoiser] = _take_denoiser(denoiser)


def _denoiser_of(pipe: Pipeline) -> torch.nn.Module:
    for name in ("unet", "transformer", "prior"):
        if found := getattr(pipe, name, None):
            return cast(torch.nn.Module, found)
    raise ArtifactError(f"a {type(pipe).__name__} has no denoiser that can be recognised", "load a whole pipeline")


def base_rows(encoder: Encoder) -> int:
    """Rows of the token table that are the base's own; remembered at the first call, before diffusers resizes it."""
    if encoder.model not in _BASE_ROWS:
        tokenizer, special = encoder.tokenizer, set(encoder.tokenizer.all_special_ids)
        added = set(tokenizer.get_added_vocab().values()) - special
        # The base's own vocabulary comes first; what was loaded into it since has the numbers after.
        _BASE_ROWS[encoder.model] = encoder.table.shape[0] - sum(number >= tokenizer.vocab_size for number in added)
    return _BASE_ROWS[encoder.model]


def _take_encoder(encoder: Encoder) -> dict[str, Any]:
    weights = cast(SliceReader, _ModuleReader(encoder.model, table=encoder.table, rows=base_rows(encoder)))
    with tempfile.TemporaryDirectory() as folder:
        # Through a file, so that folder and memory are read by one piece of code. Added tokens stand apart in it.
        encoder.tokenizer.save_pretrained(folder)
        return fingerprint.take_encoder(
            weights, str(encoder.model.config.model_type), Path(folder), what="the pipeline"
        )


def _take_denoiser(model: torch.nn.Module) -> dict[str, Any]:
    return fingerprint.take_denoiser(cast(SliceReader, _ModuleReader(model)))


def _without_adapters(weights: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Weights as they were before embhub plugged adapters in; with another program's LoRA they are other weights."""
    names = {name.split(".lora_", 1)[1].split(".")[1] for name in weights if ".lora_" in name}
    if not names or not all(name.startswith(ADAPTER) for name in names):
        return weights
    return {name.replace(".base_layer.", "."): value for name, value in weights.items() if ".lora_" not in name}


class _ModuleReader:
    """Rows of matrices and kernels of a module, as `embhub.formats.slices.SliceReader` gives those of files."""

    def __init__(self, module: torch.nn.Module, *, table: torch.Tensor | None = None, rows: int = 0) -> None:
        held = _without_adapters(module.state_dict())
        self._tensors = {name: value for name, value in held.items() if value.ndim in (2, 4)}
        self.matrices = {
            name: (
                rows if table is not None and value.data_ptr() == table.data_ptr() else value.shape[0],
                value.shape[1],
            )
            for name, value in self._tensors.items()
            if value.ndim == 2
        }
        kernels = {name: value for name, value in self._tensors.items() if value.ndim == 4}
        self.kernels = {name: (value.shape[0], math.prod(value.shape[1:])) for name, value in kernels.items()}

    def read_row(self, key: str, row: int) -> NDArray[np.float64]:
        """One row as float64."""
        value = self._tensors[key]
        if value.is_meta:
            raise ArtifactError("the pipeline's weights are not in memory", "load embeddings before offloading it")
        numbers: NDArray[np.float64] = value[row].detach().flatten().to("cpu", torch.float64).numpy()
        return numbers
