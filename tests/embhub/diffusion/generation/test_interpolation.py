"""Series: their ends are the plain pictures; between siblings rows turn, and strangers have nothing between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import Embedding
from embhub.diffusion.generation.generation import generate, prepare
from embhub.diffusion.generation.interpolation import draw_series, interpolate
from embhub.diffusion.generation.slerp import NotSiblingsError, check_siblings, slerp
from embhub.errors import UsageError
from tests.support import pipelines
from tests.support.adapters import TINY, make_adapter, make_matrices

Array = np.ndarray[Any, Any]
START = 3 * np.random.default_rng(0).normal(size=(2, pipelines.WIDTH))


def embed(base: Path | None, token: str, rows: Array, name: str = "tiny") -> Embedding:
    taken = fingerprint.take(base) if base else None
    return artifact.build({"emb_params": rows}, token=token, base=taken, base_name=name, training={}, dtype="float32")


def sibling(seed: int) -> Array:
    return START + 0.8 * np.random.default_rng(seed).normal(size=START.shape)


def pixels(images: Any) -> Array:
    return np.stack([np.asarray(image, dtype=int) for image in images])


@pytest.mark.thorough
def test_a_series_between_prompts_has_the_plain_pictures_at_its_ends(base: Path) -> None:
    settings: dict[str, Any] = {"base": base, "n": 2, "seed": 3, "steps": 2, "guidance_scale": 2.0, "device": "cpu"}
    series = interpolate("mri a", "mri b", series=3, **settings)
    assert series.weights == (0.0, 0.5, 1.0) and [len(row) for row in series.pictures] == [3, 3]
    columns = [pixels(column) for column in zip(*series.pictures, strict=True)]
    assert np.array_equal(columns[0], pixels(generate("mri a", **settings)))
    assert np.array_equal(columns[2], pixels(generate("mri b", **settings)))
    assert np.array_equal(columns[1], pixels(generate([("mri a", 0.5), ("mri b", 0.5)], **settings)))
    assert series.sheet().size == (3 * 32, 14 + 2 * 32)
    assert np.array_equal(np.asarray(series.sheet(), int)[14:46, 64:96], pixels([series.pictures[0][2]])[0])


@pytest.mark.thorough
def test_a_series_between_siblings_has_the_plain_pictures_at_its_ends(base: Path) -> None:
    settings: dict[str, Any] = {"base": base, "n": 1, "seed": 3, "steps": 2, "guidance_scale": 2.0, "device": "cpu"}
    one, other = embed(base, "<a>", sibling(1)), embed(base, "<other>", sibling(2))
    series = interpolate("mri {}", embeddings=[one], slerp_to=other, series=3, **settings)
    settings |= {"mark": False}  # a series between two embeddings is of neither: its noise has no mark
    drawn = pixels(series.pictures[0])
    for place, end in ((0, one), (2, other)):
        assert np.abs(drawn[place] - pixels(generate("mri {}", embeddings=[end], **settings))[0]).max() <= 1
    assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[1], drawn[2])


@pytest.mark.parametrize(
    ("start", "end", "series", "heads"),
    [
        ("mri", "mri {}", 2, ("without", "with")),
        ("mri", "mri <a>", 3, ("0.00", "0.50", "1.00")),
        ("mri <a>", "ct <a>", 2, ("0.00", "1.00")),
        ("mri <a>", "mri", 2, ("0.00", "1.00")),
    ],
)
def test_a_pair_of_which_the_second_alone_shows_an_embedding_is_headed_in_words(
    base: Path, start: str, end: str, series: int, heads: tuple[str, ...]
) -> None:
    settings: dict[str, Any] = {"base": base, "n": 1, "steps": 1, "guidance_scale": 2.0, "device": "cpu"}
    assert interpolate(start, end, embeddings=[embed(base, "<a>", START)], series=series, **settings).heads == heads


def test_the_column_without_an_adapter_is_generated_without_it(base: Path) -> None:
    strong = {name: 5 * values for name, values in make_matrices(out=32, places=TINY).items()}
    adapter = make_adapter(strong, base=fingerprint.take(base))
    settings: dict[str, Any] = {"base": base, "steps": 2, "guidance_scale": 2.0, "device": "cpu", "mark": False}
    series = draw_series(prepare([adapter], **settings), "mri", "mri {}", series=2, n=1, seed=3)
    ends = [generate("mri", seed=3, **settings), generate("mri {}", seed=3, embeddings=[adapter], **settings)]
    assert series.heads == ("without", "with")
    assert np.array_equal(pixels(series.pictures[0]), pixels([end[0] for end in ends]))


def test_strangers_are_refused_by_their_cosine() -> None:
    one, stranger = embed(None, "<a>", START), embed(None, "<b>", np.random.default_rng(9).normal(size=START.shape))
    with pytest.raises(NotSiblingsError, match=r"mean cosine of -?0\.[0-4]"):
        slerp(one, stranger, 0.5)
    assert check_siblings(one, embed(None, "<b>", sibling(1))) > 0.9


def test_other_shapes_and_bases_are_refused(base: Path) -> None:
    one = embed(None, "<a>", START)
    with pytest.raises(NotSiblingsError, match=r"vectors \(2 and 1\)"):
        slerp(one, embed(None, "<b>", START[:1]), 0.5)
    with pytest.raises(NotSiblingsError, match="different bases, tiny and other"):
        slerp(one, embed(None, "<b>", START, "other"), 0.5)
    with pytest.raises(NotSiblingsError, match="different bases"):
        slerp(one, embed(base, "<b>", START), 0.5)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "second prompt or a sibling"),
        ({"end": "b", "slerp_to": embed(None, "<b>", START)}, "second prompt or a sibling"),
        ({"end": "b", "series": 1}, "series of 1"),
        ({"end": "b", "series": 102}, "series of 102"),
        ({"slerp_to": embed(None, "<b>", START)}, "0 embeddings to turn"),
    ],
)
def test_impossible_series(base: Path, choices: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        interpolate("mri", base=base, steps=1, **choices)


ROWS = arrays(np.float64, (2, 6), elements=st.floats(-2, 2))


@given(ROWS, ROWS, st.floats(0, 1))
def test_a_row_between_two_has_a_length_and_angles_between_theirs(first: Array, second: Array, share: float) -> None:
    ends = [np.array([3.0, 3, 3, 3, 3, 3]) + rows for rows in (first, second)]
    one, other = embed(None, "<a>", ends[0]), embed(None, "<b>", ends[1])
    between = slerp(one, other, share).tensors["emb_params"].astype(np.float64)
    lengths = [np.linalg.norm(rows, axis=1) for rows in (*ends, between)]
    assert np.allclose(lengths[2], (1 - share) * lengths[0] + share * lengths[1], rtol=1e-5)

    def angle(x: Array, y: Array) -> Array:
        cosines: Array = np.sum(x * y, 1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        return np.arccos(np.clip(cosines, -1, 1))

    whole = angle(ends[0], ends[1])
    assert np.allclose(angle(ends[0], between), share * whole, atol=2e-3)
    assert np.allclose(angle(between, ends[1]), (1 - share) * whole, atol=2e-3)


def test_the_ends_are_the_rows_themselves() -> None:
    one, other = embed(None, "<a>", START), embed(None, "<b>", sibling(1))
    assert np.array_equal(slerp(one, other, 0).tensors["emb_params"], one.tensors["emb_params"])
    assert np.array_equal(slerp(one, other, 1).tensors["emb_params"], other.tensors["emb_params"])
    with pytest.raises(ValueError, match="between 0 and 1"):
        slerp(one, other, 1.1)
