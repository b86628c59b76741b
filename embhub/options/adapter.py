"""The options of an adapter's training, written once for library and command line; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from embhub.options.fields import check_ranges, option
from embhub.options.precision import MEANING, Precision

TargetModules = Literal["attention", "cross-attention-kv"]

_BY_BASE = "[default: depends on the base]"


@dataclass(frozen=True, kw_only=True)
class AdapterRecipe:
    """How a compact adapter is learned; a field that is None takes what suits the base.

    Attributes:
        rank: rank of the changes.
        target_modules: `cross-attention-kv` for keys and values of the cross-attention, `attention` for all linear
            layers of self- and cross-attention, which gives away more of single patients.
        steps: optimization steps.
        learning_rate: peak learning rate of AdamW.
        batch_size: images of a step.
        precision: number format of the computation; the matrices and the optimizer stay float32. `auto` by default.

    Raises:
        UsageError: a value out of its range.

    Example:
        >>> import embhub
        >>> embhub.AdapterRecipe(rank=1).rank
        1
    """

    rank: int = option("Rank of the adapter.", default=2, low=1, high=4, metavar="R")
    target_modules: TargetModules = option(
        "Modules that change: cross-attention-kv for keys and values of the cross-attention, attention for all linear"
        " layers of all attention, which gives away more of single patients.",
        default="cross-attention-kv",
    )
    steps: int | None = option(f"Optimization steps  {_BY_BASE}", low=1, high=10**6)
    learning_rate: float | None = option(f"Peak learning rate of AdamW  {_BY_BASE}", above=0, high=1)
    batch_size: int | None = option(f"Batch size: images per step  {_BY_BASE}", low=1, high=4096)
    precision: Precision | None = option(f"Number format of the computation; {MEANING}  [default: auto]")

    def __post_init__(self) -> None:
        check_ranges(self)
