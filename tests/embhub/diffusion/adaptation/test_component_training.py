"""Adapting components: what learns and what stays, what is written and what it says, what the ledger counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from embhub.artifact import fingerprint
from embhub.diffusion.adaptation import loop
from embhub.diffusion.bases import live_fingerprint as live_base
from embhub.diffusion.bases.adapted import MARK, Adaptation, is_adapted
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.training.inversion import DivergedError
from embhub.diffusion.training.memory import OutOfMemoryError
from embhub.errors import ConfigError, EmbhubError, PrivacyError, UsageError
from embhub.ledger import budget
from embhub.ledger.books import open_books
from tests.support import disks
from tests.support.quick import quick
from tests.support.training import train, train_component

STEPS = 6
WEIGHTS = {"unet": "unet/diffusion_pytorch_model", "vae": "vae/diffusion_pytorch_model", "text": "text_encoder/model"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve films of two kinds, of six patients."""
    folder, generator = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    lines = ["path,patient_id,label"]
    for number in range(12):
        grey = generator.integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(grey).save(folder / f"f{number:02d}.png")
        lines.append(f"f{number:02d}.png,p{number // 2},{('round', 'square')[number % 2]}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def adapt(base: Path, images: Path, out: Path, *components: str, **choices: Any) -> Adaptation:
    usual = {"steps": STEPS, "batch_size": 4, "device": "cpu", "holdout": 0.2, "learning_rate": 1e-2}
    asked: dict[str, Any] = {**usual, "precision": "float32", **choices}
    caption = asked.pop("caption", "film, {}")
    done = train_component(base, images, components=components, caption=caption, out=out, **asked)
    assert done is not None
    return done


def changed(base: Path, out: Path) -> dict[str, set[str]]:
    """Names of the tensors that differ, by part."""
    found = {}
    for part, name in WEIGHTS.items():
        before, after = (load_file(folder / f"{name}.safetensors") for folder in (base, out))
        assert before.keys() == after.keys()
        found[part] = {key for key in before if not torch.equal(before[key], after[key])}
    return found


def test_the_denoiser_learns_and_nothing_else_moves(base: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapted"
    done = adapt(base, images, out, "unet", steps=40)
    moved = changed(base, out)
    assert moved["unet"] and not moved["vae"] and not moved["text"]
    assert done.held_out_loss is not None and done.held_out_loss[1] < done.held_out_loss[0]
    assert (done.images, done.patients, done.captions) == (10, 5, ("film, round", "film, square"))
    match = fingerprint.compare(fingerprint.take(base), fingerprint.take(out))
    assert match.level == "fine-tuned"
    # The stock loader draws with it, and the pipeline in memory has the folder's fingerprint.
    StableDiffusionPipeline.from_pretrained(out, use_safetensors=True)("film", num_inference_steps=1, output_type="np")
    assert fingerprint.compare(fingerprint.take(out), live_base.take(load_pipeline(out, device="cpu"))).level == "exact"


@pytest.mark.thorough
@pytest.mark.rounding
def test_the_text_encoder_learns_and_keeps_its_token_space(base: Path, images: Path, tmp_path: Path) -> None:
    adapt(base, images, tmp_path / "adapted", "text-encoder")
    moved = changed(base, tmp_path / "adapted")
    assert not moved["unet"] and not moved["vae"]
    assert moved["text"] and not any("token_embedding" in name for name in moved["text"])


@pytest.mark.thorough
@pytest.mark.rounding
def test_both_may_learn_together(base: Path, images: Path, tmp_path: Path) -> None:
    done = adapt(base, images, tmp_path / "adapted", "unet", "text-encoder")
    moved = changed(base, tmp_path / "adapted")
    assert moved["unet"] and moved["text"] and done.parts == ("unet", "text_encoder")


@pytest.mark.thorough
@pytest.mark.rounding
def test_the_decoder_learns_and_latents_stay(base: Path, images: Path, tmp_path: Path) -> None:
    done = adapt(base, images, tmp_path / "adapted", "vae-decoder", steps=40, caption="film")
    moved = changed(base, tmp_path / "adapted")
    assert moved["vae"] and all(name.startswith(("decoder.", "post_quant_conv.")) for name in moved["vae"])
    assert not moved["unet"] and not moved["text"]
    assert done.held_out_loss is not None and done.held_out_loss[1] < done.held_out_loss[0]


@pytest.mark.thorough
def test_one_seed_gives_the_same_bytes_and_accumulation_the_same_but_for_rounding(
    base: Path, images: Path, tmp_path: Path
) -> None:
    for name, choices in {"a": {}, "b": {}, "c": {"micro_batch_size": 1}, "d": {"seed": 1}}.items():
        adapt(base, images, tmp_path / name, "unet", steps=3, **choices)
    path = f"{WEIGHTS['unet']}.safetensors"
    a, b, c, d = (load_file(tmp_path / name / path) for name in "abcd")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert all(torch.allclose(a[key], c[key], atol=5e-3) for key in a)
    assert any(not torch.allclose(a[key], d[key], atol=5e-3) for key in a)


@pytest.mark.thorough
def test_it_computes_in_bfloat16_and_twice_what_does_not_fit(base: Path, images: Path, tmp_path: Path) -> None:
    choices: dict[str, Any] = {"precision": "bfloat16", "gradient_checkpointing": True}
    adapt(base, images, tmp_path / "adapted", "unet", **choices)
    assert all(
        value.dtype == torch.float32
        for value in load_file(tmp_path / "adapted" / f"{WEIGHTS['unet']}.safetensors").values()
    )


def test_card_facts_and_marks_say_that_nothing_covers_it(base: Path, images: Path, tmp_path: Path) -> None:
    (base / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Tiny\n")
    try:
        adapt(base, images, tmp_path / "adapted", "unet")
    finally:
        (base / "README.md").unlink()
    card = (tmp_path / "adapted/README.md").read_text()
    assert "trained on 10 images of 5 patients of a site, without privacy" in card
    assert "No differential-privacy claim covers these weights, and no embhub audit does" in card
    assert "license: cc-by-4.0" in card and "Not for diagnosis" in card
    facts = json.loads((tmp_path / "adapted/base.json").read_text())
    assert (facts["name"], facts["licence"]) == ("adapted", "cc-by-4.0")
    assert facts["adaptation"]["privacy"] == "none"
    told = card + json.dumps(facts)
    assert str(images) not in told and "f00" not in told and '"p0"' not in told
    assert is_adapted(tmp_path / "adapted") and not is_adapted(base)


def test_the_ledger_counts_it_as_without_bound_and_caps_refuse_it(base: Path, images: Path, tmp_path: Path) -> None:
    adapt(base, images, tmp_path / "adapted", "unet")
    with open_books() as books:
        (run,) = books.account().runs.values()
    assert (run.mechanism, run.count, run.unit, len(run.released)) == ("none", 5, "patient", 1)
    budget.set_cap(10.0)
    with pytest.raises(PrivacyError, match="cap"):
        adapt(base, images, tmp_path / "again", "unet")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("part", quick([""], thorough=[" + unet="]))
def test_no_privacy_claim_is_made_on_a_base_that_learned_from_a_site(
    base: Path, images: Path, tmp_path: Path, part: str
) -> None:
    adapt(base, images, tmp_path / "adapted", "unet")
    adapted = f"{base}{part}{tmp_path / 'adapted/unet'}" if part else str(tmp_path / "adapted")
    with pytest.raises(PrivacyError, match="without privacy"):
        train(images, token="<a>", caption="film, {}", base=adapted, device="cpu", epsilon=4.0, n_public=5)


@pytest.mark.thorough
def test_marks_that_were_left_behind(base: Path, images: Path, tmp_path: Path) -> None:
    """A LoRA's file tells it by itself, wherever it is copied to; a base without its marks by its own facts."""
    adapt(base, images, tmp_path / "lora", "unet", lora_rank=2)
    alone = tmp_path / "mine.safetensors"
    shutil.copy(tmp_path / "lora/pytorch_lora_weights.safetensors", alone)
    assert is_adapted(find_base(f"{base} + lora={alone}").folder)
    adapt(base, images, tmp_path / "adapted", "unet")
    for mark in (tmp_path / "adapted").rglob(MARK):
        mark.unlink()
    assert is_adapted(find_base(tmp_path / "adapted").folder)
    assert is_adapted(find_base(f"{tmp_path / 'adapted'} + vae={base}").folder)


@pytest.mark.parametrize(
    ("components", "choices", "said"),
    [
        (("tokenizer",), {}, "no component called tokenizer"),
        ((), {}, "no component"),
        (("unet", "vae-decoder"), {}, "the decoder learns from pictures"),
        (("vae-decoder",), {"lora_rank": 4}, "a LoRA of the decoder"),
        (("unet",), {"batch_size": 4, "micro_batch_size": 3}, "cannot be shared"),
        (("unet",), {"learning_rate": 3.0}, "learning_rate is 3.0, out of its range"),
        (("unet",), {"device": "tpu"}, "no device called tpu"),
        (("unet",), {"caption": "film of anna.smith@example.org"}, "personal data"),
        (("unet",), {"holdout": 0.95}, "holdout"),
    ],
)
def test_what_cannot_be_is_refused(
    base: Path, images: Path, tmp_path: Path, components: tuple[str, ...], choices: dict[str, Any], said: str
) -> None:
    with pytest.raises(EmbhubError, match=said):
        adapt(base, images, tmp_path / "adapted", *components, **choices)
    assert not (tmp_path / "adapted").exists()


@pytest.mark.parametrize("name", ["builtin", "my base", ".hidden", "a" * 61, "anna.smith@example.org", ".."])
def test_a_name_that_cannot_be_published_is_refused(base: Path, images: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(EmbhubError, match="cannot be called"):
        adapt(base, images, tmp_path / name, "unet")


def test_labels_are_needed_where_the_caption_has_a_place_for_them(base: Path, images: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "plain.csv"
    manifest.write_text("\n".join(f"f{n:02d}.png,p{n}" if n >= 0 else "path,patient_id" for n in range(-1, 4)) + "\n")
    with pytest.raises(UsageError, match="an image has none"):
        adapt(base, images, tmp_path / "adapted", "unet", manifest=manifest)


def test_what_a_manifest_says_of_each_image_is_not_left_out_in_silence(
    base: Path, images: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "captioned.csv"
    rows = [f"f{number:02d}.png,p{number},left side" for number in range(4)]
    manifest.write_text("\n".join(["path,patient_id,caption", *rows]) + "\n")
    with pytest.raises(UsageError, match="column `caption`"):
        adapt(base, images, tmp_path / "adapted", "unet", manifest=manifest)


def test_a_place_that_holds_something_else_is_never_written_over(base: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapted"
    out.mkdir()
    with pytest.raises(UsageError, match="exists"):
        adapt(base, images, out, "unet")
    with pytest.raises(UsageError, match="not written by"):
        adapt(base, images, out, "unet", overwrite=True)
    with pytest.raises(UsageError, match="the base itself"):
        adapt(base, images, base, "unet", overwrite=True)


@pytest.mark.thorough
@pytest.mark.rounding
def test_an_adapted_base_is_written_over_where_that_is_asked_for(base: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapted"
    adapt(base, images, out, "unet")
    first = (out / f"{WEIGHTS['unet']}.safetensors").read_bytes()
    adapt(base, images, out, "unet", overwrite=True, seed=5)
    assert (out / f"{WEIGHTS['unet']}.safetensors").read_bytes() != first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def blown_up(base: Path, out: Path, factor: float) -> Path:
    """A copy of the base whose denoiser answers `factor` times as much: that overflows in any arithmetic."""
    shutil.copytree(base, out)
    path = out / f"{WEIGHTS['unet']}.safetensors"
    weights = load_file(path)
    weights["conv_out.weight"] *= factor
    save_file(weights, path, metadata={"format": "pt"})
    return out


@pytest.mark.parametrize("precision", quick(["float32"], thorough=["bfloat16"]))
@pytest.mark.parametrize(
    ("factor", "holdout", "said"),
    [
        pytest.param(1e30, 0.0, "the loss at step 1 is not a number", marks=pytest.mark.thorough),
        # The loss is about 1e32 and stays finite to the end; the square of its gradient does not fit in float32.
        (1e16, 0.0, "the norm of the gradient at step 1 is not a number"),
        (1e30, 0.2, "the held-out loss after 0 steps is not a number"),
    ],
)
def test_a_loss_or_gradient_that_is_no_number_leaves_nothing(
    base: Path, images: Path, tmp_path: Path, precision: str, factor: float, holdout: float, said: str
) -> None:
    broken = blown_up(base, tmp_path / "broken", factor)
    with pytest.raises(DivergedError, match=said):
        adapt(broken, images, tmp_path / "adapted", "unet", precision=precision, holdout=holdout)
    assert list(tmp_path.glob("*adapted*")) == []


def test_want_of_memory_says_what_to_change(
    base: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "_step", full)
    with pytest.raises(OutOfMemoryError, match="--micro-batch-size 2"):
        adapt(base, images, tmp_path / "adapted", "unet")


@pytest.mark.thorough
def test_a_full_disk_is_said_before_and_after(base: Path, images: Path, tmp_path: Path) -> None:
    with disks.small_disk(tmp_path / "disk", kilobytes=400) as disk, pytest.raises(ConfigError, match="are free"):
        adapt(base, images, disk / "adapted", "unet")
    size = sum(path.stat().st_size for path in base.rglob("*") if path.is_file())
    # Room for every byte of the base, and not for the last part of its blocks.
    with disks.small_disk(tmp_path / "second", kilobytes=size // 1024 + 8) as disk:
        with pytest.raises(ConfigError, match="cannot be written"):
            adapt(base, images, disk / "adapted", "unet")
        assert not (disk / "adapted").exists()
        assert not list(disk.glob("*.part"))
