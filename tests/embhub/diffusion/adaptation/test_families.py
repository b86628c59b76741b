"""Every family of bases can be adapted, part by part, and takes parts from elsewhere."""

from __future__ import annotations

import itertools
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from packaging.version import Version
from PIL import Image
from safetensors.torch import load_file
from transformers.integrations.peft import MIN_PEFT_VERSION

from embhub.artifact import fingerprint
from embhub.diffusion.adaptation.components import choose
from embhub.diffusion.adaptation.examples import Examples
from embhub.diffusion.adaptation.objectives import NoiseObjective, PictureObjective
from embhub.diffusion.adaptation.plan import Plan
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.families import detect
from embhub.errors import UsageError
from embhub.formats.slices import find_weights
from embhub.ledger.books import ledger_exists
from tests.support import families, kandinsky, pipelines
from tests.support.quick import others_thorough, quick
from tests.support.training import train_component

TRANSFORMERS = ("sd3", "flux", *families.NEWER)
KINDS = ("sd-bert", "sdxl", *TRANSFORMERS, "kandinsky3")
COMPONENTS = ("unet", "text-encoder", "vae-decoder")
EACH = list(itertools.product(KINDS, COMPONENTS))
FEW = [("sd3", "text-encoder")]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("families")
    found = {kind: families.write(folder / kind, kind) for kind in ("sdxl", *TRANSFORMERS)}
    found["sd-bert"] = pipelines.write(folder / "sd-bert", encoder="bert")
    found["kandinsky3"] = kandinsky.write_kandinsky3(folder / "kandinsky3")
    return found


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, generator = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(generator.integers(0, 256, (64, 64), dtype=np.uint8)).save(folder / f"f{number}.png")
    return folder


def _changed(base: Path, out: Path) -> set[str]:
    """Parts of which a weight differs."""
    index = json.loads((base / "model_index.json").read_text())
    found = set()
    for part in (name for name in index if (base / name / "config.json").is_file()):
        before, after = (
            {key: value for path in find_weights(folder / part) for key, value in load_file(path).items()}
            for folder in (base, out)
        )
        if any(not torch.equal(before[key], after[key]) for key in before):
            found.add(part)
    return found


@pytest.mark.parametrize(("kind", "component"), quick(FEW, thorough=[pair for pair in EACH if pair not in FEW]))
def test_a_component_learns_and_the_others_stay(
    bases: dict[str, Path], images: Path, tmp_path: Path, kind: str, component: str
) -> None:
    base, out = bases[kind], tmp_path / "adapted"
    done = train_component(
        base, images, components=(component,), caption="film", out=out,
        steps=2, batch_size=2, learning_rate=1e-3, holdout=0.3, device="cpu",
    )  # fmt: skip
    assert done is not None and done.held_out_loss is not None and np.isfinite(done.held_out_loss).all()
    changed = _changed(base, out)
    if component == "text-encoder":
        assert changed and all(part.startswith("text_encoder") for part in changed)
    else:
        assert changed == {{"unet": "transformer" if kind in TRANSFORMERS else "unet"}.get(component, "")} or (
            component == "vae-decoder" and changed in ({"vae"}, {"movq"})
        )
    load_pipeline(out, device="cpu")
    match = fingerprint.compare(fingerprint.take(base), fingerprint.take(out))
    assert match.level in ("exact", "fine-tuned"), match.reason


@pytest.mark.thorough
def test_captions_of_several_lengths(bases: dict[str, Path], images: Path, tmp_path: Path) -> None:
    """Kandinsky 3 cuts what it tells its U-Net to the longest prompt; empty captions are drawn among the others."""
    films = [f"{path.name},{number},{'x' * (number + 1)}" for number, path in enumerate(sorted(images.glob("*.png")))]
    manifest = images / "lengths.csv"
    manifest.write_text("\n".join(["path,patient_id,label", *films]) + "\n")
    done = train_component(
        bases["kandinsky3"], images, manifest=manifest, components=("unet",), caption="film {}", out=tmp_path / "out",
        steps=8, batch_size=2, learning_rate=1e-3, holdout=0.3, device="cpu",
    )  # fmt: skip
    assert done is not None and done.held_out_loss is not None and np.isfinite(done.held_out_loss).all()


@pytest.mark.parametrize("kind", ["kandinsky3", "zimage"])
def test_a_kept_condition_does_not_depend_on_what_it_was_first_asked_for_with(kind: str) -> None:
    """Else a resumed training would not equal one that was not interrupted."""
    pipe: Any = kandinsky.kandinsky3() if kind == "kandinsky3" else families.build(kind)
    plan = Plan(components=("unet",), steps=1, learning_rate=1e-3, batch_size=2)
    whole, resumed = NoiseObjective(pipe, plan), NoiseObjective(pipe, plan)
    whole._condition(["film", "a much longer film"])
    before, after = (objective._condition(["film"]) for objective in (whole, resumed))
    assert all(before[name].shape == after[name].shape for name in after)
    assert all(torch.equal(before[name], after[name]) for name in after)


@pytest.mark.parametrize("kind", ["sdxl", "sd3", "sd35", "flux", "pixart", "zimage", "kandinsky3", "decoder"])
def test_the_decoder_learns_from_what_the_pipeline_gives_it(kind: str) -> None:
    """The autoencoder is asked for pictures in training as it is when the stock pipeline draws. Those of SANA, FLUX.2
    klein and Qwen-Image are of another class, see families/test_newer.py."""
    pipe: Any = {"kandinsky3": kandinsky.kandinsky3, "decoder": kandinsky.decoder}.get(
        kind, lambda: families.build(kind)
    )()
    place, model = ("vae", pipe.vae) if hasattr(pipe, "vae") else ("movq", pipe.movq)
    if place == "vae":
        model.register_to_config(latents_mean=[0.1, 0.2, 0.3, 0.4], latents_std=[0.5, 1.0, 1.5, 2.0])
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        latents = detect(pipe).latents(pipe, pictures)
        code = model.encode(pictures)
        expected = (
            model.decode(code.latent_dist.mode()).sample
            if place == "vae"
            else model.decode(code.latents, force_not_quantize=True).sample
        )
        objective = PictureObjective(pipe, Plan(("vae-decoder",), 1, 1e-3, 1))
        examples = Examples(latents, ("", ""), lambda _chosen: expected)
        assert objective.measure(examples) < 1e-9


def test_a_decoder_that_reads_no_words_learns_none(images: Path, tmp_path: Path) -> None:
    base = kandinsky.write_decoder(tmp_path / "base")
    with pytest.raises(UsageError, match="has no text encoder"):
        train_component(base, images, components=("unet",), caption="film", out=tmp_path / "out", steps=1, device="cpu")


LORAS = [kind for kind in ("sdxl", *TRANSFORMERS) if kind != "pixart"]
"""diffusers has none for PixArt-Sigma, see families/test_refused_features.py."""


@pytest.mark.parametrize("kind", others_thorough(LORAS, ("flux",)))
def test_a_lora_of_the_family_is_written_and_used(
    bases: dict[str, Path], images: Path, tmp_path: Path, kind: str
) -> None:
    base, out = bases[kind], tmp_path / "lora"
    train_component(
        base, images, components=("unet",), caption="film", out=out, lora_rank=2,
        steps=3, batch_size=2, learning_rate=0.05, holdout=0.0, device="cpu",
    )  # fmt: skip
    found = find_base(f"{base} + lora={out}")
    assert _changed(base, found.folder) == {"transformer" if kind in TRANSFORMERS else "unet"}


def test_a_denoiser_that_takes_no_lora_is_named() -> None:
    with pytest.raises(UsageError, match="no LoRA of the unet of a Kandinsky3UNet") as refusal:
        choose(kandinsky.kandinsky3(), Plan(("unet",), 1, 1e-3, 1, lora_rank=2))
    assert "leave out --lora-rank" in refusal.value.hint


@pytest.mark.thorough
def test_a_lora_of_text_encoders_is_used_or_asks_for_a_newer_peft(
    bases: dict[str, Path], images: Path, tmp_path: Path
) -> None:
    """transformers wants a newer peft than diffusers does, and says so only when it is given a LoRA."""
    asked: dict[str, Any] = {"components": ("text-encoder",), "caption": "film", "lora_rank": 2, "steps": 1}
    if Version(version("peft")) < Version(MIN_PEFT_VERSION):
        with pytest.raises(UsageError, match=r"a LoRA of the text_encoder cannot be added: .* PEFT") as refusal:
            train_component(bases["sdxl"], images, out=tmp_path / "lora", batch_size=2, device="cpu", **asked)
        assert "--upgrade peft" in refusal.value.hint and not ledger_exists()
        return
    train_component(
        bases["sdxl"], images, out=tmp_path / "lora", batch_size=2, learning_rate=0.05, device="cpu", **asked
    )
    found = find_base(f"{bases['sdxl']} + lora={tmp_path / 'lora'}")
    assert _changed(bases["sdxl"], found.folder) == {"text_encoder", "text_encoder_2"}
