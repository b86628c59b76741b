"""Shadow embeddings are the same wherever they are trained, and a lost worker or an interrupt loses no finished one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from embhub.diffusion.attacks import shadow_training, shadows
from embhub.diffusion.attacks.evidence import draw
from embhub.diffusion.attacks.executors import open_executor
from embhub.diffusion.attacks.shadow_training import LostWorkerError, ShadowLossCache, train
from embhub.diffusion.attacks.shadows import Setting
from embhub.diffusion.bases.pipelines import load_pipeline
from embhub.diffusion.training.inversion import ResolvedRecipe
from embhub.errors import ConfigError, UsageError
from embhub.progress import Progress
from tests.support.separate_references import balance_coins

RECIPE = ResolvedRecipe(num_vectors=2, steps=4, batch_size=16, mixed_precision=False)
FLIPS = balance_coins(6, 8, seed=0)


@pytest.fixture(scope="module")
def setting(base: Path) -> Setting:
    pipe = load_pipeline(base, device="cpu")
    latents = torch.randn(16, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    units = tuple(f"p{index // 2}" for index in range(16))
    return Setting(pipe, latents, units, "mri, {}", "<a>", RECIPE, draw(pipe, latents.shape[1:], count=2))


@pytest.fixture(scope="module")
def here(setting: Setting) -> shadows.Shadows:
    return train(setting, FLIPS, seed=5, stage="shadows")


def test_shape_and_halves(setting: Setting, here: shadows.Shadows) -> None:
    assert here.losses.shape == (6, 16, 2) and here.losses.dtype == torch.float64
    assert torch.equal(here.inside, setting.expand(FLIPS))
    assert all(not torch.equal(one, here.losses[0]) for one in here.losses[1:])


@pytest.mark.thorough
def test_an_executor_gives_what_this_process_gives(setting: Setting, here: shadows.Shadows, base: Path) -> None:
    told: list[Progress] = []
    with ThreadPoolExecutor(1) as executor:
        there = train(setting, FLIPS, seed=5, stage="shadows", base=base, executor=executor, on_progress=told.append)
    torch.testing.assert_close(there.losses, here.losses, rtol=1e-5, atol=1e-6)
    assert (told[-1].done, told[-1].total) == (24, 24)


def test_interrupted_it_goes_on_after_what_was_finished(
    setting: Setting, here: shadows.Shadows, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carried = []

    def once(*words: Any) -> Any:
        carried.append(words)
        if len(carried) == 2:
            raise KeyboardInterrupt
        return real(*words)

    real, loss_cache = shadow_training.carry_out, ShadowLossCache("secret")
    monkeypatch.setattr(shadow_training, "carry_out", once)
    with pytest.raises(KeyboardInterrupt):
        train(setting, FLIPS, seed=5, stage="shadows", loss_cache=loss_cache)
    (kept,) = files(home)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600 and stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    again = train(setting, FLIPS, seed=5, stage="shadows", loss_cache=loss_cache)
    assert len(carried) == 3  # one before, one that was interrupted, and only that one again
    assert torch.equal(again.losses, here.losses)
    loss_cache.clear()
    assert not list(files(home))


@pytest.mark.thorough
def test_what_was_kept_of_another_audit_is_not_taken(setting: Setting, here: shadows.Shadows, home: Path) -> None:
    loss_cache = ShadowLossCache("secret")
    train(replace(setting, caption="ct, {}"), FLIPS, seed=5, stage="shadows", loss_cache=loss_cache)
    train(setting, FLIPS, seed=6, stage="shadows", loss_cache=loss_cache)
    assert torch.equal(train(setting, FLIPS, seed=5, stage="shadows", loss_cache=loss_cache).losses, here.losses)
    assert len(list(files(home))) == 6


@pytest.mark.thorough
@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_what_is_not_whole_is_trained_again(
    setting: Setting, here: shadows.Shadows, home: Path, damage: bytes | None
) -> None:
    loss_cache = ShadowLossCache("secret")
    train(setting, FLIPS, seed=5, stage="shadows", loss_cache=loss_cache)
    for path in files(home):
        path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    assert torch.equal(train(setting, FLIPS, seed=5, stage="shadows", loss_cache=loss_cache).losses, here.losses)


def test_a_folder_that_cannot_be_written_is_said(setting: Setting, home: Path) -> None:
    loss_cache = ShadowLossCache("secret")
    loss_cache._folder.parent.parent.mkdir(parents=True)
    loss_cache._folder.parent.write_text("no folder")
    with pytest.raises(ConfigError, match="cannot write"):
        train(setting, FLIPS, seed=5, stage="shadows", loss_cache=loss_cache)


def test_too_few_patients(setting: Setting) -> None:
    with pytest.raises(UsageError, match="too few patients"):
        train(setting, np.zeros((2, 8), bool), seed=5, stage="shadows")


@pytest.mark.slow
@pytest.mark.thorough
def test_processes_of_this_machine(setting: Setting, here: shadows.Shadows, base: Path) -> None:
    with open_executor(workers=2) as executor:
        assert isinstance(executor, ProcessPoolExecutor)
        there = train(setting, FLIPS, seed=5, stage="shadows", base=base, executor=executor)
    torch.testing.assert_close(there.losses, here.losses, rtol=1e-4, atol=1e-5)


def test_a_worker_that_dies_is_said_and_what_was_finished_is_kept(
    setting: Setting, base: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    loss_cache = ShadowLossCache("secret")
    with ProcessPoolExecutor(1) as executor:
        executor.submit(os.getpid).result()
        (worker,) = executor._processes.values()
        monkeypatch.setattr(shadow_training, "carry_out", time.sleep)  # what the worker is busy with when it is killed
        worker.kill()
        with pytest.raises(LostWorkerError, match="BrokenProcessPool") as caught:
            train(setting, FLIPS, seed=5, stage="shadows", base=base, executor=executor, loss_cache=loss_cache)
    assert "same command resumes" in caught.value.hint


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A Dask scheduler and two workers, processes of their own."""
    found = tmp_path / "scheduler.json"
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[4])}
    common = ["--scheduler-file", str(found), "--no-dashboard"]

    def start(module: str, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", module, *common, *words], env=surroundings, cwd=tmp_path,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    scheduler = start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    workers = [start("distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
    try:
        deadline = time.monotonic() + 120
        while not found.exists():
            assert time.monotonic() < deadline and scheduler.poll() is None, "no scheduler"
            time.sleep(0.1)
        from distributed import Client

        with Client(scheduler_file=str(found)) as client:
            client.wait_for_workers(2, timeout=120)
            yield client.scheduler.address, workers
    finally:
        for process in (*workers, scheduler):
            process.kill()
            process.wait()


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_a_dask_cluster_of_which_a_worker_is_killed(
    setting: Setting, here: shadows.Shadows, base: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]]
) -> None:
    address, workers = cluster
    flips = balance_coins(16, 8, seed=0)
    longer = replace(setting, recipe=replace(RECIPE, steps=10))
    killed: list[int] = []

    def kill_one(_: object) -> None:
        if not killed:
            workers[0].kill()
            killed.append(workers[0].pid)

    with open_executor(cluster=address) as executor:
        there = train(longer, flips, seed=5, stage="shadows", base=base, executor=executor, on_progress=kill_one)
    assert killed and workers[0].wait(30) != 0 and workers[1].poll() is None
    alone = train(longer, flips, seed=5, stage="shadows")
    torch.testing.assert_close(there.losses, alone.losses, rtol=1e-3, atol=1e-3)


def test_no_such_cluster() -> None:
    with pytest.raises(UsageError, match="no Dask scheduler"), open_executor(cluster="nonsense://nowhere"):
        pass


def files(home: Path) -> Iterator[Path]:
    return (path for path in home.rglob("audits/*/*") if path.is_file())
