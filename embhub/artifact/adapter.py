"""A compact adapter: low-rank changes (LoRA, Hu et al. 2021, arXiv 2106.09685) of the keys and values by which a U-Net
reads text. Names, shapes and ranks that such a file may have. Pure.

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
    from embhub.privacy.claim import Claim

LAYOUT: Final = "adapter"
KIND: Final = "adapter"
"""What `embhub.kind` in the header says of an adapter; a file of token embeddings does not have it."""
TOOL: Final = "embhub adapt"
MOST_RANK, MOST_PLACES = 4, 160
TARGETS: Final = r".*\.attn2\.to_[kv]"
"""The modules of a U-Net that change, as peft takes them: keys and values of its cross-attention."""
_NAME = re.compile(r"unet\.((?:[a-z]+(?:_[a-z]+)*\.|\d{1,3}\.){1,12}attn2)\.to_([kv])\.lora_([AB])\.weight")
_AGAIN = "train it again with `embhub research adapt`"


class BadAdapterError(ArtifactError):
    """An adapter with matrices of other parts or another rank, or with a privacy claim, which no adapter has."""


def is_adapter(names: Iterable[str]) -> bool:
    """Whether these are names of an adapter's tensors, rather than of token embeddings."""
    return any(".lora_" in name for name in names)


def check(tensors: Mapping[str, Tensor]) -> tuple[int, int, str]:
    """Rank, width of the text that is read, and number type.

    Raises:
        BadAdapterError: a matrix of another part, one without its other half, or of another rank, width or type.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if (match := _NAME.fullmatch(name)) is None:
            raise BadAdapterError(
                f"the tensor {ascii(name)[:80]} changes something else than how the denoiser reads text", _AGAIN
            )
        found.setdefault(match[1], {})[f"{match[2]}{match[3]}"] = tensor
    if len(found) > MOST_PLACES:
        raise BadAdapterError(f"the adapter changes {len(found)} places; at most {MOST_PLACES} are taken", _AGAIN)
    for place, parts in found.items():
        if set(parts) != {"kA", "kB", "vA", "vB"}:
            raise BadAdapterError(
                f"the adapter changes a part of {place} only: keys and values belong together", _AGAIN
            )
        if parts["kB"].shape != parts["vB"].shape:
            raise BadAdapterError(f"keys and values of {place} differ in shape", _AGAIN)
    ups = [tensor for parts in found.values() for key, tensor in parts.items() if key.endswith("B")]
    downs = [tensor for parts in found.values() for key, tensor in parts.items() if key.endswith("A")]
    shapes = {tensor.shape for tensor in downs}
    types = {tensor.dtype for tensor in (*ups, *downs)}
    if len(shapes) != 1 or len(types) != 1:
        raise BadAdapterError("the adapter's matrices differ in rank, in the width of the text, or in type", _AGAIN)
    rank, width = next(iter(shapes))
    if not 1 <= rank <= MOST_RANK or any(tensor.shape[1] != rank for tensor in ups):
        raise BadAdapterError(f"the adapter's ranks are not one number from 1 to {MOST_RANK}", _AGAIN)
    return rank, width, next(iter(types))


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
