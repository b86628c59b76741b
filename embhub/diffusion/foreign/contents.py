"""What other programs put in an embedding's file, brought to one form: matrices of rows, by name where they have one.

Known are `string_to_param` of AUTOMATIC1111 and of the original Textual Inversion program, diffusers' `{token: rows}`,
kohya's `emb_params` or `clip_l` and `clip_g`, the `t5` or `t5xxl` of SD 3 and FLUX, OneTrainer's
`bundle_emb.NAME.ENCODER`, which ComfyUI reads as well, a bare tensor, and lists of tensors or of dictionaries of them,
whose rows follow each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from embhub.errors import ArtifactError
from embhub.formats.tensors import MAX_ROWS, MAX_WIDTH, BadTensorShapeError

_NUMBERS = (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2,
)  # fmt: skip
ENCODERS = ("clip_l", "clip_g", "t5xxl")
_BUNDLE = "bundle_emb."


@dataclass(frozen=True)
class Contents:
    """Matrices (rows, width) of one file: `named` by ENCODERS, or `unnamed`; `facts` may be published."""

    named: Mapping[str, torch.Tensor] = field(default_factory=dict)
    unnamed: tuple[torch.Tensor, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def find(content: Any) -> Contents:
    """The rows in what a file holds.

    Raises:
        ArtifactError: two embeddings, rows beside a LoRA's weights, or matrices that no embedding has.
    """
    if isinstance(content, Mapping) and isinstance(content.get("string_to_param"), Mapping):
        facts: dict[str, Any] = {"source_format": "AUTOMATIC1111"}
        if isinstance(steps := content.get("step"), int) and not isinstance(steps, bool) and steps >= 0:
            facts["source_steps"] = steps
        rows = content["string_to_param"]
        if isinstance(held := getattr(rows, "_parameters", None), Mapping):
            rows, facts["source_format"] = held, "textual inversion"
        return Contents(unnamed=_matrices(rows.values()), facts=facts)
    if isinstance(content, list | tuple):
        return Contents(unnamed=_join(content), facts={"source_format": "list"})
    if isinstance(content, torch.Tensor):
        return Contents(unnamed=_matrices([content]), facts={"source_format": "tensor"})
    if not isinstance(content, Mapping):
        return Contents()
    names = [name for name in content if isinstance(name, str)]
    if any(name.startswith(_BUNDLE) for name in names):
        return Contents(named=_unbundle(content), facts={"source_format": "bundle"})
    named = {_encoder(name): content[name] for name in names if _encoder(name) in ENCODERS}
    if set(map(_encoder, names)) <= set(ENCODERS) and len(named) == len(names) > 1:
        rows = {name: _matrices([value]) for name, value in named.items()}
        return Contents(
            named={name: found[0] for name, found in rows.items() if found}, facts={"source_format": "kohya"}
        )
    facts = {"source_format": "kohya" if "emb_params" in names else "diffusers"}
    return Contents(unnamed=_matrices(content.values()), facts=facts)


def _encoder(name: str) -> str:
    return "t5xxl" if name == "t5" else name


def _matrices(values: Iterable[Any]) -> tuple[torch.Tensor, ...]:
    """Each value that can be rows, as a matrix; its size is checked before anything is copied."""
    found = []
    for value in values:
        if isinstance(value, torch.Tensor) and value.dtype in _NUMBERS and value.ndim in (1, 2) and value.numel():
            rows = value.detach()[None] if value.ndim == 1 else value.detach()
            if rows.shape[0] > MAX_ROWS or rows.shape[1] > MAX_WIDTH:
                raise BadTensorShapeError(
                    f"the file holds a matrix of {rows.shape[0]:,} x {rows.shape[1]:,}",
                    f"an embedding has 1 to {MAX_ROWS} rows of at most {MAX_WIDTH} numbers",
                )
            found.append(rows)
    return tuple(found)


def _join(items: Iterable[Any]) -> tuple[torch.Tensor, ...]:
    """Lists hold one part of the rows after the other: one matrix for each width."""
    by_width: dict[int, list[torch.Tensor]] = {}
    parts = _matrices(_flatten(items))
    for rows in parts[: MAX_ROWS + 1]:
        by_width.setdefault(rows.shape[1], []).append(rows)
    if len(parts) > MAX_ROWS or any(sum(map(len, rows)) > MAX_ROWS for rows in by_width.values()):
        raise BadTensorShapeError(
            "the file's list holds more rows than an embedding", f"an embedding has 1 to {MAX_ROWS} rows"
        )
    return tuple(torch.cat(rows) for rows in by_width.values())


def _flatten(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        yield from item.values() if isinstance(item, Mapping) else (item,)


def _unbundle(content: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    parts = {}
    owners = set()
    for name, value in content.items():
        prefix, _, encoder = str(name).rpartition(".")
        if not prefix.startswith(_BUNDLE) or _encoder(encoder) not in ENCODERS:
            raise ArtifactError(
                f"the file holds more than rows: {ascii(name)[:60]}",
                "rows that were learned together with a LoRA, or with output vectors, do little without them",
            )
        owners.add(prefix)
        parts[_encoder(encoder)] = value
    if len(owners) != 1:
        raise ArtifactError(f"the file bundles {len(owners)} embeddings", "take them apart first: one token a file")
    return {name: rows for name, value in parts.items() for rows in _matrices([value])}
