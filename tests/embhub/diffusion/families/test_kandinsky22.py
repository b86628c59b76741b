"""Kandinsky 2.2 end to end on tiny random ones of diffusers' own classes: a word for the prior, an image embedding for
the decoder, and drawing with both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from embhub.artifact import embedding, fingerprint
from embhub.artifact.embedding import BadLayoutError
from embhub.diffusion.attacks.auditing import audit
from embhub.diffusion.attacks.evidence import Evidence, Suspect, draw, measure_losses
from embhub.diffusion.attacks.gradients import score_by_gradient
from embhub.diffusion.bases import live_fingerprint as live_base
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families import denoiser, detect, prediction_type, resolution
from embhub.diffusion.generation.generation import generate
from embhub.diffusion.generation.loading import TokenCollisionError, WrongBaseError, load_into, tensors
from embhub.diffusion.train import TrainResult
from embhub.diffusion.training import inversion
from embhub.diffusion.training.per_layer import insert
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import UsageError
from embhub.formats import tensors as container
from embhub.phantoms import write_dataset
from tests.support import kandinsky, pipelines
from tests.support.journeys import travel
from tests.support.quick import quick
from tests.support.releases import make_embedding
from tests.support.servers import running_registry
from tests.support.training import train

TOKEN, CAPTION, PROMPT = "<cspca>", "mri, {}", "mri, <cspca>"
VECTORS = {"prior": 3, "decoder": 1}


@dataclass(frozen=True)
class World:
    """Bases, a site's home, and what was trained there on the prior and on the decoder."""

    bases: dict[str, Path]
    home: Path
    images: Path
    trained: dict[str, TrainResult]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("kandinsky")
    write_dataset(folder / "images", "prostate-cspca", images=12, patients=12, normals=2, seed=0)
    writers = {"prior": kandinsky.write_prior, "decoder": kandinsky.write_decoder, "combined": kandinsky.write_combined}
    bases = {name: write(folder / name) for name, write in writers.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(folder / "home"))
        trained = {
            name: train(
                folder / "images", base=bases[name], token=TOKEN, caption=CAPTION, holdout=0.5, steps=3,
                num_vectors=VECTORS[name], batch_size=2, seed=1, device="cpu",
            )
            for name in VECTORS
        }  # fmt: skip
    yield World(bases, folder / "home", folder / "images", trained)


PRIOR = pytest.mark.parametrize("kind", quick(["prior"], thorough=["decoder"]), indirect=True)
"""The decoder's way is the same, and dear."""


@pytest.fixture(params=quick(["prior"], thorough=["decoder"]))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pipe(world: World, kind: str) -> Any:
    return load_pipeline(world.bases[kind])


def hashed(pipe: Any) -> str:
    digest = hashlib.sha256()
    for name, part in sorted(pipe.components.items()):
        if isinstance(part, torch.nn.Module):
            for key, value in sorted(part.state_dict().items()):
                digest.update(f"{name} {key}".encode() + value.numpy().tobytes())
    return digest.hexdigest()


def latents(pipe: Any, count: int = 4) -> torch.Tensor:
    images = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return inversion.encode_images(pipe, images)


def test_what_they_are(world: World, kind: str, pipe: Any) -> None:
    expected = {"prior": (32, "sample", (4, 32)), "decoder": (64, "epsilon", (4, 4, 8, 8))}
    assert detect(pipe).name == f"kandinsky22-{kind}"
    assert (resolution(pipe), prediction_type(pipe), tuple(latents(pipe).shape)) == expected[kind]
    assert denoiser(pipe) is (pipe.prior if kind == "prior" else pipe.unet)
    assert fingerprint.compare(fingerprint.take(world.bases[kind]), live_base.take(pipe)).level == "exact"


def test_the_prior_learns_from_image_embeddings_as_it_will_make_them(world: World) -> None:
    """diffusers' own image processor and the prior's own way back from normalised embeddings say what is right."""
    pipe = load_pipeline(world.bases["prior"])
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    seen = pipe.image_processor(Image.fromarray(pixels), return_tensors="pt").pixel_values
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        expected = pipe.image_encoder(seen).image_embeds
        found = pipe.prior.post_process_latents(detect(pipe).latents(pipe, tensor))
    assert torch.allclose(found, expected, atol=1e-4)


def test_inversion_lowers_the_loss_and_leaves_the_base_alone(kind: str, pipe: Any) -> None:
    before, seen = hashed(pipe), latents(pipe)
    recipe = ResolvedRecipe(steps=40, num_vectors=VECTORS[kind], batch_size=4, learning_rate=0.2, mixed_precision=False)
    start = inversion.Inversion(pipe, seen, token=TOKEN, caption=CAPTION, recipe=recipe, seed=0).rows
    fit = inversion.fit(pipe, seen, token=TOKEN, caption=CAPTION, recipe=recipe, seed=0)
    told = [inversion.mean_loss(pipe, seen, token=TOKEN, caption=CAPTION, rows=rows) for rows in (start, fit.rows)]
    assert told[1] < told[0] - 1e-4
    assert hashed(pipe) == before


def test_training_is_inference(world: World, kind: str, pipe: Any) -> None:
    """What the denoiser is told in the pipelines' own calls is, bit for bit, what it was told in training."""
    rows = insert(pipe, TOKEN, tensors(world.trained[kind].embedding))
    with rows.active(), torch.no_grad():
        learned = detect(pipe).condition(pipe, [rows.expand(PROMPT)])
    combined, told = load_pipeline(world.bases["combined"]), []
    load_into(combined, world.trained[kind].embedding)
    model = combined.prior_prior if kind == "prior" else combined.unet
    model.register_forward_pre_hook(lambda _m, _a, named: told.append(named), with_kwargs=True)
    family = detect(combined)
    assert family.draw
    family.draw(combined, [PROMPT if kind == "prior" else TOKEN], 2, 4.0, [torch.Generator().manual_seed(0)], None)
    if kind == "decoder":
        assert torch.equal(told[0]["added_cond_kwargs"]["image_embeds"][1:], learned["image_embeds"])
        return
    assert torch.equal(told[0]["proj_embedding"][1:], learned["pooled"])
    assert torch.equal(told[0]["encoder_hidden_states"][1:], learned["hidden"])
    assert torch.equal(told[0]["attention_mask"][1:], learned["mask"])


@pytest.mark.thorough
@PRIOR
def test_the_file_and_its_way_to_another_site(world: World, kind: str, tmp_path: Path) -> None:
    read = world.trained[kind].embedding
    layout, encoder = {
        "prior": ("kandinsky22-prior", "text_encoder"),
        "decoder": ("kandinsky22-image", "image_embeds"),
    }[kind]
    assert read.layout == layout
    assert [(v.encoder, v.count, v.dim) for v in read.vectors] == [(encoder, VECTORS[kind], 32)]
    with running_registry(tmp_path) as registry:
        pulled = travel(registry, tmp_path, read, name=f"kandinsky-{kind}")
    assert pulled.embedding.data == read.data
    base, prompt = world.bases["combined"], "mri, {}" if kind == "prior" else "{}"
    drawn = [
        np.asarray(generate(prompt, embeddings=[one], base=base, steps=2, n=2, seed=5)[1]) for one in (read, pulled)
    ]
    assert drawn[0].shape == (64, 64, 3) and np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], np.asarray(generate("mri", base=base, steps=2, n=2, seed=5)[1]))


@pytest.mark.thorough
def test_the_decoder_alone_draws_without_guidance(world: World) -> None:
    base, one = world.bases["decoder"], world.trained["decoder"].embedding
    (drawn,) = generate("{}", embeddings=[one], base=base, steps=2)
    assert drawn.size == (64, 64)
    with pytest.raises(UsageError, match="guidance of 4 needs"):
        generate("{}", embeddings=[one], base=base, steps=2, guidance_scale=4.0)
    for where in (base, world.bases["combined"]):
        with pytest.raises(UsageError, match="takes no further text"):
            generate("mri, {}", embeddings=[one], base=where, steps=2)
    with pytest.raises(UsageError, match="has no text encoder"):
        generate("mri", base=base, steps=2)


def test_both_at_once(world: World) -> None:
    combined = load_pipeline(world.bases["combined"])
    for one in world.trained.values():
        load_into(combined, one.embedding)
    with pytest.raises(TokenCollisionError):
        load_into(combined, world.trained["decoder"].embedding)
    with pytest.raises(TokenCollisionError):
        load_into(combined, world.trained["prior"].embedding)


@pytest.mark.thorough
def test_what_is_refused(world: World, tmp_path: Path) -> None:
    word, image = (world.trained[name].embedding for name in VECTORS)
    prior, decoder, combined = (load_pipeline(world.bases[name]) for name in ("prior", "decoder", "combined"))
    for pipe, wrong in ((prior, image), (decoder, word), (combined, make_embedding()), (pipelines.build(), image)):
        with pytest.raises(UsageError, match="does not go into a"):
            load_into(pipe, wrong)
    with pytest.raises(WrongBaseError, match="token table"):
        load_into(kandinsky.prior(seed=7), word)
    with pytest.raises(WrongBaseError, match="denoiser are unrelated"):
        load_into(kandinsky.decoder(seed=7), image)
    with pytest.raises(UsageError, match="makes image embeddings and no pictures"):
        generate("mri, {}", embeddings=[word], base=world.bases["prior"])
    for choices, words in (
        ({"num_vectors": 2}, "one image embedding"),
        ({"norm": "directional", "num_vectors": 1}, "no usual length"),
        ({"preview": 1, "num_vectors": 1, "preview_dir": tmp_path / "p"}, "no pictures"),
        ({"per_layer": True, "num_vectors": 1}, "layer are not for"),
    ):
        with pytest.raises(UsageError, match=words):
            train(world.images, base=world.bases["decoder"], token=TOKEN, caption=CAPTION, steps=1, **choices)
    with pytest.raises(UsageError, match="prior and decoder are trained separately"):
        train(world.images, base=world.bases["combined"], token=TOKEN, caption=CAPTION, steps=1)


def test_hostile_image_embeddings(world: World) -> None:
    sound = world.trained["decoder"].embedding
    vector = sound.tensors["image_embeds"]
    for spoilt in (
        {"image_embeds": np.repeat(vector, 2, 0)},
        {"image_embeds": vector, "emb_params": vector},
        {"image_embeds": vector, "image_embeds_2": vector},
    ):
        with pytest.raises(BadLayoutError):
            embedding.parse(container.serialize(spoilt, sound.metadata))
    words = dict(world.trained["prior"].embedding.metadata)
    with pytest.raises(BadLayoutError, match="text encoders"):  # nobody may leave out what tells the token space
        embedding.parse(container.serialize({"emb_params": vector}, dict(sound.metadata)))
    with pytest.raises(BadLayoutError, match="text encoders"):
        embedding.parse(container.serialize({"image_embeds": vector}, words))
    wide = embedding.build({"image_embeds": np.zeros((1, 48))}, token=TOKEN, base=None, base_name="tiny", training={})
    with pytest.raises(WrongBaseError, match="48"):
        load_into(load_pipeline(world.bases["decoder"]), wide)


@pytest.mark.thorough
def test_private_training(world: World, kind: str) -> None:
    private = train(
        world.images, base=world.bases[kind], token=TOKEN, caption=CAPTION, epsilon=8.0, n_public=10, steps=2,
        device="cpu",
    ).embedding  # fmt: skip
    assert private.privacy != "none"


@PRIOR
def test_audits_and_attacks(world: World, kind: str, pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(world.home))
    target = world.trained[kind].embedding
    report = audit(target, device="cpu")
    assert report.base.digest == fingerprint.digest(target.base or {})
    with pytest.raises(UsageError, match="thorough suite generates"):
        audit(target, device="cpu", suite="thorough")
    seen, rows = latents(pipe), tensors(target)
    draws = draw(pipe, seen.shape[1:], count=2)
    losses = [measure_losses(pipe, seen, draws, caption=CAPTION, token=TOKEN, rows=one) for one in (rows, None)]
    suspect = Suspect(pipe, seen, draws, CAPTION, TOKEN, rows)
    found = score_by_gradient(Evidence(losses[0], losses[1], suspect=suspect))
    assert found.shape == (4,) and torch.isfinite(found).all()
