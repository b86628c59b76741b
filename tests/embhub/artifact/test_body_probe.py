"""What the fingerprint sees of a base's other weights: fine-tunes of every kind of layer, and where sight ends."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from embhub.artifact import base_identity, fingerprint
from embhub.artifact.fingerprint import BadFingerprintError
from embhub.diffusion.bases import live_fingerprint as live_base
from embhub.diffusion.bases.pipelines import load_pipeline
from tests.support import families, pipelines
from tests.support.quick import others_thorough


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("body") / "base")


def _moved(base: Path, folder: Path, part: str, which: Callable[[str], object], share: float) -> Path:
    """A copy of the base in which the chosen tensors of a part have moved by `share` of their length."""
    shutil.copytree(base, folder)
    (path,) = (folder / part).glob("*.safetensors")
    generator, tensors = torch.Generator().manual_seed(3), load_file(path)
    chosen = [name for name, value in tensors.items() if which(name) and value.ndim > 1]
    assert chosen
    for name in chosen:
        noise = torch.randn(tensors[name].shape, generator=generator)
        tensors[name] = tensors[name] + noise * (share * tensors[name].norm() / noise.norm())
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def _compare(base: Path, other: Path) -> fingerprint.Match:
    return fingerprint.compare(fingerprint.take(base), fingerprint.take(other))


@pytest.mark.parametrize(
    ("part", "layers"),
    [
        ("unet", "conv1"),
        ("unet", "attn1.to_q"),
        ("unet", "attn2.to_out"),
        ("unet", "ff.net"),
        ("vae", "decoder"),
        ("text_encoder", "mlp"),
        ("text_encoder", "v_proj"),
        ("text_encoder", "layers.0"),
    ],
)
def test_a_fine_tune_of_any_kind_of_layer_is_no_longer_exact(
    base: Path, tmp_path: Path, part: str, layers: str
) -> None:
    match = _compare(base, _moved(base, tmp_path / "tuned", part, lambda name: layers in name, 0.05))
    assert match.level == "fine-tuned", match
    assert ("autoencoder" in match.reason) == (part == "vae")
    assert ("0.0% (text encoder)" in match.reason) == (part != "text_encoder")


VALUES = r"\.(?:v_proj|value|v)\."
MOVED = {
    **dict.fromkeys(("sdxl", "bert", "sd3", "flux", *families.NEWER), (VALUES, 0.05)),
    "sana": (VALUES, 0.1),  # one head of values beside many other rows: half of it would be under 0.5 % in all
    "klein": (r"\.self_attn\.", 0.05),  # of 28 layers of seven matrices, what is sampled evenly has no values
}


@pytest.mark.parametrize("kind", others_thorough(MOVED, ("sdxl",)))
def test_text_encoders_of_all_kinds_are_looked_at(kind: str, tmp_path: Path) -> None:
    layers, share = MOVED[kind]
    base = families.write(tmp_path / kind, kind)
    live = live_base.take(load_pipeline(base, device="cpu"))
    assert fingerprint.compare(fingerprint.take(base), live).level == "exact"
    assert all(encoder["body"] for encoder in live["encoders"].values())
    for part in live["encoders"]:
        tuned = _moved(base, tmp_path / part, part, re.compile(layers).search, share)
        assert _compare(base, tuned).level == "fine-tuned", part


@pytest.mark.parametrize(("share", "level"), [(0.001, "exact"), (0.03, "fine-tuned")])
def test_sight_ends_where_the_documentation_says(base: Path, tmp_path: Path, share: float, level: str) -> None:
    assert _compare(base, _moved(base, tmp_path / "tuned", "unet", lambda _: True, share)).level == level


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_copies_of_less_precision_are_the_same_base(base: Path, tmp_path: Path, kind: torch.dtype) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(base, folder)
    for path in folder.rglob("*.safetensors"):
        save_file({name: value.to(kind) for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    assert _compare(base, folder).level == "exact"


def test_figures_of_every_encoder_and_of_the_denoiser_are_required(base: Path) -> None:
    for path in (("denoiser",), ("encoders", "text_encoder")):
        part = whole = copy.deepcopy(fingerprint.take(base))
        for name in path:
            part = part[name]
        del part["body"]
        with pytest.raises(BadFingerprintError):
            fingerprint.check(whole)


def test_an_autoencoder_is_compared_where_both_have_one(base: Path, tmp_path: Path) -> None:
    """A pipeline may be loaded without it."""
    without = fingerprint.take(base)
    del without["autoencoder"]
    tuned = fingerprint.take(_moved(base, tmp_path / "tuned", "vae", lambda _: True, 0.05))
    assert fingerprint.compare(without, tuned).level == fingerprint.compare(tuned, without).level == "exact"


@pytest.mark.parametrize(
    "body",
    [{}, [], {"matrices": []}, {"matrices": [float("nan")]}, {"else": [1.0]}, {"kernels": [0.0] * 200}, "x", None],
)
def test_figures_of_another_form_are_refused(base: Path, body: Any) -> None:
    taken = fingerprint.take(base)
    encoder = {**taken["encoders"]["text_encoder"], "body": body}
    for bad in (
        {**taken, "autoencoder": body},
        {**taken, "denoiser": {**taken["denoiser"], "body": body}},
        {**taken, "encoders": {"text_encoder": encoder}},
    ):
        with pytest.raises(BadFingerprintError):
            fingerprint.check(bad)


def test_figures_of_other_lengths_never_agree() -> None:
    assert base_identity.body_distance({"matrices": [1.0]}, {"matrices": [1.0, 2.0]}) == float("inf")
    assert base_identity.body_distance({"matrices": [1.0]}, {"kernels": [1.0]}) == float("inf")
    assert base_identity.body_distance({"kernels": [0.0]}, {"kernels": [0.1]}) == float("inf")
