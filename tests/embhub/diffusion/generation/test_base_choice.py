"""Without --base an embedding is drawn with the base that it was made for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embhub.__main__ import main
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.artifact.embedding import Embedding
from embhub.builtin_bases import NAMES, info
from embhub.diffusion.generation.base_choice import choose_base
from embhub.diffusion.generation.loading import how_to_load
from embhub.errors import UsageError
from embhub.site.memory import runs

pytestmark = pytest.mark.usefixtures("home")


def embed(name: str, token: str = "<finding>", folder: Path | None = None) -> Embedding:
    values = np.random.default_rng(0).normal(size=(1, 128))
    base = fingerprint.take(folder or info(name).path)
    return artifact.build({"emb_params": values}, token=token, base=base, base_name=name, training={}, dtype="float16")


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, token: str = "<finding>") -> Path:
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(embed(name, token).data)
        return path

    return write


@pytest.mark.parametrize("name", NAMES)
def test_the_base_in_the_file(name: str) -> None:
    assert choose_base(None, [embed(name)]) == name
    assert choose_base("builtin", [embed(name)]) == "builtin"  # the named one wins; loading compares the two


def test_without_an_embedding_the_first_built_in_base() -> None:
    assert choose_base(None, []) == "builtin"


def test_what_this_site_trained_on_comes_first() -> None:
    made = embed("builtin")
    runs.save(
        runs.Run(embedding_digest=made.digest, base="builtin-xray", caption="{}", token="<a>", vectors=1, members=())
    )
    assert choose_base(None, [made]) == "builtin-xray"


def test_embeddings_of_two_bases_are_refused() -> None:
    with pytest.raises(UsageError, match="<a> was made for builtin, <b> for builtin-xray") as error:
        choose_base(None, [embed("builtin", "<a>"), embed("builtin-xray", "<b>")])
    assert "--base builtin" in error.value.hint


def test_a_base_that_is_not_here() -> None:
    folder = info("builtin").path
    with pytest.raises(UsageError, match="no built-in base and no folder here") as error:
        choose_base(None, [embed("adapted", folder=folder)])
    assert "--base DIR" in error.value.hint


@pytest.mark.thorough
def test_generate_redraw_and_dataset(
    file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file("builtin-xray")
    said = ["--embedding", str(path), "--steps", "1"]
    assert main(["generate", "chest x-ray, <finding>", *said, "-n", "1", "--out", str(tmp_path / "drawn")]) == 0
    manifest = json.loads((tmp_path / "drawn" / "manifest.json").read_text())
    assert manifest["base"] == "builtin-xray"
    image = tmp_path / "drawn" / "0000.png"
    out = ["--box", "8,8,16,16", "--out", str(tmp_path / "redrawn")]
    assert main(["generate", "chest x-ray, <finding>", "--from", str(image), *said, *out]) == 0
    assert json.loads((tmp_path / "redrawn" / "manifest.json").read_text())["base"] == "builtin-xray"
    before, after = (np.asarray(Image.open(path).convert("RGB")) for path in (image, tmp_path / "redrawn" / "0000.png"))
    assert (before != after)[8:24, 8:24].any(), "this base has latents of eight channels: it redraws all the same"
    assert np.array_equal(before[40:], after[40:]) and np.array_equal(before[:, 40:], after[:, 40:])
    classes = ["--class", "a=chest x-ray, <finding>", "--per-class", "1", "--allow-no-card", "<finding>"]
    assert main(["research", "dataset", *classes, *said, "--out", str(tmp_path / "set")]) == 0, capsys.readouterr().err
    assert json.loads((tmp_path / "set" / "dataset.json").read_text())["base"]["name"] == "builtin-xray"


def test_the_hint_of_a_mismatch_names_the_option(
    file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", "x-ray, <finding>", "--embedding", str(file("builtin-xray")), "--out", str(tmp_path / "out")]
    assert main([*words, "--base", "builtin", "--steps", "1"]) == 3
    assert how_to_load("builtin-xray") in capsys.readouterr().err
    assert how_to_load("builtin-xray").startswith("pass --base builtin-xray;")
