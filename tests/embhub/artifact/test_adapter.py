"""What an adapter's file may hold: attention layers, or keys and values alone, of one small rank, and no claim."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embhub.artifact import embedding
from embhub.artifact.adapter import BadAdapterError
from embhub.errors import ArtifactError
from embhub.formats import tensors
from embhub.formats.tensors import BadTensorShapeError, NotFiniteError
from tests.support.adapters import PLACES, make_adapter, make_attention, make_matrices
from tests.support.claims import make_claim
from tests.support.ports import DERIVED
from tests.support.quick import examples
from tests.support.releases import make_embedding

K_A, K_B = (f"unet.{PLACES[0]}.to_k.lora_{part}.weight" for part in "AB")


def test_an_adapter_reads_back() -> None:
    for rank in (1, 2, 3, 4):
        made = make_adapter(make_matrices(rank=rank))
        assert (made.kind, made.layout, made.privacy) == ("adapter", "adapter", "none")
        assert [(row.encoder, row.count, row.dim) for row in made.vectors] == [("unet", rank, 32)]
        assert made.target_modules == "cross-attention-kv"
        assert embedding.parse(made.data).tensors.keys() == make_matrices().keys()
        attention = make_adapter(make_attention(rank=rank))
        assert [(row.encoder, row.count, row.dim) for row in attention.vectors] == [("unet", rank, 32)]
        assert (attention.kind, attention.target_modules) == ("adapter", "attention")
    assert make_embedding().kind == "embedding" and make_embedding().target_modules is None
    assert "embhub.kind" not in make_embedding().metadata


SELF = PLACES[0].replace("attn2", "attn1")


def swapped(
    name: str, other: str | None = None, shape: tuple[int, int] | None = None, *, attention: bool = False
) -> dict[str, Any]:
    found = make_attention() if attention else make_matrices()
    values = found.pop(name)
    if other is not None:
        found[other] = values if shape is None else np.ones(shape)
    return found


@pytest.mark.parametrize(
    "matrices",
    [
        swapped(K_A),
        swapped(K_A, K_A.replace("to_k", "to_q")),
        swapped(K_A, K_A.replace("attn2", "attn1")),
        swapped(K_A, K_A.replace("unet.", "text_encoder.")),
        swapped(K_A, K_A.replace("unet.", "unet../")),
        swapped(K_A, K_A.replace("lora_A", "lora_magnitude_vector")),
        swapped(K_A, "emb_params", (1, 32)),
        swapped(K_A, K_A, (3, 32)),
        swapped(K_A, K_A, (2, 31)),
        swapped(K_B, K_B, (48, 3)),
        swapped(K_B, K_B, (47, 2)),
        make_matrices(places=(*PLACES, SELF)),
        {name: values for name, values in make_attention().items() if "attn1" in name},
        swapped(f"unet.{SELF}.to_q.lora_A.weight", attention=True),
        swapped(f"unet.{SELF}.to_out.0.lora_B.weight", attention=True),
        swapped(f"unet.{SELF}.to_out.0.lora_B.weight", f"unet.{SELF}.to_out.1.lora_B.weight", attention=True),
        swapped(f"unet.{SELF}.to_k.lora_A.weight", f"unet.{SELF}.to_k.lora_A.weight", (2, 32), attention=True),
        swapped(f"unet.{SELF}.to_q.lora_B.weight", f"unet.{SELF}.to_q.lora_B.weight", (47, 2), attention=True),
        swapped(f"unet.{SELF}.to_out.0.lora_A.weight", f"unet.{SELF}.to_out.0.lora_A.weight", (2, 47), attention=True),
        swapped(f"unet.{SELF}.to_out.0.lora_B.weight", f"unet.{SELF}.to_out.0.lora_B.weight", (47, 2), attention=True),
        swapped(
            f"unet.{PLACES[1]}.to_q.lora_A.weight", f"unet.{PLACES[1]}.ff.net.2.lora_A.weight", attention=True
        ),
        {**make_matrices(places=PLACES[:1]), **make_matrices(places=PLACES[1:], width=31)},
        make_matrices(places=tuple(f"down_blocks.{n}.attn2" for n in range(161)), rank=1, out=2, width=2),
    ],
)  # fmt: skip
def test_other_matrices_are_refused(matrices: dict[str, Any]) -> None:
    with pytest.raises(BadAdapterError):
        make_adapter(matrices)


@pytest.mark.parametrize("rank", [5, 64, 65])
def test_a_larger_rank_is_refused(rank: int) -> None:
    with pytest.raises(BadTensorShapeError):
        make_adapter(make_matrices(rank=rank))


def test_tall_matrices_are_for_adapters_alone() -> None:
    with pytest.raises(ArtifactError):
        embedding.parse(tensors.serialize({"emb_params": np.ones((65, 4), "float16")}, dict(make_embedding().metadata)))
    values = make_matrices() | {K_B: np.full((48, 2), np.inf)}
    with pytest.raises(NotFiniteError):
        make_adapter(values)


def test_an_adapter_makes_no_claim_and_there_is_no_port() -> None:
    for claim in (make_claim(), make_claim(mechanism="dp-agg", batch=100, steps=1)):
        with pytest.raises(BadAdapterError, match="no adapter is trained with"):
            make_adapter(privacy=claim)
    with pytest.raises(BadAdapterError, match="not ported"):
        make_adapter(derived_from=DERIVED, training={"tool": "embhub port"})
    with pytest.raises(BadAdapterError, match="fingerprint"):
        make_adapter(base=None)


def test_the_header_says_what_the_tensors_are() -> None:
    adapter, rows = make_adapter(), make_embedding()
    for values, header in ((adapter.tensors, rows.metadata), (rows.tensors, adapter.metadata)):
        with pytest.raises(BadAdapterError, match="disagree"):
            embedding.parse(tensors.serialize(dict(values), dict(header)))
    other = {**adapter.metadata, "embhub.kind": "model"}
    with pytest.raises(ArtifactError, match="does not know"):
        embedding.parse(tensors.serialize(dict(adapter.tensors), other))


@settings(max_examples=examples(60))
@given(st.data())
def test_any_damage_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(make_adapter(make_matrices(rank=1, out=2, width=2)).data)
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = embedding.parse(bytes(whole))
    except ArtifactError:
        return
    assert found.kind == "adapter" and found.privacy == "none"
