"""An embedding moves to another base; nothing of the patients is read, and a claim goes along only with its source."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file

import embhub
from embhub.artifact import embedding, fingerprint
from embhub.artifact.claimed import check_derived
from embhub.artifact.derivation import TOOL
from embhub.artifact.embedding import Embedding
from embhub.client.member import erasing
from embhub.diffusion.adaptation.porting import Ported, port
from embhub.diffusion.bases import live_weights
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.generation.loading import BaseWarning
from embhub.diffusion.outputs import port_to_file
from embhub.errors import PrivacyError, UsageError
from embhub.options.training import Recipe, Selection
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.site.memory import runs
from tests.support.claims import make_claim, make_study_claim
from tests.support.pipelines import write

SHORT = Recipe(steps=3, batch_size=2, num_vectors=2)
FEW: dict[str, Any] = {"images": 2, "steps": 2, "recipe": SHORT}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two generations of a tiny base."""
    folder = tmp_path_factory.mktemp("bases")
    return write(folder / "old"), write(folder / "new", seed=1)


@pytest.fixture(scope="module")
def source(bases: tuple[Path, Path]) -> Embedding:
    """An embedding for the old base that nobody trained."""
    rows = np.random.default_rng(2).normal(size=(2, 32)) * 0.02
    told = {"caption": "mri, {}", "resolution": 32}
    return embedding.build(
        {"emb_params": rows}, token="<cspca>", base=fingerprint.take(bases[0]), base_name="old", training=told,
        base_weights=live_weights.digest(load_pipeline(bases[0], device="cpu")),
    )  # fmt: skip


@pytest.fixture
def trained(bases: tuple[Path, Path], tmp_path: Path, home: Path) -> Embedding:
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    rows = ["path,patient_id"]
    for number in range(4):
        Image.fromarray(rng.integers(0, 255, (64, 64), dtype=np.uint8)).save(images / f"{number}.png")
        rows.append(f"{number}.png,p{number}")
    (images / "m.csv").write_text("\n".join(rows))
    made = embhub.train(
        images, token="<cspca>", caption="mri, {}", base=bases[0], recipe=SHORT, seed=1,
        selection=Selection(manifest=images / "m.csv", holdout=0.0),
    )  # fmt: skip
    shutil.rmtree(images)  # a port cannot read what is not there
    return made.embedding


def test_a_port_is_made_without_images_and_says_of_what(
    bases: tuple[Path, Path], trained: Embedding, tmp_path: Path
) -> None:
    out = tmp_path / "next.safetensors"
    made = port(trained, to=bases[1], base=bases[0], seed=5, out=out, **FEW)
    assert isinstance(made, Ported) and made.path == out and made.source is None
    told = embedding.read(out)
    assert told.data == made.embedding.data
    assert (told.token, told.base_name, told.privacy, told.training["tool"]) == ("<cspca>", "new", "none", TOOL)
    assert told.derived_from is not None
    assert told.derived_from.source == trained.digest
    assert (told.derived_from.source_base_name, told.derived_from.images, told.derived_from.seed) == ("old", 2, 5)
    assert told.base != trained.base and told.training["caption"] == "mri, {}"
    again = port(trained, to=bases[1], base=bases[0], seed=5, **FEW)
    assert again.embedding.data == made.embedding.data  # whoever holds the source can repeat it
    other = port(trained, to=bases[1], base=bases[0], seed=6, **FEW)
    assert other.embedding.data != made.embedding.data
    _concerns_the_same_patients(trained, made)


def _concerns_the_same_patients(trained: Embedding, made: Ported) -> None:
    """An erasure finds the port, too, and does not try to train it again; audits know its members."""
    run, before = runs.find(made.embedding.digest), runs.find(trained.digest)
    assert run is not None and before is not None and run.members == before.members
    recipes = {file.digest: file.recipe for file in erasing.find("p1").files}
    assert recipes[trained.digest] and not recipes[made.embedding.digest]


def test_what_cannot_be_ported_is_refused(bases: tuple[Path, Path], source: Embedding, tmp_path: Path) -> None:
    stages: list[str] = []
    with pytest.raises(UsageError, match="made for old already"):
        port(source, to=bases[0], base=bases[0], on_progress=lambda seen: stages.append(seen.stage), **FEW)
    assert not stages  # before a base is loaded, and before minutes of generation
    inpaints = shutil.copytree(bases[1], tmp_path / "inpaints")
    config = inpaints / "unet/config.json"
    config.write_text(json.dumps({**json.loads(config.read_bytes()), "in_channels": 9}))
    with pytest.raises(fingerprint.BadBaseError, match="reads 9 channels"):
        port(source, to=inpaints, base=bases[0], on_progress=lambda seen: stages.append(seen.stage), **FEW)
    assert not stages
    for wrong in ({"images": 1}, {"images": 5000}, {"seed": 2**53}, {"caption": "no place"}):
        with pytest.raises(UsageError):
            port(source, to=bases[1], base=bases[0], **{**FEW, **wrong})
    (tmp_path / "there.safetensors").touch()
    with pytest.raises(UsageError, match="exists"):
        port(source, to=bases[1], base=bases[0], out=tmp_path / "there.safetensors", **FEW)


def test_a_claim_needs_its_signed_source(bases: tuple[Path, Path], source: Embedding) -> None:
    private = _claimed(source)
    with pytest.raises(PrivacyError, match="is not signed"):
        port(private, to=bases[1], base=bases[0], **FEW)
    with pytest.raises(PrivacyError, match="is not signed"):
        port(Release.from_files({release_files.EMBEDDING: private.data}), to=bases[1], base=bases[0], **FEW)


def test_the_file_of_a_study_is_not_ported(bases: tuple[Path, Path], source: Embedding) -> None:
    with pytest.raises(PrivacyError, match="consented to its file alone"):
        port(_claimed(source, privacy=make_study_claim()), to=bases[1], base=bases[0], **FEW)


def test_a_claim_goes_to_no_base_that_learned_from_a_site(
    bases: tuple[Path, Path], source: Embedding, tmp_path: Path
) -> None:
    adapted = tmp_path / "adapted"
    shutil.copytree(bases[1], adapted)
    (adapted / "adaptation.json").write_text("{}")
    with pytest.raises(PrivacyError, match="fine-tuned without privacy"):
        port(_signed(_claimed(source)), to=adapted, base=bases[0], **FEW)


def test_a_claim_is_about_the_base_that_it_was_made_for_and_no_other(
    bases: tuple[Path, Path], source: Embedding, tmp_path: Path
) -> None:
    """Images of another base would tell what that base learned, perhaps from the same patients without privacy."""
    marked, moved = (shutil.copytree(bases[0], tmp_path / name) for name in ("marked", "moved"))
    (marked / "unet" / "adaptation.json").write_text("{}")
    weights = next((moved / "unet").glob("*.safetensors"))
    save_file({name: part * 1.05 for name, part in load_file(weights).items()}, weights, metadata={"format": "pt"})
    claimed = _signed(_claimed(source))
    with pytest.raises(PrivacyError, match="fine-tuned without privacy"):
        port(claimed, to=bases[1], base=marked, **FEW)
    with pytest.raises(PrivacyError, match="weights moved"):
        port(claimed, to=bases[1], base=moved, **FEW)
    with pytest.raises(PrivacyError, match="without a digest of all weights"):  # its header was written by hand
        port(_signed(_claimed(source, base_weights=None)), to=bases[1], base=bases[0], **FEW)
    with pytest.raises(PrivacyError, match="does not tell its base"):
        port(_signed(_claimed(source, base=None, base_weights=None)), to=bases[1], base=bases[0], **FEW)
    with pytest.warns(BaseWarning):
        plain = port(source, to=bases[1], base=moved, **FEW).embedding
    assert plain.derived_from is not None
    assert plain.derived_from.source_base == fingerprint.digest(fingerprint.take(moved)), "the one that generated"


@pytest.mark.parametrize("change", ["one number", "biases and norms", "another number format"])
def test_a_change_that_no_fingerprint_shows_ends_the_claim(
    bases: tuple[Path, Path], source: Embedding, tmp_path: Path, change: str
) -> None:
    """A base that was fine-tuned in a few places, by any program, has learned from somebody's images."""
    moved = shutil.copytree(bases[0], tmp_path / "moved")
    weights = next((moved / "unet").glob("*.safetensors"))
    parts = load_file(weights)
    if change == "one number":
        next(part for name, part in parts.items() if name.endswith("time_embedding.linear_1.bias"))[0] += 1e-3
    elif change == "biases and norms":
        parts = {name: part * 1.5 + 0.3 if part.ndim == 1 else part for name, part in parts.items()}
    else:
        parts = {name: part.half() for name, part in parts.items()}
    save_file(parts, weights, metadata={"format": "pt"})
    assert source.base is not None and fingerprint.compare(source.base, fingerprint.take(moved)).level == "exact"
    with pytest.raises(PrivacyError, match="not the same in every number"):
        port(_signed(_claimed(source)), to=bases[1], base=moved, **FEW)


@pytest.mark.parametrize("way", ["index", "transformers_weights"])
def test_weights_that_the_loaders_prefer_to_those_of_the_usual_name_end_the_claim(
    bases: tuple[Path, Path], source: Embedding, tmp_path: Path, way: str
) -> None:
    """The original file stays in its place, and another one is loaded."""
    moved = shutil.copytree(bases[0], tmp_path / "moved")
    part = moved / ("unet" if way == "index" else "text_encoder")
    original = next(part.glob("*.safetensors"))
    tuned = {name: one + 0.01 if one.ndim == 1 else one for name, one in load_file(original).items()}
    save_file(tuned, part / "tuned.safetensors", metadata={"format": "pt"})
    if way == "index":
        listed = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(tuned, "tuned.safetensors")}
        (part / f"{original.name}.index.json").write_text(json.dumps(listed))
    else:
        config = json.loads((part / "config.json").read_text())
        (part / "config.json").write_text(json.dumps({**config, "transformers_weights": "tuned.safetensors"}))
    with pytest.raises(PrivacyError, match="not the same in every number"):
        port(_signed(_claimed(source)), to=bases[1], base=moved, **FEW)


def test_a_copy_of_the_base_in_other_files_keeps_the_claim(
    bases: tuple[Path, Path], source: Embedding, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(bases[0], copied)
    pipe = UNet2DConditionModel.from_pretrained(copied / "unet")
    shutil.rmtree(copied / "unet")
    pipe.save_pretrained(copied / "unet", max_shard_size="100KB")
    assert len(list((copied / "unet").glob("*.safetensors"))) > 1
    shutil.copytree(copied / "vae", copied / "vae_1_0")  # what no loader reads
    (copied / "vae_decoder").mkdir()
    (copied / "vae_decoder" / "openvino_model.bin").write_bytes(b"x")
    made = port(_signed(_claimed(source)), to=bases[1], base=copied, **FEW).embedding
    assert made.privacy == make_claim()


@pytest.mark.thorough
def test_only_the_attack_on_the_file_applies(bases: tuple[Path, Path], source: Embedding) -> None:
    made = port(source, to=bases[1], base=bases[0], **FEW).embedding
    for suite in ("standard", "thorough", "mechanism"):
        with pytest.raises(UsageError, match="audit its source"):
            check_derived(made, suite)
        with pytest.raises(UsageError, match="audit its source"):
            embhub.audit(made, suite=suite)
    check_derived(made, "quick")
    check_derived(source, "standard")


@pytest.mark.thorough
def test_a_source_without_a_card_leads_to_no_card(bases: tuple[Path, Path], source: Embedding, tmp_path: Path) -> None:
    file = tmp_path / "source.safetensors"
    file.write_bytes(source.data)
    facts = port_to_file(file, to=str(bases[1]), base=str(bases[0]), out=tmp_path / "next.safetensors", **FEW)
    assert facts["ported from"]["source"] == source.digest
    assert not (tmp_path / "next.card.yaml").exists()  # the source has no card


def _claimed(source: Embedding, **changes: Any) -> Embedding:
    given: dict[str, Any] = {
        "base": source.base,
        "base_weights": source.base_weights,
        "privacy": make_claim(),
        **changes,
    }
    return embedding.build(
        source.tensors, token=source.token, base_name=source.base_name, training=source.training, **given
    )  # fmt: skip


def _signed(source: Embedding) -> Release:
    return Release.from_files({release_files.EMBEDDING: source.data, release_files.PUBLISH_BUNDLE: b"{}"})
