"""The script of `embhub report`, on tiny random models: each check can fail, and none stops the others."""

from __future__ import annotations

import gc
import getpass
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from embhub.artifact import fingerprint
from embhub.diffusion.bases.adapted import MARK
from embhub.diffusion.bases.found import FoundBase
from embhub.diffusion.bases.pipelines import find_base, load_pipeline
from embhub.diffusion.evaluation import base_report
from embhub.diffusion.evaluation.base_report import report_on
from embhub.diffusion.generation.generation import generate
from embhub.diffusion.train import train
from embhub.errors import UsageError
from embhub.release.checks.base_report import CHECKS, Check, Unsigned
from tests.support import families
from tests.support.quick import others_thorough


@pytest.fixture(autouse=True)
def quick_script(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same script, with fewer steps; garbage is looked for after each check, and not among what stays."""
    gc.freeze()
    monkeypatch.setattr(base_report, "STEPS", 3)
    monkeypatch.setattr(base_report, "SAMPLING_STEPS", 2)
    yield


def outcomes(made: Unsigned) -> dict[str, str]:
    return {check.name: check.outcome for check in made.report.checks}


def fault(made: Unsigned, name: str) -> str | None:
    return next(check.fault for check in made.report.checks if check.name == name)


@pytest.mark.parametrize("kind", others_thorough(["sd1", "sdxl", "sd3", "flux", "pixart", "sana"], ("sd1", "flux")))
def test_a_base_of_each_family_can_be_reported_on(tmp_path: Path, home: Path, kind: str) -> None:
    folder, said = families.write(tmp_path / f"tiny-{kind}", kind), list[str]()
    made = report_on(str(folder), device="cpu", on_note=said.append)
    found = outcomes(made)
    assert {name for name in CHECKS if found[name] != "passed"} <= {"learns", "acts", "not-blank"}, said
    assert made.fingerprint == fingerprint.digest(fingerprint.take(folder))
    assert made.report.base.name == f"tiny-{kind}" and made.report.base.revision is None
    assert made.report.machine.device == "cpu" and made.report.machine.peak_bytes > 10**8
    figures = {check.name: check.figures for check in made.report.checks}
    assert figures["trains"]["seconds_per_step"] > 0 and figures["generates"]["images"] == 32
    assert figures["repeats"]["largest_difference"] == 0, "on one processor, to the bit"
    assert not home.exists(), "neither ledger nor memory of the site"


def test_a_report_holds_nothing_of_the_machine(tmp_path: Path) -> None:
    text = report_on(str(families.write(tmp_path / "tiny", "sd1")), device="cpu").to_bytes().decode()
    assert str(tmp_path) not in text and "/home" not in text and "/tmp" not in text  # is not written
    for name in (socket.gethostname(), getpass.getuser()):
        assert f'"{name}"' not in text


@pytest.mark.parametrize("name", ["my base", "hôpital", "/data/models", "Anna", "doe-1961-03-04"])
def test_a_name_that_no_report_may_hold_does_not_cost_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Neither one that does not fit, nor one that looks like a patient's."""
    none = Check(name="loads", outcome="not-run", figures={}, fault=None)
    monkeypatch.setattr(base_report._Run, "_try", lambda _, name: none.model_copy(update={"name": name}))
    folder = shutil.copytree(find_base("builtin").folder, tmp_path / "copy")
    file = folder / "base.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "name": name}))
    assert report_on(str(folder), device="cpu").report.base.name == "local-base"


def test_a_public_name_of_the_hub_stays(tmp_path: Path) -> None:
    found = FoundBase("anna/sd15", tmp_path)
    assert base_report._name_of(found, "a" * 40) == "anna/sd15" and base_report._name_of(found, None) == "local-base"


def test_what_cannot_be_described_ends_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_report, "_describe", lambda _: 1 / 0)
    monkeypatch.setattr(base_report._Run, "checks", lambda _: pytest.fail("hours were spent"))
    with pytest.raises(ZeroDivisionError):
        report_on(str(families.write(tmp_path / "tiny", "sd1")), device="cpu")


def test_an_errors_odd_name_and_a_huge_figure_do_not_cost_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = type("Fehler é", (Exception,), {})

    def stop(*_: Any, **__: Any) -> Any:
        raise odd

    monkeypatch.setattr(base_report, "audit", stop)
    monkeypatch.setattr(base_report, "train", lambda *w, **o: replace(train(*w, **o), heldout_after=1e30))
    found = report_on(str(families.write(tmp_path / "tiny", "sd1")), device="cpu")
    assert fault(found, "audits") == "Fehler__" and outcomes(found)["learns"] == "failed"


def test_the_phantoms_are_the_same_each_time(tmp_path: Path) -> None:
    runs = [base_report._Run(None, {}, "cpu", tmp_path / name, None, print) for name in "ab"]  # type: ignore[arg-type]
    assert runs[0].phantoms == runs[1].phantoms
    image = next((tmp_path / "b/phantoms/images").iterdir())
    shutil.copy(next(path for path in image.parent.iterdir() if path != image), image)
    assert base_report._digest(runs[1].manifest) != runs[0].phantoms


def test_weights_that_are_no_numbers_are_reported(tmp_path: Path) -> None:
    folder = families.write(tmp_path / "broken", "sd1")
    file = next((folder / "unet").glob("*.safetensors"))
    weights = load_file(file)
    weights["conv_out.bias"] = torch.full_like(weights["conv_out.bias"], float("nan"))
    save_file(weights, file)
    said = list[str]()
    found = report_on(str(folder), device="cpu", on_note=said.append)
    assert outcomes(found)["loads"] == "passed" and outcomes(found)["trains"] == "failed"
    assert outcomes(found)["reads-back"] == outcomes(found)["audits"] == outcomes(found)["acts"] == "not-run"
    assert outcomes(found)["generates"] == "failed" and outcomes(found)["distinct"] == "not-run"
    assert fault(found, "trains") and any(line.startswith("trains failed: ") for line in said)


def test_a_pipeline_that_does_not_load_is_reported(tmp_path: Path) -> None:
    folder = families.write(tmp_path / "halved", "sd1")
    (folder / "unet/config.json").write_text("{}")
    found = report_on(str(folder), device="cpu")
    assert outcomes(found)["loads"] == "failed" and outcomes(found)["same-weights"] == "not-run"
    assert found.report.passed == () and found.report.base.pipeline == "StableDiffusionPipeline"


def test_pictures_that_are_all_alike_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def alike(*words: Any, n: int, **options: Any) -> Any:
        return generate(*words, n=1, **options) * n

    monkeypatch.setattr(base_report, "generate", alike)
    found = report_on(str(families.write(tmp_path / "tiny", "sd1")), device="cpu")
    assert outcomes(found)["distinct"] == "failed" and outcomes(found)["repeats"] == "passed"


def test_what_differs_the_second_time_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = list[int]()

    def restless(*words: Any, n: int, seed: int, **options: Any) -> Any:
        calls.append(n)
        return generate(*words, n=n, seed=seed + len(calls), **options)

    monkeypatch.setattr(base_report, "generate", restless)
    found = report_on(str(families.write(tmp_path / "tiny", "sd1")), device="cpu")
    assert outcomes(found)["repeats"] == "failed" and calls == [32, 4, 4]


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("not-blank", lambda image: Image.new("RGB", image.size, (9, 9, 9))),
        ("right-size", lambda image: image.resize((24, 24))),
        ("acts", lambda image: Image.new("RGB", image.size)),
    ],
)
def test_spoiled_pictures_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, spoil: Callable[[Image.Image], Image.Image]
) -> None:
    """Whatever a pipeline does to its images, an autoencoder that overflowed among it."""
    monkeypatch.setattr(
        base_report, "generate", lambda *words, **options: [spoil(i) for i in generate(*words, **options)]
    )
    found = report_on(str(families.write(tmp_path / "tiny", "sd1")), device="cpu")
    assert outcomes(found)[name] == "failed" and outcomes(found)["generates"] == "passed"


def test_a_training_that_made_it_worse_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(families.write(tmp_path / "tiny", "sd1"))
    for before, after, outcome in ((0.5, 0.6, "failed"), (0.5, 0.5, "failed"), (0.5, 0.4, "passed")):
        losses = {"heldout_before": before, "heldout_after": after}
        monkeypatch.setattr(base_report, "train", lambda *w, _set=losses, **o: replace(train(*w, **o), **_set))
        found = report_on(folder, device="cpu")
        assert outcomes(found)["learns"] == outcome


def test_other_weights_in_memory_than_in_the_files_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a loader does that converts a checkpoint wrongly."""

    def load(*words: Any, **options: Any) -> Any:
        pipe = load_pipeline(*words, **options)
        for weight in pipe.unet.parameters():
            weight.data *= 1.5
        return pipe

    monkeypatch.setattr(base_report, "load_pipeline", load)
    found = report_on(str(families.write(tmp_path / "tiny", "sd1")), device="cpu")
    assert outcomes(found)["same-weights"] == "failed" and outcomes(found)["loads"] == "passed"


def test_a_changed_embedding_file_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def worse(*words: Any, out: Path, **options: Any) -> Any:
        done = train(*words, out=out, **options)
        data = bytearray(out.read_bytes())
        data[-1] ^= 1
        out.write_bytes(data)
        return done

    monkeypatch.setattr(base_report, "train", worse)
    found = report_on(str(families.write(tmp_path / "tiny", "sd1")), device="cpu")
    assert outcomes(found)["reads-back"] == "failed" and outcomes(found)["trains"] == "passed"


def test_bases_that_others_cannot_have_are_refused(tmp_path: Path) -> None:
    folder = families.write(tmp_path / "tiny", "sd1")
    with pytest.raises(UsageError, match="as its makers published it"):
        report_on(f"{folder} + unet={folder}", device="cpu")
    (folder / MARK).write_text(json.dumps({"schema": "embhub.adaptation/1"}))
    with pytest.raises(UsageError, match="fine-tuned on a site's images"):
        report_on(str(folder), device="cpu")


def test_whoever_interrupts_gets_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(base_report, "audit", stop)
    with pytest.raises(KeyboardInterrupt):
        report_on(str(families.write(tmp_path / "tiny", "sd1")), device="cpu")


def test_time_is_taken_of_what_was_counted() -> None:
    assert np.isnan(base_report._Clock(None).seconds_per("training"))
