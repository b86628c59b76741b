"""Rows through hooks: what is trained is what diffusers loads, and the base is never touched."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from embhub.diffusion.bases.found import quiet
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families import detect
from embhub.diffusion.training.rows import Rows, starting_rows
from embhub.errors import ArtifactError, UsageError
from tests.support import pipelines
from tests.support.quick import quick


@pytest.fixture(params=quick(["clip"], thorough=["bert"]))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return pipelines.write(tmp_path, encoder=request.param)


def weights_hash(pipe: Any) -> str:
    """SHA-256 over every tensor of every model."""
    found = hashlib.sha256()
    for name, part in sorted(pipe.components.items()):
        if isinstance(part, torch.nn.Module):
            for key, value in sorted(part.state_dict().items()):
                found.update(f"{name}.{key}".encode())
                found.update(value.contiguous().numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.thorough), 16])
@pytest.mark.parametrize("prompt", quick(["axial mri, {}", "a {}, and a {} again"], thorough=["{}", "a{}b"]))
def test_hooks_and_the_stock_loader_give_the_same_condition(folder: Path, count: int, prompt: str) -> None:
    values = torch.randn(count, pipelines.WIDTH)
    trained, stock = load_pipeline(folder), load_pipeline(folder)
    rows = Rows(trained, "<cspca>", {"text_encoder": values})
    prompt = prompt.replace("{}", "<cspca>")
    with rows.active(), torch.no_grad():
        ours = detect(trained).condition(trained, [rows.expand(prompt)])["hidden"]
    with quiet():
        stock.load_textual_inversion(values, token="<cspca>")
    with torch.no_grad():
        theirs, _ = stock.encode_prompt(prompt, stock.device, 1, False)
    assert (ours - theirs).abs().max() == 0.0


def test_gradients_reach_the_rows_and_nothing_else(folder: Path) -> None:
    pipe = load_pipeline(folder)
    before = weights_hash(pipe)
    rows = Rows(pipe, "<cspca>", {"text_encoder": torch.randn(3, pipelines.WIDTH)})
    with rows.active():
        detect(pipe).condition(pipe, [rows.expand("mri <cspca>")])["hidden"].square().sum().backward()
    assert [name for name, _ in rows.named_parameters()] == ["rows.text_encoder"]
    gradient = rows.rows["text_encoder"].grad
    assert gradient is not None and (gradient.abs().sum(1) > 0).all()
    assert all(p.grad is None for m in (pipe.unet, pipe.vae, pipe.text_encoder) for p in m.parameters())
    assert weights_hash(pipe) == before


def test_the_pipeline_is_restored_also_after_an_error(folder: Path) -> None:
    pipe = load_pipeline(folder)
    tokenizer, words = pipe.tokenizer, len(pipe.tokenizer)
    with torch.no_grad():
        plain = detect(pipe).condition(pipe, ["mri"])["hidden"]
    rows = Rows(pipe, "<cspca>", {"text_encoder": torch.randn(2, pipelines.WIDTH)})
    with pytest.raises(KeyboardInterrupt), rows.active():
        assert len(pipe.tokenizer) == words + 2
        raise KeyboardInterrupt
    assert pipe.tokenizer is tokenizer and len(pipe.tokenizer) == words
    table = pipe.text_encoder.get_input_embeddings()
    assert not table._forward_hooks and not table._forward_pre_hooks
    with torch.no_grad():
        assert torch.equal(detect(pipe).condition(pipe, ["mri"])["hidden"], plain)


def test_prompts_without_the_token_are_untouched_while_active(folder: Path) -> None:
    pipe = load_pipeline(folder)
    family = detect(pipe)
    rows = Rows(pipe, "<cspca>", {"text_encoder": torch.randn(2, pipelines.WIDTH)})
    with torch.no_grad():
        plain = family.condition(pipe, ["mri"])["hidden"]
        with rows.active():
            assert torch.equal(family.condition(pipe, ["mri"])["hidden"], plain)


def test_rows_start_at_the_mean_of_the_words(folder: Path) -> None:
    pipe = load_pipeline(folder)
    table = pipe.text_encoder.get_input_embeddings().weight
    ids = pipe.tokenizer("lung", add_special_tokens=False).input_ids
    start = starting_rows(pipe, "lung", 2000, generator=torch.Generator().manual_seed(0))["text_encoder"]
    assert start.shape == (2000, pipelines.WIDTH)
    mean = table[ids].mean(0)
    assert torch.cosine_similarity(start.mean(0), mean, dim=0) > 0.99
    assert abs(float(start.mean(0).norm() / table[ids].norm(dim=1).mean()) - 1) < 0.05
    assert not torch.equal(start[0], start[1])


def test_starting_rows_are_drawn_from_their_generator(folder: Path) -> None:
    pipe = load_pipeline(folder)
    one, two, other = (
        starting_rows(pipe, "lung", 4, generator=torch.Generator().manual_seed(seed))["text_encoder"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_no_word_at_all_starts_at_the_mean_of_the_table(folder: Path) -> None:
    start = starting_rows(load_pipeline(folder), "", 3, generator=torch.Generator().manual_seed(0))["text_encoder"]
    assert torch.isfinite(start).all()


def test_too_many_vectors_for_the_prompt(folder: Path) -> None:
    pipe = load_pipeline(folder)
    room = pipe.tokenizer.model_max_length - len(pipe.tokenizer("mri").input_ids)
    Rows(pipe, "<a>", {"text_encoder": torch.randn(room, pipelines.WIDTH)}).check_fits("mri <a>")
    with pytest.raises(UsageError, match=f"at most {room} vectors"):
        Rows(pipe, "<a>", {"text_encoder": torch.randn(room + 1, pipelines.WIDTH)}).check_fits("mri <a>")


@pytest.mark.parametrize("token", ["<CSPCA>", "cspca", "<a_1>", "<a b>"])
def test_bad_tokens(folder: Path, token: str) -> None:
    with pytest.raises(ArtifactError):
        Rows(load_pipeline(folder), token, {"text_encoder": torch.zeros(1, pipelines.WIDTH)})


@pytest.mark.parametrize(
    "start",
    [
        {},
        {"text_encoder_2": torch.zeros(1, 32)},
        {"text_encoder": torch.zeros(1, 33)},
        {"text_encoder": torch.zeros(32)},
    ],
)
def test_rows_for_another_pipeline(folder: Path, start: dict[str, torch.Tensor]) -> None:
    with pytest.raises(UsageError):
        Rows(load_pipeline(folder), "<a>", start)
