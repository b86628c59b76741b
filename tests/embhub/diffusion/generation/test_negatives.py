"""Negative prompts and negative embeddings: what the stock pipeline draws with them, recorded, or refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from embhub.__main__ import main
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import Embedding
from embhub.diffusion.datasets.making import make_dataset
from embhub.diffusion.generation.generation import generate
from embhub.diffusion.generation.image_files import Ask
from embhub.diffusion.generation.negatives import check_negative, join_negative
from embhub.errors import PrivacyError, UsageError
from tests.support import families, kandinsky, pipelines
from tests.support.adapters import make_adapter
from tests.support.quick import quick


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("bases") / "tiny")


def embed(base: Path, token: str, seed: int = 0) -> Embedding:
    rows = 3 * np.random.default_rng(seed).normal(size=(2, pipelines.WIDTH))
    return artifact.build({"emb_params": rows}, token=token, base=fingerprint.take(base), base_name="tiny", training={})


def draw(base: Path, prompt: Any = "mri a", **choices: Any) -> np.ndarray[Any, Any]:
    settings = {"steps": 2, "guidance_scale": 3.0, "device": "cpu", "mark": False, **choices}
    return np.asarray(generate(prompt, base=base, **settings)[0])


def test_it_is_the_negative_prompt_of_the_stock_pipeline(tiny: Path) -> None:
    pipe: Any = StableDiffusionPipeline.from_pretrained(str(tiny), use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)
    expected = pipe(
        "mri a", negative_prompt="b and more", num_inference_steps=2, guidance_scale=3.0,
        generator=torch.Generator().manual_seed(0),
    ).images[0]  # fmt: skip
    found = draw(tiny, negative="b and more")
    assert np.array_equal(found, np.asarray(expected)) and not np.array_equal(found, draw(tiny))


@pytest.mark.thorough
def test_a_negative_embedding_moves_the_image_and_no_prompt_has_to_name_it(tiny: Path) -> None:
    plain = draw(tiny)
    moved = draw(tiny, negative_embeddings=[embed(tiny, "<bad>")])
    assert not np.array_equal(moved, plain)
    assert np.array_equal(moved, draw(tiny, negative="<bad>", negative_embeddings=[embed(tiny, "<bad>")]))
    assert not np.array_equal(moved, draw(tiny, negative_embeddings=[embed(tiny, "<bad>", 1)]))
    with pytest.raises(UsageError, match="does not mention <a>"):
        draw(tiny, embeddings=[embed(tiny, "<a>")], negative="<a>")


def test_mixtures_start_from_the_negative_prompt(tiny: Path) -> None:
    mixed = [("mri a", 0.5), ("mri b", 0.7)]
    assert not np.array_equal(draw(tiny, mixed, negative="c"), draw(tiny, mixed))


def test_where_tokens_go() -> None:
    assert join_negative(None, []) is None
    assert join_negative("blurred", ["<a>", "<b>"]) == "blurred, <a>, <b>"
    assert join_negative("no {} here", ["<a>"]) == "no <a> here"
    assert join_negative("<b> first", ["<a>", "<b>"]) == "<b> first, <a>"
    with pytest.raises(UsageError, match="negative prompt is empty"):
        join_negative("  ", [])


def test_no_guidance_no_negative_prompt(tiny: Path) -> None:
    with pytest.raises(UsageError, match="guidance above 1, and it is 1"):
        draw(tiny, negative="b", guidance_scale=1.0)
    with pytest.raises(UsageError, match="this base reads 77"):
        draw(tiny, negative="a " * 90)


def test_an_adapter_is_no_negative_embedding(tiny: Path, tmp_path: Path) -> None:
    """It changes every prompt, so it would be plugged in at full strength and do the opposite."""
    file = tmp_path / "adapter.safetensors"
    file.write_bytes(make_adapter().data)
    with pytest.raises(UsageError, match="<cspca> is a compact adapter, which changes every prompt"):
        draw(tiny, negative_embeddings=[make_adapter()])
    with pytest.raises(UsageError, match="compact adapter"):
        Ask(("mri",), negative_embeddings=(str(file),)).open_negatives()
    (tmp_path / "good.safetensors").write_bytes(embed(tiny, "<good>").data)
    with pytest.raises(UsageError, match="compact adapter"):
        make_dataset(
            tmp_path / "drawn", classes=["ill=mri <good>"], embeddings=[str(tmp_path / "good.safetensors")],
            base=str(tiny), negative_embeddings=[str(file)], no_card=["<good>", "<cspca>"], per_class=1, steps=1,
            device="cpu",
        )  # fmt: skip


@pytest.mark.parametrize("kind", ["flux", "decoder"])
def test_bases_that_read_none_are_refused(kind: str) -> None:
    pipe = families.build("flux") if kind == "flux" else kandinsky.decoder()
    with pytest.raises(UsageError, match="takes no negative prompt"):
        check_negative(pipe, "b", guidance=4.0)
    check_negative(pipe, None, guidance=4.0)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", quick(["sdxl"], thorough=["sd3", "sd35", "kandinsky3"]))
def test_the_other_families_read_it(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / kind
    kandinsky.write_kandinsky3(folder) if kind == "kandinsky3" else families.write(folder, kind)
    settings: dict[str, Any] = {"steps": 1, "guidance_scale": 4.0}
    assert not np.array_equal(draw(folder, "mri", negative="x", **settings), draw(folder, "mri", **settings))


def test_manifests_record_it(tiny: Path, tmp_path: Path, home: Path) -> None:  # a site of its own
    (tmp_path / "bad.safetensors").write_bytes(embed(tiny, "<bad>").data)
    (tmp_path / "good.safetensors").write_bytes(embed(tiny, "<good>", 1).data)
    words = ["--base", str(tiny), "--steps", "1", "--device", "cpu", "--negative", "grid", "--negative-embedding"]
    words += [str(tmp_path / "bad.safetensors")]
    assert main(["generate", "mri", "-n", "1", *words, "--out", str(tmp_path / "out")]) == 0
    said = json.loads((tmp_path / "out/manifest.json").read_text())
    assert said["negative"] == "grid, <bad>"
    assert [(item["token"], item.get("negative")) for item in said["embeddings"]] == [("<bad>", True)]
    Image.new("L", (32, 32)).save(tmp_path / "film.png")
    place = ["--box", "8,8,12,12", "--out", str(tmp_path / "inserted")]
    assert main(["generate", "mri", "--from", str(tmp_path / "film.png"), *words, *place]) == 0
    assert json.loads((tmp_path / "inserted/manifest.json").read_text())["negative"] == "grid, <bad>"


def test_a_data_set_asks_its_card_as_well(tiny: Path, tmp_path: Path) -> None:
    for token in ("bad", "good"):
        (tmp_path / f"{token}.safetensors").write_bytes(embed(tiny, f"<{token}>").data)
    settings: dict[str, Any] = {
        "classes": ["ill=mri <good>"], "embeddings": [str(tmp_path / "good.safetensors")], "base": str(tiny),
        "per_class": 1, "steps": 1, "device": "cpu", "negative_embeddings": [str(tmp_path / "bad.safetensors")],
    }  # fmt: skip
    with pytest.raises(UsageError, match="has no card"):
        make_dataset(tmp_path / "drawn", no_card=["<good>"], **settings)
    make_dataset(tmp_path / "drawn", no_card=["<good>", "<bad>"], negative="grid", **settings)
    plan = json.loads((tmp_path / "drawn/dataset.json").read_text())
    assert plan["negative"] == "grid, <bad>" and plan["negative_embeddings"][0]["token"] == "<bad>"
    assert "grid, <bad>" in (tmp_path / "drawn/README.md").read_text()
    assert embed(tiny, "<bad>").digest in (tmp_path / "drawn/manifest.csv").read_text()
    twice = {**settings, "embeddings": settings["embeddings"] + settings["negative_embeddings"]}
    with pytest.raises(UsageError, match="to be shown and not to be shown"):
        make_dataset(tmp_path / "twice", no_card=["<good>", "<bad>"], **twice)
    with pytest.raises(PrivacyError, match="negative prompt"):
        make_dataset(tmp_path / "named", no_card=["<good>", "<bad>"], negative="born 1954-03-12", **settings)
