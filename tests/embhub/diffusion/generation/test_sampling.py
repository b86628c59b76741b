"""Scheduler, number format and batches: what is chosen is used, recorded, and refused where it cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from embhub.__main__ import main
from embhub.artifact import fingerprint
from embhub.diffusion.bases.pipelines import find_base
from embhub.diffusion.datasets.making import make_dataset
from embhub.diffusion.families import denoiser
from embhub.diffusion.generation.generation import draw
from embhub.diffusion.generation.sampling import load_for_sampling, quantize, set_scheduler
from embhub.errors import UsageError
from embhub.options.sampling import Sampling, Scheduler
from tests.embhub.diffusion.datasets.conftest import write_embedding
from tests.support import families, pipelines
from tests.support.adapters import TINY, make_adapter, make_matrices
from tests.support.quick import quick

NAMES = [name for name in get_args(Scheduler) if name != "ddim"]


def pixels(pipe: Any, n: int = 1, batch_size: int = 8) -> np.ndarray:
    images = draw(pipe, "mri", n=n, seed=5, steps=4, guidance_scale=2.0, batch_size=batch_size)
    return np.stack([np.asarray(image, np.int16) for image in images])


@pytest.mark.parametrize("name", quick(["ddim", NAMES[0]], thorough=NAMES[1:]))
def test_every_scheduler_draws_something_of_its_own_kind(base: Path, name: Scheduler) -> None:
    found = find_base(base)
    pipe = load_for_sampling(found, Sampling(scheduler=name), device="cpu")
    own = load_for_sampling(found, Sampling(), device="cpu")
    assert pipe.scheduler.config.beta_schedule == own.scheduler.config.beta_schedule
    first, again = pixels(pipe), pixels(pipe)
    assert np.array_equal(first, again)
    assert np.array_equal(first, pixels(own)) is (name == "ddim")  # the tiny base's own


@pytest.mark.parametrize("kind", ["sd3", "sd35", "sana", "zimage", "klein", "qwen-image"])
def test_a_flow_base_keeps_its_scheduler(kind: str) -> None:
    with pytest.raises(UsageError, match="which ddim cannot replace") as refusal:
        set_scheduler(families.build(kind), "ddim")
    assert refusal.value.hint


def test_pixart_is_no_flow_and_takes_another_scheduler() -> None:
    pipe: Any = families.build("pixart")
    own = pixels(pipe)
    set_scheduler(pipe, "ddim")
    assert not np.array_equal(pixels(pipe), own)


@pytest.mark.thorough
def test_images_of_a_batch_are_those_alone_up_to_rounding(base: Path) -> None:
    pipe = load_for_sampling(find_base(base), Sampling(), device="cpu")
    assert np.abs(pixels(pipe, n=5, batch_size=1) - pixels(pipe, n=5, batch_size=4)).max() <= 1


def test_bfloat16_is_what_the_weights_are_in(base: Path) -> None:
    found = find_base(base)
    half, whole = (load_for_sampling(found, Sampling(dtype=kind), device="cpu") for kind in ("bfloat16", "float32"))
    assert half.unet.dtype is torch.bfloat16 and whole.unet.dtype is torch.float32
    assert pixels(half).shape == pixels(whole).shape


@pytest.mark.parametrize("kind", quick(["sdxl", "flux"], thorough=["sd1", "sd3", *families.NEWER]))
def test_quantized_layers_draw_nearly_the_same(kind: str) -> None:
    pipe = families.build(kind)
    before = pixels(pipe, n=2)
    quantize(pipe)
    part = denoiser(pipe)
    left = [name for name, layer in part.named_modules() if type(layer) is torch.nn.Linear]
    assert left == (["t_embedder.mlp.0", "t_embedder.mlp.2"] if kind == "zimage" else [])
    after = pixels(pipe, n=2)
    assert 0 < np.abs(after - before).mean() < 8
    assert np.array_equal(after, pixels(pipe, n=2))


def test_an_embedding_is_used_with_quantized_layers_and_it_is_recorded(base: Path, tmp_path: Path) -> None:
    file = write_embedding(tmp_path / "a.safetensors", base)
    words = ["generate", "mri, <a>", "--embedding", str(file), "--base", str(base), "--steps", "2", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "a"), "--quantize", "int8"]) == 0
    assert main([*words, "--out", str(tmp_path / "b")]) == 0
    told = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in "ab"]
    assert told[0]["quantize"] == "int8" and "quantize" not in told[1]
    assert told[0]["base_fingerprint"] == told[1]["base_fingerprint"]


def test_an_adapter_does_not_go_into_quantized_layers(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "adapter.safetensors"
    file.write_bytes(make_adapter(make_matrices(out=32, places=TINY), base=fingerprint.take(base)).data)
    words = ["generate", "mri, <cspca>", "--embedding", str(file), "--base", str(base), "--steps", "1", "-n", "1"]
    words += ["--device", "cpu", "--out", str(tmp_path / "a")]
    assert main([*words, "--quantize", "int8"]) == 2
    assert "<cspca> is a compact adapter, and a quantized denoiser takes none" in capsys.readouterr().err
    assert main(words) == 0
    with pytest.raises(UsageError, match="a quantized denoiser takes none"):
        make_dataset(
            tmp_path / "set", classes=["ill=mri <cspca>"], embeddings=[str(file)], base=str(base), per_class=1, steps=1,
            no_card=["<cspca>"], sampling=Sampling(quantize="int8"), device="cpu",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"dtype": "bfloat16"}, "starts from float32, not from bfloat16"),
        ({"compiled": True}, "cannot be compiled"),
    ],
)
def test_what_cannot_be_quantized_is_said(base: Path, choices: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_for_sampling(find_base(base), Sampling(quantize="int8", **choices), device="cpu")


def test_quantized_layers_are_for_a_processor(base: Path) -> None:
    with pytest.raises(UsageError, match="not on meta"):
        load_for_sampling(find_base(base), Sampling(quantize="int8"), device="meta")


def test_float16_on_a_processor_is_refused(base: Path) -> None:
    with pytest.raises(UsageError, match="float16 on a processor"):
        load_for_sampling(find_base(base), Sampling(dtype="float16"), device="cpu")


def test_compiling_without_a_compiler_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match=r"needs a C\+\+ compiler"):
        load_for_sampling(find_base(base), Sampling(compiled=True), device="cpu")


@pytest.mark.exhaustive
@pytest.mark.thorough
def test_a_compiled_denoiser_draws_the_same_up_to_rounding(base: Path) -> None:
    found = find_base(base)
    compiled, plain = (load_for_sampling(found, Sampling(compiled=said), device="cpu") for said in (True, False))
    assert np.abs(pixels(compiled, n=2) - pixels(plain, n=2)).max() <= 2


def test_the_command_records_what_was_chosen(base: Path, tmp_path: Path) -> None:
    words = ["generate", "mri", "--base", str(base), "-n", "3", "--steps", "2", "--device", "cpu", "--out"]
    assert main([*words, str(tmp_path / "a"), "--scheduler", "euler", "--batch-size", "2", "--dtype", "float32"]) == 0
    told = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert (told["scheduler"], told["batch_size"], told["dtype"]) == ("euler", 2, "float32")
    assert main([*words, str(tmp_path / "b")]) == 0
    assert not {"scheduler", "batch_size", "dtype"} & set(json.loads((tmp_path / "b" / "manifest.json").read_text()))


def test_an_unknown_scheduler_is_refused_before_torch_is_loaded(base: Path, tmp_path: Path) -> None:
    words = ["generate", "mri", "--base", str(base), "--scheduler", "warp", "--out", str(tmp_path / "a")]
    assert main(words) == 2
    assert not (tmp_path / "a").exists()


def test_a_series_has_its_own_batches(base: Path, tmp_path: Path) -> None:
    words = ["generate", "mri", "--interpolate-to", "ct", "--base", str(base), "--batch-size", "2"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 2


def test_tiny_pipelines_have_the_scheduler_that_these_tests_assume() -> None:
    assert type(pipelines.build().scheduler).__name__ == "DDIMScheduler"
