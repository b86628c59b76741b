"""P+: rows for each place where the denoiser reads text, from training to another site's pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor

from embhub.artifact import embedding
from embhub.artifact.embedding import BadLayoutError, Embedding
from embhub.diffusion.attacks.evidence import Evidence, Suspect, draw, measure_losses
from embhub.diffusion.attacks.gradients import score_by_gradient
from embhub.diffusion.bases.pipelines import freeze, load_pipeline
from embhub.diffusion.families import detect
from embhub.diffusion.generation.generation import generate, prepare
from embhub.diffusion.generation.interpolation import draw_series
from embhub.diffusion.generation.loading import TokenCollisionError, WrongBaseError, load_into, tensors
from embhub.diffusion.generation.slerp import slerp
from embhub.diffusion.train import TrainResult
from embhub.diffusion.training import batched, inversion, table_units
from embhub.diffusion.training.checkpoints import TrainingInterruptedError
from embhub.diffusion.training.per_layer import LayeredRows, insert, places, spread
from embhub.diffusion.training.recipes import ResolvedRecipe
from embhub.errors import ArtifactError, UsageError
from embhub.formats import tensors as container
from embhub.phantoms import write_dataset
from embhub.progress import Progress
from tests.support import kandinsky, pipelines
from tests.support.journeys import travel
from tests.support.quick import quick
from tests.support.releases import make_embedding
from tests.support.servers import running_registry
from tests.support.training import train

TOKEN, CAPTION, PROMPT = "<cspca>", "mri, {}", "mri, <cspca>"
QUICK = ResolvedRecipe(steps=4, num_vectors=2, batch_size=2, learning_rate=5.0, mixed_precision=False, per_layer=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, "prostate-cspca", images=8, patients=8, normals=1, seed=0)
    return folder


@pytest.fixture(scope="module")
def trained(base: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBHUB_HOME", str(tmp_path_factory.mktemp("home")))
        return learn(images, base)


def learn(images: Path, base: Path, **choices: Any) -> TrainResult:
    wanted = {"steps": 3, "num_vectors": 2, "batch_size": 2, "seed": 1, "per_layer": True, **choices}
    return train(images, base=base, token=TOKEN, caption=CAPTION, device="cpu", **wanted)


@pytest.fixture(params=quick(["clip"], thorough=["bert"]))
def pipe(request: pytest.FixtureRequest) -> Any:
    made = pipelines.build(encoder=request.param)
    made.set_progress_bar_config(disable=True)
    freeze(made)
    return made


def latents(count: int = 4) -> Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def rows_for(pipe: Any, vectors: int = 2, seed: int = 0) -> dict[str, Tensor]:
    shape = (len(places(pipe)), vectors, pipelines.WIDTH)
    return {"text_encoder": torch.randn(shape, generator=torch.Generator().manual_seed(seed))}


def build(rows: Mapping[str, Tensor], token: str = TOKEN, base: dict[str, Any] | None = None) -> Embedding:
    parts = rows["text_encoder"].numpy()
    names = embedding.layer_names(len(parts))
    return embedding.build(
        dict(zip(names, parts, strict=True)), token=token, base=base, base_name="tiny", training={}, dtype="float32"
    )


def encode(pipe: Any, rows: Mapping[str, Tensor]) -> Tensor:
    inserted = insert(pipe, TOKEN, rows)
    with inserted.active(), torch.no_grad():
        return detect(pipe).condition(pipe, [inserted.expand(PROMPT)])["hidden"]


def test_equal_rows_everywhere_are_a_plain_embedding(pipe: Any) -> None:
    plain = {"text_encoder": torch.randn(2, pipelines.WIDTH)}
    once, each = encode(pipe, plain), encode(pipe, spread(pipe, plain))
    assert all(torch.equal(part, once) for part in each.chunk(len(places(pipe)), -1))
    noise, times = torch.randn(4, 4, 8, 8), torch.tensor([10, 300, 600, 900])
    with torch.no_grad():
        family = detect(pipe)
        expected = family.predict(pipe, noise, times, {"hidden": once.expand(4, -1, -1)})
        inserted = insert(pipe, TOKEN, spread(pipe, plain))
        with inserted.active():
            assert torch.equal(family.predict(pipe, noise, times, {"hidden": each.expand(4, -1, -1)}), expected)


def test_each_place_reads_its_own_rows(pipe: Any) -> None:
    rows = rows_for(pipe)
    heard: list[Tensor] = []
    inserted = LayeredRows(pipe, TOKEN, rows)
    with inserted.active(), torch.no_grad():
        # After the hooks that give each place its part.
        handles = [
            place.register_forward_pre_hook(
                lambda _m, _a, named: heard.append(named["encoder_hidden_states"]), with_kwargs=True
            )
            for place in places(pipe)
        ]
        condition = detect(pipe).condition(pipe, [inserted.expand(PROMPT)])
        detect(pipe).predict(pipe, latents(1), torch.tensor([5]), condition)
        for handle in handles:
            handle.remove()
    alone = [encode(pipe, {"text_encoder": part}) for part in rows["text_encoder"]]
    assert len(heard) == len(alone) == len(places(pipe))
    assert {number for part in heard for number, one in enumerate(alone) if torch.equal(part, one)} == set(
        range(len(alone))
    )


def test_the_pooled_text_is_a_place_too() -> None:
    builtin = load_pipeline("builtin")
    assert places(builtin)[0] is builtin.unet.add_embedding
    # All of its first block's attention reads the text, and so do both kinds of attention there.
    assert len(places(builtin)) == 1 + sum(part.is_cross_attention for part in _attention(builtin.unet))
    shape = (len(places(builtin)), 2, builtin.text_encoder.config.hidden_size)
    load_into(builtin, build({"text_encoder": 0.05 * torch.randn(shape)}))
    drawn = builtin(PROMPT, num_inference_steps=2, output_type="np").images
    assert drawn.shape == (1, 128, 128, 3) and np.isfinite(drawn).all()


def _attention(unet: Any) -> list[Any]:
    return [part for part in unet.modules() if type(part).__name__ == "Attention"]


def test_training_lowers_the_loss_and_leaves_the_base_alone(pipe: Any) -> None:
    before = hashlib.sha256(b"".join(v.numpy().tobytes() for v in pipe.unet.state_dict().values())).digest()
    plain, drawn = without_it(pipe)
    recipe = ResolvedRecipe(
        **{**vars(QUICK), "steps": 60, "batch_size": 4, "learning_rate": 0.3, "relative_rate": False}
    )
    fit = inversion.fit(pipe, latents(), token=TOKEN, caption=CAPTION, recipe=recipe, seed=0)
    start = inversion.Inversion(pipe, latents(), token=TOKEN, caption=CAPTION, recipe=recipe, seed=0).rows
    told = [inversion.mean_loss(pipe, latents(), token=TOKEN, caption=CAPTION, rows=r) for r in (start, fit.rows)]
    assert told[1] < told[0] - 2e-4
    learned = fit.rows["text_encoder"]
    assert learned.shape == (len(places(pipe)), 2, pipelines.WIDTH) and not torch.equal(learned[0], learned[1])
    assert before == hashlib.sha256(b"".join(v.numpy().tobytes() for v in pipe.unet.state_dict().values())).digest()
    again = without_it(pipe)
    assert torch.equal(again[0], plain) and torch.equal(again[1], drawn)


def without_it(pipe: Any) -> tuple[Tensor, Tensor]:
    """Encoding and prediction of a prompt without the token."""
    family = detect(pipe)
    with torch.no_grad():
        told = family.condition(pipe, ["mri"])["hidden"]
        return told, family.predict(pipe, latents(1), torch.tensor([5]), {"hidden": told})


def test_activations_computed_twice_give_the_same(pipe: Any) -> None:
    kept, again = (
        inversion.fit(
            pipe, latents(), token=TOKEN, caption=CAPTION, seed=0,
            recipe=ResolvedRecipe(**{**vars(QUICK), "gradient_checkpointing": twice}),
        ).rows["text_encoder"]
        for twice in (False, True)
    )  # fmt: skip
    assert torch.equal(kept, again)


def test_directions_only(pipe: Any) -> None:
    recipe = ResolvedRecipe(**{**vars(QUICK), "norm": "directional"})
    rows = inversion.fit(pipe, latents(), token=TOKEN, caption=CAPTION, recipe=recipe, seed=0).rows["text_encoder"]
    usual = table_units.token_norms(pipe)["text_encoder"]
    assert torch.allclose(rows.norm(dim=-1), torch.full(rows.shape[:2], usual), rtol=1e-5)


def test_training_is_inference(pipe: Any) -> None:
    rows = rows_for(pipe)
    learned, told = encode(pipe, rows), []
    load_into(pipe, build(rows))
    handle = pipe.unet.register_forward_pre_hook(lambda _m, _a, named: told.append(named), with_kwargs=True)
    pipe(PROMPT, num_inference_steps=1, guidance_scale=3.0)
    handle.remove()
    assert torch.equal(told[0]["encoder_hidden_states"][1:], learned)


@pytest.mark.thorough
@pytest.mark.rounding
def test_several_trainings_in_one_batch(pipe: Any) -> None:
    jobs = [(latents(), 3), (latents() * 0.5, 4)]
    together = batched.fit_many(pipe, jobs, token=TOKEN, caption=CAPTION, recipe=QUICK)
    for (own, seed), found in zip(jobs, together, strict=True):
        alone = inversion.fit(pipe, own, token=TOKEN, caption=CAPTION, recipe=QUICK, seed=seed)
        assert torch.allclose(found.rows["text_encoder"], alone.rows["text_encoder"], atol=1e-3)


def test_attacks_take_it(pipe: Any) -> None:
    rows = rows_for(pipe)
    draws = draw(pipe, torch.Size((4, 8, 8)), count=2)
    losses = [measure_losses(pipe, latents(), draws, caption=CAPTION, token=TOKEN, rows=one) for one in (rows, None)]
    suspect = Suspect(pipe, latents(), draws, CAPTION, TOKEN, rows)
    found = score_by_gradient(Evidence(losses[0], losses[1], suspect=suspect))
    assert found.shape == (4,) and torch.isfinite(found).all()


@pytest.mark.thorough
@pytest.mark.rounding
def test_several_of_both_kinds_at_once(pipe: Any) -> None:
    """Whatever is plugged in beside it, and in whichever order, an embedding draws what it draws alone."""
    kinds = {
        "<plain-one>": make_embedding(seed=1, base=None, token="<plain-one>"),
        "<layers-one>": build(rows_for(pipe, seed=1), "<layers-one>"),
        "<plain-two>": make_embedding(seed=2, base=None, token="<plain-two>"),
        "<layers-two>": build(rows_for(pipe, 3, seed=2), "<layers-two>"),
    }

    def drawn(made: Any, prompt: str) -> np.ndarray[Any, Any]:
        generator = torch.Generator().manual_seed(0)
        return np.asarray(made(prompt, num_inference_steps=2, generator=generator, output_type="np").images)

    encoder: pipelines.Encoder = "bert" if "Bert" in type(pipe.tokenizer).__name__ else "clip"
    alone = {}
    for token, one in kinds.items():
        fresh = pipelines.build(encoder=encoder)
        fresh.set_progress_bar_config(disable=True)
        load_into(fresh, one)
        alone[token] = drawn(fresh, f"mri, {token}")
    for one in kinds.values():
        load_into(pipe, one)
    for token in kinds:
        assert np.array_equal(drawn(pipe, f"mri, {token}"), alone[token]), token
    both = drawn(pipe, "mri, <layers-one> <layers-two> <plain-one>")
    assert not any(np.array_equal(both, one) for one in alone.values())
    with pytest.raises(TokenCollisionError):
        load_into(pipe, kinds["<layers-one>"])


@pytest.mark.thorough
def test_the_file_and_its_way_to_another_site(trained: TrainResult, base: Path, tmp_path: Path) -> None:
    read = trained.embedding
    assert (read.layout, len(read.tensors)) == (embedding.PER_LAYER, 4)
    assert read.metadata["modelspec.architecture"].endswith("/textual-inversion-per-layer")
    assert tensors(read)["text_encoder"].shape == (4, 2, pipelines.WIDTH)
    with running_registry(tmp_path) as registry:
        pulled = travel(registry, tmp_path, read, name="per-layer")
    assert pulled.embedding.data == read.data
    drawn = [
        np.asarray(generate("mri, {}", embeddings=[source], base=base, steps=2, seed=5)[0]) for source in (read, pulled)
    ]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], np.asarray(generate("mri", base=base, steps=2, seed=5)[0]))


@pytest.mark.thorough
def test_an_interrupted_training_goes_on_to_the_same_bytes(trained: TrainResult, images: Path, base: Path,
                                                           tmp_path: Path) -> None:  # fmt: skip
    def stop(progress: Progress) -> None:
        if progress.stage == "training" and progress.done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "cspca.safetensors"
    with pytest.raises(TrainingInterruptedError):
        learn(images, base, out=out, on_progress=stop)
    assert learn(images, base, out=out, resume=True).embedding.data == trained.embedding.data


@pytest.mark.thorough
def test_previews_and_series_of_siblings(trained: TrainResult, images: Path, base: Path, tmp_path: Path) -> None:
    sibling = learn(images, base, steps=4, preview=2, preview_dir=tmp_path / "previews").embedding
    assert len(list((tmp_path / "previews").glob("*.png"))) == 2
    middle = slerp(trained.embedding, sibling, 0.5)
    assert middle.layout == embedding.PER_LAYER
    made = draw_series(prepare(base=base, steps=2), "mri, {}", (trained.embedding, sibling), series=3, n=1, seed=0)
    first = generate("mri, {}", embeddings=[trained.embedding], base=base, steps=2, seed=0, mark=False)[0]
    assert np.array_equal(np.asarray(made.pictures[0][0]), np.asarray(first))


@pytest.mark.thorough
def test_plain_loaders_refuse_it(trained: TrainResult, base: Path, tmp_path: Path) -> None:
    """diffusers must not take one layer's rows for the embedding."""
    path = tmp_path / "cspca.safetensors"
    path.write_bytes(trained.embedding.data)
    stock = StableDiffusionPipeline.from_pretrained(base, local_files_only=True)
    with pytest.raises(ValueError, match="incorrect"):
        stock.load_textual_inversion(str(path), token=TOKEN, use_safetensors=True)


@pytest.mark.thorough
def test_what_is_refused(trained: TrainResult, images: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongBaseError, match="token table"):
        load_into(pipelines.build(seed=3), trained.embedding)
    with pytest.raises(UsageError, match="does not go into a Kandinsky3Pipeline"):
        load_into(kandinsky.kandinsky3(), trained.embedding)
    with pytest.raises(UsageError, match="another number of places than the 4"):
        insert(pipelines.build(), TOKEN, {"text_encoder": torch.zeros(3, 2, pipelines.WIDTH)})
    with pytest.raises(UsageError, match="not for private training"):
        learn(images, base, epsilon=8.0, n_public=8, seed=None)
    with pytest.raises(UsageError, match="layer are not for a Kandinsky3Pipeline"):
        learn(images, kandinsky.write_kandinsky3(tmp_path / "k3"))
    with pytest.raises(UsageError, match=r"(?s)vectors for each of 4 layers do not fit .* at most 38 vectors"):
        learn(images, pipelines.write(tmp_path / "wide", width=3184), num_vectors=64)


def test_hostile_files(tmp_path: Path) -> None:
    parts: dict[str, NDArray[Any]] = {name: np.zeros((2, 8), np.float32) for name in embedding.layer_names(3)}
    sound = build({"text_encoder": torch.zeros(3, 2, 8)})
    spoilt: dict[str, NDArray[Any]]
    for spoilt in (
        {**parts, "layer_01": np.zeros((3, 8), np.float32)},
        {**parts, "layer_01": np.zeros((2, 9), np.float32)},
        {**parts, "layer_01": np.zeros((2, 8), np.float16)},
        {**parts, "layer_04": parts["layer_00"]},
        {**parts, "emb_params": parts["layer_00"]},
        {"layer_00": parts["layer_00"]},
        {f"layer_{n:02}": np.zeros((1, 1), np.float32) for n in range(65)},
    ):
        with pytest.raises(BadLayoutError):
            embedding.parse(container.serialize(spoilt, sound.metadata))
    save_file({**parts, "layer_00": np.full((2, 8), np.nan, np.float32)}, tmp_path / "nan", dict(sound.metadata))
    with pytest.raises(ArtifactError, match="NaN"):
        embedding.read(tmp_path / "nan")
