"""`embhub base fingerprint`, `compare` and `train-component`, and `--replace` wherever `--base` stands."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from embhub.__main__ import main
from embhub.cli import root
from embhub.cli.this_machine.reference import walk
from tests.support import pipelines


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, generator = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(generator.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / f"f{number}.png")
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("others") / "other", seed=1)


@pytest.mark.thorough
def test_from_images_to_an_adapted_base_to_an_embedding_to_a_picture(
    base: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*words: object, code: int = 0) -> dict[str, object]:
        capsys.readouterr()
        assert main([*map(str, words), "--json"]) == code
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    short = ("--steps", 4, "--batch-size", 4, "--learning-rate", "0.005", "--device", "cpu")
    learn = ("base", "train-component", base, images, "--component", "unet", "--caption", "film", *short)
    facts = run(*learn, "--out", "whole")
    assert facts["use"] == "--base whole" and "No differential-privacy claim" in str(facts["privacy"])
    facts = run(*learn, "--lora-rank", 2, "--out", "lora")
    assert facts["use"] == f"--base {base.name} --replace lora=lora"
    assert run("base", "compare", base, "whole")["verdict"] == "fine-tuned"

    replaced = ("--base", base, "--replace", "unet=whole", "--replace", "lora=lora")
    teach = (
        "train",
        images,
        "--token",
        "<a>",
        "--caption",
        "film, {}",
        "--steps",
        2,
        "--num-vectors",
        1,
        "--device",
        "cpu",
    )
    run(*teach, *replaced, "--holdout", 0.5, "--out", "a.safetensors")
    words = f"{base} + unet=whole + lora=lora"
    assert run("base", "compare", words, "a.safetensors")["verdict"] == "exact"
    assert run("base", "compare", base, "a.safetensors")["verdict"] == "fine-tuned"
    run("generate", "film, <a>", *replaced, "--embedding", "a.safetensors", "-n", 1, "--steps", 1, "--out", "drawn")
    assert (tmp_path / "drawn/0000.png").is_file()
    report = run("audit", "a.safetensors", "--device", "cpu")
    assert report["suite"] == "quick"
    told = run("base", "fingerprint", base, "--replace", "unet=whole")
    assert told["base"] == f"{base.name}-with-unet" and "site's images" in str(told["privacy"])


def test_a_verdict_is_an_exit_code(base: Path, other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["base", "compare", str(base), str(base)]) == 0
    assert "exact" in capsys.readouterr().out
    assert main(["base", "compare", str(base), str(other)]) == 3
    assert "another token table" in capsys.readouterr().out
    assert main(["base", "compare", str(base), str(tmp_path / "no.safetensors")]) == 2
    assert main(["base", "compare", str(base), "nothing-there"]) == 2


def test_fingerprint_is_the_one_that_files_carry(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from embhub.artifact import fingerprint

    assert main(["base", "fingerprint", str(base), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["fingerprint"] == fingerprint.take(base)
    assert told["digest"] == fingerprint.digest(fingerprint.take(base)) and told["privacy"] == ""


def test_replacing_says_what_it_cannot_do(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, out = tmp_path / "images", str(tmp_path / "a.safetensors")
    images.mkdir()
    for number in range(2):
        Image.new("L", (64, 64), number).save(images / f"{number}.png")
    refused = {
        ("base", "fingerprint", str(base), "--replace", "unet"): "replaces nothing",
        ("base", "fingerprint", str(base), "--replace", "unet=nowhere"): "there is no nowhere",
        ("audit", "x.safetensors", "--replace", "unet=x"): "--replace without --base",
        ("train", str(images), "--token", "<a>", "--caption", "{}", "--out", out, "--base", str(base),
         "--replace", "tokenizer=x"): "tokenizers cannot be replaced",
    }  # fmt: skip
    for words, said in refused.items():
        assert main(list(words)) == 2
        assert said in capsys.readouterr().err


def test_replace_stands_wherever_an_embedding_meets_its_base() -> None:
    def options(command: click.Command) -> set[str]:
        return {name for parameter in command.params for name in parameter.opts}

    lacking = []
    for path, command in walk(root):
        name = path[-1]
        # `base` is about the parts; `inspect` asks for a base's resolution, which no part changes; `search` filters
        # by its name; `detect` looks for images of bases as they are; `start` asks five questions, and leaves a base's
        # parts to `train`; `report` is on a base as its makers published it, and a study's is the same at all sites.
        if (
            "--base" in options(command)
            and "--replace" not in options(command)
            and path[1] not in ("base", "study")
            and name not in ("inspect", "search", "detect", "start", "report")
        ):
            lacking.append(name)
    assert lacking == []
