"""Drawing: reproducible image by image, with embeddings or without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import Embedding
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.generation.generation import draw, generate
from embhub.diffusion.generation.loading import WrongBaseError
from embhub.errors import UsageError
from embhub.progress import Progress
from tests.support import pipelines
from tests.support.quick import quick


@pytest.fixture(scope="module", params=quick(["clip"], thorough=["bert"]))
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("bases") / request.param, encoder=request.param)


def embed(base: Path, token: str, count: int = 2) -> Embedding:
    values = 3 * np.random.default_rng(len(token)).normal(size=(count, pipelines.WIDTH))
    return artifact.build(
        {"emb_params": values}, token=token, base=fingerprint.take(base), base_name="tiny", training={}, dtype="float16"
    )


def make(base: Path, prompt: str = "mri", **choices: Any) -> list[Image.Image]:
    return generate(prompt, base=base, device="cpu", **{"n": 2, "steps": 2, "guidance_scale": 2.0, **choices})


def pixels(images: list[Image.Image]) -> np.ndarray[Any, Any]:
    return np.stack([np.asarray(image, dtype=int) for image in images])


def test_images_of_the_size_of_the_base(base: Path) -> None:
    images = make(base)
    assert [(image.size, image.mode) for image in images] == [((32, 32), "RGB")] * 2
    assert not np.array_equal(pixels(images)[0], pixels(images)[1])


@pytest.mark.thorough
def test_image_i_comes_from_its_own_seed_alone(base: Path) -> None:
    whole = pixels(make(base, n=5, seed=3, batch_size=4))
    alone = pixels(make(base, n=1, seed=6))[0]
    small = pixels(make(base, n=5, seed=3, batch_size=1))
    # Sums of another order may round a last bit differently.
    assert np.abs(whole[3] - alone).max() <= 1 and np.abs(whole - small).max() <= 1


def test_the_same_call_draws_the_same(base: Path) -> None:
    assert np.array_equal(pixels(make(base, seed=1)), pixels(make(base, seed=1)))


def test_an_embedding_changes_the_picture(base: Path) -> None:
    plain = pixels(make(base))
    one, two = embed(base, "<a>"), embed(base, "<bb>")
    with_one = pixels(make(base, "mri {}", embeddings=[one]))
    assert not np.array_equal(plain, with_one)
    assert np.array_equal(with_one, pixels(make(base, "mri <a>", embeddings=[one])))
    assert not np.array_equal(with_one, pixels(make(base, "mri {}", embeddings=[one, two])))


def test_a_prompt_without_the_token(base: Path) -> None:
    with pytest.raises(UsageError, match="does not mention <a>"):
        make(base, "mri", embeddings=[embed(base, "<a>")])


def test_a_word_in_brackets_that_nothing_supplies(base: Path) -> None:
    """It would be plain text: an image without the finding, and no word about it."""
    asked: list[tuple[str, dict[str, Any]]] = [
        ("mri <a>", {}), ("mri <b>, {}", {"embeddings": [embed(base, "<a>")]}), ("mri", {"negative": "<a>"}),
    ]  # fmt: skip
    for prompt, choices in asked:
        with pytest.raises(UsageError, match=r"no embedding supplies <[ab]>") as refused:
            make(base, prompt, **choices)
        assert "--embedding" in str(refused.value.hint)


def test_a_word_in_brackets_that_the_base_knows_is_left_to_it(base: Path, tmp_path: Path) -> None:
    pipe = load_pipeline(base)
    pipe.tokenizer.add_tokens("<own>")
    pipe.text_encoder.resize_token_embeddings(len(pipe.tokenizer))
    pipe.save_pretrained(tmp_path / "with-token")
    assert len(make(tmp_path / "with-token", "mri <own>")) == 2


def test_a_prompt_that_would_be_cut_off(base: Path) -> None:
    with pytest.raises(UsageError, match="this base reads"):
        make(base, "mri {}", embeddings=[embed(base, "<a>", 40), embed(base, "<bb>", 40)])


def test_the_wrong_base(base: Path, tmp_path: Path) -> None:
    other = pipelines.write(tmp_path / "other", seed=9)
    with pytest.raises(WrongBaseError):
        make(base, "mri {}", embeddings=[embed(other, "<a>")])


@pytest.mark.parametrize("wrong", [{"n": 0}, {"steps": 0}, {"batch_size": 0}])
def test_impossible_settings(base: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        make(base, **wrong)


def test_progress(base: Path) -> None:
    seen: list[Progress] = []
    make(base, n=5, batch_size=2, on_progress=seen.append)
    assert [(p.done, p.total) for p in seen] == [(2, 5), (4, 5), (5, 5)]


def test_drawing_equals_the_stock_pipeline(base: Path) -> None:
    """Nothing of ours stands between the prompt and diffusers."""
    import torch

    pipe = load_pipeline(base)
    ours = pixels(draw(pipe, "mri", n=1, seed=4, steps=2, guidance_scale=2.0))
    stock = pipe("mri", num_inference_steps=2, guidance_scale=2.0, generator=torch.Generator().manual_seed(4)).images
    assert np.array_equal(ours, pixels(stock))
