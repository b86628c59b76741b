"""What a training needs is computed before it runs, and said in words when it is not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.training import memory
from embhub.diffusion.training.inversion import Inversion, ResolvedRecipe
from embhub.diffusion.training.memory import Need, OutOfMemoryError, estimate, explain_out_of_memory
from embhub.errors import UsageError
from tests.support import pipelines

RECIPE = ResolvedRecipe(num_vectors=2, steps=4, batch_size=8, mixed_precision=False)


@pytest.fixture
def pipe(tmp_path: Path) -> Any:
    return load_pipeline(pipelines.write(tmp_path), device="cpu")


def need(pipe: Any, **choices: Any) -> Need:
    latents = torch.zeros(6, 4, 8, 8)
    training = Inversion(pipe, latents, token="<a>", caption="mri {}", recipe=replace(RECIPE, **choices), seed=0)
    before = training._generator.get_state()
    with training.active():
        found = estimate(training)
    assert torch.equal(training._generator.get_state(), before)
    return found


def test_each_image_at_a_time_costs_the_same(pipe: Any) -> None:
    one, two, eight = (need(pipe, micro_batch_size=count) for count in (1, 2, None))
    each = two.activations - one.activations
    assert each > 0 and eight.activations == one.activations + 7 * each
    assert (one.images, eight.images) == (1, 8) and one.latents == 6 * 4 * 8 * 8 * 4
    parts = (pipe.unet, pipe.vae, pipe.text_encoder)
    assert one.weights >= sum(p.numel() * 4 for part in parts for p in part.parameters())


def test_a_batch_keeps_what_was_computed_from_one_image_and_two(pipe: Any) -> None:
    training = Inversion(pipe, torch.zeros(6, 4, 8, 8), token="<a>", caption="mri {}", recipe=RECIPE, seed=0)
    held: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with training.active():
        counted = estimate(training).activations
        latents, times = torch.randn(8, 4, 8, 8), torch.full((8,), 9)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            training.errors(latents, torch.randn(8, 4, 8, 8), times, training.condition())
    weights = {p.untyped_storage().data_ptr() for part in (pipe.unet, pipe.text_encoder) for p in part.parameters()}
    real = sum(storage.nbytes() for place, storage in held.items() if place not in weights)
    assert 0.9 * real < counted < 1.1 * real


def test_gradient_checkpointing_needs_less(pipe: Any) -> None:
    assert need(pipe, gradient_checkpointing=True).activations < 0.7 * need(pipe).activations


def test_what_is_said_of_it() -> None:
    said = str(Need(weights=16_000_000, latents=400_000, activations=2_500_000_000, images=16))
    assert said == "2.5 GB by computation: 16 MB for the base, 400 kB for latents, about 2.5 GB for 16 images at a time"


def test_more_than_there_is_is_warned_of() -> None:
    small, large = (Need(weights=0, latents=0, activations=count, images=16) for count in (1000, 10**15))
    device = torch.device("cpu")
    assert len(memory.describe(small, device, RECIPE)) == 1
    assert "--micro-batch-size 4" in memory.describe(large, device, RECIPE)[1]


@pytest.mark.parametrize(("limit", "left"), [("1000", [400]), ("500", [0]), ("max", []), ("nonsense", [])])
def test_a_container_has_less_than_its_machine(tmp_path: Path, limit: str, left: list[int]) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.current").write_text("600\n")
    assert memory._container(tmp_path) == left
    assert memory._container(tmp_path / "absent") == []


def test_a_full_memory_is_explained() -> None:
    with (
        pytest.raises(OutOfMemoryError, match="not enough memory for 8 images") as caught,
        explain_out_of_memory(RECIPE),
    ):
        torch.empty(10**15)
    assert isinstance(caught.value, UsageError) and "--micro-batch-size 4" in caught.value.hint


@pytest.mark.parametrize("error", [MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to …")])
def test_so_is_each_kind_of_it(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError) as caught, explain_out_of_memory(replace(RECIPE, micro_batch_size=1)):
        raise error
    assert "--gradient-checkpointing" in caught.value.hint


def test_a_base_that_does_not_fit() -> None:
    with pytest.raises(OutOfMemoryError, match="for the base") as caught, explain_out_of_memory(None):
        torch.empty(10**15)
    assert "smaller base" in caught.value.hint


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes"), explain_out_of_memory(RECIPE):
        raise RuntimeError("shapes differ")
