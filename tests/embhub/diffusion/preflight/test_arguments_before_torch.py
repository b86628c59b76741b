"""Arguments are checked before torch is imported, and what takes long says so first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import without_torch
from tests.support.releases import make_embedding

TRAIN = ("--token", "<cspca>", "--caption", "mri, {}", "--base", "builtin", "--out", "x.safetensors")
EVALUATE = ("evaluate", "--report", "r", "--real")
REDRAW = ("generate", "mri", "--out", "o", "--from")
ADAPT = ("--component", "unet", "--caption", "x-ray, {}", "--out")

WRONG = {
    "train: token": ("train", "good", "--token", "cspca", "--caption", "mri, {}", "--out", "x.safetensors"),
    "train: no folder": ("train", "nowhere", *TRAIN),
    "train: no image": ("train", "empty", *TRAIN),
    "train: caption": ("train", "good", "--token", "<a>", "--caption", "mri", "--out", "x.safetensors"),
    "train: caption names a person": (
        "train", "good", "--token", "<a>", "--caption", "Mrs Jansen, {}", "--out", "x.safetensors"
    ),
    "train: out": ("train", "good", "--token", "<a>", "--caption", "mri, {}", "--out", "x.pt"),
    "train: out exists": ("train", "good", "--token", "<a>", "--caption", "mri, {}", "--out", "there.safetensors"),
    "train: column": ("train", "misspelled", *TRAIN),
    "train: no such row": ("train", "good", "--manifest", "good/list.csv", "--where", "label=x", *TRAIN),
    "train: base": ("train", "good", *TRAIN, "--base", "bultin"),
    "train: device": ("train", "good", "--device", "gpu", *TRAIN),
    "train: file gone": ("train", "gone", *TRAIN),
    "train: initializer": ("train", "good", "--initializer-text", "Mrs Jansen", *TRAIN),
    "train: preview folder": ("train", "good", "--preview-dir", "p", *TRAIN),
    "audit: no file": ("audit", "nowhere.safetensors"),
    "audit: no embedding": ("audit", "damaged.safetensors"),
    "audit: no record": ("audit", "there.safetensors"),
    "audit: members": ("audit", "there.safetensors", "--members", "nowhere", "--nonmembers", "good"),
    "audit: column": ("audit", "there.safetensors", "--members", "good", "--nonmembers", "misspelled"),
    "audit: base": ("audit", "there.safetensors", "--members", "good", "--nonmembers", "good", "--base", "x"),
    "audit: no claim": ("audit", "there.safetensors", "--suite", "mechanism"),
    "audit: out": ("audit", "there.safetensors", "--members", "good", "--nonmembers", "good", "--out", "good"),
    "copy-check: no file": ("copy-check", "nowhere.safetensors"),
    "copy-check: no record": ("copy-check", "there.safetensors"),
    "copy-check: column": ("copy-check", "there.safetensors", "--members", "misspelled", "--nonmembers", "good"),
    "copy-check: samples": (
        "copy-check", "there.safetensors", "--members", "good", "--nonmembers", "good", "--samples", "nowhere"
    ),
    "generate: no prompt": ("generate", "--out", "o"),
    "generate: no embedding": ("generate", "mri <a>", "--embedding", "nowhere.safetensors", "--out", "o"),
    "generate: damaged": ("generate", "mri <a>", "--embedding", "damaged.safetensors", "--out", "o"),
    "generate: base": ("generate", "mri", "--base", "nowhere", "--out", "o"),
    "generate: out": ("generate", "mri", "--out", "there.safetensors"),
    "generate: series": ("generate", "mri", "--series", "3", "--out", "o"),
    "redraw: no image": (*REDRAW, "nowhere"),
    "redraw: box": (*REDRAW, "good", "--box", "1,1,2"),
    "redraw: mask": (*REDRAW, "good", "--mask", "nowhere.png"),
    "redraw: two places": (*REDRAW, "good", "--mask", "good/0.png", "--box", "1,1,2,2"),
    "redraw: grow, and no place": (*REDRAW, "good", "--grow", "2"),
    "redraw: border, and no place": (*REDRAW, "good", "--border", "2"),
    "redraw: mask of nothing": ("generate", "mri", "--mask", "good/0.png", "--out", "o"),
    "redraw: strength of nothing": ("generate", "mri", "--strength", "0.5", "--out", "o"),
    "redraw: strength": (*REDRAW, "good", "--strength", "0"),
    "redraw: series": (*REDRAW, "good", "--series", "2"),
    "redraw: interpolation": (*REDRAW, "good", "--interpolate-to", "x-ray"),
    "redraw: turned": (*REDRAW, "good", "--slerp-to", "there.safetensors"),
    "redraw: DICOM": (*REDRAW, "good", "--dicom"),
    "redraw: mark": (*REDRAW, "good", "--no-mark"),
    "redraw: embedding": (*REDRAW, "good", "--embedding", "no.safetensors"),
    "redraw: word": ("generate", "mri <a>", "--from", "good", "--out", "o"),
    "redraw: base": (*REDRAW, "good", "--base", "no"),
    "dataset: no class": ("research", "dataset", "--out", "o"),
    "dataset: no file": ("research", "dataset", "nowhere.yaml", "--out", "o"),
    "dataset: embedding": ("research", "dataset", "--class", "a=mri <a>", "--embedding", "no.safetensors", "--out=o"),
    "dataset: base": ("research", "dataset", "--class", "a=mri <a>", "--base", "no", "--out", "o"),
    "dataset: out": ("research", "dataset", "--class", "a=mri", "--out", "there.safetensors"),
    "evaluate: real": (*EVALUATE, "nowhere", "--test", "good", "--synthetic", "good"),
    "evaluate: column": (*EVALUATE, "misspelled", "--test", "good", "--synthetic", "good"),
    "evaluate: nothing to compare": (*EVALUATE, "labelled", "--test", "labelled"),
    "evaluate: synthetic": (*EVALUATE, "labelled", "--test", "labelled", "--synthetic", "nowhere"),
    "evaluate: arm": (
        *EVALUATE, "labelled", "--test", "labelled", "--synthetic", "labelled", "--arm", "synthetic=labelled"
    ),
    "import: token": ("import", "no.pt", "--base-family", "sd1", "--token", "a b", "--out", "i.safetensors"),
    "import: no file": ("import", "no.pt", "--base-family", "sd1", "--token", "<a>", "--out", "i.safetensors"),
    "import: no base": ("import", "there.safetensors", "--token", "<a>", "--out", "i.safetensors"),
    "import: out": ("import", "damaged.safetensors", "--base-family", "sd1", "--token", "<a>", "--out", "i.pt"),
    "export: no file": ("export", "nowhere.safetensors", "--to", "kohya"),
    "export: damaged": ("export", "damaged.safetensors", "--to", "kohya"),
    "export: out": ("export", "there.safetensors", "--to", "kohya", "--out", "damaged.safetensors"),
    "base fingerprint": ("base", "fingerprint", "nowhere"),
    "base compare": ("base", "compare", "builtin", "nowhere"),
    "base compare: embedding": ("base", "compare", "builtin", "nowhere.safetensors"),
    "base show": ("base", "show", "nowhere"),
    "train-component: base": ("base", "train-component", "nowhere", "good", *ADAPT, "ad"),
    "train-component: column": ("base", "train-component", "builtin", "misspelled", *ADAPT, "ad"),
    "train-component: out": ("base", "train-component", "builtin", "good", *ADAPT, "builtin"),
    "train-component: caption": (
        "base", "train-component", "builtin", "good", "--component", "unet", "--caption", "Mrs Jansen", "--out", "ad"
    ),
}  # fmt: skip

LONG = {
    "train": ("train", "good", *TRAIN),
    "audit": ("audit", "there.safetensors", "--members", "good", "--nonmembers", "other"),
    "copy-check": ("copy-check", "there.safetensors", "--members", "good", "--nonmembers", "other", "--samples", "gen"),
    "generate": ("generate", "mri", "--out", "o"),
    "redraw": (*REDRAW, "good"),
    "redraw a place": (*REDRAW, "good", "--box", "1,1,2,2"),
    "dataset": ("research", "dataset", "--class", "a=mri <cspca>", "--embedding", "there.safetensors", "--out", "o"),
    "evaluate": (*EVALUATE, "labelled", "--test", "labelled", "--synthetic", "labelled"),
    "import": ("import", "there.safetensors", "--base-family", "sd1", "--token", "<a>", "--out", "i.safetensors"),
    "export": ("export", "there.safetensors", "--to", "kohya", "--out", "ex"),
    "train-component": ("base", "train-component", "builtin", "good", *ADAPT, "ad"),
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("arguments")
    for name in ("good", "gen", "other", "misspelled", "gone", "labelled/sick", "labelled/normal"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.full((64, 64), 40 * number, np.uint8)).save(folder / name / f"{number}.png")
    (folder / "empty").mkdir()
    (folder / "misspelled/manifest.csv").write_text("path,PatientID\n0.png,p1\n1.png,p2\n")
    (folder / "gone/manifest.csv").write_text("path,patient_id\n0.png,p1\n8.png,p2\n")
    (folder / "good/list.csv").write_text("path,label\n0.png,a\n1.png,b\n")
    (folder / "there.safetensors").write_bytes(make_embedding().data)
    (folder / "damaged.safetensors").write_bytes(b"damaged")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("EMBHUB_HOME", str(folder / "home"))
        return without_torch.run({**WRONG, **{f"long {name}": words for name, words in LONG.items()}}, folder)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_refused_before_torch_is_imported(answers: dict[str, dict[str, Any]], name: str) -> None:
    answer = answers[name]
    assert answer["exit"] is not None, f"torch was imported first; stderr had {answer['err']!r}"
    assert answer["exit"] in (2, 3, 6, 7)
    assert "error: " in answer["err"].lower()
    assert "unexpected" not in answer["err"]


@pytest.mark.parametrize("name", LONG)
def test_a_long_command_prints_a_line_before_it_imports_torch(answers: dict[str, dict[str, Any]], name: str) -> None:
    answer = answers[f"long {name}"]
    assert answer["exit"] is None, answer
    assert "loading PyTorch" in answer["err"]
    assert not answer["out"]
