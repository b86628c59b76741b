"""An embedding on a base of another family, or of the same with other weights, is refused before anything changes."""

from __future__ import annotations

import itertools
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from torch import nn

from embhub.artifact import embedding, fingerprint
from embhub.artifact.embedding import LAYOUTS, Embedding
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families import detect, encoders
from embhub.diffusion.generation.loading import BaseWarning, TokenCollisionError, WrongBaseError, load_into
from embhub.errors import EmbhubError, UsageError
from tests.support import families
from tests.support.quick import others_thorough

KINDS = ("sd1", "sd2", "bert", "sdxl", "sd3", "sd35", "flux", "pixart", "sana", "zimage", "klein", "qwen-image")
LARGE = KINDS[KINDS.index("sdxl") :]
PAIRS = list(itertools.permutations(KINDS, 2))
ALIKE = ({"sd1", "bert"}, {"sd3", "sd35"}, {"zimage", "klein", "qwen-image"})


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: families.write(tmp_path_factory.mktemp("bases") / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def loaded(bases: dict[str, Path]) -> dict[str, Any]:
    """Pipelines that nothing is loaded into."""
    return {kind: load_pipeline(base, device="cpu") for kind, base in bases.items()}


@cache
def make(base: Path, token: str = "<cspca>", *, known: bool = True, vectors: int = 2) -> Embedding:
    """Rows for every encoder of a base, with its fingerprint or (not `known`) without."""
    pipe = load_pipeline(base, device="cpu")
    widths = {encoder.name: encoder.table.shape[1] for encoder in encoders(pipe)}
    rng = np.random.default_rng(0)
    return embedding.build(
        {name: rng.normal(size=(vectors, widths[part])) for name, part in LAYOUTS[detect(pipe).layout].items()},
        token=token,
        base=fingerprint.take(base) if known else None,
        base_name="the-right-base",
        training={"steps": 1},
    )


def untouched(pipe: Any) -> None:
    for encoder in encoders(pipe):
        tables = [part for part in encoder.model.modules() if isinstance(part, nn.Embedding)]
        assert not [table for table in tables if table._forward_hooks]
        assert not [word for word in encoder.tokenizer.get_added_vocab() if "cspca" in word]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("made_for", "tried_on"), others_thorough(PAIRS, PAIRS[::4]))
def test_another_family(
    bases: dict[str, Path], loaded: dict[str, Any], made_for: str, tried_on: str, known: bool
) -> None:
    if not known and any({made_for, tried_on} <= alike for alike in ALIKE):
        pytest.skip("of one width, and the file does not say whose: a warning is all there can be")
    pipe, foreign = loaded[tried_on], make(bases[made_for], known=known)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BaseWarning)
        with pytest.raises(EmbhubError) as refusal:
            load_into(pipe, foreign)
    assert isinstance(refusal.value, WrongBaseError | UsageError) and refusal.value.hint
    reasons = ("layout", "wide", "vocabulary", "token table", "prediction", "no text_encoder", "another architecture")
    assert any(word in str(refusal.value) for word in reasons)
    untouched(pipe)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", LARGE)
def test_the_same_family_with_other_weights(bases: dict[str, Path], tmp_path: Path, kind: str) -> None:
    other = load_pipeline(families.write(tmp_path / kind, kind, seed=1), device="cpu")
    with pytest.raises(WrongBaseError, match="another token table"):
        load_into(other, make(bases[kind]))
    untouched(other)


@pytest.mark.parametrize("kind", others_thorough(LARGE, ("zimage",)))
def test_a_fine_tuned_base_is_warned_of(bases: dict[str, Path], tmp_path: Path, kind: str) -> None:
    tuned = families.write(tmp_path / kind, kind)
    part = tuned / detect(load_pipeline(tuned, device="cpu")).denoiser
    (weights,) = part.glob("*.safetensors")
    save_file({name: value * np.float32(1.03) for name, value in load_file(weights).items()}, weights)
    pipe = load_pipeline(tuned, device="cpu")
    with pytest.warns(BaseWarning, match="fine-tuned base"):
        load_into(pipe, make(bases[kind]))


@pytest.mark.parametrize("kind", others_thorough(LARGE, ("sdxl", "zimage")))
def test_one_token_is_loaded_once_and_two_beside_each_other(bases: dict[str, Path], kind: str) -> None:
    pipe = load_pipeline(bases[kind], device="cpu")
    load_into(pipe, make(bases[kind]))
    with pytest.raises(TokenCollisionError, match="already knows <cspca>"):
        load_into(pipe, make(bases[kind]))
    load_into(pipe, make(bases[kind], "<healthy>", vectors=3))
    for encoder in encoders(pipe):
        convert = getattr(pipe, "maybe_convert_prompt", lambda prompt, _: prompt)
        ids = encoder.tokenizer(convert("<cspca> <healthy>", encoder.tokenizer)).input_ids
        known = set(encoder.tokenizer.get_added_vocab().values()) - set(encoder.tokenizer.all_special_ids)
        assert len([number for number in ids if number in known]) == 5


@pytest.mark.parametrize(
    ("kind", "left_out"),
    [
        *itertools.product(("sd3", "sd35"), ("text_encoder", "text_encoder_2", "text_encoder_3")),
        *((kind, "text_encoder") for kind in ("pixart", "sana", "zimage", "klein", "qwen-image")),
    ],
)
def test_a_base_without_one_of_its_encoders_is_refused(kind: str, left_out: str) -> None:
    """As diffusers loads SD 3 where a caller says that T5 is not wanted."""
    pipe = families.build(kind)
    setattr(pipe, left_out, None)
    with pytest.raises(UsageError, match=f"without its {left_out}") as refusal:
        detect(pipe)
    assert refusal.value.hint
