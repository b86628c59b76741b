"""Kandinsky 3 end to end on a tiny random one of diffusers' own classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embhub.artifact import fingerprint
from embhub.diffusion.attacks.auditing import audit
from embhub.diffusion.attacks.evidence import Evidence, Suspect, draw, measure_losses
from embhub.diffusion.attacks.gradients import score_by_gradient
from embhub.diffusion.bases import live_fingerprint as live_base
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families import (
    denoiser,
    detect,
    encoders,
    image_size_arguments,
    prediction_type,
    resolution,
    room,
)
from embhub.diffusion.generation.generation import generate
from embhub.diffusion.generation.loading import BaseWarning, WrongBaseError, load_into, tensors
from embhub.diffusion.train import TrainResult
from embhub.diffusion.training import inversion
from embhub.diffusion.training.per_layer import insert
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import UsageError
from embhub.phantoms import write_dataset
from tests.support import kandinsky, pipelines
from tests.support.journeys import travel
from tests.support.releases import make_embedding
from tests.support.servers import running_registry
from tests.support.training import train

TOKEN, CAPTION = "<cspca>", "mri, {}"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kandinsky.write_kandinsky3(tmp_path_factory.mktemp("bases") / "tiny-kandinsky-3")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, "prostate-cspca", images=12, patients=12, normals=2, seed=0)
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(home))
        yield home


@pytest.fixture(scope="module")
def trained(base: Path, images: Path, site: Path) -> TrainResult:
    return train(
        images, base=base, token=TOKEN, caption=CAPTION, holdout=0.5, steps=3, num_vectors=3, batch_size=2, seed=1,
        device="cpu",
    )  # fmt: skip


@pytest.fixture
def pipe(base: Path) -> Any:
    return load_pipeline(base)


def hashed(pipe: Any) -> str:
    digest = hashlib.sha256()
    for name, part in sorted(pipe.components.items()):
        if isinstance(part, torch.nn.Module):
            for key, value in sorted(part.state_dict().items()):
                digest.update(f"{name} {key}".encode() + value.numpy().tobytes())
    return digest.hexdigest()


def test_what_it_is(pipe: Any, base: Path) -> None:
    assert detect(pipe).name == "kandinsky3" and denoiser(pipe) is pipe.unet
    assert [encoder.name for encoder in encoders(pipe)] == ["text_encoder"]
    assert (resolution(pipe), prediction_type(pipe), room(pipe, encoders(pipe)[0])) == (64, "epsilon", 128)
    assert image_size_arguments(pipe) == {"height": 64, "width": 64}
    assert fingerprint.compare(fingerprint.take(base), live_base.take(pipe)).level == "exact"


def test_its_makers_size_where_the_base_states_none() -> None:
    bare = kandinsky.kandinsky3()
    bare.unet._internal_dict = {k: v for k, v in bare.unet.config.items() if k != "sample_size"}
    assert resolution(bare) == 1024


def test_latents_are_what_its_autoencoder_decodes(pipe: Any) -> None:
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        latents = detect(pipe).latents(pipe, images)
        assert torch.equal(latents, pipe.movq.encode(images).latents) and latents.shape == (2, 4, 8, 8)


@pytest.mark.thorough
@pytest.mark.parametrize("checkpointing", [False, True])
def test_inversion_lowers_the_loss_and_leaves_the_base_alone(pipe: Any, checkpointing: bool) -> None:
    if checkpointing:
        with pytest.raises(UsageError, match="gradient checkpointing"):
            inversion.fit(pipe, torch.zeros(2, 4, 8, 8), token=TOKEN, caption=CAPTION, seed=0,
                          recipe=ResolvedRecipe(steps=1, gradient_checkpointing=True))  # fmt: skip
        return
    before = hashed(pipe)
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    recipe = ResolvedRecipe(steps=90, num_vectors=3, batch_size=4, learning_rate=0.2, relative_rate=False)
    fit = inversion.fit(pipe, latents, token=TOKEN, caption=CAPTION, recipe=recipe, seed=0)
    start = inversion.fit(pipe, latents, token=TOKEN, caption=CAPTION, seed=0,
                          recipe=ResolvedRecipe(steps=1, num_vectors=3, learning_rate=1e-9))  # fmt: skip
    first, last = (
        inversion.mean_loss(pipe, latents, token=TOKEN, caption=CAPTION, rows=one.rows) for one in (start, fit)
    )
    assert last < first - 1e-4
    assert hashed(pipe) == before


@pytest.mark.thorough
def test_training_is_inference(pipe: Any, base: Path, trained: TrainResult) -> None:
    """What the U-Net is told in the pipeline's own call is, bit for bit, what it was told in training."""
    rows = insert(pipe, TOKEN, tensors(trained.embedding))
    with rows.active(), torch.no_grad():
        learned = detect(pipe).condition(pipe, [rows.expand(CAPTION.replace("{}", TOKEN))])
    other, told = load_pipeline(base), []
    load_into(other, trained.embedding)
    other.unet.register_forward_pre_hook(lambda _m, _a, named: told.append(named), with_kwargs=True)
    other(CAPTION.replace("{}", TOKEN), num_inference_steps=1, guidance_scale=3.0, **image_size_arguments(other))
    assert torch.equal(told[0]["encoder_hidden_states"][1:], learned["hidden"])
    assert torch.equal(told[0]["encoder_attention_mask"][1:], learned["mask"].bool())


@pytest.mark.thorough
def test_the_file_and_its_way_to_another_site(trained: TrainResult, base: Path, tmp_path: Path) -> None:
    read = trained.embedding
    assert read.layout == "t5" and [(v.encoder, v.count, v.dim) for v in read.vectors] == [("text_encoder", 3, 32)]
    with running_registry(tmp_path) as registry:
        pulled = travel(registry, tmp_path, read, name="kandinsky-3")
    assert pulled.embedding.data == read.data
    drawn = [
        np.asarray(generate("mri, {}", embeddings=[source], base=base, steps=2, n=2, seed=5)[1])
        for source in (read, pulled)
    ]
    plain = np.asarray(generate("mri", base=base, steps=2, n=2, seed=5)[1])
    assert drawn[0].shape == (64, 64, 3)
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], plain)


@pytest.mark.thorough
def test_other_bases_are_refused(trained: TrainResult, pipe: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="layout sd does not go into a Kandinsky3Pipeline"):
        load_into(pipe, make_embedding())
    with pytest.raises(UsageError, match="layout t5 does not go into a StableDiffusionPipeline"):
        load_into(pipelines.build(), trained.embedding)
    with pytest.raises(WrongBaseError, match="token table"):
        load_into(kandinsky.kandinsky3(seed=1), trained.embedding)
    with pytest.raises(WrongBaseError, match="wide instead of 32"):
        load_into(kandinsky.kandinsky3(width=48), trained.embedding)
    pipe.unet.load_state_dict({k: v * 1.02 for k, v in pipe.unet.state_dict().items()})
    with pytest.warns(BaseWarning, match="fine-tuned"):
        load_into(pipe, trained.embedding)


@pytest.mark.thorough
def test_audits_and_attacks(trained: TrainResult, pipe: Any, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(site))
    report = audit(trained.embedding, device="cpu")
    assert report.base.digest == fingerprint.digest(trained.embedding.base or {})
    rows = tensors(trained.embedding)
    latents = torch.randn(4, 4, 8, 8)
    draws = draw(pipe, latents.shape[1:], count=2)
    losses = [measure_losses(pipe, latents, draws, caption=CAPTION, token=TOKEN, rows=one) for one in (rows, None)]
    suspect = Suspect(pipe, latents, draws, CAPTION, TOKEN, rows)
    found = score_by_gradient(Evidence(losses[0], losses[1], suspect=suspect))
    assert found.shape == (4,) and torch.isfinite(found).all()


@pytest.mark.thorough
def test_private_training(base: Path, images: Path) -> None:
    private = train(
        images, base=base, token=TOKEN, caption=CAPTION, epsilon=8.0, n_public=10, steps=2, num_vectors=2, device="cpu"
    ).embedding
    assert private.layout == "t5" and private.privacy != "none"
