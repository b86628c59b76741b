"""A stop for a base that computes values which are not numbers: pipelines save such images as black ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from embhub.errors import UsageError


@contextmanager
def finite_images() -> Iterator[None]:
    """Inside, no pipeline turns values that are not numbers into pixels.

    The autoencoder of SDXL in float16 is the usual cause: its activations overflow.

    Raises:
        UsageError: The images would be black, or partly so.
    """
    try:
        with np.errstate(invalid="raise"):
            yield
    except FloatingPointError as error:
        raise UsageError(
            "the base computed values that are not numbers, which an image shows as black",
            "use --dtype float32 or bfloat16, another scheduler, or lower guidance; check the base's files",
        ) from error
