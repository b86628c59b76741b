"""A compact adapter from images to a stock pipeline at another home: trained, audited, signed, pulled and loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

import embhub
from embhub.artifact import embedding
from embhub.audits.report import AuditReport
from embhub.client.member import erasing
from embhub.client.publishing import push as publishing
from embhub.client.pulling import pull as pulling
from embhub.diffusion.adaptation import adapter_size
from embhub.diffusion.adaptation.compact import Adapted, train_adapter
from embhub.diffusion.adaptation.porting import port
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.generation.adapters import AdapterCollisionError, switched_off
from embhub.diffusion.generation.loading import WrongBaseError, load_into, tensors
from embhub.diffusion.training.precision import in_bfloat16
from embhub.errors import UsageError
from embhub.formats import safe_yaml
from embhub.formats import tensors as artifact_tensors
from embhub.ledger.books import open_books
from embhub.options.adapter import AdapterRecipe
from embhub.options.training import Selection
from embhub.release import files as release_files
from tests.support import pipelines
from tests.support.releases import BASE, make_card
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site, new_key, open_site

SHORT = AdapterRecipe(rank=2, target_modules="attention", steps=3, batch_size=4, learning_rate=0.05)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path / "registry") as started:
        yield started


def adapt(base: Path, folder: Path, **changes: Any) -> Adapted:
    images = folder / "images"
    images.mkdir(exist_ok=True)
    rng, rows = np.random.default_rng(0), ["path,patient_id"]
    for number in range(24):
        Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(images / f"{number}.png")
        rows.append(f"{number}.png,p{number}")
    (images / "m.csv").write_text("\n".join(rows))
    told: dict[str, Any] = {
        "token": "<cspca>", "caption": "mri, {}", "base": base, "recipe": SHORT, "seed": 2**40 + 1,
        "selection": Selection(manifest=images / "m.csv", holdout=0.5),
    }  # fmt: skip
    return train_adapter(images, **{**told, **changes})


def test_from_images_to_a_pipeline_at_another_home(registry: RunningRegistry, base: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        site = open_site(registry, tmp_path / "publisher", namespace="umc", user="umc").enter(patch)
        new_key(registry, namespace="umc")
        file = site.folder / "adapter.safetensors"
        made = adapt(base, site.folder, out=file)
        assert (made.adapter.kind, made.adapter.privacy, made.adapter.training["rank"]) == ("adapter", "none", 2)
        assert made.adapter.target_modules == "attention"
        assert len(made.adapter.data) < 1_000_000 and len(made.losses) == 3
        assert {"p0"} <= {sample.patient_id for sample in (*made.run.members, *made.run.holdout)}
        assert not erasing.find(made.run.members[0].patient_id).files[0].recipe  # nothing trains it again by itself
        report = embhub.audit(file)
        assert report.verdict in ("leak-detected", "insufficient-evidence")
        with pytest.raises(UsageError, match="by their vectors"):
            embhub.audit(file, suite="thorough")
        _push(file, made, report, count=12)
    with pytest.MonkeyPatch.context() as patch:
        reader = Site(tmp_path / "reader", registry.url).enter(patch)
        reader.trust(registry)
        got = pulling.pull("umc/adapter")
        assert "adapter of rank 2 (attention)" in next(f.text for f in got.findings if f.check == "embedding")
        _draws_as_stock_diffusers_does(base, got.embedding, Path("adapter"))
        page = registry.get("/umc/adapter").body.decode()
        assert "load_lora_weights" in page and "Compact adapter" in page and "load_textual_inversion" not in page
        assert "rank 2, all attention layers" in page


def _push(file: Path, made: Adapted, report: AuditReport, *, count: int) -> None:
    """Publish an adapter of so many patients, with its audit and a card."""
    file.with_name("adapter.audit.json").write_bytes(report.to_bytes())
    fields = make_card(made.adapter, report=report, name="adapter", n_patients=count, n_images=count)
    assert (fields["kind"], fields["target_modules"]) == ("adapter", "attention")
    file.with_name("adapter.card.yaml").write_bytes(safe_yaml.dump(fields))
    publishing.push(file, confirm=lambda question: True)  # an audit of so few may find a leak, by chance too


def _draws_as_stock_diffusers_does(base: Path, adapter: embedding.Embedding, folder: Path) -> None:
    """The loader of diffusers, given the pulled file itself, draws the same; without the adapter another picture."""
    ours, stock, plain = (load_pipeline(base) for _ in range(3))
    assert load_into(ours, adapter) == "<cspca>"
    stock.load_lora_weights(str(folder), weight_name=release_files.EMBEDDING)
    drawn = [_latents(pipe) for pipe in (ours, stock, plain)]
    assert torch.allclose(drawn[0], drawn[1], atol=1e-5)
    assert not torch.allclose(drawn[0], drawn[2], atol=1e-5)
    with switched_off(ours):
        assert torch.allclose(_latents(ours), drawn[2], atol=1e-5)
    with pytest.raises(AdapterCollisionError):
        load_into(ours, adapter)


def _latents(pipe: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    found: torch.Tensor = pipe(
        "mri, <cspca>", num_inference_steps=2, guidance_scale=1.0, generator=generator, output_type="latent"
    ).images
    return found


@pytest.mark.thorough
@pytest.mark.rounding
def test_one_seed_gives_one_file_and_other_bases_are_refused(base: Path, tmp_path: Path) -> None:
    first, again = adapt(base, tmp_path), adapt(base, tmp_path)
    assert first.adapter.data == again.adapter.data
    assert adapt(base, tmp_path, seed=1).adapter.data != first.adapter.data  # the same lowest 32 bits
    other = pipelines.build(seed=1)
    with pytest.raises(WrongBaseError):
        load_into(other, first.adapter)
    with pytest.raises(UsageError, match="no token embeddings"):
        tensors(first.adapter)
    with pytest.raises(UsageError, match="not ported"):
        port(first.adapter, to=base)
    wider = AdapterRecipe(rank=4, steps=1, batch_size=2)
    assert adapt(base, tmp_path, recipe=wider).adapter.vectors[0].count == 4
    with pytest.raises(UsageError):
        AdapterRecipe(rank=5)


@pytest.mark.thorough
@pytest.mark.rounding
def test_an_adapter_and_an_embedding_go_into_one_pipeline(base: Path, tmp_path: Path) -> None:
    adapter = adapt(base, tmp_path).adapter
    rows = embedding.build(
        {"emb_params": np.ones((1, 32)) * 0.01}, token="<other>", base=adapter.base, base_name="tiny-base", training={}
    )
    pipe = load_pipeline(base)
    assert [load_into(pipe, one) for one in (adapter, rows)] == ["<cspca>", "<other>"]
    foreign = load_pipeline(base)
    foreign.load_lora_weights({k: torch.from_numpy(np.array(v, dtype="float32")) for k, v in adapter.tensors.items()})
    with pytest.raises(WrongBaseError):  # a LoRA of somebody else's: other weights
        load_into(foreign, rows)


def test_a_rank_that_does_not_fit_is_refused_before_the_ledger_is_charged(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_books() as books:
        before = len(books.account().runs)
    wide = AdapterRecipe(rank=4, steps=1, batch_size=4)
    monkeypatch.setattr(artifact_tensors, "MAX_BYTES", 17_000)
    with pytest.raises(UsageError, match="rank 4") as caught:
        adapt(base, tmp_path, recipe=wide)
    assert "--rank" in caught.value.hint
    with open_books() as books:
        assert len(books.account().runs) == before


def test_of_stable_diffusion_xl_only_rank_1_fits() -> None:
    """Its denoiser's real shapes, without weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=128, block_out_channels=(320, 640, 1280), cross_attention_dim=2048,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10), attention_head_dim=(5, 10, 20), use_linear_projection=True,
        )  # fmt: skip
    told: dict[str, Any] = {"token": "<cspca>", "base": BASE, "base_name": "sdxl"}
    adapter_size.check(unet, AdapterRecipe(rank=1), **told)
    for recipe in (AdapterRecipe(rank=2), AdapterRecipe(rank=1, target_modules="attention")):
        with pytest.raises(UsageError, match=f"rank {recipe.rank}") as caught:
            adapter_size.check(unet, recipe, **told)
        assert "--target-modules cross-attention-kv --rank 1" in caught.value.hint


def test_of_stable_diffusion_1_all_attention_fits_up_to_rank_2() -> None:
    """Its denoiser's real shapes, without weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    told: dict[str, Any] = {"token": "<cspca>", "base": BASE, "base_name": "sd1"}
    for recipe in (AdapterRecipe(rank=4), AdapterRecipe(rank=2, target_modules="attention")):
        adapter_size.check(unet, recipe, **told)
    with pytest.raises(UsageError, match="rank 3") as caught:
        adapter_size.check(unet, AdapterRecipe(rank=3, target_modules="attention"), **told)
    assert "--target-modules cross-attention-kv --rank 3" in caught.value.hint


def test_the_precision_that_was_chosen_is_computed_in_and_written_into_the_header(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[torch.dtype] = []
    autocast = torch.autocast

    def watched(kind: str, dtype: torch.dtype, **rest: Any) -> Any:
        asked.append(dtype)
        return autocast(kind, dtype, **rest)

    monkeypatch.setattr(torch, "autocast", watched)
    for wanted in ("float32", "bfloat16", "auto", None):
        asked.clear()
        recipe = AdapterRecipe(rank=2, steps=1, batch_size=4, precision=wanted)
        made = adapt(base, tmp_path, recipe=recipe, selection=selected(tmp_path, 0.0))
        expected = "bfloat16" if in_bfloat16("cpu", wanted or "auto") else "float32"
        assert made.adapter.training["precision"] == expected
        assert made.run.settings["adapter"]["precision"] == expected
        assert (torch.bfloat16 in asked) == (expected == "bfloat16")


def test_what_a_manifest_says_of_each_image_is_not_left_out_in_silence(base: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "captioned.csv"
    (tmp_path / "images").mkdir()
    Image.new("L", (32, 32)).save(tmp_path / "images" / "one.png")
    manifest.write_text("path,patient_id,caption\none.png,p1,portable device\n")
    with pytest.raises(UsageError, match="column `caption`"):
        adapt(base, tmp_path, selection=Selection(manifest=manifest))


def selected(folder: Path, holdout: float) -> Selection:
    return Selection(manifest=folder / "images" / "m.csv", holdout=holdout)
