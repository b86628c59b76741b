"""What a family cannot do is refused in words: before a weight is read, and before anything is written or charged.

The bases here have no weights, so whatever would load one ends in another message.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.diffusion.adaptation.compact import train_adapter
from embhub.diffusion.adaptation.porting import port
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.families import detect, of_class
from embhub.diffusion.generation.generation import generate
from embhub.diffusion.generation.interpolation import interpolate
from embhub.diffusion.generation.redrawing import redraw
from embhub.diffusion.training.per_layer import check_size
from embhub.errors import UsageError
from embhub.ledger.books import ledger_exists
from embhub.options.training import Recipe
from embhub.phantoms import write_dataset
from tests.support import families
from tests.support.quick import others_thorough
from tests.support.training import train, train_component

ONE_ENCODER = ("pixart", "sana", "zimage", "klein", "qwen-image")
KINDS = ("sd3", "sd35", "flux", *ONE_ENCODER)
MIXING = ("sd3", "sd35")
TRAINED = ("--token", "<a>", "--caption", "mri, {}", "--out", "a.safetensors")
COMMANDS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "--and": (
        ("generate", "mri a:0.5", "--and", "b:0.5", "--out", "out"),
        "prompts cannot be weighed against each other in a",
        "generate from one prompt of weight 1",
    ),
    "--interpolate-to": (
        ("generate", "mri a", "--interpolate-to", "b", "--out", "out"),
        "prompts cannot be weighed against each other in a",
        "generate from one prompt of weight 1",
    ),
    "--negative": (
        ("generate", "mri a", "--negative", "b", "--out", "out"),
        "takes no negative prompt",
        "leave out --negative",
    ),
    "--from": (
        ("generate", "mri a", "--from", "image.png", "--out", "out"),
        "cannot redraw an image here",
        "use a Stable Diffusion 1, 2 or XL base",
    ),
    "--per-layer": (
        ("train", "images", "--per-layer", *TRAINED),
        "rows for each layer are not for a",
        "use a base of Stable Diffusion's shape, or leave out --per-layer",
    ),
    "--per-layer in private": (
        ("train", "images", "--per-layer", "--epsilon", "8", "--n-public", "8", *TRAINED),
        "--per-layer is not for private training",
        "leave it out",
    ),
}
"""Words of a command, and what it says: what is wrong, and the way out."""
NEGATIVE = {*KINDS} - {"flux", "klein"}
DONE = {*itertools.product(MIXING, ("--and", "--interpolate-to")), *((kind, "--negative") for kind in NEGATIVE)}
REFUSED = [pair for pair in itertools.product(KINDS, COMMANDS) if pair not in DONE]
TOGETHER = ("zimage", "qwen-image")
"""Their prompts are as long as the longest of a batch."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images, and bases of every kind without their weights."""
    folder = tmp_path_factory.mktemp("place")
    write_dataset(folder / "images", "prostate-cspca", images=4, patients=4, normals=0, seed=0)
    image().save(folder / "image.png")
    for kind in KINDS:
        for weights in families.write(folder / kind, kind).rglob("*.safetensors"):
            weights.unlink()
    return folder


def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8))


@pytest.mark.parametrize(("kind", "name"), REFUSED)
def test_a_command_says_so(
    place: Path, kind: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    words, wrong, way_out = COMMANDS[name]
    assert main([*words, "--base", kind, "--device", "cpu"]) == 2
    message = capsys.readouterr().err
    assert wrong in message and way_out in message
    assert "private" in name or FoundBase("", place / kind).kind in message
    assert not Path("a.safetensors").exists() and not list(Path("out").glob("*")) and not ledger_exists()


@pytest.mark.parametrize("kind", KINDS)
def test_python_calls_say_so(place: Path, kind: str) -> None:
    base, source = place / kind, embedding.build(
        {"emb_params": np.ones((1, 128))}, token="<a>", base=None, base_name="builtin",
        training={"caption": "mri, {}"},
    )  # fmt: skip
    calls: list[Callable[[], Any]] = [
        lambda: redraw(image(), "mri a", base=base),
        lambda: train(place / "images", token="<a>", caption="mri, {}", base=base, per_layer=True),
        lambda: train_adapter(place / "images", token="<a>", caption="mri, {}", base=base),
        lambda: port(source, to=base, recipe=Recipe(per_layer=True)),
    ]
    if kind not in MIXING:
        calls += [
            lambda: generate([("mri a", 0.5), ("b", 0.5)], base=base),
            lambda: generate([("mri a", 0.5)], base=base),
            lambda: interpolate("mri a", "b", base=base),
        ]
    for call in calls:
        with pytest.raises(UsageError, match=FoundBase("", base).kind) as refusal:
            call()
        assert refusal.value.hint and "be loaded" not in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "component", "part"),
    [
        ("pixart", "unet", "transformer"),
        *((kind, "text-encoder", "text_encoder") for kind in ONE_ENCODER),
        *((kind, "text-encoder", "text_encoder_3") for kind in ("sd3", "sd35")),
        ("flux", "text-encoder", "text_encoder_2"),
    ],
)
def test_a_lora_that_diffusers_has_no_file_for_is_refused(
    place: Path, tmp_path: Path, kind: str, component: str, part: str
) -> None:
    """Nor can its file be written: by then it would be trained, and charged."""
    asked: dict[str, Any] = {"components": (component,), "caption": "mri", "out": tmp_path / "lora", "device": "cpu"}
    with pytest.raises(UsageError, match=f"no LoRA of the {part} of a {FoundBase('', place / kind).kind}") as refusal:
        train_component(place / kind, place / "images", lora_rank=2, steps=1, **asked)
    assert "leave out --lora-rank" in refusal.value.hint and not ledger_exists() and not (tmp_path / "lora").exists()


@pytest.mark.parametrize("kind", ["sd3", "pixart"])
def test_what_can_be_done_gets_as_far_as_the_weights(place: Path, kind: str) -> None:
    """So a base without weights tries what it is meant to."""
    asked = [("mri a", 0.5), ("b", 0.5)] if kind == "sd3" else [("mri a", 1.0), ("b", 0.0)]
    with pytest.raises(UsageError, match=f"{kind} cannot be loaded as a diffusion pipeline"):
        generate(asked, base=place / kind)


@pytest.mark.parametrize("kind", others_thorough(KINDS, ("zimage",)))
def test_a_loaded_pipeline_has_no_vectors_for_each_layer(kind: str) -> None:
    pipe = families.build(kind)
    assert of_class(type(pipe).__name__) is detect(pipe)
    with pytest.raises(UsageError, match=f"not for a {type(pipe).__name__}") as refusal:
        check_size(pipe, 1, "float16")
    assert "leave out --per-layer" in refusal.value.hint


@pytest.mark.parametrize("kind", TOGETHER)
def test_private_training_with_captions_is_refused_before_it_is_charged(kind: str, tmp_path: Path) -> None:
    """A caption would change another patient's gradient."""
    write_dataset(tmp_path / "images", "prostate-cspca", images=10, patients=10, normals=0, seed=0)
    manifest = tmp_path / "images/manifest.csv"
    head, *lines = manifest.read_text().splitlines()
    texts = [f"{head},caption", *(f"{line},view {'x' * number}" for number, line in enumerate(lines))]
    manifest.write_text("\n".join(texts) + "\n")
    base = families.write(tmp_path / kind, kind)
    with pytest.raises(UsageError, match="cuts the prompts of a batch to the longest") as refusal:
        train(tmp_path / "images", token="<a>", caption="mri, {}", base=base, epsilon=8.0, n_public=10, device="cpu")
    assert "leave out the column caption" in refusal.value.hint and not ledger_exists()


@pytest.mark.parametrize("kind", [kind for kind in families.BUILDERS if kind not in TOGETHER])
def test_elsewhere_a_prompt_is_encoded_alike_beside_any_other(kind: str) -> None:
    pipe = families.build(kind)
    assert not detect(pipe).cuts_context
    with torch.no_grad():
        beside = [detect(pipe).condition(pipe, ["mri, x", other]) for other in ("y", "y" * 40)]
    for name, part in beside[0].items():
        assert torch.equal(part[0], beside[1][name][0]), name
