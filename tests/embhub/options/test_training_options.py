"""One place for each option: what the command line offers, Python takes, with the same range and the same meaning."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import embhub
from embhub.cli.generate.bases import train_component as component_command
from embhub.cli.option_groups import option_group
from embhub.cli.train_and_audit.training import command
from embhub.diffusion.adaptation.component_training import train_component
from embhub.diffusion.adaptation.plan import Plan
from embhub.diffusion.dp.settings import Protection
from embhub.diffusion.dp.settings import resolve as resolve_privacy
from embhub.diffusion.training.recipes import COMPACT, LARGE, ResolvedRecipe, resolve
from embhub.errors import UsageError
from embhub.options.component import ComponentRecipe
from embhub.options.fields import options_of
from embhub.options.training import Preview, PrivacySettings, Recipe, Selection, choose_privacy

GROUPS = (Recipe, PrivacySettings, Selection, Preview)
OLD = tuple(f"--{name}" for name in ["start", "vectors", "micro-batch", "clip", "draws", "directions", "max-images"])


def flags(made: click.Command) -> dict[str, click.Option]:
    return {flag: each for each in made.params if isinstance(each, click.Option) for flag in each.opts}


def test_every_field_is_an_option_of_the_command_line() -> None:
    known = {each.name for each in command.params}
    for group in GROUPS:
        assert {field.name for field in fields(group)} == set(options_of(group)) <= known
    assert set(options_of(ComponentRecipe)) <= {each.name for each in component_command.params}


def test_the_names_are_those_of_the_field_and_the_old_ones_are_gone() -> None:
    names = flags(command)
    assert names["--placeholder-token"] is names["--token"]
    for name in ("num-vectors", "initializer-text", "micro-batch-size", "max-grad-norm", "noise-draws", "subspace-dim"):
        assert f"--{name}" in names
    assert not set(OLD) & set(names) and "--micro-batch-size" in flags(component_command)


@pytest.mark.parametrize(("settled", "group"), [(ResolvedRecipe, Recipe), (Protection, PrivacySettings)])
def test_every_option_reaches_the_training(settled: type[Any], group: type[Any]) -> None:
    renamed = {"precision": "mixed_precision"}
    assert {renamed.get(name, name) for name in options_of(group)} <= {field.name for field in fields(settled)}
    assert set(options_of(ComponentRecipe)) <= {field.name for field in fields(Plan)}


def test_the_library_takes_few_parameters() -> None:
    assert len(inspect.signature(embhub.train).parameters) <= 17  # the last is the question before a weak total
    assert len(inspect.signature(train_component).parameters) <= 15
    assert {embhub.Recipe, embhub.PrivacySettings, embhub.Selection, embhub.Preview} == set(GROUPS)


@pytest.mark.parametrize(
    ("group", "wrong"),
    [
        (Recipe, {"num_vectors": 65}),
        (Recipe, {"learning_rate": 0.0}),
        (Recipe, {"learning_rate": float("nan")}),
        (Recipe, {"norm": "fixed"}),
        (Recipe, {"high_noise": 1.1}),
        (Recipe, {"warm_up": -1}),
        (Recipe, {"precision": "float16"}),
        (PrivacySettings, {"epsilon": 0.0}),
        (PrivacySettings, {"epsilon": 1.0, "delta": 1.0}),
        (PrivacySettings, {"epsilon": 1.0, "mechanism": "laplace"}),
        (Selection, {"holdout": 0.91}),
        (Preview, {"every": 0}),
        (ComponentRecipe, {"lora_rank": 1025}),
    ],
)
def test_a_value_out_of_range_is_refused_in_python(group: type[Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=list(wrong)[-1]):
        group(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--num-vectors", "65"],
        ["--learning-rate", "0"],
        ["--delta", "1"],
        ["--norm", "fixed"],
        ["--preview", "0"],
        ["--high-noise", "1.1"],
        ["--warm-up", "-1"],
        ["--precision", "float16"],
    ],
)
def test_the_same_value_is_refused_on_the_command_line(wrong: list[str]) -> None:
    words = ["images", "--token", "<a>", "--caption", "mri, {}", "--out", "x.safetensors", *wrong]
    told = CliRunner().invoke(command, words)
    assert told.exit_code == 2 and wrong[0] in told.output


def test_what_is_typed_arrives_as_one_typed_object() -> None:
    got: list[Any] = []

    @click.command()
    @option_group(Selection, "selection", defaults={"holdout": 0.1})
    @option_group(PrivacySettings, "privacy", build=choose_privacy)
    @option_group(Recipe, "recipe")
    def run(recipe: Recipe, privacy: PrivacySettings | None, selection: Selection) -> None:
        got.extend([recipe, privacy, selection])

    words = ["--num-vectors", "4", "--per-layer", "--snr-gamma", "5", "--manifest", "m.csv"]
    assert CliRunner().invoke(run, words).exit_code == 0
    assert got == [
        Recipe(num_vectors=4, per_layer=True, snr_gamma=5.0),
        None,
        Selection(manifest=Path("m.csv"), holdout=0.1),
    ]
    got.clear()
    assert CliRunner().invoke(run, ["--epsilon", "2", "--unit", "image", "--noise-draws", "3"]).exit_code == 0
    assert got[1] == PrivacySettings(2.0, unit="image", noise_draws=3)


def test_privacy_settings_need_an_epsilon() -> None:
    assert choose_privacy() is None
    with pytest.raises(UsageError, match="max_grad_norm, n_public: settings of private training, without an epsilon"):
        choose_privacy(n_public=10, max_grad_norm=1.0, delta=None)


def test_what_is_not_chosen_suits_the_base_or_the_mechanism() -> None:
    assert resolve(Recipe(), LARGE, device="cpu") == LARGE
    assert resolve(Recipe(steps=7, initializer_text="lesion"), COMPACT, device="cpu") == replace(
        COMPACT, steps=7, initializer_text="lesion"
    )
    assert resolve_privacy(PrivacySettings(2.0)) == Protection(2.0)
    means = resolve_privacy(PrivacySettings(2.0, mechanism="dp-agg", unit="image"))
    assert (means.max_grad_norm, means.noise_draws, means.max_images_per_patient) == (1.0, 2, 1)
    assert resolve_privacy(PrivacySettings(2.0, mechanism="dp-agg", noise_draws=5)).noise_draws == 5
