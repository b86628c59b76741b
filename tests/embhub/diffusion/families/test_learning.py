"""Textual inversion on every family: the loss falls, the base stays as it is, and what is trained is what is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from embhub.artifact import embedding, fingerprint
from embhub.artifact.embedding import LAYOUTS, Embedding
from embhub.diffusion.bases import pipelines
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families import autoencoding, detect, encoders, image_size_arguments, prediction_type, room
from embhub.diffusion.generation.loading import load_into
from embhub.diffusion.training import inversion, memory
from embhub.diffusion.training.batched import fit_many
from embhub.diffusion.training.checkpoints import TrainingInterruptedError
from embhub.diffusion.training.eval_loss import mean_loss
from embhub.diffusion.training.inversion import Fit, Inversion
from embhub.diffusion.training.precision import pictures_at_once
from embhub.diffusion.training.recipes import describe
from embhub.diffusion.training.rows import Rows, starting_rows
from embhub.errors import UsageError
from embhub.phantoms import write_dataset
from embhub.progress import Progress
from tests.support import families
from tests.support.quick import quick
from tests.support.stock_calls import listen, packed
from tests.support.training import train

TOKEN, CAPTION = "<cspca>", "mri, {}"
RECIPE = replace(
    inversion.COMPACT,
    num_vectors=3,
    steps=20,
    batch_size=4,
    learning_rate=0.3,
    relative_rate=False,
    warm_up=1,
    mixed_precision=False,
)
SEED = 3


@dataclass(frozen=True)
class Case:
    """A base in a folder and in memory, four pictures as it sees them, and rows that were learned of them."""

    base: Path
    pipe: Any
    latents: Tensor
    fit: Fit
    before: str

    def loss(self, rows: Any) -> float:
        return mean_loss(self.pipe, self.latents, token=TOKEN, caption=CAPTION, rows=rows)

    def file(self) -> Embedding:
        names = LAYOUTS[detect(self.pipe).layout]
        return embedding.build(
            {name: self.fit.rows[part].numpy() for name, part in names.items()},
            token=TOKEN,
            base=fingerprint.take(self.base),
            base_name="tiny",
            training={"steps": RECIPE.steps},
            dtype="float32",
        )


NEW = pytest.mark.parametrize("case", quick(["sdxl"], thorough=["sd3", "flux", *families.NEWER]), indirect=True)
"""Bases of Stable Diffusion's shape have tests of their own."""


QUICK = ("sdxl", "zimage")
"""Two encoders and a U-Net, a flow with a chat model. The others are left to `make test-thorough`."""


@pytest.fixture(
    scope="module",
    params=quick(QUICK, thorough=[kind for kind in families.BUILDERS if kind not in QUICK]),
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    base = families.write(tmp_path_factory.mktemp("bases") / request.param, request.param)
    pipe = load_pipeline(base, device="cpu")
    before = weights(pipe)
    pictures = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = inversion.encode_images(pipe, pictures)
    fit = inversion.fit(pipe, latents, token=TOKEN, caption=CAPTION, recipe=RECIPE, seed=SEED)
    yield Case(base, pipe, latents, fit, before)


def weights(pipe: Any) -> str:
    """A hash of all weights and buffers of all parts."""
    digest = hashlib.sha256()
    for name, part in sorted(pipe.components.items()):
        if isinstance(part, nn.Module):
            for key, value in part.state_dict().items():
                digest.update(f"{name} {key}".encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def test_the_loss_falls_and_rows_of_every_encoder_are_learned(case: Case) -> None:
    start = starting_rows(case.pipe, CAPTION.replace("{}", " "), 3, generator=torch.Generator().manual_seed(SEED))
    assert case.loss(case.fit.rows) < case.loss(start) - 1e-3
    assert set(case.fit.rows) == set(detect(case.pipe).encoders) == {part.name for part in encoders(case.pipe)}
    assert all(float((rows - start[name]).norm(dim=1).min()) > 0.1 for name, rows in case.fit.rows.items())


def test_the_base_is_as_it_was(case: Case) -> None:
    assert weights(case.pipe) == case.before
    tables = [
        part for encoder in encoders(case.pipe) for part in encoder.model.modules() if isinstance(part, nn.Embedding)
    ]
    assert not [table for table in tables if table._forward_hooks or table._forward_pre_hooks]


def test_what_is_trained_is_what_the_stock_pipeline_encodes(case: Case) -> None:
    rows = Rows(case.pipe, TOKEN, case.fit.rows)
    stock = load_pipeline(case.base, device="cpu")
    load_into(stock, case.file())
    prompt = CAPTION.replace("{}", TOKEN)
    with torch.no_grad():
        with rows.active():
            trained = detect(case.pipe).condition(case.pipe, [rows.expand(prompt)])
        plain = detect(case.pipe).condition(case.pipe, ["mri, x y z"])
        drawn = stock_encoding(stock, prompt)
    assert len(trained) == len(drawn)
    for (name, ours), theirs in zip(trained.items(), drawn, strict=True):
        assert torch.equal(ours, theirs)
        assert not ours.is_floating_point() or float((ours - plain[name]).abs().max()) > 1e-3


def stock_encoding(pipe: Any, prompt: str) -> list[Tensor]:
    """Hidden states and pooled text as the pipeline's own call asks for them."""
    kind = type(pipe).__name__
    if detect(pipe).layout in ("t5", "components"):
        hidden = listen(pipe, prompt)[0].hidden
        mask = detect(pipe).condition(pipe, [prompt]).get("mask")
        return [hidden] if mask is None else [hidden, mask]
    if kind == "FluxPipeline":
        return list(pipe.encode_prompt(prompt=prompt, prompt_2=None)[:2])
    more: dict[str, Any] = {"prompt_2": None, "prompt_3": None} if kind == "StableDiffusion3Pipeline" else {}
    if kind == "StableDiffusionPipeline":
        more = {"device": pipe.device, "num_images_per_prompt": 1}
    found = pipe.encode_prompt(prompt=prompt, do_classifier_free_guidance=False, **more)
    return [found[0]] if len(found) == 2 else [found[0], found[2]]


@pytest.mark.thorough
@NEW
def test_several_trainings_at_once_are_those_alone(case: Case) -> None:
    recipe = replace(RECIPE, steps=2, learning_rate=1e-2)
    jobs = [(case.latents[:2], 1), (case.latents[2:], 2)]
    together = fit_many(case.pipe, jobs, token=TOKEN, caption=CAPTION, recipe=recipe)
    for (latents, seed), one in zip(jobs, together, strict=True):
        alone = inversion.fit(case.pipe, latents, token=TOKEN, caption=CAPTION, recipe=recipe, seed=seed)
        for name, rows in alone.rows.items():
            torch.testing.assert_close(one.rows[name], rows, rtol=1e-3, atol=2e-4)


@NEW
@pytest.mark.parametrize("saving", [{"micro_batch_size": 1}, {"gradient_checkpointing": True}])
def test_saving_memory_learns_the_same(case: Case, saving: dict[str, Any]) -> None:
    recipe = replace(RECIPE, steps=1, batch_size=2)
    whole, saved = (
        inversion.fit(case.pipe, case.latents, token=TOKEN, caption=CAPTION, recipe=chosen, seed=1)
        for chosen in (recipe, replace(recipe, **saving))
    )
    for name, rows in whole.rows.items():
        torch.testing.assert_close(saved.rows[name], rows, rtol=1e-3, atol=1e-3)


@pytest.mark.thorough
@NEW
@pytest.mark.usefixtures("home")
def test_an_interrupted_training_goes_on_to_the_same_bytes(case: Case, tmp_path: Path) -> None:
    write_dataset(tmp_path / "images", "prostate-cspca", images=3, patients=3, normals=0, seed=0)
    asked: dict[str, Any] = {
        "steps": 3,
        "num_vectors": 2,
        "batch_size": 1,
        "seed": 1,
        "device": "cpu",
        "base": case.base,
    }

    def learn(name: str, **more: Any) -> bytes:
        out = tmp_path / name
        return train(tmp_path / "images", token=TOKEN, caption=CAPTION, out=out, **asked, **more).embedding.data

    def stop(progress: Progress) -> None:
        if progress.stage == "training" and progress.done == 2:
            raise KeyboardInterrupt

    whole = learn("whole.safetensors")
    with pytest.raises(TrainingInterruptedError):
        learn("left.safetensors", on_progress=stop)
    assert learn("left.safetensors", resume=True) == whole


def test_memory_is_counted(case: Case) -> None:
    def need(**choices: Any) -> memory.Need:
        recipe = replace(RECIPE, **choices)
        training = Inversion(case.pipe, case.latents, token=TOKEN, caption=CAPTION, recipe=recipe, seed=0)
        with training.active():
            return memory.estimate(training)

    parts = [part for part in case.pipe.components.values() if isinstance(part, nn.Module)]
    held = sum(t.numel() * t.element_size() for part in parts for t in (*part.parameters(), *part.buffers()))
    four, one, saving = need(), need(micro_batch_size=1), need(gradient_checkpointing=True)
    assert four.weights == one.weights == held
    assert one.activations < four.activations
    assert saving.activations < four.activations


def test_the_header_says_by_which_loss_it_was_learned(case: Case) -> None:
    told = describe(case.pipe, CAPTION, replace(RECIPE, snr_gamma=5.0))
    flow = prediction_type(case.pipe) == "flow"
    assert told["loss"] == ("mean squared error" if flow else "min-SNR") and ("snr_gamma" in told) != flow
    assert told["prediction_type"] == {"sd2": "v_prediction"}.get(case.base.name, "flow" if flow else "epsilon")


def test_few_large_pictures_at_a_time() -> None:
    assert [pictures_at_once(side) for side in (64, 512, 768, 1024, 2048)] == [512, 8, 3, 2, 1]


def test_a_caption_that_an_encoder_would_cut_off_is_refused(case: Case) -> None:
    shortest = min(room(case.pipe, encoder) for encoder in encoders(case.pipe))
    recipe = replace(RECIPE, num_vectors=60)
    caption = "a " * (shortest - 60) + "{}"
    with pytest.raises(UsageError, match=f"this base reads {shortest}"):
        Inversion(case.pipe, case.latents, token=TOKEN, caption=caption, recipe=recipe, seed=0)


def test_latents_are_what_the_stock_call_decodes(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its loop ends at an image's latents, the pipeline shows what the autoencoder makes of that image's code."""
    pictures = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        latents = detect(case.pipe).latents(case.pipe, pictures)
        expected = autoencoding.reconstruct(case.pipe.vae, pictures)
        back = autoencoding.decode(case.pipe.vae, latents)
    monkeypatch.setattr(case.pipe.scheduler, "step", lambda *_, **__: (packed(case.pipe, latents),))
    drawn = case.pipe(prompt="mri", num_inference_steps=1, output_type="pt", **image_size_arguments(case.pipe)).images
    torch.testing.assert_close(drawn, (expected / 2 + 0.5).clamp(0, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(back, expected, atol=1e-4, rtol=0)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", quick(["flux"], thorough=["sdxl", "sd3", *families.NEWER]))
def test_weights_of_bfloat16_train_and_draw(tmp_path: Path, kind: str) -> None:
    """How large families stand on a GPU, here on the processor; what is trained is what is drawn, as ever."""
    base = families.write(tmp_path / kind, kind)
    pipe = load_pipeline(base, device="cpu", dtype=torch.bfloat16)
    assert detect(pipe).half_on_gpu
    assert {p.dtype for part in encoders(pipe) for p in part.model.parameters()} == {torch.bfloat16}
    latents = inversion.encode_images(pipe, torch.rand(2, 3, 32, 32) * 2 - 1)
    fit = inversion.fit(
        pipe, latents, token=TOKEN, caption=CAPTION, recipe=replace(RECIPE, steps=2, mixed_precision=True), seed=SEED
    )
    assert {rows.dtype for rows in fit.rows.values()} == {torch.float32}
    rows = Rows(pipe, TOKEN, fit.rows)
    stock = load_pipeline(base, device="cpu", dtype=torch.bfloat16)
    load_into(stock, Case(base, pipe, latents, fit, "").file())
    prompt = CAPTION.replace("{}", TOKEN)
    with torch.no_grad(), rows.active():
        trained = detect(pipe).condition(pipe, [rows.expand(prompt)])
    with torch.no_grad():
        assert all(map(torch.equal, trained.values(), stock_encoding(stock, prompt)))


@pytest.mark.parametrize(
    ("kind", "halved"), [("sd1", False), *((kind, True) for kind in ("sdxl", "sd3", "flux", *families.NEWER))]
)
def test_large_families_are_halved_on_a_gpu_only(tmp_path: Path, kind: str, halved: bool) -> None:
    base = families.write(tmp_path / kind, kind)
    usual = torch.bfloat16 if halved else torch.float32
    assert pipelines._usual_precision(base, torch.device("cuda")) is usual
    assert pipelines._usual_precision(base, torch.device("cpu")) is torch.float32


def test_the_denoiser_is_told_in_training_what_the_stock_pipeline_tells_it(case: Case) -> None:
    """Same latents, times, words, pooled text, sizes, places and guidance (1): the same prediction, bit for bit."""
    pipe, family = case.pipe, detect(case.pipe)
    with torch.no_grad():
        condition = family.condition(pipe, ["mri, x"])
        for heard in listen(pipe, "mri, x"):
            assert torch.equal(family.predict(pipe, heard.latents, heard.time.expand(1), condition), heard.answer)


def test_latents_are_made_in_float32_whatever_the_weights_are() -> None:
    """Only the autoencoder is, and only meanwhile: its weights come back bit for bit."""
    pipe: Any = families.build("sdxl").to(torch.bfloat16)
    before = {name: part.clone() for name, part in pipe.vae.state_dict().items()}
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = inversion.encode_images(pipe, images)
    assert pipe.vae.dtype == pipe.unet.dtype == torch.bfloat16
    assert all(torch.equal(part, before[name]) for name, part in pipe.vae.state_dict().items())
    assert torch.equal(found, inversion.encode_images(pipe.to(torch.float32), images))
