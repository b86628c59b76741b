"""P+: rows of their own for every place where the denoiser reads the text (Voynov et al. 2023, arXiv 2303.09522).

The text encoder runs once a place, with that place's rows, and its answers lie side by side: what the pipeline takes
for a prompt's encoding is (P, T, places x width), of which every place reads its own part. A prompt without such a
token is encoded once, and the same for all. So the pipeline's own `encode_prompt`, guidance, and other embeddings stay
as they are, in training as in drawing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from embhub.diffusion.families import denoiser, detect
from embhub.diffusion.rows import Rows, _Answer, _tables
from embhub.errors import UsageError


class Handle(Protocol):
    """What torch gives for a hook."""

    def remove(self) -> None:
        """Take it off."""


def places(pipe: Any) -> list[nn.Module]:
    """The modules of the denoiser that read the text, in its own order: cross-attention, and the pooled text where the
    denoiser has that too (`add_embedding`).

    Raises:
        UsageError: a base of another shape than Stable Diffusion 1 and 2.
    """
    if detect(pipe).layout != "sd":
        raise UsageError(
            f"rows for each layer are not for a {type(pipe).__name__}",
            "use a base of Stable Diffusion's shape, or leave out --per-layer",
        )
    model = denoiser(pipe)
    found = [part for part in model.modules() if isinstance(part, Attention) and part.is_cross_attention]
    return [model.add_embedding, *found] if model.config.addition_embed_type == "text" else found


def insert(pipe: Any, token: str, rows: Mapping[str, Tensor]) -> Rows:
    """Rows (n, d) for each encoder put in everywhere, or (places, n, d) each at its place; raises as `Rows`."""
    layered = any(part.ndim == 3 for part in rows.values())
    return LayeredRows(pipe, token, rows) if layered else Rows(pipe, token, rows)


def spread(pipe: Any, start: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same rows (n, d) to start from at every place, (places, n, d)."""
    count = len(places(pipe))
    return {name: rows.expand(count, -1, -1).clone() for name, rows in start.items()}


class LayeredRows(Rows):
    """Rows of one token, a parameter (places, n, d) for the text encoder.

    Raises:
        ArtifactError, UsageError: as `Rows`; rows for another number of places than the denoiser has.
    """

    def __init__(self, pipe: Any, token: str, start: Mapping[str, Tensor]) -> None:
        count = len(places(pipe))
        if any(rows.ndim != 3 or len(rows) != count for rows in start.values()):
            raise UsageError(
                f"rows for another number of places than the {count} where this base reads text", "use the right base"
            )
        super().__init__(pipe, token, {name: rows[0] for name, rows in start.items()})
        if any(encoder.model in _PLUGGED for encoder in self._encoders):
            raise UsageError("the pipeline holds an embedding with rows for each layer", "load a fresh pipeline")
        for encoder in self._encoders:
            rows = start[encoder.name].detach().float().clone()
            self.rows[encoder.name] = nn.Parameter(rows.to(encoder.table.device))

    @contextmanager
    def active(self, each: Mapping[str, Tensor] | None = None) -> Iterator[None]:
        """As `Rows.active`; `each` is (P, places, n, d)."""
        ((encoder, tokenizer),) = zip(self._encoders, self._tokenizers, strict=True)
        first = int(tokenizer.convert_tokens_to_ids(self._names[0]))
        rows = each[encoder.name] if each else self.rows[encoder.name]
        answer = _LayerAnswer(lambda: rows, first)
        handles: list[Handle] = []
        try:
            setattr(self._pipe, encoder.tokenizer_name, tokenizer)
            for module in _tables(encoder.model):
                handles.append(module.register_forward_pre_hook(answer.before, with_kwargs=True))
                handles.append(module.register_forward_hook(answer.after))
            handles += _Stacking(places(self._pipe), [answer], width=rows.shape[-1]).attach(encoder.model)
            yield
        finally:
            for handle in handles:
                handle.remove()
            setattr(self._pipe, encoder.tokenizer_name, encoder.tokenizer)


def plug(pipe: Any, model: nn.Module, first: int, rows: Tensor) -> None:
    """Keep rows (places, n, d) in a text encoder for the tokens of numbers from `first` on, which its table has.

    Several may be plugged into one pipeline. The rows go with the encoder to another device or data type.

    Raises:
        UsageError: rows for another number of places.
    """
    readers = places(pipe)
    if len(rows) != len(readers):
        raise UsageError(
            f"rows for {len(rows)} places; this base reads text in {len(readers)}", "load the base it was made for"
        )
    stacking = _PLUGGED.get(model)
    if stacking is None:
        stacking = _PLUGGED[model] = _Stacking(readers, [], width=rows.shape[-1])
        stacking.attach(model)
    kept = _Kept(rows.to(next(model.parameters())))
    model.add_module(f"embhub_rows_{len(stacking.answers)}", kept)
    answer = _LayerAnswer(lambda: kept.rows, first)
    for module in _tables(model):
        module.register_forward_pre_hook(answer.note, with_kwargs=True)
        module.register_forward_hook(answer.after)
    stacking.answers.append(answer)


class _Kept(nn.Module):
    """Rows that go where their encoder goes, and are no part of what it saves."""

    rows: Tensor

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("rows", rows, persistent=False)


class _LayerAnswer(_Answer):
    """The hooks on a table that answer with the rows of one place at a time."""

    def __init__(self, rows: Callable[[], Tensor], first: int) -> None:
        self._all = rows
        super().__init__(rows()[..., 0, :, :], first)

    def turn(self, place: int) -> None:
        """From now on answer for this place."""
        self._rows = self._all()[..., place, :, :]

    def note(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """As `before`, for tokens that the table has: only look where they are."""
        self._places = (args[0] if args else kwargs["input"]) - self._first

    @property
    def asked(self) -> bool:
        """Was the token in the prompts of the last pass?"""
        return bool(self._mask().any())


class _Stacking:
    """Hooks that make a text encoder answer for every place, and every place read its part."""

    def __init__(self, readers: Sequence[nn.Module], answers: list[_LayerAnswer], *, width: int) -> None:
        self._readers, self.answers, self._width = readers, answers, width

    def attach(self, model: nn.Module) -> list[Handle]:
        """Put the hooks on a text encoder and the readers."""
        handles: list[Handle] = [
            model.register_forward_pre_hook(self._begin, with_kwargs=True),
            model.register_forward_hook(self._go_on, with_kwargs=True),
        ]
        for number, reader in enumerate(self._readers):
            handles.append(reader.register_forward_pre_hook(self._reading(number), with_kwargs=True))
        return handles

    def _begin(self, _module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs.get("output_hidden_states"):
            raise UsageError("rows for each layer are not read with clip_skip", "leave clip_skip out")
        self._turn(0)

    def _go_on(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        parts = [output.last_hidden_state]
        if any(answer.asked for answer in self.answers):
            for place in range(1, len(self._readers)):
                self._turn(place)
                parts.append(module.forward(*args, **kwargs).last_hidden_state)  # not a call: these hooks stay out
        else:
            parts *= len(self._readers)
        return dataclasses.replace(output, last_hidden_state=torch.cat(parts, -1))

    def _turn(self, place: int) -> None:
        for answer in self.answers:
            answer.turn(place)

    def _reading(self, number: int) -> Callable[..., Any]:
        """A hook for the reader of this number; an encoding made without these hooks passes as it is."""
        first, last, stacked = number * self._width, (number + 1) * self._width, len(self._readers) * self._width

        def own(text: Tensor) -> Tensor:
            return text[..., first:last] if text.shape[-1] == stacked else text

        def read(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if "encoder_hidden_states" in kwargs:
                return args, {**kwargs, "encoder_hidden_states": own(kwargs["encoder_hidden_states"])}
            return (own(args[0]), *args[1:]), kwargs  # the pooled text

        return read


_PLUGGED: WeakKeyDictionary[nn.Module, _Stacking] = WeakKeyDictionary()
