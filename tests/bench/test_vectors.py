"""The grid of vectors and images: what images that show the finding come to, and a table that follows from its rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bench import marked, other_ways, vectors, worth, worth_material
from bench.results_file import ResultsFile
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.evaluation import pretrained
from embhub.diffusion.evaluation.cells import of_class
from embhub.diffusion.families.pipeline import Pipeline
from embhub.diffusion.training import adapter_fit
from embhub.options.adapter import AdapterRecipe
from tests.bench.test_worth import patients


@pytest.mark.slow
@pytest.mark.skipif(not pretrained.is_installed(), reason="the published network is not installed")
def test_images_with_the_finding_are_called_so_are_nearer_and_teach_the_probe() -> None:
    greys = {0: 20, 1: 150}
    normals = of_class(patients(greys, 12, 300), 0).images
    measured = vectors.Measured(patients(greys, 12, 0), patients(greys, 12, 100), normals)
    right, wrong = (measured.row(of_class(patients(greys, 12, 400), value).images) for value in (1, 0))
    assert (right["called"]["share"], right["probe_auc"], right["compared"]) == (1, 1, 12)
    assert wrong["called"]["share"] == 0 and wrong["probe_auc"] < 0.9
    assert right["fd"] < wrong["fd"] / 4 and right["kid"] < wrong["kid"]


def site_of(pipe: Pipeline, images: Any) -> other_ways.Site:
    one = next(one for one in worth.modalities() if one.source == "chest-xray")
    normals = of_class(patients({0: 20, 1: 150}, 12, 300), 0).images
    choices = vectors.Measured(patients({0: 20, 1: 150}, 12, 0), patients({0: 20, 1: 150}, 12, 100), normals).choices
    latents = torch.zeros(len(images), 8, 16, 16)
    return other_ways.Site(pipe, one, images, latents, normals, choices)


@pytest.mark.slow
@pytest.mark.skipif(not pretrained.is_installed(), reason="the published network is not installed")
def test_a_judge_picks_the_images_with_the_finding_and_clusters_generate_their_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dark, bright = (of_class(patients({0: 20, 1: 150}, 12, 400), value).images for value in (0, 1))
    learned: list[int] = []

    def learn(_pipe: Any, _one: Any, latents: torch.Tensor, _seed: int) -> dict[str, torch.Tensor]:
        learned.append(len(latents))
        return {}

    def drawn(_pipe: Any, _one: Any, _rows: Any, _seed: int, count: int) -> Any:
        return np.concatenate([dark[:4], bright[:4], dark[4:]])[:count]

    monkeypatch.setattr(worth_material, "learn", learn)
    monkeypatch.setattr(worth_material, "generate_learned", drawn)
    site = site_of(load_pipeline(find_base("builtin-xray")), bright)
    assert np.array_equal(other_ways.pick_by_a_judge(site, 0, 4), bright[:4])
    learned.clear()
    mixed = site_of(site.pipe, np.concatenate([dark, bright[:6]]))
    assert len(other_ways.learn_by_cluster(mixed, 0, 18)) == 18
    assert sum(learned) == len(mixed.images) and len(learned) <= other_ways.CLUSTERS


@pytest.mark.slow
@pytest.mark.skipif(not pretrained.is_installed(), reason="the published network is not installed")
def test_an_adapter_generates_and_is_taken_out_of_the_base_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(recipe: AdapterRecipe, _side: int, _device: str) -> AdapterRecipe:
        return replace(recipe, steps=1, batch_size=1, learning_rate=0.01, precision="float32")

    monkeypatch.setattr(adapter_fit, "settle", settle)
    site = site_of(load_pipeline(find_base("builtin-xray")), of_class(patients({0: 20, 1: 150}, 2, 0), 1).images)
    site = replace(site, latents=torch.zeros(2, 8, 16, 16))
    before = [name for name, _ in site.pipe.unet.named_modules()]
    images = other_ways.WAYS["adapter of all attention, rank 4"](site, 0, 1)
    assert images.shape == (1, 128, 128, 3) and images.dtype == np.uint8
    assert [name for name, _ in site.pipe.unet.named_modules()] == before


def test_no_more_vectors_than_a_prompt_has_room_for() -> None:
    one = next(one for one in worth.modalities() if one.source == "chest-xray")
    assert vectors.fitting_vectors(load_pipeline(find_base("builtin-xray")), one) == [1, 4, 16, 32]


def test_the_table_has_the_figures_of_every_seed() -> None:
    row = {
        "modality": "x", "images of": "embedding", "vectors": 4, "images": 10, "seed": 0, "generated": 96,
        "compared": 50, "called": {"share": 0.5}, "fd": 120.4, "kid": 1.234, "probe_auc": 0.812, "cpu_seconds": 9,
    }  # fmt: skip
    other = {**row, "seed": 1, "called": {"share": 0.25}, "fd": 99.6, "kid": 2.0, "probe_auc": 0.5}
    alone = {**row, "images of": vectors.WORDS, "vectors": 0, "images": 0}
    lines = vectors.table([row, other, alone]).splitlines()
    assert lines[2] == f"| x | {vectors.WORDS} | - | - | 50% | 120 | 1.23 | 0.81 |"
    assert lines[3] == "| x | embedding | 10 | 4 | 50%, 25% | 120, 100 | 1.23, 2.00 | 0.81, 0.50 |"


def test_the_page_shows_what_the_results_file_holds() -> None:
    rows, page = ResultsFile(vectors.RESULTS).rows, vectors.PAGE.read_text()
    assert rows and marked.put(page, vectors.table(rows)) == page
