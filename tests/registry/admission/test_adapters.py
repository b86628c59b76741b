"""What a registry takes of compact adapters, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from embhub.cards import card
from embhub.formats import tensors
from embhub.release import files as release_files
from embhub.release import signing
from embhub.release.files import Release
from tests.support.adapters import make_adapter, make_attention, make_matrices
from tests.support.claims import make_claim
from tests.support.proposals import propose, refusal, resigned
from tests.support.releases import NOW, ORIGIN, REPOSITORY, SITE, edited_card, make_card

ADAPTER = make_adapter()
README = card.to_readme(card.parse(make_card(ADAPTER)))
SIGNED = signing.sign(
    Release.from_files({release_files.EMBEDDING: ADAPTER.data, release_files.CARD: README}),
    registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW,
)  # fmt: skip


def test_an_adapter_is_taken_and_its_card_says_what_it_is() -> None:
    verified = propose(SIGNED.files).verified
    assert verified.embedding.kind == "adapter" and verified.card.kind == "adapter"
    text = README.decode()
    assert "compact adapter (LoRA) of rank 2" in text and "textual inversion" not in text and "- lora" in text


@pytest.mark.parametrize(
    "matrices, header",
    [
        ({"emb_params": np.ones((2, 32), "float16")}, {}),
        ({**make_matrices(), "text_encoder.layers.0.q_proj.lora_A.weight": np.ones((2, 32))}, {}),
        (make_matrices(places=("down_blocks.0.attentions.0.transformer_blocks.0.attn1",)), {}),
        (make_matrices(), {"embhub.privacy": make_claim(mechanism="dp-agg", batch=100, steps=1).to_text()}),
        (make_matrices(), {"embhub.kind": "lora"}),
    ],
)
def test_what_is_no_such_adapter_is_refused(matrices: dict[str, Any], header: dict[str, str]) -> None:
    half = {name: np.asarray(values).astype("float16") for name, values in matrices.items()}
    data = tensors.serialize(half, {**ADAPTER.metadata, **header})
    found = refusal(resigned(SIGNED, embedding=data))
    assert found.rule == "weights-format", found


def test_an_adapter_of_all_attention_is_taken_and_a_card_that_says_otherwise_is_not() -> None:
    made = make_adapter(make_attention())
    readme = card.to_readme(card.parse(make_card(made)))
    assert (
        "changes the attention layers of the denoiser" in readme.decode() and "keys and values" not in readme.decode()
    )
    assert "changes the keys and values by which the denoiser" in README.decode()
    signed = signing.sign(
        Release.from_files({release_files.EMBEDDING: made.data, release_files.CARD: readme}),
        registry=ORIGIN, repository=REPOSITORY, key=SITE, now=NOW,
    )  # fmt: skip
    assert propose(signed.files).verified.card.target_modules == "attention"
    for one, other in ((signed, None), (SIGNED, "attention")):
        assert refusal(resigned(one, card=edited_card(one, target_modules=other))).rule == "card-mismatch"


def test_a_card_that_calls_it_an_embedding_is_refused() -> None:
    for kind in (None,):
        assert refusal(resigned(SIGNED, card=edited_card(SIGNED, kind=kind))).rule == "card-mismatch"


def test_a_pickle_and_a_whole_lora_are_refused_by_their_names() -> None:
    for name in ("pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin", "adapter.pkl"):
        assert refusal({**SIGNED.files, name: b"x"}).rule == "weights-format"
