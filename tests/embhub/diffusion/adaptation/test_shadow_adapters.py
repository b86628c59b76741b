"""The standard suite on a compact adapter: shadow adapters by the same recipe."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import embhub
from embhub.diffusion.adaptation.compact import train_adapter
from embhub.diffusion.attacks import shadow_training
from embhub.diffusion.attacks.adapter_losses import measure, measure_adapter
from embhub.diffusion.attacks.evidence import Suspect, draw
from embhub.diffusion.attacks.shadow_recipes import plan_shadows
from embhub.diffusion.attacks.shadows import Setting, flip_coins
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import UsageError
from embhub.options.adapter import AdapterRecipe
from embhub.options.training import Selection
from embhub.phantoms import draw as draw_phantom
from embhub.phantoms import random_shape
from tests.embhub.diffusion.adaptation.test_compact import SHORT, Adapted, adapt

OVERFIT = AdapterRecipe(rank=4, steps=150, batch_size=12)


def setting_of(pipe: Any, made: Adapted, count: int = 8) -> Setting:
    latents = torch.randn(count, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    units = tuple(f"p{number}" for number in range(count))
    draws = draw(pipe, latents.shape[1:], count=4, seed=1)
    bare = Setting(pipe, latents, units, made.run.caption, made.run.token, ResolvedRecipe(), draws)
    return plan_shadows(bare, made.run, None)


def test_shadows_are_trained_by_the_recorded_recipe_and_leave_the_pipeline_as_it_was(
    base: Path, tmp_path: Path
) -> None:
    made, pipe = adapt(base, tmp_path), load_pipeline(base)
    setting = setting_of(pipe, made)
    assert made.run.settings["adapter"]["target_modules"] == "attention"
    assert setting.adapter == AdapterRecipe(**made.run.settings["adapter"]) and setting.recipe.steps == SHORT.steps
    told = {"caption": made.run.caption, "token": made.run.token}
    before = measure(pipe, setting.latents, setting.draws, **told)
    named = [name for name, _ in pipe.unet.named_modules()]
    coins = flip_coins(3, 8, seed=0)
    found = shadow_training.train(setting, coins, seed=5, stage="shadows")
    assert found.losses.shape == (3, 8, 4) and torch.isfinite(found.losses).all()
    assert len({tuple(part.flatten().tolist()) for part in found.losses}) == 3
    assert all(not torch.equal(part, before) for part in found.losses)
    assert torch.equal(measure(pipe, setting.latents, setting.draws, **told), before)
    assert [name for name, _ in pipe.unet.named_modules()] == named
    again = shadow_training.train(setting, coins, seed=5, stage="shadows")
    assert torch.equal(again.losses, found.losses), "no shadow depends on the one before"
    elsewhere = shadow_training.train(
        setting, coins, seed=5, stage="shadows", base=base, executor=ThreadPoolExecutor(max_workers=1)
    )
    assert torch.allclose(elsewhere.losses, found.losses)
    suspect = Suspect(pipe, setting.latents, setting.draws, told["caption"], told["token"], {})
    evidence = measure_adapter(suspect, made.adapter)
    assert torch.equal(evidence.without, before) and not torch.equal(evidence.with_rows, before)
    assert torch.equal(measure(pipe, setting.latents, setting.draws, **told), before)


@pytest.mark.thorough
def test_the_standard_suite_has_all_its_attacks_on_an_adapter(base: Path, tmp_path: Path) -> None:
    file = tmp_path / "adapter.safetensors"
    adapt(base, tmp_path, out=file)
    report = embhub.audit(file, suite="standard", shadows=4)
    assert (report.suite, report.members.units, report.headline) == ("standard", 10, "lira-shadows")
    attacks = set(report.tried)
    assert {"lira-shadows", "lira", "rmia", "lira-online", "dataset-inference", "loss"} <= attacks
    assert report.verdict != "no-leak-detected"  # twelve patients a side
    again = embhub.audit(file, suite="standard", shadows=4, replay=1)
    assert again.attacks == report.attacks


@pytest.mark.exhaustive
@pytest.mark.thorough
def test_a_standard_audit_finds_the_patients_of_an_adapter_that_learned_few_by_heart(tmp_path: Path) -> None:
    """On a real base: a tiny random one learns nothing of single images by its cross-attention."""
    rng, rows = np.random.default_rng(5), ["path,patient_id,split"]
    for number in range(24):
        image = draw_phantom("prostate", random_shape("prostate", rng), rng).image
        Image.fromarray(image).save(tmp_path / f"{number:02}.png")
        rows.append(f"{number:02}.png,p{number},{'holdout' if number % 2 else 'train'}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    file = tmp_path / "adapter.safetensors"
    train_adapter(
        tmp_path, token="<a>", caption="prostate mri, {}", base="builtin", recipe=OVERFIT, seed=1, out=file,
        selection=Selection(manifest=tmp_path / "manifest.csv"),
    )  # fmt: skip
    report = embhub.audit(file, suite="standard", shadows=4)
    assert {attack.name: attack.auc for attack in report.attacks}["lira-shadows"] > 0.7
    assert report.verdict == "leak-detected"


def test_shadows_of_an_adapter_trained_before_there_were_target_modules_change_keys_and_values(
    base: Path, tmp_path: Path
) -> None:
    older = AdapterRecipe(rank=2, steps=1, batch_size=4)
    made, pipe = adapt(base, tmp_path, recipe=older), load_pipeline(base)
    assert made.adapter.target_modules == "cross-attention-kv"
    without = {name: value for name, value in made.run.settings["adapter"].items() if name != "target_modules"}
    old = Adapted(
        made.adapter, made.run.model_copy(update={"settings": {"adapter": without}}), (), None, None, (), None
    )
    coins = flip_coins(1, 8, seed=0)
    losses = [shadow_training.train(setting_of(pipe, one), coins, seed=5, stage="s").losses for one in (old, made)]
    assert torch.equal(*losses)


def test_a_record_without_a_recipe_is_told_in_words(base: Path, tmp_path: Path) -> None:
    made = adapt(base, tmp_path)
    bare = made.run.model_copy(update={"settings": {}})
    with pytest.raises(UsageError, match="no recipe"):
        setting_of(load_pipeline(base), Adapted(made.adapter, bare, (), None, None, (), None))
