"""A compact adapter: low-rank changes (LoRA, Hu et al. 2021, arXiv 2106.09685) of the attention layers of a U-Net, or
only of the keys and values by which it reads text. Names, shapes and ranks that such a file may have. Pure.

The names are diffusers' own, so that its `load_lora_weights` takes the file as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from embhub.artifact.derivation import Derivation
from embhub.errors import ArtifactError
from embhub.formats.tensors import Tensor
from embhub.privacy.claim_or_none import is_claim

if TYPE_CHECKING:
    from embhub.options.adapter import TargetModules
    from embhub.privacy.claim import Claim

LAYOUT: Final = "adapter"
KIND: Final = "adapter"
"""What `embhub.kind` in the header says of an adapter; a file of token embeddings does not have it."""
TOOL: Final = "embhub adapt"
MOST_RANK, MOST_PLACES = 4, 160
TARGETS: Final[Mapping[TargetModules, str]] = {
    "attention": r".*\.attn[12]\.to_(q|k|v|out\.0)",
    "cross-attention-kv": r".*\.attn2\.to_[kv]",
}
"""The modules of a U-Net that change, as peft takes them: all linear layers of its self- and cross-attention, or keys
and values of its cross-attention."""
_NAME = re.compile(
    r"unet\.((?:[a-z]+(?:_[a-z]+)*\.|\d{1,3}\.){1,12}attn[12])\.(to_(?:q|k|v|out\.0))\.lora_([AB])\.weight"
)
_TEXT, _ALL = ("to_k", "to_v"), ("to_k", "to_out.0", "to_q", "to_v")
_AGAIN = "train it again with `embhub research adapt`"


class BadAdapterError(ArtifactError):
    """An adapter with matrices of other parts or another rank, or with a privacy claim, which no adapter has."""


def is_adapter(names: Iterable[str]) -> bool:
    """Whether these are names of an adapter's tensors, rather than of token embeddings."""
    return any(".lora_" in name for name in names)


def target_modules(names: Iterable[str]) -> TargetModules:
    """Which modules change, by the names of an adapter's tensors that `check` has accepted."""
    return "attention" if any(".to_q." in name for name in names) else "cross-attention-kv"


def check(tensors: Mapping[str, Tensor]) -> tuple[int, int, str]:
    """Rank, width of the text that is read, and number type.

    Raises:
        BadAdapterError: a matrix of another part, one without its other half, a place of which a part is missing, or
            matrices of different ranks or types, or of shapes that do not fit each other.
    """
    places = _sort_by_place(tensors)
    if len(places) > MOST_PLACES:
        raise BadAdapterError(f"the adapter changes {len(places)} places; at most {MOST_PLACES} are taken", _AGAIN)
    parts = _ALL if target_modules(tensors) == "attention" else _TEXT
    whole = {(part, half) for part in parts for half in "AB"}
    for place, matrices in places.items():
        if set(matrices) != whole:
            raise BadAdapterError(f"of {place} the adapter has not {', '.join(parts)}, each with both halves", _AGAIN)
        if parts is _TEXT and not place.endswith("attn2"):
            raise BadAdapterError(f"the adapter changes keys and values of {place}, a self-attention layer", _AGAIN)
    widths = {matrices["to_k", "A"].shape[1] for place, matrices in places.items() if place.endswith("attn2")}
    if len(widths) != 1:
        raise BadAdapterError("the adapter does not read text of one width", _AGAIN)
    width = widths.pop()
    for place, matrices in places.items():
        _check_shapes(place, {key: tensor.shape for key, tensor in matrices.items()}, width)
    ranks = {
        tensor.shape[0 if half == "A" else 1] for matrices in places.values() for (_, half), tensor in matrices.items()
    }
    types = {tensor.dtype for tensor in tensors.values()}
    if len(types) != 1:
        raise BadAdapterError("the adapter's matrices differ in type", _AGAIN)
    if len(ranks) != 1 or not 1 <= (rank := min(ranks)) <= MOST_RANK:
        raise BadAdapterError(f"the adapter's ranks are not one number from 1 to {MOST_RANK}", _AGAIN)
    return rank, width, types.pop()


def _sort_by_place(tensors: Mapping[str, Tensor]) -> dict[str, dict[tuple[str, str], Tensor]]:
    """The matrices of each attention layer, by part and half."""
    found: dict[str, dict[tuple[str, str], Tensor]] = {}
    for name, tensor in tensors.items():
        if (match := _NAME.fullmatch(name)) is None:
            raise BadAdapterError(
                f"the tensor {ascii(name)[:80]} changes something else than the denoiser's attention layers", _AGAIN
            )
        found.setdefault(match[1], {})[match[2], match[3]] = tensor
    return found


def _check_shapes(place: str, shapes: Mapping[tuple[str, str], tuple[int, ...]], text: int) -> None:
    """Queries, keys and values have one width. Keys and values read text; in a block's first attention they may read
    what queries read.
    """
    made_of = {part: shape[1] for (part, half), shape in shapes.items() if half == "A"}
    gives = {part: shape[0] for (part, half), shape in shapes.items() if half == "B"}
    fits = gives["to_k"] == gives["to_v"] and made_of["to_k"] == made_of["to_v"]
    if "to_q" in gives:
        fits &= gives["to_q"] == gives["to_k"] == made_of["to_out.0"] and gives["to_out.0"] == made_of["to_q"]
        fits &= made_of["to_k"] == text or (place.endswith("attn1") and made_of["to_k"] == made_of["to_q"])
    if not fits:
        raise BadAdapterError(f"the matrices of {place} do not fit each other in shape", _AGAIN)


def check_header(
    names: Iterable[str], *, kind: str | None, has_base: bool, claim: Claim, derived: Derivation | None
) -> None:
    """An adapter says so and nothing else does; it names its base, and claims no differential privacy.

    Raises:
        BadAdapterError: one of these does not hold.
    """
    if is_adapter(names) != (kind == KIND):
        raise BadAdapterError("the header and the tensors disagree on whether the file is an adapter", _AGAIN)
    if kind is None:
        return
    if not has_base:
        raise BadAdapterError("the adapter does not name its base by a fingerprint", _AGAIN)
    if derived is not None:
        raise BadAdapterError("the adapter says that it is a port, and adapters are not ported", _AGAIN)
    if is_claim(claim):
        raise BadAdapterError("the adapter claims differential privacy, and no adapter is trained with it", _AGAIN)
