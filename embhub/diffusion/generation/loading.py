"""Plugging an embedding into a pipeline: the right base, a safe token, the stock loader, fed from checked memory."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from embhub.artifact import fingerprint
from embhub.artifact.embedding import LAYOUTS, PER_LAYER, Embedding, layer_names
from embhub.client.pulling.opening import open_path
from embhub.diffusion.bases import live_fingerprint as live_base
from embhub.diffusion.bases.found import quiet
from embhub.diffusion.families import SD, SDXL, Encoder, encoders, find, image_vectors
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.generation import adapters
from embhub.diffusion.training.per_layer import insert
from embhub.diffusion.training.rows import misled_ends
from embhub.errors import ArtifactError, UsageError


class WrongBaseError(ArtifactError):
    """The pipeline is not the base that the embedding was trained on."""


class TokenCollisionError(ArtifactError):
    """The token would be confused with one that the pipeline already knows."""


class BaseWarning(UserWarning):
    """The base fits, but is not known to be exactly the one that the embedding was trained on."""


class UnverifiedWarning(UserWarning):
    """A file that nobody signed, or a release that its verification warned of."""


class HasEmbedding(Protocol):
    """What `pull` and `verify` return, and a `Release`."""

    @property
    def embedding(self) -> Embedding:
        """The checked file."""
        ...


_STOCK = ("sd", "sdxl")
"""Layouts that diffusers loads itself, one encoder at a time."""

Source = Embedding | HasEmbedding | str | Path


def load_into(pipe: Any, source: Source) -> str:
    """Load an embedding, or a compact adapter, into a diffusers pipeline.

    The base is compared first, then the token; only then is anything changed. Stable Diffusion 1, 2 and XL use
    diffusers' own `load_textual_inversion`, which is given the checked numbers, never a path. For other pipelines, the
    vectors stay in hooks on the token table. An adapter goes through diffusers' own `load_lora_weights`. The table
    itself is not changed, and the vectors are not saved with the pipeline. A base with the same token space and other
    weights gives a `BaseWarning`.

    Args:
        pipe: The pipeline.
        source: An `Embedding`, what `pull`, `verify` or `train` returned, or a file or folder. A signed file is
            verified; an unsigned one gives an `UnverifiedWarning`.

    Returns:
        The placeholder token, for use in prompts.

    Raises:
        ArtifactError: It is malformed, `WrongBaseError` with the reason, or `TokenCollisionError` with an embedding
            loaded earlier.
        UsageError: No such file, or a pipeline of a kind that is not supported.
        VerificationError: A signed file that is not what a trusted publisher or this site signed.

    Example:
        >>> import embhub
        >>> from embhub.diffusion.bases.pipelines import load_pipeline
        >>> pipe = load_pipeline("builtin")
        >>> token = embhub.load_into(pipe, "prostate-cspca.safetensors")
        >>> len(pipe(f"prostate mri, {token}", num_inference_steps=2).images)
        1
    """
    embedding = open_embedding(source)
    pipe = _part(pipe, embedding.layout)
    if embedding.kind == "adapter":
        check_base(pipe, embedding)
        adapters.plug_in(pipe, embedding)
        return embedding.token
    layout = _layout(pipe)
    if embedding.layout != layout and (embedding.layout, layout) != (PER_LAYER, "sd"):
        raise UsageError(
            f"an embedding of layout {embedding.layout} does not go into a {type(pipe).__name__}",
            f"load {embedding.base_name}, or a base of the same kind",
        )
    check_base(pipe, embedding)
    found = {encoder.name: encoder for encoder in encoders(pipe)}
    for encoder in found.values():
        _check_collisions(embedding.token, encoder)
        live_base.base_rows(encoder)
    if not found and embedding.token in image_vectors.PLUGGED.get(pipe.unet, {}):
        raise TokenCollisionError(f"the pipeline already knows {embedding.token}", "load into a fresh pipeline")
    if embedding.layout in _STOCK:
        for name, values in tensors(embedding).items():
            _insert(pipe, found[name], embedding.token, values)
    else:
        insert(pipe, embedding.token, tensors(embedding)).plug_in()
    return embedding.token


def tensors(embedding: Embedding) -> dict[str, Tensor]:
    """The rows of an embedding for each encoder, float32: (n, d), or (places, n, d) with rows for each layer."""
    if embedding.kind == "adapter":
        raise UsageError(
            f"{embedding.token} is a compact adapter, which has no token embeddings", "this works with embeddings alone"
        )
    if embedding.layout == PER_LAYER:
        layers = [embedding.tensors[name] for name in layer_names(len(embedding.tensors))]
        return {"text_encoder": torch.from_numpy(np.stack(layers).astype(np.float32))}
    components = LAYOUTS[embedding.layout]
    return {
        components["t5xxl" if name == "t5" else name]: torch.from_numpy(np.array(values, dtype=np.float32))
        for name, values in embedding.tensors.items()
    }


def open_embedding(source: Source) -> Embedding:
    """The checked embedding behind any kind of source; raises as `load_into`."""
    if isinstance(source, Embedding):
        return source
    if isinstance(source, str | os.PathLike):
        opened = open_path(source)
        for text in opened.warnings:
            warnings.warn(text, UnverifiedWarning, stacklevel=3)
        return opened.embedding
    return source.embedding


def check_base(pipe: Pipeline, embedding: Embedding) -> None:
    """Compare the pipeline with the base that the embedding names.

    Raises:
        WrongBaseError: the embedding's rows mean nothing in this pipeline; says why.
    """
    if embedding.base is None:
        _check_widths(pipe, embedding)
        warnings.warn(
            f"{embedding.token} does not tell its base's weights ({embedding.base_name}); only widths were compared",
            BaseWarning,
            stacklevel=3,
        )
        return
    match = fingerprint.compare(embedding.base, live_base.take(pipe))
    if match.level == "different":
        raise WrongBaseError(
            f"{embedding.token} was made for {embedding.base_name}, not for this pipeline: {match.reason}",
            how_to_load(embedding.base_name),
        )
    if match.level == "fine-tuned":
        warnings.warn(f"{embedding.token} on a fine-tuned base: {match.reason}", BaseWarning, stacklevel=3)


def _part(pipe: Pipeline, layout: str) -> Any:
    """Of the combined Kandinsky 2.2 the part that an embedding is for; any other pipeline as it is."""
    parts = {"kandinsky22-prior": "prior_pipe", "kandinsky22-image": "decoder_pipe"}
    return getattr(pipe, parts.get(layout, ""), pipe)


def _layout(pipe: Pipeline) -> str:
    """The layout of embeddings for a pipeline; "" where none fits.

    Pipelines that no adapter trains on, such as those with a ControlNet, have the encoders of those that one does.
    """
    if family := find(pipe):
        return family.layout
    names = tuple(encoder.name for encoder in encoders(pipe))
    known = {SD.encoders: SD.layout, SDXL.encoders: SDXL.layout}
    return known.get(names, "") if type(pipe).__name__.startswith("StableDiffusion") else ""


def _check_widths(pipe: Pipeline, embedding: Embedding) -> None:
    widths = {encoder.name: encoder.table.shape[1] for encoder in encoders(pipe)}
    for vectors in embedding.vectors:
        if widths.get(vectors.encoder) != vectors.dim:
            raise WrongBaseError(
                f"{embedding.token} has rows of width {vectors.dim}; here they are {widths.get(vectors.encoder)} wide",
                how_to_load(embedding.base_name),
            )


def how_to_load(name: str) -> str:
    """A hint: how the base of this name is chosen on the command line, and in Python."""
    return f'pass --base {name}; in Python: base="{name}", or load_pipeline("{name}")'


def _check_collisions(token: str, encoder: Encoder) -> None:
    """diffusers replaces tokens as plain text, so one inside another would break prompts without a word."""
    words = encoder.tokenizer.get_vocab()
    special = set(encoder.tokenizer.all_special_tokens)
    # Rows that stand in hooks have placeholders such as <cspca|0>.
    added = [re.sub(r"\|\d+>$", ">", word) for word in encoder.tokenizer.get_added_vocab() if word not in special]
    if token in words or f"{token}_1" in words or token in added:
        raise TokenCollisionError(
            f"the pipeline already knows {token}", "unload it first, or load into a fresh pipeline"
        )
    if clash := next((word for word in added if word in token or token in word), None):
        raise TokenCollisionError(
            f"{token} and {clash}, which is already loaded, cannot be distinguished in prompts",
            "load into a fresh pipeline",
        )


def _insert(pipe: Pipeline, encoder: Encoder, token: str, values: Tensor) -> None:
    # diffusers draws random rows before it overwrites them: the caller's random numbers stay the caller's.
    with quiet(), torch.random.fork_rng(devices=[]):
        pipe.load_textual_inversion(
            values,
            token=token,
            tokenizer=encoder.tokenizer,
            text_encoder=encoder.model,
        )
    encoder.model.get_input_embeddings().requires_grad_(False)
    for part in misled_ends(encoder):
        part.eos_token_id = encoder.tokenizer.eos_token_id
