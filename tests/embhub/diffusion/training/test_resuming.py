"""A training that was killed or interrupted goes on to the very bytes of one that was not."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embhub.__main__ import INTERRUPTED, main
from embhub.diffusion.train import TrainResult
from embhub.diffusion.training import checkpoints
from embhub.diffusion.training.checkpoints import TrainingInterruptedError
from embhub.diffusion.training.precision import in_bfloat16
from embhub.errors import ConfigError, UsageError
from embhub.images.images import read_images
from embhub.phantoms import write_dataset
from embhub.progress import Progress
from embhub.site.memory import runs
from tests.support import pipelines
from tests.support.quick import quick
from tests.support.training import train

STEPS = 8


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_dataset(folder, "prostate-cspca", images=6, patients=5, normals=0, seed=0)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "x.safetensors"


def learn(images: Path, base: Path, out: Path | None, **choices: Any) -> TrainResult:
    wanted = {"steps": STEPS, "num_vectors": 2, "batch_size": 4, "seed": 1, **choices}
    return train(images, token="<a>", caption="prostate mri, {}", base=base, device="cpu", out=out, **wanted)


def stop_at(step: int) -> Any:
    def on_progress(progress: Progress) -> None:
        if progress.stage == "training" and progress.done == step:
            raise KeyboardInterrupt

    return on_progress


def interrupt(images: Path, base: Path, out: Path, step: int = 5, **choices: Any) -> TrainingInterruptedError:
    with pytest.raises(TrainingInterruptedError) as caught:
        learn(images, base, out, on_progress=stop_at(step), **choices)
    return caught.value


@pytest.fixture(scope="module")
def whole(images: Path, base: Path) -> Callable[..., TrainResult]:
    """Trainings that nobody interrupted, each made once."""
    made: dict[str, TrainResult] = {}

    def train_whole(**choices: Any) -> TrainResult:
        key = repr(choices)
        made[key] = made.get(key) or learn(images, base, None, **choices)
        return made[key]

    return train_whole


KILLED = """
import os, signal
from tests.support.quick import quick
from tests.support.training import train
def on_progress(progress):
    if progress.stage == "training" and progress.done == 7:
        os.kill(os.getpid(), signal.SIGKILL)
train({images!r}, token="<a>", caption="prostate mri, {{}}", base={base!r}, device="cpu", out={out!r},
               steps=8, num_vectors=2, batch_size=4, on_progress=on_progress)
"""

STOPPED = """
import os, pathlib, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with SIGINT ignored
def stop():
    while not list(pathlib.Path(os.environ["EMBHUB_HOME"]).rglob("*.checkpoint")):
        time.sleep(0.002)
    os.kill(os.getpid(), signal.SIGINT)  # at any point of a step
threading.Thread(target=stop, daemon=True).start()
from embhub.__main__ import main
sys.exit(main({words!r}))
"""


@pytest.mark.thorough
def test_kill_9(images: Path, base: Path, out: Path, tmp_path: Path, home: Path) -> None:
    """Killed at step 7, seven steps after the only checkpoint; the seed was drawn, and is kept."""
    code = KILLED.format(images=str(images), base=str(base), out=str(out))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert not out.exists()
    (left,) = (home / "state" / "trainings").iterdir()
    assert stat.S_IMODE(left.stat().st_mode) == 0o600 and stat.S_IMODE(left.parent.stat().st_mode) == 0o700
    done = learn(images, base, out, seed=None, resume=True)
    other = learn(images, base, tmp_path / "y.safetensors", seed=done.run.settings["seed"])
    assert out.read_bytes() == (tmp_path / "y.safetensors").read_bytes()
    assert done.losses == other.losses and len(done.losses) == STEPS
    assert not list((home / "state" / "trainings").iterdir())


@pytest.mark.thorough
def test_ctrl_c_at_the_command_line(images: Path, base: Path, out: Path, tmp_path: Path, home: Path) -> None:
    words = ["train", str(images), "--token", "<a>", "--caption", "prostate mri, {}", "--base", str(base)]
    words += ["--device", "cpu", "--steps", "30", "--num-vectors", "2", "--batch-size", "4", "--seed", "3"]
    code = STOPPED.format(words=[*words, "--out", str(out)])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == INTERRUPTED and not out.exists() and not (home / "state" / "runs").exists()
    assert "interrupted after step" in done.stderr and "--caption 'prostate mri, {}'" in done.stderr
    assert f" --out {out} --resume\n" in done.stderr
    assert main([*words, "--out", str(out), "--resume"]) == 0
    assert main([*words, "--out", str(tmp_path / "y.safetensors")]) == 0
    assert out.read_bytes() == (tmp_path / "y.safetensors").read_bytes()


@pytest.mark.thorough
def test_interrupted_twice(images: Path, base: Path, out: Path, home: Path, whole: Callable[..., TrainResult]) -> None:
    assert interrupt(images, base, out, step=3).step == 3
    assert interrupt(images, base, out, step=6, resume=True).step == 6
    seen: list[Progress] = []
    done = learn(images, base, out, resume=True, on_progress=seen.append)
    assert done.embedding.data == whole().embedding.data and done.losses == whole().losses
    assert [p.done for p in seen if p.stage == "training"] == [7, 8]
    assert runs.find(done.embedding.digest) == done.run
    assert not list((home / "state" / "trainings").iterdir())


@pytest.mark.thorough
@pytest.mark.rounding
@pytest.mark.parametrize(
    "choices",
    quick([{"holdout": 0.3}], thorough=[{"norm": "directional"}, {"micro_batch_size": 3}, {"snr_gamma": 5.0}]),
)
def test_whatever_the_settings(
    images: Path, base: Path, out: Path, choices: dict[str, Any], whole: Callable[..., TrainResult]
) -> None:
    interrupt(images, base, out, **choices)
    assert learn(images, base, out, resume=True, **choices).embedding.data == whole(**choices).embedding.data


@pytest.mark.thorough
def test_without_resume_it_begins_afresh_and_says_so(images: Path, base: Path, out: Path) -> None:
    interrupt(images, base, out)
    said: list[str] = []
    seen: list[Progress] = []
    learn(images, base, out, on_note=said.append, on_progress=seen.append)
    assert "discarding an interrupted training" in said[0] and "--resume" in said[0]
    assert [p.done for p in seen if p.stage == "training"] == [*range(1, STEPS + 1)]


@pytest.mark.thorough
def test_resume_with_nothing_to_go_on_with_just_starts(
    images: Path, base: Path, out: Path, whole: Callable[..., TrainResult]
) -> None:
    assert learn(images, base, out, resume=True).embedding.data == whole().embedding.data
    with pytest.raises(UsageError, match="nothing to resume"):
        learn(images, base, None, resume=True)


OTHER: list[tuple[dict[str, Any], str]] = [
    ({"seed": 2}, "seed"),
    ({"steps": 20}, "steps"),
    ({"learning_rate": 0.05}, "learning_rate"),
    ({"norm": "directional"}, "norm"),
    ({"initializer_text": "lesion"}, "initializer_text"),
    ({"precision": "float32" if in_bfloat16("cpu") else "bfloat16"}, "precision"),
    ({"holdout": 0.3}, "images, images kept back"),
]


@pytest.mark.thorough
def test_other_settings_are_refused_by_name(images: Path, base: Path, out: Path) -> None:
    interrupt(images, base, out)
    for choices, named in OTHER:
        with pytest.raises(UsageError, match=rf"other settings: {named}\n") as caught:
            learn(images, base, out, resume=True, **choices)
        assert "without" not in caught.value.message and "leave out --resume" in caught.value.hint
    assert learn(images, base, out, resume=True).losses  # it is still there


@pytest.mark.thorough
def test_other_images_or_another_base_are_refused(images: Path, base: Path, out: Path, tmp_path: Path) -> None:
    interrupt(images, base, out)
    write_dataset(tmp_path / "others", "prostate-cspca", images=6, patients=5, normals=0, seed=1)
    with pytest.raises(UsageError, match=r"other settings: images\n"):
        learn(tmp_path / "others", base, out, resume=True)
    with pytest.raises(UsageError, match=r"other settings: base\n"):
        learn(images, pipelines.write(tmp_path / "other-base", seed=5), out, resume=True)


def test_an_interrupt_inside_a_step_loses_that_step_alone(
    images: Path, base: Path, out: Path, monkeypatch: pytest.MonkeyPatch, whole: Callable[..., TrainResult]
) -> None:
    """The optimizer has moved the rows, and the step is not over: its state must not be what is kept."""
    import torch

    expected, real = whole().embedding.data, torch.optim.AdamW.step
    calls: list[None] = []

    def step(self: Any, *arguments: Any) -> Any:
        result = real(self, *arguments)
        calls.append(None)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(TrainingInterruptedError, match="after step 4"):
        learn(images, base, out)
    monkeypatch.undo()
    monkeypatch.setenv("EMBHUB_HOME", str(out.parent / "home"))
    assert learn(images, base, out, resume=True).embedding.data == expected


def test_an_interrupt_before_the_first_step_leaves_nothing(images: Path, base: Path, out: Path, home: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == "encoding images":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        learn(images, base, out, on_progress=stop)
    assert not isinstance(caught.value, TrainingInterruptedError) and not home.exists()


@pytest.mark.thorough
def test_a_loss_that_is_no_number_leaves_nothing_to_go_on_with(images: Path, base: Path, out: Path, home: Path) -> None:
    interrupt(images, base, out)
    with pytest.raises(UsageError, match="not a number"):
        poison(images, base, out)
    assert not list((home / "state" / "trainings").iterdir())


def poison(images: Path, base: Path, out: Path) -> None:
    """Go on from a state in which a row is no number."""
    path = checkpoints.place(out)
    kept = checkpoints.read(path)
    kept.state.rows["text_encoder"][0, 0] = float("nan")
    checkpoints.write(path, kept)
    learn(images, base, out, resume=True)


def test_what_a_checkpoint_holds(images: Path, base: Path, out: Path, home: Path) -> None:
    interrupt(images, base, out, holdout=0.3, seed=None)
    (path,) = (home / "state" / "trainings").iterdir()
    data = path.read_bytes()
    names = [file.name for file in images.rglob("*.png")]
    names += {sample.patient_id for sample in read_images(images).samples if sample.patient_id}
    assert len(names) == 6 + 5 and not [
        name for name in [*names, str(images), str(out), "manifest", ".png"] if name.encode() in data
    ]
    assert len(data) < 20_000


@pytest.mark.thorough
def test_a_checkpoint_that_others_can_read(images: Path, base: Path, out: Path) -> None:
    interrupt(images, base, out)
    checkpoints.place(out).chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        learn(images, base, out, resume=True)


def test_a_damaged_checkpoint_is_refused(images: Path, base: Path, out: Path) -> None:
    import pickle

    interrupt(images, base, out)
    path = checkpoints.place(out)
    data = path.read_bytes()
    flipped = data[:900] + bytes([data[900] ^ 1]) + data[901:]
    for damaged in (data[:-40], flipped, pickle.dumps([1]), b""):
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match="damaged") as caught:
            learn(images, base, out, resume=True)
        assert "leave out --resume" in caught.value.hint
    assert learn(images, base, out).path == out  # as the hint says


@pytest.mark.thorough
def test_leftovers_of_a_kill_are_removed(images: Path, base: Path, out: Path, home: Path) -> None:
    interrupt(images, base, out)
    path = checkpoints.place(out)
    (path.parent / f".{path.name}.abcd").write_bytes(b"half")
    learn(images, base, out, resume=True)
    assert not list(path.parent.iterdir())
