"""Bases with parts from elsewhere: what fits is used for real, what does not is refused with its reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from embhub.artifact import fingerprint
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.bases.replacements import Replacement, parse_base, replace_in
from embhub.diffusion.generation.generation import generate
from embhub.errors import ArtifactError, EmbhubError, UsageError
from tests.support import pipelines
from tests.support.quick import quick


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of the same kind with other weights."""
    return pipelines.write(tmp_path_factory.mktemp("others") / "other", seed=1)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("others") / "wide", width=64)


def write_lora(base: Path, folder: Path, *, strength: float = 0.1, targets: tuple[str, ...] = ("to_k", "to_v")) -> Path:
    """A LoRA of the denoiser in diffusers' own format; `strength` is the size of its numbers."""
    pipe = StableDiffusionPipeline.from_pretrained(base, use_safetensors=True)
    pipe.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=list(targets)))
    layers, generator = get_peft_model_state_dict(pipe.unet), torch.Generator().manual_seed(5)
    layers = {name: torch.randn(value.shape, generator=generator) * strength for name, value in layers.items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers, safe_serialization=True)
    return folder


def _picture(base: str | Path) -> Any:
    return np.asarray(generate("film", base=base, steps=2, device="cpu", mark=False)[0])


@pytest.mark.parametrize(
    ("part", "whole"),
    quick(
        [("text_encoder", False)],
        thorough=[("unet", True), ("unet", False), ("vae", True), ("vae", False), ("text_encoder", True)],
    ),
)
def test_a_part_is_taken_from_another_pipeline_or_its_own_folder(
    base: Path, other: Path, part: str, whole: bool
) -> None:
    found = find_base(f"{base} + {part}={other if whole else other / part}")
    assert found.name == f"{base.name}-with-{part}"
    pipe, own, theirs = (load_pipeline(one, device="cpu") for one in (found, base, other))
    for name in ("unet", "vae", "text_encoder"):
        source = theirs if name == part else own
        left, right = (getattr(one, name).state_dict() for one in (pipe, source))
        assert all(torch.equal(left[key], right[key]) for key in right)


@pytest.mark.thorough
def test_two_parts_and_a_lora_together_draw_what_diffusers_draws(base: Path, other: Path, tmp_path: Path) -> None:
    lora = write_lora(base, tmp_path / "lora")
    drawn = _picture(f"{base} + vae={other} + lora={lora}")
    pipe = load_pipeline(base, device="cpu")
    pipe.register_modules(vae=load_pipeline(other, device="cpu").vae)
    pipe.load_lora_weights(str(lora), weight_name="pytorch_lora_weights.safetensors", use_safetensors=True)
    stock = pipe(
        ["film"], num_inference_steps=2, guidance_scale=7.5, generator=[torch.Generator().manual_seed(0)]
    ).images[0]
    assert np.abs(drawn.astype(int) - np.asarray(stock).astype(int)).max() <= 1  # fused, beside added at each step
    assert np.abs(drawn.astype(int) - _picture(f"{base} + vae={other}").astype(int)).max() > 1


def test_the_fingerprint_of_a_replaced_part(base: Path, other: Path, tmp_path: Path) -> None:
    taken = fingerprint.take(base)

    def level(*parts: str) -> str:
        found = find_base(" + ".join([str(base), *parts]))
        return fingerprint.compare(taken, fingerprint.take(found.folder)).level

    assert level(f"unet={base}") == "exact"
    assert level(f"vae={other}") == "fine-tuned"
    assert level(f"unet={other}") == "different"
    assert level(f"text_encoder={other}") == "different"


@pytest.mark.parametrize(
    "targets",
    [("to_k", "to_v"), *(pytest.param(one, marks=pytest.mark.thorough) for one in (("to_q",), ("to_out.0",)))],
)
@pytest.mark.parametrize(("strength", "level"), [(0.002, "exact"), (0.1, "fine-tuned")])
def test_a_lora_that_changes_weights_visibly_is_not_exact(
    base: Path, tmp_path: Path, targets: tuple[str, ...], strength: float, level: str
) -> None:
    lora = write_lora(base, tmp_path / "lora", strength=strength, targets=targets)
    found = find_base(f"{base} + lora={lora}")
    assert fingerprint.compare(fingerprint.take(base), fingerprint.take(found.folder)).level == level


@pytest.mark.thorough
def test_the_base_and_its_parts_stay_as_they_are_and_work_is_done_once(base: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in base.rglob("*") if path.is_file()}
    lora = write_lora(base, tmp_path / "lora")
    first = find_base(f"{base} + lora={lora}")
    stamp = (first.folder / "unet").stat().st_ino
    assert (find_base(f"{base} + lora={lora}").folder / "unet").stat().st_ino == stamp
    write_lora(base, lora, strength=0.3)
    assert find_base(f"{base} + lora={lora}").folder != first.folder, "another LoRA in the same place is another base"
    assert {path: path.read_bytes() for path in base.rglob("*") if path.is_file()} == before


def _other_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"scaling_factor": 0.5}))


def _pickled(folder: Path) -> None:
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04N.")


def _incomplete(folder: Path) -> None:
    path = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    weights.pop("decoder.conv_in.weight")
    save_file(weights, path, metadata={"format": "pt"})


def _cut(folder: Path) -> None:
    path = folder / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (_other_shape, UsageError, "another latent space: scaling_factor 0.5"),
        (_pickled, ArtifactError, "pickled weights only"),
        (_incomplete, UsageError, "lacks 1 weights, such as decoder.conv_in.weight"),
        (_cut, UsageError, "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), UsageError, "no readable config.json"),
    ],
)
def test_a_spoilt_part_is_refused(
    base: Path, tmp_path: Path, spoil: Callable[[Path], object], kind: type[EmbhubError], said: str
) -> None:
    shutil.copytree(base / "vae", tmp_path / "vae")
    spoil(tmp_path / "vae")
    with pytest.raises(kind, match=said):
        find_base(f"{base} + vae={tmp_path / 'vae'}")


def test_what_does_not_fit_is_refused(base: Path, wide: Path, tmp_path: Path) -> None:
    refused = {
        f"unet={wide}": "32 x 64 instead of 32 x 32",
        f"text_encoder={wide}": "instead of",
        f"vae={base / 'unet'}": "class UNet2DConditionModel",
        f"tokenizer={base}": "tokenizers cannot be replaced",
        f"scheduler={base}": "no part scheduler",
        f"transformer={base}": "choose text_encoder, unet, vae or lora",
        f"unet={tmp_path / 'nowhere'}": "there is no",
        "unet": "replaces nothing",
        f"unet={base} + unet={base}": "replaced twice",
    }
    for words, said in refused.items():
        with pytest.raises(UsageError, match=said):
            find_base(replace_in(str(base), words.split(" + ")))


def test_loras_that_fit_nothing_are_refused(base: Path, wide: Path, tmp_path: Path) -> None:
    def refuse(source: Path, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            find_base(f"{base} + lora={source}")

    refuse(write_lora(wide, tmp_path / "wide"), "is 2 x 64 there and 2 x 32 here")
    refuse(base / "unet", "does not go into")
    (tmp_path / "x.pt").write_bytes(b"\x80\x04N.")
    refuse(tmp_path / "x.pt", "not in safetensors")
    (tmp_path / "two").mkdir()
    refuse(tmp_path / "two", "holds 0 safetensors files")
    half = write_lora(base, tmp_path / "half") / "pytorch_lora_weights.safetensors"
    tensors = load_file(half)
    stray = {name.replace("unet.", "text_encoder_2."): value.clone() for name, value in list(tensors.items())[:2]}
    save_file(tensors | stray, half)
    refuse(half, "2 of .* tensors of .* fit nothing")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("builtin", ("builtin", ())),
        ("builtin + unet=a/b@main", ("builtin", (Replacement("unet", "a/b@main"),))),
        (
            "x + lora=/a b/c=d.safetensors + vae=y",
            ("x", (Replacement("lora", "/a b/c=d.safetensors"), Replacement("vae", "y"))),
        ),
        ("a + b", ("a + b", ())),
    ],
)
def test_words_for_a_base(text: str, meant: object) -> None:
    assert parse_base(text) == meant


def test_local_sources_are_named_by_their_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adapted").mkdir()
    assert replace_in("builtin", ["unet=adapted", "vae=a/b"]) == f"builtin + unet={tmp_path / 'adapted'} + vae=a/b"
    assert replace_in("builtin + unet=x", ["lora=y"]) == "builtin + unet=x + lora=y"


SOURCES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=30)


@given(
    st.sampled_from(["builtin", "owner/name@v1", "a folder + more"]),
    st.dictionaries(st.sampled_from(["unet", "vae", "text_encoder_2"]), SOURCES, max_size=3),
    st.lists(SOURCES, max_size=2),
)
def test_what_is_put_into_words_is_read_out_of_them(base: str, parts: dict[str, str], loras: list[str]) -> None:
    words = [f"{part}={source}" for part, source in (*parts.items(), *(("lora", lora) for lora in loras))]
    wanted = tuple(Replacement(*word.split("=", 1)) for word in words)
    said = replace_in(base, words)
    if not any(Path(source).exists() for _, source in wanted):
        assert parse_base(said) == (base, wanted)


@given(st.text(max_size=60))
def test_any_text_is_a_base_or_refused(text: str) -> None:
    try:
        first, replacements = parse_base(text)
    except (UsageError, ValueError):  # a NUL is no path
        return
    assert isinstance(first, str) and all(part and source for part, source in replacements)
