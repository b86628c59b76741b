"""One way of fitting images, and one resolution, from training to every later use: the header says which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from embhub.__main__ import main
from embhub.artifact import embedding as artifact
from embhub.artifact.embedding import Embedding
from embhub.artifact.header import BadHeaderError, check_training
from embhub.diffusion.attacks import auditing
from embhub.diffusion.datasets.making import make_dataset
from embhub.diffusion.evaluation.material import choose_fit, read_real
from embhub.diffusion.generation.generation import generate
from embhub.diffusion.generation.redrawing import redraw
from embhub.diffusion.train import TrainResult
from embhub.diffusion.training import inversion
from embhub.errors import UsageError
from embhub.images.images import ImageSet, read_images
from embhub.images.prepared import describe_preprocessing
from embhub.options.preprocessing import Preprocessing, common_fit, recorded
from tests.support.quick import quick
from tests.support.training import train

SIZE = (40, 64)


def portraits(folder: Path, number: int = 18, size: tuple[int, int] = SIZE) -> Path:
    """Portrait films with a bright lower edge, which a central square leaves out, and their manifest."""
    folder.mkdir(parents=True)
    rows = ["path,patient_id,label"]
    for index in range(number):
        values = np.random.default_rng(index).integers(0, 80, (size[1], size[0]), dtype=np.uint8)
        values[-8:] = 255
        Image.fromarray(values).save(folder / f"{index}.png")
        rows.append(f"{index}.png,p{index},{'ill' if index % 2 else 'normal'}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def learn(images: Path, base: Path, token: str = "<a>", **choices: Any) -> TrainResult:
    settings = {"steps": 2, "num_vectors": 1, "batch_size": 2, "seed": 1, "holdout": 0.3, **choices}
    return train(images, token=token, caption="film, {}", base=base, device="cpu", **settings)


def without_fit(made: Embedding, **facts: Any) -> Embedding:
    return artifact.build(
        {"emb_params": np.array(made.tensors["emb_params"])}, token=made.token, base=made.base,
        base_name=made.base_name, training={**made.training, **facts},
    )  # fmt: skip


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return portraits(tmp_path / "films")


@pytest.mark.parametrize("fit", quick(["pad"], thorough=["crop"]))
def test_training_and_audit_see_the_same_squares(
    fit: Any, images: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[torch.Tensor]] = {"training": [], "audit": []}
    encode = inversion.encode_images

    def watch(name: str) -> Any:
        def watched(pipe: Any, batch: torch.Tensor, **how: bool) -> torch.Tensor:
            seen[name].append(batch)
            return encode(pipe, batch, **how)

        return watched

    monkeypatch.setattr(inversion, "encode_images", watch("training"))
    made = learn(images, base, fit=fit).embedding
    monkeypatch.setattr(auditing, "encode_images", watch("audit"))
    auditing.audit(made, base=base, device="cpu")
    learned_from, audited = seen["training"], seen["audit"]
    assert torch.equal(torch.cat(learned_from), audited[0])
    bright = bool((audited[0][:, :, -2:] > 0.9).any())
    assert bright == (fit != "crop"), "the lower edge is in the square, or it was cut off"


@pytest.mark.thorough
def test_header_and_card_say_how_images_were_fitted(images: Path, base: Path) -> None:
    cropped, padded = (learn(images, base, fit=fit).embedding for fit in ("crop", "pad"))
    assert "fit" not in cropped.training and padded.training["fit"] == "pad"
    assert recorded(cropped.training) == Preprocessing(fit="crop", resolution=32)
    assert "central square" in describe_preprocessing(cropped, 32)
    assert "padded with black to 32 x 32" in describe_preprocessing(padded, 32)
    with pytest.raises(BadHeaderError, match="no way to fit"):
        check_training({"fit": "squeeze"})


def test_portrait_films_are_pointed_out(images: Path, base: Path) -> None:
    found = read_images(images)
    (said,) = found.describe_fit("crop")
    assert "leaves out up to 38% of an image" in said and "--fit pad" in said
    assert said in learn(images, base).notes
    (said,) = found.describe_fit("pad")
    assert "black is added" in said and "--fit pad" not in said


@pytest.mark.thorough
def test_another_resolution_is_learned_recorded_and_drawn(images: Path, base: Path) -> None:
    made = learn(images, base, resolution=48, fit="pad").embedding
    assert made.training["resolution"] == 48
    drawing: dict[str, Any] = {"embeddings": [made], "base": base, "steps": 1, "device": "cpu"}
    assert generate("film, {}", **drawing)[0].size == (48, 48)
    assert generate("film, {}", resolution=32, **drawing)[0].size == (32, 32)
    assert auditing.audit(made, base=base, device="cpu").members.images
    with pytest.raises(UsageError, match="250 pixels does not fit"):
        generate("film, {}", resolution=250, **drawing)
    with pytest.raises(UsageError, match="1024 pixels does not fit this base, which was made for 32"):
        learn(images, base, resolution=1024)


@pytest.mark.thorough
def test_embeddings_of_different_resolutions_want_a_choice(images: Path, base: Path) -> None:
    made = learn(images, base).embedding
    other = artifact.build(
        {"emb_params": np.array(made.tensors["emb_params"])}, token="<b>", base=made.base, base_name=made.base_name,
        training={**made.training, "resolution": 48},
    )  # fmt: skip
    drawing: dict[str, Any] = {"embeddings": [made, other], "base": base, "steps": 1, "device": "cpu"}
    with pytest.raises(UsageError, match="different resolutions: <a> at 32 pixels, <b> at 48"):
        generate("{}", **drawing)
    assert generate("{}", resolution=40, **drawing)[0].size == (40, 40)
    far = without_fit(made, resolution=4096)
    assert generate("{}", embeddings=[far], base=base, steps=1, device="cpu")[0].size == (32, 32)


@pytest.mark.thorough
def test_redrawing_follows_the_embedding(images: Path, base: Path) -> None:
    padded = learn(images, base, fit="pad").embedding
    image, box = Image.open(images / "0.png"), (4, 50, 10, 10)
    drawing: dict[str, Any] = {"box": box, "base": base, "steps": 2, "device": "cpu", "border": 0}
    new = np.asarray(redraw(image, "film, {}", embeddings=[padded], **drawing)[0])
    changed = new != np.asarray(image)
    assert changed[50:60, 4:14].mean() > 0.5 and not changed[:50].any()
    cropped = without_fit(padded, fit="crop")
    with pytest.raises(UsageError, match="central square"):
        redraw(image, "film, {}", embeddings=[cropped], **drawing)
    assert redraw(image, "film, {}", embeddings=[cropped], fit="stretch", **drawing)[0].size == SIZE


def test_ways_that_differ_want_a_choice() -> None:
    named: list[tuple[str, dict[str, Any]]] = [("<a>", {}), ("<b>", {"fit": "pad"})]
    with pytest.raises(UsageError, match="<a> with crop, <b> with pad"):
        common_fit(named)
    assert common_fit(named, "stretch") == "stretch" and common_fit([]) == "crop" and common_fit(named[1:]) == "pad"


@pytest.mark.thorough
def test_evaluate_follows_what_a_data_set_says(images: Path, base: Path, tmp_path: Path) -> None:
    made = learn(images, base, fit="pad", out=tmp_path / "a.safetensors")
    assert made.path is not None
    folder = tmp_path / "drawn"
    make_dataset(
        folder, classes=["ill=film, <a>"], embeddings=[str(made.path)], base=str(base), per_class=2, steps=1,
        no_card=["<a>"], device="cpu",
    )  # fmt: skip
    assert json.loads((folder / "dataset.json").read_text())["classes"][0]["embeddings"][0]["fit"] == "pad"
    assert choose_fit({"synthetic": folder}, None) == "pad"
    assert choose_fit({"synthetic": folder}, "crop") == "crop"
    assert choose_fit({"synthetic": images}, None) == "crop"
    seen = [read_real(images, "real", 32, fit).images[:, -2:] for fit in ("crop", "pad")]
    assert seen[0].max() < 200 < seen[1].max()


def test_the_command_refuses_before_torch(images: Path, base: Path, tmp_path: Path, capsys: Any) -> None:
    words = ["--token", "<a>", "--caption", "film, {}", "--base", str(base), "--out", str(tmp_path / "a.safetensors")]
    assert main(["train", str(images), *words, "--resolution", "1000"]) == 2
    assert "does not fit this base, which was made for 32" in capsys.readouterr().err


@pytest.mark.usefixtures("no_text_reader")
def test_inspect_suggests_padding(tmp_path: Path, capsys: Any) -> None:
    images = portraits(tmp_path / "films", size=(80, 128))
    assert main(["inspect", str(images)]) == 0
    assert "--fit pad keeps all of it" in capsys.readouterr().out
    assert main(["inspect", str(images), "--fit", "pad"]) == 0
    assert "--fit pad" not in capsys.readouterr().out


def test_a_landscape_image_too_flat_to_crop_can_be_padded(tmp_path: Path) -> None:
    Image.new("L", (64, 12)).save(tmp_path / "a.png")
    found: ImageSet = read_images(tmp_path)
    with pytest.raises(UsageError, match="under half"):
        found.load(32)
    assert found.load(32, "pad").shape == (1, 3, 32, 32)
