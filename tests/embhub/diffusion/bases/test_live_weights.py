"""One digest of every number of a base in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from embhub.diffusion.bases import live_weights
from embhub.diffusion.bases.pipelines import load_pipeline
from tests.support import pipelines


@pytest.fixture
def pipe() -> Any:
    return pipelines.build(seed=0)


def tensors(pipe: Any) -> Iterator[torch.Tensor]:
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        yield from part.parameters()


def test_any_number_of_any_part_counts(pipe: Any) -> None:
    whole = live_weights.digest(pipe)
    assert live_weights.digest(pipe) == whole
    for tensor in tensors(pipe):
        with torch.no_grad():
            number = tensor.view(-1)[-1].clone()
            tensor.view(-1)[-1] = torch.nextafter(number, torch.tensor(9.0))
            assert live_weights.digest(pipe) != whole
            tensor.view(-1)[-1] = number
    assert live_weights.digest(pipe) == whole


def test_format_shape_part_and_running_means_count_and_names_do_not(pipe: Any) -> None:
    whole = live_weights.digest(pipe)
    half = pipelines.build(seed=0)
    half.unet.to(torch.bfloat16)
    assert live_weights.digest(half) != whole
    pipe.vae.encoder.added = nn.BatchNorm1d(3)
    added = live_weights.digest(pipe)
    assert added != whole
    pipe.vae.encoder.added.running_mean[0] = 1.0
    assert live_weights.digest(pipe) != added
    pipe.vae.encoder.renamed, pipe.vae.encoder.added.running_mean[0] = pipe.vae.encoder.added, 0.0
    del pipe.vae.encoder.added
    assert live_weights.digest(pipe) == added
    pipe.unet.moved = pipe.vae.encoder.renamed
    del pipe.vae.encoder.renamed
    assert live_weights.digest(pipe) not in (added, whole)


def test_a_folder_and_what_is_in_memory_agree(pipe: Any, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path / "base")
    assert live_weights.digest(load_pipeline(tmp_path / "base", device="cpu")) == live_weights.digest(pipe)
