"""An adaptation that was killed or interrupted goes on to the very bytes of one that was not."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embhub.diffusion.adaptation import checkpoint
from embhub.diffusion.training.checkpoints import TrainingInterruptedError
from embhub.errors import ConfigError, UsageError
from embhub.progress import Progress
from tests.support.quick import quick
from tests.support.training import train_component

STEPS = 8
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, generator = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(generator.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / f"f{number}.png")
    return folder


def adapt(base: Path, images: Path, out: Path, **choices: Any) -> None:
    asked = {"steps": STEPS, "batch_size": 2, "device": "cpu", "seed": 3, **choices}
    train_component(base, images, components=("unet",), caption="film", out=out, holdout=0.25, **asked)


def interrupt(base: Path, images: Path, out: Path, step: int = 5, **choices: Any) -> TrainingInterruptedError:
    def on_progress(progress: Progress) -> None:
        if progress.stage == "adapting" and progress.done == step:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterruptedError) as caught:
        adapt(base, images, out, on_progress=on_progress, **choices)
    return caught.value


@pytest.fixture(scope="module")
def whole(base: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("whole") / "adapted"
    before = os.environ.get("EMBHUB_HOME")
    os.environ["EMBHUB_HOME"] = str(out.parent / "home")
    try:
        adapt(base, images, out)
    finally:
        os.environ.pop("EMBHUB_HOME") if before is None else os.environ.update(EMBHUB_HOME=before)
    return (out / UNET).read_bytes()


@pytest.mark.thorough
def test_an_interrupt_ends_after_a_whole_step_and_resuming_in_the_same_bytes(
    base: Path, images: Path, tmp_path: Path, whole: bytes
) -> None:
    out = tmp_path / "adapted"
    assert interrupt(base, images, out).step == 5
    (kept,) = tmp_path.glob(".adapted.checkpoint")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600 and not out.exists()
    adapt(base, images, out, resume=True)
    assert (out / UNET).read_bytes() == whole
    assert list(tmp_path.glob(".adapted*")) == []


KILLED = """
import os, signal, sys
from embhub.diffusion.adaptation import checkpoint
from tests.support.quick import quick
from tests.support.training import train_component
checkpoint.SECONDS = 0.0
def on_progress(progress):
    if progress.stage == "adapting" and progress.done == 5:
        os.kill(os.getpid(), signal.SIGKILL)
train_component(sys.argv[1], sys.argv[2], components=("unet",), caption="film", out=sys.argv[3], holdout=0.25,
                steps=8, batch_size=2, device="cpu", seed=3, on_progress=on_progress)
"""


@pytest.mark.thorough
def test_a_killed_one_goes_on_from_its_last_checkpoint(base: Path, images: Path, tmp_path: Path, whole: bytes) -> None:
    out = tmp_path / "adapted"
    done = subprocess.run([sys.executable, "-c", KILLED, base, images, out], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert not out.exists() and (tmp_path / ".adapted.checkpoint").exists()
    adapt(base, images, out, resume=True)
    assert (out / UNET).read_bytes() == whole


@pytest.mark.thorough
def test_another_adaptation_is_not_gone_on_with(base: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapted"
    interrupt(base, images, out)
    with pytest.raises(UsageError, match=r"other settings: learning rate$|other settings: learning rate\n"):
        adapt(base, images, out, resume=True, learning_rate=1e-4)
    with pytest.raises(UsageError, match="other settings: images, images kept back, seed"):
        adapt(base, images, out, resume=True, seed=4)
    notes: list[str] = []
    adapt(base, images, out, on_note=notes.append)
    assert any("discarding an interrupted adaptation" in note for note in notes)


@pytest.mark.thorough
@pytest.mark.parametrize("damage", quick(["flip"], thorough=["cut", "empty", "text"]))
def test_a_damaged_checkpoint_is_said_to_be_one(base: Path, images: Path, tmp_path: Path, damage: str) -> None:
    out = tmp_path / "adapted"
    interrupt(base, images, out, step=2)
    path = tmp_path / ".adapted.checkpoint"
    data = path.read_bytes()
    spoilt = {"cut": data[:-100], "flip": data[:8] + b"\xff" + data[9:], "empty": b"", "text": b"hello" * 100}[damage]
    path.write_bytes(spoilt)
    with pytest.raises(ConfigError, match="damaged"):
        adapt(base, images, out, resume=True)


def test_a_second_interrupt_ends_at_once() -> None:
    from embhub.diffusion.adaptation.stopping import interrupts_wait

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interrupts_wait() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_checkpoint_on_a_full_disk_keeps_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    weights = {"unet.w": torch.nn.Parameter(torch.ones(3))}
    optimizer = torch.optim.AdamW(weights.values())
    kept = checkpoint.Checkpoint(tmp_path / "adapted", {"steps": "2"})
    kept.write(weights, optimizer, checkpoint.Standing((), ()))
    before = kept.path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(ConfigError, match="No space left"):
        kept.write(weights, optimizer, checkpoint.Standing((1.0,), ()))
    assert kept.path.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == [kept.path.name]


def test_a_weight_that_never_had_a_gradient_is_restored_without_moments(tmp_path: Path) -> None:
    """Such as the last layer of a text encoder of which the last but one is read."""
    import torch

    def start() -> tuple[dict[str, torch.nn.Parameter], torch.optim.AdamW]:
        weights = {"text_encoder.unread": torch.nn.Parameter(torch.ones(3)), "w": torch.nn.Parameter(torch.ones(3))}
        return weights, torch.optim.AdamW(weights.values())

    def step(weights: dict[str, torch.nn.Parameter], optimizer: torch.optim.AdamW) -> None:
        weights["w"].square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    weights, optimizer = start()
    step(weights, optimizer)
    kept = checkpoint.Checkpoint(tmp_path / "adapted", {"steps": "2"})
    kept.write(weights, optimizer, checkpoint.Standing((1.0,), ()))
    resumed, other = start()
    assert kept.read(resumed, other) == checkpoint.Standing((1.0,), ())
    step(weights, optimizer)
    step(resumed, other)
    assert all(torch.equal(weights[name], resumed[name]) for name in weights)
    assert resumed["text_encoder.unread"] not in other.state
