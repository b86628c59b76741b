"""What cannot be done with a compact adapter, which changes the denoiser and so every prompt. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable

from embhub.artifact.embedding import Embedding
from embhub.errors import UsageError
from embhub.options.sampling import Sampling


def refuse_negative(embeddings: Iterable[Embedding]) -> None:
    """Refuse an adapter as a negative embedding: plugged in, it would act on the image that is to be without it.

    Raises:
        UsageError: one of them is an adapter.
    """
    if token := _first_adapter(embeddings):
        raise UsageError(
            f"{token} is a compact adapter, which changes every prompt: no image can be moved away from it",
            "give a token embedding as the negative one, or write a negative prompt",
        )


def refuse_quantized(embeddings: Iterable[Embedding], sampling: Sampling | None) -> None:
    """Refuse an adapter with a quantized denoiser: its matrices go beside linear layers, which are no longer there.

    Raises:
        UsageError: one of them is an adapter, and the denoiser's layers are to compute in integers.
    """
    if sampling is not None and sampling.quantize and (token := _first_adapter(embeddings)):
        raise UsageError(
            f"{token} is a compact adapter, and a quantized denoiser takes none", "leave out --quantize, or the adapter"
        )


def _first_adapter(embeddings: Iterable[Embedding]) -> str | None:
    return next((embedding.token for embedding in embeddings if embedding.kind == "adapter"), None)
