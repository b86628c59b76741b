"""The two kinds of file that only embhub reads: admitted whole, and refused when spoilt, though their publisher signed
the spoilt bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from embhub.artifact import embedding
from embhub.artifact.embedding import Embedding
from embhub.formats import tensors
from embhub.release.files import EMBEDDING
from embhub_registry.admission import rules as admission
from tests.support import releases
from tests.support.proposals import propose, refusal

DECODER = {**releases.BASE, "encoders": {}}
ROWS = np.random.default_rng(0).normal(size=(2, 32)).astype(np.float16)


def build(named: Mapping[str, Any], base: Mapping[str, Any]) -> Embedding:
    return embedding.build(named, token="<cspca>", base=base, base_name="builtin", training={"steps": 200})


LAYERED = build({f"layer_{number:02}": ROWS + number for number in range(3)}, releases.BASE)
IMAGE = build({"image_embeds": ROWS[:1]}, DECODER)
WORDS = build({"emb_params": ROWS}, releases.BASE)


@pytest.mark.parametrize("artifact", [LAYERED, IMAGE])
def test_they_are_admitted_as_any_other(artifact: Embedding) -> None:
    admitted = admission.admit(propose(releases.make_release(artifact=artifact).files))
    assert admitted.verified is not None and admitted.verified.embedding.layout == artifact.layout


@pytest.mark.parametrize(
    ("artifact", "spoilt", "header", "words"),
    [
        (LAYERED, {"layer_00": ROWS, "layer_01": ROWS[:1]}, LAYERED, "differ in shape"),
        (LAYERED, {"layer_00": ROWS, "layer_01": ROWS.astype(np.float32)}, LAYERED, "differ in shape or number type"),
        (LAYERED, {"layer_00": ROWS, "layer_02": ROWS}, LAYERED, "no known layout"),
        (LAYERED, {"layer_00": ROWS}, LAYERED, "no known layout"),
        (LAYERED, {f"layer_{n:02}": ROWS for n in range(65)}, LAYERED, "no known layout"),
        (LAYERED, {"layer_00": ROWS, "layer_01": ROWS, "thumbnail": ROWS}, LAYERED, "no known layout"),
        (IMAGE, {"image_embeds": ROWS}, IMAGE, "more than one image embedding"),
        (IMAGE, {"image_embeds": ROWS[:1], "emb_params": ROWS}, IMAGE, "no known layout"),
        (IMAGE, {"image_embeds": ROWS[:1]}, WORDS, "has not the text encoders"),
        (WORDS, {"emb_params": ROWS}, IMAGE, "has not the text encoders"),
        (LAYERED, {"layer_00": ROWS, "layer_01": ROWS}, IMAGE, "has not the text encoders"),
    ],
)
def test_spoilt_ones_are_refused(artifact: Embedding, spoilt: Mapping[str, Any], header: Embedding, words: str) -> None:
    release = releases.make_release(artifact=artifact, audited=False)
    data = tensors.serialize(dict(spoilt), dict(header.metadata))
    signed = {**releases.resigned(releases.replaced(release, embedding=data)).files, EMBEDDING: data}
    assert words in str(refusal(signed))
