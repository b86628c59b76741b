"""`train` on tiny bases and phantoms: the file, the private record, the split, every refusal."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from embhub.artifact import embedding, fingerprint
from embhub.diffusion.train import TrainResult, split
from embhub.diffusion.training import inversion
from embhub.errors import ArtifactError, ConfigError, PrivacyError, UsageError
from embhub.images.images import ImageSet, read_images
from embhub.images.manifests.sample import Sample
from embhub.phantoms import write_dataset
from embhub.progress import Progress
from embhub.site import config
from embhub.site.memory import runs
from tests.support import pipelines
from tests.support.quick import quick
from tests.support.training import train

CAPTION = "prostate mri, {}"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, "prostate-cspca", images=12, patients=8, normals=4, seed=0)
    return folder


def learn(images: Path | ImageSet, base: Path | str, **choices: Any) -> TrainResult:
    wanted = {
        "token": "<cspca>",
        "caption": CAPTION,
        "steps": 3,
        "num_vectors": 2,
        "batch_size": 2,
        "seed": 1,
        **choices,
    }
    return train(images, base=base, device="cpu", **wanted)


def test_the_file(images: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "cspca.safetensors"
    result = learn(images, base, where="label=prostate-cspca", out=out)
    assert out.read_bytes() == result.embedding.data and result.path == out
    read = embedding.read(out)
    assert (read.token, read.layout, read.base_name) == ("<cspca>", "sd", "tiny-base")
    assert [(v.encoder, v.count, v.dim, v.dtype) for v in read.vectors] == [("text_encoder", 2, 32, "float16")]
    assert read.base == fingerprint.take(base)
    assert read.training["caption"] == CAPTION and read.training["steps"] == 3
    assert len(result.losses) == 3
    assert not list(out.parent.glob(".*"))


@pytest.mark.thorough
@pytest.mark.parametrize("encoder", quick(["clip"], thorough=["bert"]))
def test_one_seed_gives_one_file(images: Path, tmp_path: Path, encoder: Any) -> None:
    base = pipelines.write(tmp_path / "base", encoder=encoder, prediction="v_prediction")
    one, two, other = (learn(images, base, seed=seed).embedding.data for seed in (5, 5, 6))
    assert one == two != other


@pytest.mark.thorough
def test_without_a_seed_no_two_runs_are_alike(images: Path, base: Path) -> None:
    one, two = (learn(images, base, seed=None) for _ in range(2))
    assert one.embedding.data != two.embedding.data
    assert one.run.settings["seed"] != two.run.settings["seed"]
    assert not any("seed" in note for note in (*one.notes, *two.notes))


def test_nothing_private_is_in_the_file(images: Path, base: Path) -> None:
    result = learn(images, base, holdout=0.3, seed=987654321)
    header = result.embedding.data[: 8 + int.from_bytes(result.embedding.data[:8], "little")].decode("latin-1")
    secrets = [str(images), images.name, "987654321", "manifest", ".png", str(base.parent)]
    secrets += [sample.patient_id for sample in (*result.run.members, *result.run.holdout)]
    assert [secret for secret in secrets if secret in header] == []


def test_the_private_record(images: Path, base: Path) -> None:
    result = learn(images, base, where="label=prostate-cspca", holdout=0.25)
    run = runs.find(result.embedding.digest)
    assert run == result.run
    path = config.paths().state / "runs" / f"{result.embedding.digest}.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    members, held_out = ({s.patient_id for s in part} for part in (run.members, run.holdout))
    assert len(held_out) == 2 and not members & held_out
    assert len(run.members) + len(run.holdout) == 12
    assert all(Path(s.path).is_file() and s.label == "prostate-cspca" for s in (*run.members, *run.holdout))
    assert run.settings["seed"] == 1 and json.dumps(run.settings)
    assert any("the seed is a secret" in note for note in result.notes)
    assert result.heldout_before is not None and result.heldout_after is not None


@pytest.mark.thorough
def test_images_kept_back_do_not_touch_the_result(images: Path, base: Path) -> None:
    """Training on the members alone gives the same rows: nothing of the others leaks in."""
    whole = read_images(images, where="label=prostate-cspca")
    front, back = split(whole, 0.25, seed=1)
    assert len(back) and learn(whole, base, holdout=0.25).embedding.data == learn(front, base).embedding.data


def numbered(count: int, per_patient: int) -> ImageSet:
    samples = tuple(Sample(Path(f"{i}.png"), f"P{i // per_patient}", row=i) for i in range(count))
    return ImageSet(samples, ((64, 64),) * count)


@pytest.mark.parametrize(("share", "held_out"), [(0.0, 0), (0.01, 1), (0.3, 3), (0.9, 9)])
def test_the_share_is_of_patients(share: float, held_out: int) -> None:
    front, back = split(numbered(40, 4), share, seed=0)
    assert len(back) == 4 * held_out and len(front) + len(back) == 40
    assert not {s.patient_id for s in front.samples} & {s.patient_id for s in back.samples}


def test_the_split_does_not_depend_on_order() -> None:
    images = numbered(20, 2)
    back = split(images, 0.3, seed=7)[1]
    turned = split(images.subset(range(19, -1, -1)), 0.3, seed=7)[1]
    assert {s.row for s in back.samples} == {s.row for s in turned.samples}
    assert {s.row for s in back.samples} != {s.row for s in split(images, 0.3, seed=8)[1].samples}


def test_rows_marked_holdout_are_kept_back() -> None:
    images = numbered(6, 1)
    marked = tuple(
        Sample(s.path, s.patient_id, split="holdout" if s.row > 3 else "train", row=s.row) for s in images.samples
    )
    front, back = split(ImageSet(marked, images.sizes), 0.0, seed=0)
    assert [s.row for s in front.samples] == [0, 1, 2, 3] and [s.row for s in back.samples] == [4, 5]


@pytest.mark.parametrize("share", [-0.1, 0.95, 1.0, float("nan")])
def test_impossible_shares(share: float) -> None:
    with pytest.raises(UsageError):
        split(numbered(10, 1), share, seed=0)


@pytest.mark.parametrize(("count", "share"), [(0, 0.0), (1, 0.0), (1, 0.5), (2, 0.5)])
def test_too_few_images(count: int, share: float) -> None:
    with pytest.raises(UsageError):
        split(numbered(count, 1), share, seed=0)


@pytest.mark.parametrize(
    ("caption", "error"),
    [
        ("prostate mri", UsageError),
        ("{} and {}", UsageError),
        ("{} " + "x" * 300, UsageError),
        ("mri of Mr. Smith, {}", PrivacyError),
        ("mri, MRN 0048213, {}", PrivacyError),
    ],
)
def test_bad_captions(images: Path, base: Path, caption: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        learn(images, base, caption=caption)
    assert "Smith" not in str(caught.value) and "0048213" not in str(caught.value)


@pytest.mark.thorough
def test_words_to_start_from_are_published_too(images: Path, base: Path) -> None:
    with pytest.raises(PrivacyError):
        learn(images, base, initializer_text="Mr. Smith")
    assert learn(images, base, initializer_text="lesion").embedding.training["initial_word"] == "lesion"


@pytest.mark.thorough
def test_the_token_may_stand_in_the_caption(images: Path, base: Path) -> None:
    assert learn(images, base, caption="mri, <cspca>").embedding.training["caption"] == "mri, {}"


@pytest.mark.parametrize("token", ["<CSPCA>", "cspca", "<a_1>", ""])
def test_bad_tokens(images: Path, base: Path, token: str) -> None:
    with pytest.raises(ArtifactError):
        learn(images, base, token=token)


def test_a_file_that_exists_is_kept(images: Path, base: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        learn(images, base, out=out)
    assert out.read_text() == "mine"
    result = learn(images, base, out=out, overwrite=True)
    assert out.read_bytes() == result.embedding.data


def test_places_that_cannot_be_written(images: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.safetensors"):
        learn(images, base, out=tmp_path / "x.pt")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError):
        learn(images, base, out=tmp_path / "file" / "x.safetensors")


def test_an_interrupt_writes_nothing(images: Path, base: Path, tmp_path: Path, home: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "training" and progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(images, base, out=tmp_path / "x.safetensors", on_progress=stop)
    assert not list(tmp_path.glob("*.safetensors")) and not list(home.rglob("*.json"))


@pytest.mark.thorough
def test_progress_tells_the_stages(images: Path, base: Path) -> None:
    seen: list[Progress] = []
    learn(images, base, on_progress=seen.append)
    assert list(dict.fromkeys(p.stage for p in seen)) == [
        "reading images", "loading the base", "encoding images", "training",
    ]  # fmt: skip
    assert seen[-1].done == seen[-1].total == 3 and seen[-1].note.startswith("loss")


@pytest.mark.parametrize("name", ["absent", "./absent", "/absent/base", "no such/base name"])
def test_no_such_base(images: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a base model"):
        learn(images, name)


def test_a_folder_that_is_no_base(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a base model"):
        learn(images, tmp_path)


def test_a_broken_base(images: Path, tmp_path: Path) -> None:
    base = pipelines.write(tmp_path / "base")
    (base / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\x10" + b"\0" * 40)
    with pytest.raises(ArtifactError, match="not a safetensors file"):
        learn(images, base)


def test_no_such_device(images: Path, base: Path) -> None:
    for device in ("nonsense", "cuda:99"):
        with pytest.raises(UsageError, match="no device"):
            train(images, token="<a>", caption=CAPTION, base=base, device=device, steps=1)


def test_images_too_small_for_the_base(images: Path, base: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    for number in range(3):
        Image.fromarray(np.full((12, 12), number * 20, np.uint8)).save(small / f"{number}.png")
    with pytest.raises(UsageError, match="under half"):
        learn(small, base)


def test_a_loss_that_is_no_number_writes_nothing(
    images: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        inversion, "encode_images", lambda _pipe, batch, **_how: torch.full((len(batch), 4, 8, 8), float("nan"))
    )
    with pytest.raises(UsageError, match="not a number"):
        learn(images, base, out=tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.thorough
def test_what_the_norm_is_stands_in_the_file(images: Path, base: Path) -> None:
    free, kept = (learn(images, base, norm=norm, dtype="float32") for norm in (None, "directional"))
    assert (free.embedding.training["optimizer"], kept.embedding.training["optimizer"]) == (
        "AdamW",
        "AdamW on directions",
    )
    assert kept.run.settings["recipe"]["norm"] == "directional"


@pytest.mark.thorough
def test_warnings_are_told_and_kept(images: Path, base: Path) -> None:
    """The tiny base is untrained: it can draw no such image, and its loss does not move."""
    said: list[str] = []
    result = learn(images, base, holdout=0.3, learning_rate=1e-9, steps=4, on_note=said.append)
    assert any("nothing that the base can generate" in note for note in result.notes)
    assert any("does not move: on held-out images" in note for note in result.notes)
    assert set(result.notes) < set(said) and any(note.startswith("memory on cpu: ") for note in said)
    few = [note for note in said if "and no differential privacy: the file may reveal" in note]
    assert len(few) == 1 and not set(few) & set(result.notes)
    assert [step for step, _ in result.points] == [1, 2, 3]


@pytest.mark.thorough
def test_a_norm_that_runs_away_is_warned_of(images: Path, base: Path) -> None:
    wild = learn(images, base, learning_rate=10.0, steps=16, warm_up=0)
    assert any("norm runs away" in note for note in wild.notes)
    assert not any("norm" in note for note in learn(images, base).notes)
