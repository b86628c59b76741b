"""A site with an embedding of a tiny base, and its card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.cards import card, card_draft
from embhub.diffusion.datasets.making import Made, make_dataset
from embhub.release import at_the_site
from tests.support import cards, pipelines

Make = Callable[..., Made]


def write_embedding(path: Path, base: Path, token: str = "<a>", **answers: Any) -> Path:
    """An embedding for the base at `path`, its card beside it (none where `card` is False)."""
    rows = 3 * np.random.default_rng(len(token)).normal(size=(2, pipelines.WIDTH))
    made = artifact.build(
        {"emb_params": rows}, token=token, base=fingerprint.take(base), base_name="tiny", training={}, dtype="float16"
    )
    path.write_bytes(made.data)
    if answers.pop("card", True):
        said = {"token": token, "vectors": [{"encoder": "text_encoder", "count": 2, "dim": pipelines.WIDTH}]}
        values = card.parse(cards.complete(**said, **answers)).to_dict()
        at_the_site.beside(path, at_the_site.CARD).write_bytes(card_draft.write_draft(values, []))
    return path


@pytest.fixture
def file(base: Path, tmp_path: Path) -> Path:
    """An embedding with a card that allows everything."""
    return write_embedding(tmp_path / "a.safetensors", base)


@pytest.fixture
def make(base: Path, file: Path, tmp_path: Path) -> Make:
    """Make a small data set; what is said stands above the usual."""

    def run(**choices: Any) -> Made:
        usual: dict[str, Any] = {
            "out": tmp_path / "drawn",
            "classes": ["sick=mri, <a>", "well=mri"],
            "embeddings": [str(file)],
            "base": str(base),
            "per_class": 3,
            "steps": 2,
            "device": "cpu",
        }
        return make_dataset(**{**usual, **choices})

    return run
