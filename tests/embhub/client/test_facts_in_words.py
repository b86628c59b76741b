"""Facts of an adapter are told as those of an adapter: it has a rank, and no embedding is left out to compare."""

from __future__ import annotations

from embhub.client.pulling.facts_in_words import spell_out

FACTS = {
    "vectors": [{"encoder": "unet", "count": 2, "dim": 128, "dtype": "float16"}],
    "held-out loss": {"without": 0.4556, "with": 0.4517},
}


def test_an_adapter_has_a_rank() -> None:
    assert spell_out({"kind": "adapter", **FACTS}) == {
        "kind": "adapter",
        "rank": "2, for text of width 128, float16",
        "held-out loss": "0.4556 without the adapter, 0.4517 with it",
    }


def test_an_embedding_has_vectors() -> None:
    told = spell_out({**FACTS, "vectors": [{**FACTS["vectors"][0], "encoder": "text_encoder"}]})  # type: ignore[index]
    assert told == {
        "vectors": "2 x 128 float16 for text_encoder",
        "held-out loss": "0.4556 without the embedding, 0.4517 with it",
    }
