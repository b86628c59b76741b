"""Whatever a file holds, it is rows for the base that was named, or our own error."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from embhub.diffusion.foreign.contents import find
from embhub.diffusion.foreign.importing import FAMILIES, read_foreign
from embhub.errors import ArtifactError, EmbhubError
from embhub.formats.tensors import MAX_ROWS, MAX_WIDTH

DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int64, torch.uint8, torch.bool, torch.complex64,
]  # fmt: skip
NAMES = st.sampled_from(
    ["*", "<x>", "emb_params", "clip_l", "clip_g", "t5", "t5xxl", "bundle_emb.a.clip_l", "bundle_emb.b.t5", "lora.up"]
)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 64, 65, 128, 768, 1280, 4096, 8193]), max_size=3)


SMALL = [(), (0, 768), (768,), (1, 128), (2, 768), (2, 1024), (2, 1280), (2, 4096), (64, 768), (65, 768), (2, 2, 768)]


@st.composite
def small_tensors(draw: st.DrawFn) -> torch.Tensor:
    return torch.ones(draw(st.sampled_from(SMALL))).to(draw(st.sampled_from(DTYPES)))


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Of any kind and shape, and of no size: one number, said to be many."""
    return torch.zeros(1, dtype=draw(st.sampled_from(DTYPES))).expand(draw(SHAPES) or [1])


CONTENTS = st.recursive(
    tensors() | st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(NAMES, inner, max_size=4)
        | st.fixed_dictionaries({"string_to_param": inner, "step": inner})
    ),
    max_leaves=8,
)


@given(CONTENTS)
def test_any_content_is_matrices_of_rows_or_our_error(content: Any) -> None:
    try:
        found = find(content)
    except ArtifactError as error:
        assert error.message and error.hint
        return
    for rows in [*found.named.values(), *found.unnamed]:
        assert rows.ndim == 2 and rows.is_floating_point()
        assert 1 <= rows.shape[0] <= MAX_ROWS and 1 <= rows.shape[1] <= MAX_WIDTH


@given(
    st.dictionaries(NAMES, small_tensors(), max_size=3),
    st.dictionaries(st.sampled_from(["embhub.training", "embhub.base", "modelspec.hash_sha256", "x"]), st.text()),
    st.sampled_from(sorted(FAMILIES)),
)
def test_any_safetensors_file(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, torch.Tensor], said: dict[str, str], family: str
) -> None:
    path = tmp_path_factory.mktemp("x") / "x.safetensors"
    path.write_bytes(save(content, metadata=said))
    try:
        made = read_foreign([path], base_family=family, token="<x>").embedding
    except EmbhubError as error:
        assert error.message and error.hint
        return
    assert {part.dim for part in made.vectors} <= set(FAMILIES[family][1].values())


@given(st.data())
def test_damaged_safetensors(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    damaged = bytearray(save({"emb_params": torch.ones(2, 128)}, metadata={"modelspec.hash_sha256": "0x"}))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 160))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("x") / "x.safetensors"
    path.write_bytes(bytes(damaged))
    try:
        read_foreign([path], base_family="builtin", token="<x>")
    except EmbhubError as error:
        assert error.message and error.hint


def test_a_header_that_promises_terabytes_takes_no_memory(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}
    header = json.dumps({"emb_params": entry}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4000))
    tracemalloc.start()
    with pytest.raises(ArtifactError, match="no embedding file of a known kind"):
        read_foreign([tmp_path / "x.safetensors"], base_family="sd1", token="<x>")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
