"""A port from a training on patients to a stock pipeline at another home, by the commands that a person types."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from embhub import pull
from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.generation.loading import load_into
from embhub.formats import safe_yaml
from embhub.phantoms import write_dataset
from embhub.privacy.claim import PrivacyClaim
from embhub.release import files as release_files
from embhub.site.signing import keys
from tests.embhub.test_flow import answer
from tests.support import pipelines
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, open_site

TOKEN, CAPTION = "<cspca>", "prostate mri, {}"
SHORT = ["--steps", "2", "--batch-size", "4", "--device", "cpu"]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path / "registry") as started:
        yield started


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return pipelines.write(folder / "old"), pipelines.write(folder / "new", seed=1)


def run(*words: str | Path, code: int = 0) -> None:
    assert main([str(word) for word in words]) == code, words


def complete(name: str, patients: int) -> None:
    """Write the card that `embhub card init` begins, and answer what it asks."""
    run("card", "init", f"{name}.safetensors")
    card = Path(f"{name}.card.yaml")
    begun = safe_yaml.load(card.read_bytes())["base_model"]
    base_model = {**begun, "revision": "1", "family": "sd1", "licence": "CC0-1.0"}
    answer(card, n_patients=patients, base_model=base_model)


@pytest.mark.thorough
@pytest.mark.parametrize("private", [True, False], ids=["claim", "none"])
def test_a_port_goes_from_training_to_a_stock_pipeline_at_another_home(
    private: bool, registry: RunningRegistry, bases: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bases
    images = tmp_path / "images"
    write_dataset(images, "prostate-cspca", images=40, patients=40, normals=0, seed=0)
    open_site(registry, tmp_path / "a", namespace="umc", user="umc").enter(monkeypatch)
    monkeypatch.setenv("EMBHUB_NAMESPACE", "umc")
    chosen = ["--epsilon", "8", "--n-public", "40"] if private else ["--num-vectors", "2", "--holdout", "0.5"]
    run("train", images, "--base", old, "--token", TOKEN, "--caption", CAPTION, *SHORT, *chosen,
        "--out", "first.safetensors")  # fmt: skip
    run("audit", "first.safetensors", "--suite", "mechanism" if private else "quick")
    run("key", "new")
    run("trust", "add", registry.url, "--fingerprint", registry.root_fingerprint)
    registry.add_key(keys.load(), namespace="umc")
    complete("first", 40 if private else 20)
    run("push", "first.safetensors", "--yes")  # an audit of so few may find a leak, by chance too
    shutil.rmtree(images)  # a port reads no image of a patient
    run("research", "port", "first.safetensors", "--to", new, "--images", "4", *SHORT, "--out", "moved.safetensors")
    begun = safe_yaml.load(Path("moved.card.yaml").read_bytes())
    assert begun["n_patients"] == (40 if private else 20), "what the source's card says of the images"
    assert "publisher" not in begun and "audit" not in begun
    complete("moved", 40 if private else 20)
    run("push", "moved.safetensors")
    source, moved = embedding.read("first.safetensors"), embedding.read("moved.safetensors")

    Site(tmp_path / "b", registry.url).enter(monkeypatch)
    run("trust", "add", registry.url, "--fingerprint", registry.root_fingerprint)
    got = pull("umc/moved", out="moved")
    run("verify", "moved")
    assert got.embedding.data == moved.data
    assert got.embedding.derived_from is not None and got.embedding.derived_from.source == source.digest
    assert got.embedding.privacy == source.privacy
    if private:
        assert isinstance(source.privacy, PrivacyClaim) and source.privacy.epsilon <= 8
        said = [finding.text for finding in got.findings if finding.check == "source"]
        assert "umc/first 1.0.0" in said[-1] and "post-processing" in said[-1]
    else:
        assert source.privacy == "none"
    stock, ours = StableDiffusionPipeline.from_pretrained(new, safety_checker=None), load_pipeline(new)
    before = latents(stock)
    stock.load_textual_inversion(str(Path("moved", release_files.EMBEDDING)), token=TOKEN)
    load_into(ours, got)
    assert torch.allclose(latents(stock), latents(ours), atol=1e-5)
    assert not torch.allclose(latents(stock), before, atol=1e-4)


@torch.no_grad()
def latents(pipe: Any) -> torch.Tensor:
    """One image of the prompt with the placeholder token, before decoding."""
    prompt = pipe.maybe_convert_prompt(CAPTION.format(TOKEN), pipe.tokenizer)
    drawn: torch.Tensor = pipe(
        prompt, num_inference_steps=2, output_type="latent", generator=torch.Generator().manual_seed(4)
    ).images
    return drawn
