"""`audit --worst`: the most exposed patients by the site's own names, on the screen and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embhub.__main__ import main
from embhub.diffusion.attacks.auditing import audit
from embhub.diffusion.attacks.exposure import Exposed, check_limit, rank_members, rank_pooled
from embhub.diffusion.attacks.in_turn import InTurn
from embhub.errors import PrivacyError
from embhub.images.images import read_images
from embhub.phantoms import write_dataset
from tests.support.training import train


def test_a_planted_outlier_stands_first() -> None:
    generator = np.random.default_rng(0)
    members = {f"p{number}": float(score) for number, score in enumerate(generator.normal(0, 1, 40))}
    members["planted"] = 6.0
    ranked = rank_members(members, generator.normal(0, 1, 40).tolist())
    assert ranked[0].name == "planted" and ranked[0].excess > 4
    assert [item.excess for item in ranked] == sorted((item.excess for item in ranked), reverse=True)
    assert len(ranked) == 41


def test_shadows_compare_each_patient_with_herself() -> None:
    """A patient whose images always score high is not exposed; one who scores higher when she was trained on is."""
    generator = np.random.default_rng(20_261_121)
    found = 0
    for _ in range(10):
        names = [f"p{number}" for number in range(40)]
        coins = generator.random((8, 40)) < 0.5
        gain = 2.5 * coins * (np.array(names) == "p7")
        scores = generator.normal(0, 3, 40) + gain + generator.normal(0, 1, (8, 40))
        ranked = rank_pooled(InTurn(scores, coins), names)
        found += "p7" in [item.name for item in ranked[:3]]
    assert found >= 9


@pytest.mark.thorough
@pytest.mark.exhaustive
def test_a_planted_outlier_is_among_the_first_three_of_a_real_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten short trainings on `builtin`, 16 phantom patients each; one of them has an image of noise."""
    found = 0
    for run in range(10):
        folder = tmp_path / str(run)
        monkeypatch.setenv("EMBHUB_HOME", str(folder / "home"))
        write_dataset(folder, "prostate-cspca", images=24, patients=24, normals=0, seed=run)
        images = read_images(folder / "manifest.csv")
        patients = sorted({images.unit(place) for place in range(len(images))})
        planted, held_out = patients[run], set(patients[-8:])
        (place,) = [number for number in range(len(images)) if images.unit(number) == planted]
        noise = np.random.default_rng(run).integers(0, 255, (64, 64)).astype(np.uint8)
        Image.fromarray(noise).save(images.samples[place].path)
        images = read_images(folder / "manifest.csv")
        inside = images.subset([n for n in range(len(images)) if images.unit(n) not in held_out])
        outside = images.subset([n for n in range(len(images)) if images.unit(n) in held_out])
        words = {"token": "<cspca>", "caption": "prostate mri, {}", "steps": 25, "num_vectors": 4, "seed": run}
        trained = train(inside, base="builtin", device="cpu", **words)
        ranked: list[Exposed] = []
        audit(trained, members=inside, nonmembers=outside, device="cpu", on_exposed=ranked.extend)
        found += planted in [item.name for item in ranked[:3]]
    assert found >= 9


def test_somebody_who_was_always_in_is_left_out() -> None:
    scores = np.array([[1.0, 2.0, 0.5], [3.0, 0.0, 0.0]])
    coins = np.array([[True, True, False], [True, False, False]])
    assert [item.name for item in rank_pooled(InTurn(scores, coins), ["a", "b", "c"])] == ["b"]


def test_the_gate_says_how_many_and_not_who() -> None:
    ranked = rank_members({"secret-a": 9.0, "secret-b": 0.0, "secret-c": 0.1}, [0.0, 1.0, 0.5, 0.2])
    check_limit(ranked, 100.0)
    with pytest.raises(PrivacyError, match="1 of those trained on") as caught:
        check_limit(ranked, 2.0)
    assert "secret" not in str(caught.value)


@pytest.mark.thorough
def test_names_stand_on_the_screen_and_nowhere_else(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EMBHUB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_dataset(tmp_path / "images", "prostate-cspca", images=24, patients=24, normals=0, seed=0)
    words = ["--token", "<cspca>", "--caption", "prostate mri, {}", "--base", str(base), "--device", "cpu"]
    few = ["--steps", "2", "--num-vectors", "1", "--holdout", "0.4", "--out", "stripes.safetensors"]
    assert main(["train", "images", *words, *few]) == 0
    before = {path: path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["audit", "stripes.safetensors", "--worst", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    listed = said.split("most exposed")[1]
    rows = [line.split() for line in listed.splitlines()[1:] if line.strip()]
    assert len(rows) == 10
    written = [path for path in tmp_path.rglob("*") if path.is_file() and before.get(path) != path.read_bytes()]
    for name, excess in rows:
        assert excess[0] in "+-"
        for path in written:
            if "images" not in path.parts and path.suffix in (".json", ".html", ".jsonl", ".log"):
                assert name.encode() not in path.read_bytes(), path
    assert main(["audit", "stripes.safetensors", "--worst", "--json", "--device", "cpu"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["worst"]) == 10 and document["report"]["schema"] == "embhub.audit/3"
    assert main(["audit", "stripes.safetensors", "--worst-limit", "0.1", "--device", "cpu"]) == 6
    assert main(["audit", "stripes.safetensors", "--worst", "--suite", "mechanism"]) == 2
