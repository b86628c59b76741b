"""Finding and loading a base, and the settings that are put back afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import pytest
import torch
import transformers
from diffusers.models.attention_processor import AttnProcessor

from embhub.diffusion.bases.found import FoundBase, quiet
from embhub.diffusion.bases.pipelines import choose_device, find_base, load_pipeline, trainable_attention
from embhub.errors import UsageError
from tests.support import pipelines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pipelines.write(tmp_path / "tiny-base")


@pytest.mark.parametrize("name", ["builtin", "builtin-xray"])
def test_builtin_bases(name: str) -> None:
    found = find_base(name)
    assert found.name == name and found.recommended["guidance"] > 0
    pipe = load_pipeline(name, device="cpu")
    kinds = {part.dtype for part in (pipe.unet, pipe.vae, pipe.text_encoder)}
    assert kinds == {torch.float32}


def test_a_folder_is_known_by_its_last_name_alone(folder: Path) -> None:
    assert find_base(folder) == FoundBase("tiny-base", folder)
    odd = pipelines.write(folder.parent / "Ärzte & co")
    assert find_base(odd).name == "local-base"


def test_a_base_is_frozen_and_silent(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    pipe = load_pipeline(folder, device="cpu")
    pipe("x", num_inference_steps=1)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        assert not part.training and not any(p.requires_grad for p in part.parameters())


def test_half_precision(folder: Path) -> None:
    pipe = load_pipeline(folder, dtype=torch.bfloat16)
    assert {part.dtype for part in (pipe.unet, pipe.vae, pipe.text_encoder)} == {torch.bfloat16}


@pytest.mark.parametrize("name", ["", "absent", "./absent", "/absent/x", "a b/c", "a/b/c"])
def test_what_is_no_base(name: str) -> None:
    with pytest.raises(UsageError, match="not a base model"):
        find_base(name)


def test_weights_that_are_pickles_are_not_loaded(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_pipeline(folder)


def test_damaged_weights(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\x10" + b"\0" * 40)
    with pytest.raises(UsageError, match="cannot be loaded"):
        load_pipeline(folder)


def test_other_kinds_of_pipeline(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    for name in ("NoSuchPipeline", "FluxPipeline"):
        (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": name}))
        with pytest.raises(UsageError):
            load_pipeline(folder)


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(UsageError, match="no device"):
        choose_device("abacus")


def test_attention_is_put_back(folder: Path) -> None:
    pipe = load_pipeline(folder, device="cpu")
    before = {name: id(part) for name, part in pipe.unet.attn_processors.items()}
    with pytest.raises(KeyboardInterrupt), trainable_attention(pipe):
        assert {type(part) for part in pipe.unet.attn_processors.values()} == {AttnProcessor}
        raise KeyboardInterrupt
    assert {name: id(part) for name, part in pipe.unet.attn_processors.items()} == before


def test_plain_attention_computes_the_same(folder: Path) -> None:
    pipe = load_pipeline(folder, device="cpu")
    latents, times, words = torch.randn(2, 4, 8, 8), torch.tensor([5, 700]), torch.randn(2, 9, pipelines.WIDTH)
    with torch.no_grad():
        fused = pipe.unet(latents, times, words).sample
        with trainable_attention(pipe):
            plain = pipe.unet(latents, times, words).sample
    assert torch.allclose(fused, plain, atol=1e-5)


def test_the_libraries_speak_again_afterwards() -> None:
    logs = [library.utils.logging for library in (diffusers, transformers)]
    before = [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    with pytest.raises(ValueError, match="x"), quiet():
        assert not any(log.is_progress_bar_enabled() for log in logs)
        raise ValueError("x")
    assert [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs] == before
