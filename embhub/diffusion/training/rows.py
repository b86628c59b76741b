"""The trainable rows of an embedding, put into a text encoder by hooks.

No table is resized and no gradient is masked: while a `Rows` is active, a copy of the tokenizer knows placeholder
tokens and the token-embedding module answers them with the rows. The base's own tensors are never written to, and the
pipeline's own `encode_prompt` does the rest, so what is trained is exactly what is later drawn with.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.hooks import RemovableHandle

from embhub.artifact.embedding import check_token
from embhub.diffusion.bases.found import quiet
from embhub.diffusion.families import Encoder, encoders, image_vectors, room
from embhub.diffusion.families.pipeline import Pipeline
from embhub.errors import UsageError

_SPREAD = 0.3
"""Noise on the starting rows, in standard deviations of the words' rows: equal rows would stay equal."""


class Rows(nn.Module):
    """Rows of one token, a parameter (n, d) for each text encoder named in `start`.

    `start` maps an encoder's name (`text_encoder`) to its rows. Optimise `parameters()`; encode prompts inside
    `active()`, with `expand` putting the placeholders where the token stands.

    Raises:
        ArtifactError: the token breaks the rules of the format.
        UsageError: rows for an encoder that the pipeline has not, or of another width.
    """

    def __init__(self, pipe: Pipeline, token: str, start: Mapping[str, Tensor]) -> None:
        super().__init__()
        check_token(token)
        self.token = token
        self._pipe = pipe
        self._encoders = _matching(pipe, start)
        counts = {len(rows) for rows in start.values()}
        if len(counts) != 1:
            raise UsageError(
                "rows for several encoders differ in number", "give each encoder the same number of vectors"
            )
        # Never token_0, token_1, …: diffusers expands those names itself, and would do it a second time.
        self._names = [f"{token[:-1]}|{index}>" for index in range(counts.pop())]
        self._tokenizers = [_extended(encoder.tokenizer, self._names) for encoder in self._encoders]
        self.rows = nn.ParameterDict(
            {
                encoder.name: nn.Parameter(start[encoder.name].detach().float().clone().to(encoder.table.device))
                for encoder in self._encoders
            }
        )

    def expand(self, prompt: str) -> str:
        """`prompt` with the token replaced by its placeholders."""
        return prompt.replace(self.token, " ".join(self._names))

    def check_fits(self, prompt: str) -> None:
        """Refuse a prompt whose rows and words do not fit the encoder, which would cut them off in silence.

        Raises:
            UsageError: too many vectors for this prompt.
        """
        for encoder, tokenizer in zip(self._encoders, self._tokenizers, strict=True):
            with quiet():
                needed, most = len(tokenizer(self.expand(prompt)).input_ids), room(self._pipe, encoder)
            if needed > most:
                raise UsageError(
                    f"{len(self._names)} vectors and the caption make {needed} tokens; this base reads {most}",
                    _fewer(len(self._names) - needed + most),
                )

    @contextmanager
    def active(self, each: Mapping[str, Tensor] | None = None) -> Iterator[None]:
        """While open, the pipeline's tokenizers know the placeholders and its encoders answer them with the rows.

        With `each`, (P, n, d) for each encoder, the first of P prompts gets the first n rows, the second the next: a
        gradient of its own for every prompt.
        """
        hooks: list[RemovableHandle] = []
        ends = [(part, part.eos_token_id) for encoder in self._encoders for part in misled_ends(encoder)]
        try:
            self._put_in(each or self.rows, hooks)
            yield
        finally:
            for hook in hooks:
                hook.remove()
            for part, end in ends:
                part.eos_token_id = end
            for encoder in self._encoders:
                setattr(self._pipe, encoder.tokenizer_name, encoder.tokenizer)

    def plug_in(self) -> None:
        """Stay active for good, for drawing; the pipeline's tokenizers read the token itself in prompts.

        For pipelines that diffusers has no loader for. Nothing of the base is written to: neither table nor weights.
        """
        self.requires_grad_(False)
        for tokenizer in self._tokenizers:
            _teach(tokenizer, self.expand)
        _spare(self._pipe, self.token)
        self._put_in(self.rows, [])

    def _put_in(self, rows: Mapping[str, Tensor] | nn.ParameterDict, hooks: list[RemovableHandle]) -> None:
        for encoder, tokenizer in zip(self._encoders, self._tokenizers, strict=True):
            for part in misled_ends(encoder):
                part.eos_token_id = encoder.tokenizer.eos_token_id
            setattr(self._pipe, encoder.tokenizer_name, tokenizer)
            first = int(tokenizer.convert_tokens_to_ids(self._names[0]))
            answer = self._answer(rows[encoder.name], first)
            for module in _tables(encoder.model):
                hooks.append(module.register_forward_pre_hook(answer.before, with_kwargs=True))
                hooks.append(module.register_forward_hook(answer.after))

    def _answer(self, rows: Tensor, first: int) -> _Answer:
        return _Answer(rows, first)


def starting_rows(
    pipe: Pipeline, text: str, vectors: int, *, generator: torch.Generator, spread: float = _SPREAD
) -> dict[str, Tensor]:
    """Rows to start from, (vectors, d) for each encoder: the mean row of the words of `text`, spread by a little noise
    (`spread`, in the words' standard deviations).

    With no known word in `text` the mean of the whole table serves. A decoder without words has one vector (1, d).

    Raises:
        UsageError: several vectors for such a decoder.
    """
    if not encoders(pipe):
        return image_vectors.start(pipe, vectors, generator=generator, spread=spread)
    start = {}
    for encoder in encoders(pipe):
        table = encoder.table.detach().float().cpu()
        ids = encoder.tokenizer(text, add_special_tokens=False).input_ids
        words = table[[number for number in ids if number not in set(encoder.tokenizer.all_special_ids)]]
        words = words if len(words) else table
        # A mean of several words is shorter than each; at their own length the encoder reads it as a word.
        mean = F.normalize(words.mean(0), dim=0) * words.norm(dim=1).mean()
        noise = torch.randn(vectors, table.shape[1], generator=generator)
        start[encoder.name] = mean + spread * words.std() * noise
    return start


def _fewer(vectors: int) -> str:
    return f"use at most {vectors} vectors, or a shorter caption" if vectors > 0 else "use a shorter caption"


def misled_ends(encoder: Encoder) -> list[Any]:
    """Parts of a CLIP encoder that would take the pooled text at a placeholder.

    Old configurations name 2 as the end of the text; transformers then pools at the highest id, which is a new token's.
    """
    end = encoder.tokenizer.eos_token_id
    return [
        part for part in encoder.model.modules() if getattr(part, "eos_token_id", None) == 2 and end not in (None, 2)
    ]


class _Answer:
    """The pair of hooks on one embedding module: placeholders become a harmless id, then their rows."""

    def __init__(self, rows: Tensor, first: int) -> None:
        self._rows, self._first, self._count = rows, first, rows.shape[-2]
        self._places = torch.empty(0, dtype=torch.long)

    def before(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        ids: Tensor = args[0] if args else kwargs["input"]
        self._places = ids - self._first
        safe = ids.masked_fill(self._mask(), 0)
        return ((safe, *args[1:]), kwargs) if args else (args, {**kwargs, "input": safe})

    def after(self, _module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        mask = self._mask()
        places = self._places.masked_fill(~mask, 0)
        if self._rows.ndim == 3:  # rows of each prompt's own, one prompt after the other
            places = places + self._count * torch.arange(len(places), device=places.device)[:, None]
        # F.embedding and not indexing: its gradient is summed in a fixed order, so one seed gives one file.
        rows = F.embedding(places, self._rows.reshape(-1, self._rows.shape[-1]).to(places.device))
        return torch.where(mask[..., None], rows.to(output.dtype), output)

    def _mask(self) -> Tensor:
        return (self._places >= 0) & (self._places < self._count)


def _matching(pipe: Pipeline, start: Mapping[str, Tensor]) -> list[Encoder]:
    known = {encoder.name: encoder for encoder in encoders(pipe)}
    if not start or not set(start) <= set(known):
        raise UsageError(f"the base has no encoder {sorted(set(start) - set(known))}", "train or load for this base")
    for name, rows in start.items():
        width = known[name].table.shape[1]
        if rows.ndim != 2 or rows.shape[1] != width:
            raise UsageError(
                f"rows of shape {tuple(rows.shape)} for {name}, which is {width} wide", "use the right base"
            )
    return [known[name] for name in start]


def _extended(tokenizer: Any, names: list[str]) -> Any:
    extended = copy.deepcopy(tokenizer)
    if extended.add_tokens(names) != len(names):
        raise UsageError(f"the base's tokenizer already has tokens like {names[0]}", "choose another token")
    return extended


def _teach(tokenizer: Any, expand: Callable[[str], str]) -> None:
    """Make one tokenizer expand prompts before it reads them: a class of its own, under the name of the old one."""
    kind = type(tokenizer)

    def call(self: Any, text: Any = None, *rest: Any, **named: Any) -> Any:
        expanded = [expand(part) for part in text] if isinstance(text, list) else expand(text)
        return kind.__call__(self, expanded, *rest, **named)

    tokenizer.__class__ = type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__})


def _spare(pipe: Any, token: str) -> None:
    """Let the pipeline clean its prompts without the token, which some cleaning takes for a tag of HTML and drops."""
    clean = getattr(pipe, "_text_preprocessing", None)
    if clean is None:
        return
    hidden = "".join(chr(ord("a") + digit) for byte in token.encode() for digit in divmod(byte, 16))

    def spared(text: Any, *rest: Any, **named: Any) -> list[str]:
        texts = [text] if isinstance(text, str) else text
        cleaned = clean([part.replace(token, hidden) for part in texts], *rest, **named)
        return [part.replace(hidden, token) for part in cleaned]

    pipe._text_preprocessing = spared


def _tables(model: nn.Module) -> list[nn.Module]:
    """The token-embedding module, and any other that shares its weight (T5 has two)."""
    table = model.get_input_embeddings()  # type: ignore[operator]
    return [m for m in model.modules() if isinstance(m, nn.Embedding) and (m is table or m.weight is table.weight)]
