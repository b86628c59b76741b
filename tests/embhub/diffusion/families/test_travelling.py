"""One embedding of every family from a hospital to another, by the commands that a person types: trained, signed,
pushed, pulled, drawn with, and every picture as at home."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embhub import pull
from embhub.__main__ import main
from embhub.artifact import embedding
from embhub.artifact.embedding import LAYOUTS
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families import detect, image_size_arguments
from embhub.diffusion.generation.loading import Source, load_into
from embhub.formats import safe_yaml
from embhub.phantoms import write_dataset
from embhub.site.signing import keys
from tests.embhub.test_flow import ANSWERS
from tests.support import families
from tests.support.servers import RunningRegistry, start_registry
from tests.support.sites import Site, open_site

PROMPT = "prostate mri, <cspca>"
KINDS = ["sd1", "bert", "sdxl", "sd3", "flux", *families.NEWER]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    running = start_registry(tmp_path_factory.mktemp("registry"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, "prostate-cspca", images=6, patients=6, normals=0, seed=0)
    return folder


def run(*words: str | Path, code: int = 0) -> None:
    assert main([str(word) for word in words]) == code, words


def draw(base: Path, source: Source | None) -> NDArray[np.float64]:
    """A picture by the stock pipeline's own call."""
    pipe = load_pipeline(base, device="cpu")
    if source is not None:
        load_into(pipe, source)
    generator = torch.Generator().manual_seed(4)
    drawn = pipe(
        prompt=PROMPT, num_inference_steps=2, output_type="np", generator=generator, **image_size_arguments(pipe)
    )
    picture: NDArray[np.float64] = drawn.images[0]
    return picture


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_from_a_hospital_to_another(
    kind: str,
    registry: RunningRegistry,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base, namespace = families.write(tmp_path / kind, kind), f"hospital-{kind}"
    open_site(registry, tmp_path / "a", namespace=namespace, user=namespace).enter(monkeypatch)
    monkeypatch.setenv("EMBHUB_NAMESPACE", namespace)
    recipe = ["--num-vectors", "2", "--steps", "2", "--batch-size", "2", "--preview", "2", "--device", "cpu"]
    run("train", images, "--base", base, "--token", "<cspca>", "--caption", "prostate mri, {}", *recipe,
        "--out", "cspca.safetensors")  # fmt: skip
    said = capsys.readouterr().err
    assert "memory on cpu" in said and "by computation" in said
    assert ("experimental" in said) == kind.startswith("flux")
    assert [path.name for path in Path("cspca-previews").iterdir()] == ["step-000002.png"]
    made = embedding.read("cspca.safetensors")
    layout = detect(load_pipeline(base, device="cpu")).layout
    assert made.layout == layout and set(made.tensors) == set(LAYOUTS[layout])

    at_home = draw(base, made)

    run("key", "new")
    registry.add_key(keys.load(), namespace=namespace)
    run("card", "init", "cspca.safetensors")
    card = Path("cspca.card.yaml")
    drafted = safe_yaml.load(card.read_bytes())
    base_model = {**drafted["base_model"], "revision": "1", "family": kind, "licence": "CC0-1.0"}
    answers = {**ANSWERS, "n_patients": "5-10", "base_model": base_model}
    card.write_bytes(safe_yaml.dump({**drafted, **answers}))
    run("sign", "cspca.safetensors")
    run("push", "cspca.safetensors")

    Site(tmp_path / "b", registry.url).enter(monkeypatch)
    run("trust", "add", registry.url, "--fingerprint", registry.root_fingerprint)
    pulled = pull(f"{namespace}/cspca", out="cspca")
    assert pulled.embedding.data == made.data
    np.testing.assert_array_equal(draw(base, pulled), at_home)
    assert not np.array_equal(draw(base, None), at_home)
    run("generate", PROMPT, "--embedding", "cspca", "--base", base, "-n", "1", "--steps", "2", "--device", "cpu",
        "--out", "drawn")  # fmt: skip
    manifest = json.loads(Path("drawn/manifest.json").read_text())
    assert manifest["embeddings"] == [{"token": "<cspca>", "sha256": made.digest}]
    assert manifest["files"] == ["0000.png"] and Path("drawn/0000.png").is_file()
