"""What an image is moved away from: a negative prompt, and embeddings whose placeholder tokens stand in it.

Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) moves from the prediction without a prompt towards
that of the prompt. With a negative prompt it moves from the prediction of that one, so bases without such guidance
have no place for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embhub.diffusion.families import find, of_class
from embhub.diffusion.families.pipeline import Pipeline
from embhub.errors import UsageError


def join_negative(negative: str | None, tokens: Sequence[str]) -> str | None:
    """The negative prompt with the tokens of all negative embeddings: those that it does not mention at its end.

    Raises:
        UsageError: an empty negative prompt.
    """
    if negative is not None and not negative.strip():
        raise UsageError("the negative prompt is empty", "write what images should not show, or leave it out")
    filled = (negative or "").replace("{}", " ".join(tokens)).strip()
    return ", ".join([*([filled] if filled else []), *(token for token in tokens if token not in filled)]) or None


def check_negative(pipe: Pipeline, negative: str | None, *, guidance: float) -> None:
    """Refuse a negative prompt that the pipeline would not read.

    Raises:
        UsageError: a base without classifier-free guidance, or guidance of 1 or less.
    """
    if negative is None:
        return
    family = find(pipe)
    if family is None or not family.negative:
        raise _refusal(type(pipe).__name__)
    if not guidance > 1:
        raise UsageError(
            f"a negative prompt needs guidance above 1, and it is {guidance:g}",
            "raise --guidance-scale, or leave out --negative",
        )


def check_kind(kind: str) -> None:
    """Refuse a negative prompt for a class of pipelines that reads none, before such a base is loaded.

    Raises:
        UsageError: as `check_negative`; a class that no adapter knows is left to the loader.
    """
    if (family := of_class(kind)) and not family.negative:
        raise _refusal(kind)


def _refusal(kind: str) -> UsageError:
    return UsageError(
        f"a {kind} takes no negative prompt: it is not drawn with classifier-free guidance of two prompts",
        "leave out --negative, or use another base: docs/how-to/base-families.md says which take one",
    )


def told_negative(negative: str | None, count: int) -> dict[str, Any]:
    """The negative prompt of `count` images for a pipeline's call."""
    return {} if negative is None else {"negative_prompt": [negative] * count}
