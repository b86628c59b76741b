"""Where something is redrawn: boxes, masks, their borders, and the cells of the denoiser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embhub.errors import UsageError
from embhub.images import masks
from embhub.options.redrawing import Box, parse_box


def test_a_box_is_a_mask() -> None:
    mask = masks.from_box(parse_box("3, 1,2,4"), (8, 6))
    assert mask.shape == (6, 8) and mask.sum() == 8 and mask[1:5, 3:5].all()


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "1.5,2,3,4", "1,2,0,4", "1,2,3,-4"])
def test_a_box_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="box"):
        parse_box(text)


@given(st.text(max_size=20))
def test_any_text_is_a_box_or_a_clear_error(text: str) -> None:
    try:
        box = parse_box(text)
    except UsageError as error:
        assert error.hint
    else:
        assert len(box) == 4 and min(box[2:]) >= 1


@pytest.mark.parametrize("box", [(-1, 0, 2, 2), (0, -1, 2, 2), (7, 0, 2, 2), (0, 5, 2, 2), (0, 0, 9, 2)])
def test_a_box_that_reaches_out_of_the_image(box: Box) -> None:
    with pytest.raises(UsageError, match="8 x 6 pixels"):
        masks.from_box(box, (8, 6))


def test_the_brighter_half_of_a_mask_file_counts(tmp_path: Path) -> None:
    values = np.array([[0, 127], [128, 255]], np.uint8)
    Image.fromarray(values).save(tmp_path / "mask.png")
    assert np.array_equal(masks.read_mask(tmp_path / "mask.png", "the mask"), [[False, False], [True, True]])
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match="the mask is not an image"):
        masks.read_mask(tmp_path / "bad.png", "the mask")


def test_a_mask_that_does_not_fit_says_so() -> None:
    mask = np.zeros((6, 8), bool)
    with pytest.raises(UsageError, match="8 x 6 pixels, its image 6 x 8"):
        masks.check_mask(mask, (6, 8))
    with pytest.raises(UsageError, match="marks nothing"):
        masks.check_mask(mask, (8, 6))
    with pytest.raises(UsageError, match="covers the whole image"):
        masks.check_mask(~mask, (8, 6))


def test_a_mask_grows_and_shrinks() -> None:
    mask = masks.from_box((4, 4, 4, 4), (12, 12))
    assert np.array_equal(masks.grow(mask, 0), mask)
    assert masks.grow(mask, 1).sum() == 16 + 16 and masks.grow(mask, -1).sum() == 4
    assert not masks.grow(mask, -2).any()


def test_the_border_falls_from_all_to_exactly_nothing() -> None:
    share = masks.fade(masks.from_box((0, 0, 4, 8), (16, 8)), border=3)[0]
    assert (share[:4] == 1).all() and (share[7:] == 0).all()
    assert (np.diff(share[3:8]) < 0).all()
    assert np.array_equal(masks.fade(masks.from_box((0, 0, 4, 8), (16, 8)), border=0)[0] > 0, np.arange(16) < 4)


@given(st.integers(4, 40), st.data())
def test_no_mark_is_lost_on_the_way_to_cells(side: int, data: st.DataObject) -> None:
    """Whatever the size of the image: a marked pixel lies in a marked cell, and a cell without a mark is none."""
    mask = np.zeros((side, side), bool)
    for _ in range(data.draw(st.integers(1, 3))):
        mask[data.draw(st.integers(0, side - 1)), data.draw(st.integers(0, side - 1))] = True
    cells = masks.to_cells(mask, 32, 8)
    assert cells.shape == (32, 32)
    by_cell = cells.reshape(4, 8, 4, 8)
    assert (by_cell.all((1, 3)) == by_cell.any((1, 3))).all()
    fine = np.kron(mask, np.ones((32, 32), bool))  # both at a size that either divides
    expected = fine.reshape(4, side * 8, 4, side * 8).any((1, 3))
    assert np.array_equal(by_cell.any((1, 3)), expected)
