"""P+: rows of their own for every place where the denoiser reads the text (Voynov et al. 2023, arXiv 2303.09522).

The text encoder runs once a place, with that place's rows, and its answers lie side by side: what the pipeline takes
for a prompt's encoding is (P, T, places x width), of which every place reads its own part. A prompt without such a
token is encoded once, and the same for all. So the pipeline's own `encode_prompt`, guidance, and other embeddings stay
as they are, in training as in drawing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
import torch
from diffusers.models.attention_processor import Attention
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from embhub.artifact.embedding import MAX_BYTES, layer_names
from embhub.diffusion.families import denoiser, detect, encoders, of_class
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training.image_embeddings import ImageRows
from embhub.diffusion.training.rows import Rows, _Answer
from embhub.errors import UsageError

_LAYOUT = "sd"
"""Of the families that have rows for each layer."""
_HEADER = 20_000
"""Bytes of a file that are kept free of rows: its header has about 3,000 and 100 for each tensor."""


def places(pipe: Pipeline) -> list[nn.Module]:
    """The modules of the denoiser that read the text, in its own order: cross-attention, and the pooled text where the
    denoiser has that too (`add_embedding`).

    Raises:
        UsageError: a base of another shape than Stable Diffusion 1 and 2.
    """
    if detect(pipe).layout != _LAYOUT:
        raise _refusal(type(pipe).__name__)
    model = denoiser(pipe)
    found = [part for part in model.modules() if isinstance(part, Attention) and part.is_cross_attention]
    return [model.add_embedding, *found] if model.config.addition_embed_type == "text" else found


def check_kind(kind: str) -> None:
    """Refuse a class of pipelines that is not of Stable Diffusion's shape, before such a base is loaded.

    Raises:
        UsageError: as `places`; a class that no adapter knows is left to the loader.
    """
    if (family := of_class(kind)) and family.layout != _LAYOUT:
        raise _refusal(kind)


def _refusal(kind: str) -> UsageError:
    return UsageError(
        f"rows for each layer are not for a {kind}", "use a base of Stable Diffusion's shape, or leave out --per-layer"
    )


def insert(pipe: Pipeline, token: str, rows: Mapping[str, Tensor]) -> Rows:
    """Rows (n, d) for each encoder put in everywhere, or (places, n, d) each at its place; for a decoder an image
    embedding (1, d). Raises as `Rows`."""
    if detect(pipe).layout == "kandinsky22-image":
        return ImageRows(pipe, token, rows)
    layered = any(part.ndim == 3 for part in rows.values())
    return LayeredRows(pipe, token, rows) if layered else Rows(pipe, token, rows)


def spread(pipe: Pipeline, start: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same rows (n, d) to start from at every place, (places, n, d)."""
    count = len(places(pipe))
    return {name: rows.expand(count, -1, -1).clone() for name, rows in start.items()}


def check_size(pipe: Pipeline, vectors: int, dtype: str) -> None:
    """Refuse, before a training, what will not fit into a file.

    Raises:
        UsageError: too many vectors, or a base of another shape.
    """
    each = len(places(pipe)) * encoders(pipe)[0].table.shape[1] * np.dtype(dtype).itemsize
    most = (MAX_BYTES - _HEADER) // each
    if vectors > most:
        raise UsageError(
            f"{vectors} vectors for each of {len(places(pipe))} layers do not fit into a file of {MAX_BYTES:,} bytes",
            f"use at most {most} vectors" + ("" if dtype == "float16" else ", or float16"),
        )


def named(rows: Tensor) -> dict[str, NDArray[Any]]:
    """Rows (places, n, d) as the tensors of a file."""
    return {name: part.numpy() for name, part in zip(layer_names(len(rows)), rows, strict=True)}


class LayeredRows(Rows):
    """Rows of one token, a parameter (places, n, d) for the text encoder.

    Raises:
        ArtifactError, UsageError: as `Rows`; rows for another number of places than the denoiser has.
    """

    def __init__(self, pipe: Pipeline, token: str, start: Mapping[str, Tensor]) -> None:
        count = len(places(pipe))
        if any(rows.ndim != 3 or len(rows) != count for rows in start.values()):
            raise UsageError(
                f"rows for another number of places than the {count} where this base reads text", "use the right base"
            )
        super().__init__(pipe, token, {name: rows[0] for name, rows in start.items()})
        for encoder in self._encoders:
            rows = start[encoder.name].detach().float().clone()
            self.rows[encoder.name] = nn.Parameter(rows.to(encoder.table.device))
        self._lasting = False
        self._answers: list[_LayerAnswer] = []

    def plug_in(self) -> None:
        """As `Rows.plug_in`; several may be plugged into one pipeline."""
        self._lasting = True
        super().plug_in()

    def _put_in(self, rows: Mapping[str, Tensor] | nn.ParameterDict, hooks: list[RemovableHandle]) -> None:
        model = self._encoders[0].model
        known = _PLUGGED.get(model)
        if known is not None and not self._lasting:
            raise UsageError("the pipeline holds an embedding with rows for each layer", "load a fresh pipeline")
        super()._put_in(rows, hooks)
        if known is None:
            known = _Stacking(_read_by_place(self._pipe))
            hooks += known.attach(model)
        known.answers += self._answers
        self._answers = []
        if self._lasting:
            _PLUGGED[model] = known

    def _answer(self, rows: Tensor, first: int) -> _Answer:
        self._answers.append(_LayerAnswer(rows, first))
        return self._answers[-1]


class _LayerAnswer(_Answer):
    """The hooks on a table that answer with the rows of one place at a time."""

    def __init__(self, rows: Tensor, first: int) -> None:
        """`rows` are (places, n, d), or (P, places, n, d) with some for each prompt."""
        self._all = rows
        super().__init__(rows[..., 0, :, :], first)

    def turn(self, place: int) -> None:
        """From now on answer for this place."""
        self._rows = self._all[..., place, :, :]

    @property
    def asked(self) -> bool:
        """Was the token in the prompts of the last pass?"""
        return bool(self._mask().any())


class _Stacking:
    """Hooks that make a text encoder answer for every place, side by side."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.answers: list[_LayerAnswer] = []

    def attach(self, model: nn.Module) -> list[RemovableHandle]:
        """Put the hooks on."""
        return [
            model.register_forward_pre_hook(self._begin, with_kwargs=True),
            model.register_forward_hook(self._go_on, with_kwargs=True),
        ]

    def _begin(self, _module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs.get("output_hidden_states"):
            raise UsageError("rows for each layer are not read with clip_skip", "leave clip_skip out")
        self._turn(0)

    def _go_on(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        parts = [output.last_hidden_state]
        if any(answer.asked for answer in self.answers):
            for place in range(1, self._count):
                self._turn(place)
                parts.append(module.forward(*args, **kwargs).last_hidden_state)  # not a call: these hooks stay out
        else:
            parts *= self._count
        return dataclasses.replace(output, last_hidden_state=torch.cat(parts, -1))

    def _turn(self, place: int) -> None:
        for answer in self.answers:
            answer.turn(place)


def _read_by_place(pipe: Pipeline) -> int:
    """Make every place of the denoiser read its own part of what was encoded for all; returns their number.

    The hooks stay: what was encoded without such rows passes them as it is, and what was encoded with them is read
    right wherever it is used, also on the way back.
    """
    model, readers = denoiser(pipe), places(pipe)
    if model not in _READING:
        _READING.add(model)
        for number, reader in enumerate(readers):
            width = int(model.config.cross_attention_dim)
            hook = _reader(number * width, (number + 1) * width, len(readers) * width)
            reader.register_forward_pre_hook(hook, with_kwargs=True)
    return len(readers)


def _reader(first: int, last: int, stacked: int) -> Callable[..., Any]:
    def own(text: Tensor) -> Tensor:
        return text[..., first:last] if text.shape[-1] == stacked else text

    def read(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if "encoder_hidden_states" in kwargs:
            return args, {**kwargs, "encoder_hidden_states": own(kwargs["encoder_hidden_states"])}
        return (own(args[0]), *args[1:]), kwargs  # the pooled text

    return read


_PLUGGED: WeakKeyDictionary[nn.Module, _Stacking] = WeakKeyDictionary()
_READING: WeakSet[nn.Module] = WeakSet()
