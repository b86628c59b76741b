"""Details are matched in a basis in which one product serves four forms; here each form has a product of its own."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from embhub.diffusion.copying import details, keypoints
from tests.support.quick import examples


def ordered(histograms: Tensor) -> Tensor:
    """Histograms (..., 128) of an image as it is, inverted, mirrored, and both: (4, ..., 128)."""
    cells = histograms.reshape(*histograms.shape[:-1], 4, 4, 8)
    mirrored = cells.flip(-3)[..., [0, 7, 6, 5, 4, 3, 2, 1]]
    return torch.stack([cells, cells.flip(-2, -3), mirrored, mirrored.flip(-2, -3)]).flatten(-3)


def blobs(histograms: Tensor) -> keypoints.Keypoints:
    nowhere = torch.zeros(histograms.shape[:2])
    real = torch.ones(histograms.shape[:2], dtype=torch.bool)
    return keypoints.Keypoints(nowhere, nowhere, nowhere, nowhere, keypoints.fold(histograms), real)


@given(seed=st.integers(0, 2**32 - 1), sizes=st.tuples(*[st.integers(1, 4)] * 3), planted=st.integers(0, 3))
@settings(max_examples=examples(60), deadline=None)
def test_the_most_similar_blob_in_any_form_is_that_of_plain_products(
    seed: int, sizes: tuple[int, int, int], planted: int
) -> None:
    count, many, known = sizes
    rng = np.random.default_rng(seed)
    asked, theirs = (
        torch.nn.functional.normalize(torch.from_numpy(rng.random((rows, many, 128), dtype=np.float32)), dim=-1)
        for rows in (count, known)
    )
    theirs[0, 0] = ordered(asked)[planted, 0, 0]  # a copy, in one of the forms
    plain = torch.einsum("nkd,fmld->nmklf", asked, ordered(theirs))
    likeness, which = details._match(blobs(asked), blobs(theirs))
    torch.testing.assert_close(likeness, plain.amax((3, 4)), rtol=0, atol=2e-6)
    chosen = plain.amax(4).gather(3, which[..., None])[..., 0]
    torch.testing.assert_close(chosen, likeness, rtol=0, atol=2e-6)
    assert abs(likeness[0, 0, 0] - 1) < 2e-6 and which[0, 0, 0] == 0


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=examples(60), deadline=None)
def test_signed_sums_of_four_parts_are_the_products_of_four_forms(seed: int) -> None:
    one, other = (
        torch.from_numpy(part) for part in np.random.default_rng(seed).normal(size=(2, 128)).astype(np.float32)
    )
    parts = (keypoints.fold(one) * keypoints.fold(other)).sum(-1)
    torch.testing.assert_close(keypoints.FORMS @ parts, ordered(other) @ one, rtol=0, atol=1e-4)
