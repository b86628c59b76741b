"""Warnings of a training: they come when they should, and not otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.training import inversion
from embhub.diffusion.training.diagnostics import RUNAWAY, STRANGE, Lookout, judge_images, strangeness
from embhub.images.images import read_images
from embhub.phantoms import write_dataset
from tests.support import pipelines


def lookout(said: list[str], *, own: bool = False) -> Lookout:
    return Lookout(torch.zeros(2, 4, 8, 8), own=own, warn=said.append)


@pytest.mark.parametrize(("length", "warned"), [(1.0, 0), (0.99 * RUNAWAY, 0), (1.01 * RUNAWAY, 1), (100.0, 1)])
def test_a_norm_that_runs_away(length: float, warned: int) -> None:
    said: list[str] = []
    rows = {"text_encoder": torch.tensor([[3.0, 4.0], [length * 3.0, length * 4.0]])}
    looking = lookout(said)
    for _ in range(2):
        looking.judge_rows(rows, {"text_encoder": 5.0})
    assert len(said) == warned and all("norm runs away" in line and "--norm directional" in line for line in said)


@pytest.mark.parametrize(
    ("gain", "spread", "warned"),
    [(0.0, 0.0, 1), (-0.1, 0.0, 1), (0.01, 0.0, 0), (0.01, 0.1, 1), (0.1, 0.1, 0)],
)
def test_a_loss_that_does_not_move(gain: float, spread: float, warned: int) -> None:
    """Sixteen images: a gain counts from half of its spread over them."""
    said: list[str] = []
    before = torch.full((16,), 0.5, dtype=torch.float64)
    turns = spread * torch.tensor([1.0, -1.0] * 8, dtype=torch.float64)
    looking = lookout(said)
    for _ in range(2):
        looking.judge_losses(before, before - gain + turns)
    assert len(said) == warned and all("does not move: on held-out images" in line for line in said)


def test_a_loss_that_is_no_number_is_said_too() -> None:
    said: list[str] = []
    lookout(said, own=True).judge_losses(torch.ones(4), torch.full((4,), float("nan")))
    assert "on images learned from" in said[0]


@pytest.mark.thorough
@pytest.mark.rounding
def test_looking_on_leaves_the_training_as_it_is(tmp_path: Path) -> None:
    pipe = load_pipeline(pipelines.write(tmp_path), device="cpu")
    latents = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    choices: dict[str, Any] = {"token": "<a>", "caption": "mri, {}", "seed": 0}
    recipe = inversion.ResolvedRecipe(num_vectors=2, steps=8, batch_size=2)
    plain = inversion.fit(pipe, latents, recipe=recipe, **choices)
    looking = Lookout(latents, own=True, warn=lambda _: None)
    watched = inversion.fit(pipe, latents, recipe=recipe, watch=looking.watch, **choices)
    assert plain.losses == watched.losses and torch.equal(plain.rows["text_encoder"], watched.rows["text_encoder"])
    assert [step for step, _ in looking.points] == [2, 4, 6]
    assert looking.note.endswith("on some") and f"{looking.points[-1][1]:.3f}" in looking.note


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_strangeness_is_an_error_in_units_of_a_linear_denoisers(tmp_path: Path, prediction: Any) -> None:
    """A denoiser that answers with the linear one's own prediction comes out at 1."""
    pipe = load_pipeline(pipelines.write(tmp_path, prediction=prediction), device="cpu")
    latents = torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(1))

    class Linear(torch.nn.Module):
        dtype, device = torch.float32, torch.device("cpu")

        def __init__(self) -> None:
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(()))

        def forward(self, noisy: torch.Tensor, times: torch.Tensor, encoder_hidden_states: Any) -> Any:
            alpha = pipe.scheduler.alphas_cumprod[times][:, None, None, None]
            clean = alpha.sqrt() * noisy  # of unit variance and no mean
            noise = (noisy - alpha.sqrt() * clean) / (1 - alpha).sqrt()
            answer = noise if prediction == "epsilon" else alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
            return type("Output", (), {"sample": answer})

    pipe.unet = Linear()
    found = strangeness(pipe, latents, "mri, {}")
    assert found.shape == (64,) and abs(float(found.mean()) - 1) < 0.05


@pytest.fixture(scope="module")
def builtin() -> Any:
    return load_pipeline("builtin", device="cpu")


@pytest.mark.parametrize("finding", ["prostate-cspca", "cxr-effusion"])
def test_the_base_knows_phantoms_with_findings_it_never_saw(builtin: Any, tmp_path: Path, finding: str) -> None:
    write_dataset(tmp_path, finding, images=8, patients=8, normals=0, seed=0)
    latents = inversion.encode_images(builtin, torch.from_numpy(read_images(tmp_path).load(128)))
    assert judge_images(builtin, latents, "{}") == []


@pytest.mark.parametrize("kind", ["noise", "boards", "black"])
def test_the_base_does_not_know_what_no_scanner_gives(builtin: Any, kind: str) -> None:
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:128, :128]
    pictures = {
        "noise": rng.uniform(-1, 1, (8, 3, 128, 128)),
        "boards": np.stack([np.stack([((x + i) // 8 + y // 8) % 2 * 2.0 - 1] * 3) for i in range(8)]),
        "black": np.full((8, 3, 128, 128), -1.0),
    }
    latents = inversion.encode_images(builtin, torch.tensor(pictures[kind], dtype=torch.float32))
    (said,) = judge_images(builtin, latents, "prostate mri, {}")
    assert "nothing that the base can generate" in said and f"under {STRANGE}" in said
