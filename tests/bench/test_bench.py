"""Each benchmark runs at its smallest size and its table has the right shape; what it measured is not looked at."""

from __future__ import annotations

import importlib
from datetime import date
from pathlib import Path

import pytest
import torch

from bench import gpu, machine, memory
from bench.__main__ import BENCHMARKS
from bench.bases import build_stable_diffusion, write_large_table
from bench.measurement import Compared, Ratio, Spent, compare
from bench.race import End, to_equal_loss, to_the_finding
from bench.scale import SMALLEST
from bench.table import HEADER, render, timed
from bench.training import measure_large
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.families import resolution
from embhub.diffusion.training.inversion import default_recipe


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.thorough
@pytest.mark.exhaustive
def test_a_benchmark_compares_with_a_peer(name: str) -> None:
    section = importlib.import_module(f"bench.{name}").run(SMALLEST)
    assert section.peer.startswith("Peer: ") and section.rows
    table = [line for line in render([section]).splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(section.rows) and {line.count(" | ") for line in table if "--" not in line} == {5}
    assert all(row.ours and row.peer for row in section.rows)
    measured = [row for row in section.rows if "not in" not in row.ours]
    assert measured and all(row.wall and row.wall.low > 0 for row in measured)
    goals = [row.goal for row in section.rows if row.goal is not None]
    assert goals == {"training": [1.4, 1.4, 2.0], "race": [1.5] * len(goals), "drawing": [0.9]}[name]


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_memory_is_measured_in_a_process_of_its_own() -> None:
    held = bytearray(400_000_000)  # a child must not inherit what its parent held
    taken = memory.measure("embhub", "builtin", batch_size=2, images=2)
    assert 1_000_000 < taken < len(held)


@pytest.mark.thorough
def test_large_models_without_a_gpu(tmp_path: Path) -> None:
    large = write_large_table(tmp_path, vocabulary=200, width=32)
    rows = measure_large(lambda: load_pipeline(large, device="cpu"), SMALLEST)
    assert len(rows) == 1 and rows[0].wall is not None


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_the_benchmark_of_a_gpu_runs_on_a_processor_with_a_small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "build_stable_diffusion", lambda device: load_pipeline("builtin", device=str(device)))
    trained, generated = gpu.train(SMALLEST, "cpu"), gpu.generate(SMALLEST, "cpu")
    assert len(trained.rows) == 2 and len(generated.rows) == 3
    assert all(row.wall and row.wall.low > 0 for row in (*trained.rows, *generated.rows))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_benchmark_of_a_gpu_needs_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["gpu"])
    assert gpu.main() == 1
    assert "no CUDA device" in capsys.readouterr().err


def test_the_model_for_a_gpu_has_the_size_of_stable_diffusion() -> None:
    pipe = build_stable_diffusion(torch.device("meta"))  # shapes without memory
    sizes = [sum(part.numel() for part in model.parameters()) for model in (pipe.unet, pipe.vae, pipe.text_encoder)]
    assert sizes == [859_520_964, 83_653_863, 123_060_480]  # those of the published weights
    assert resolution(pipe) == 512 and default_recipe(pipe).batch_size == 4


def test_arms_take_turns_and_change_who_goes_first() -> None:
    order = []

    def arm(name: str, wall: float) -> Spent:
        order.append(name)
        return Spent(wall, 2 * wall)

    compared = compare(lambda: arm("ours", 1.0), lambda: arm("peer", 3.0), repeats=3)
    assert order == ["ours", "peer", "ours", "peer", "peer", "ours", "ours", "peer"]
    assert compared.wall == Ratio(3.0, 3.0, 3.0) and len(compared.ours) == 3


def test_a_ratio_pairs_turns_and_says_its_spread() -> None:
    compared = Compared((Spent(1, 1), Spent(2, 1)), (Spent(2, 1), Spent(12, 1)))
    assert str(compared.wall) == "4.00 (2.00 to 6.00)" and str(compared.cpu) == "1.00"


@pytest.mark.parametrize(("wall", "verdict"), [(1.4, "1.4: met"), (1.39, "1.4: **missed**")])
def test_a_miss_is_called_a_miss(wall: float, verdict: str) -> None:
    row = timed("a step", Compared((Spent(1, 1),), (Spent(wall, 9),)), goal=1.4)
    assert row.cells()[-1] == verdict and len(row.cells()) == len(HEADER)


def ends(*runs: tuple[int, float, float, float]) -> dict[int, list[End]]:
    """Trainings of one seed: steps, seconds, loss, share called the finding."""
    return {steps: [End(steps, Spent(wall, wall), loss, called)] for steps, wall, loss, called in runs}


def test_each_arm_counts_with_its_cheapest_training_that_is_good_enough() -> None:
    ours = ends((10, 1.0, 0.5, 0.2), (20, 2.0, 0.4, 0.9), (40, 4.0, 0.3, 0.9))
    peer = ends((10, 2.0, 0.6, 0.2), (20, 5.0, 0.4, 0.3), (40, 10.0, 0.45, 0.8))
    equal = to_equal_loss("base", {"embhub": ours, "peer": peer})
    assert equal.wall == Ratio(2.5, 2.5, 2.5) and equal.cells()[-1] == "1.5: met"
    assert "0.4000 (lowest 0.3000 and 0.4000)" in equal.what
    shown = to_the_finding("base", {"embhub": ours, "peer": peer})
    assert shown.wall == Ratio(5.0, 5.0, 5.0, at_least=True) and shown.peer == "not in 40 steps"
    assert "most 90% and 80%" in shown.what
    never = to_the_finding("base", {"embhub": peer, "peer": ours})
    assert never.wall is None and never.cells()[-1] == "1.5: **missed**" and never.ours == "not in 40 steps"
    assert to_equal_loss("base", {"embhub": peer, "peer": ours}).wall == Ratio(0.4, 0.4, 0.4)


def test_the_machine_is_described_without_a_name_of_it() -> None:
    import platform

    table = machine.table()
    assert f"| measured on | {date.today():%Y-%m-%d} |" in table and "torch" in table
    assert platform.node() not in table and str(Path.home()) not in table and "/" not in table
