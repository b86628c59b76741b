"""`embhub research detect`, by command: metadata, the mark, and clear answers to what is broken or forged."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from embhub.__main__ import main
from embhub.artifact import embedding as artifact
from embhub.diffusion.generation.tracing.detecting import detect
from embhub.formats.synthetic_mark import mark_png
from tests.support import medical
from tests.support.quick import examples

SHIPPED = Path(__file__).parents[5] / "examples/embeddings/cxr-bacterial-pneumonia.safetensors"


def png(seed: int = 0, side: int = 64) -> bytes:
    buffer = io.BytesIO()
    values = np.random.default_rng(seed).integers(0, 255, (side, side), dtype=np.uint8)
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def report(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> dict[str, Any]:
    assert main(["research", "detect", *map(str, words), "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_metadata_leads_to_the_release(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = artifact.read(SHIPPED).digest
    (tmp_path / "a.png").write_bytes(mark_png(png(), embeddings=[digest]))
    (tmp_path / "b.png").write_bytes(png())
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/c.png").write_bytes(mark_png(png(), embeddings=["ab" * 32]))
    (tmp_path / "notes.txt").write_text("no image")
    found = report(capsys, tmp_path, "--release", SHIPPED, "--metadata-only")
    assert (found["images"], found["synthetic"], found["not_known"]) == (3, 2, 1)
    one, other, third = found["files"]
    assert one["releases"][0]["digest"] == digest and one["releases"][0]["base_name"] == "builtin-xray"
    assert one["releases"][0]["state"] == "not verified" and one["releases"][0]["reasons"]
    assert one["releases"][0]["claim"] and one["releases"][0]["audit"]
    assert other["verdict"] == "not known" and not other["layers"]
    assert third["unknown_embeddings"] == ["ab" * 32] and not third["releases"]


@pytest.mark.thorough
def test_the_mark_is_found_without_metadata(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As generated, and after what a program does to an image that it shows or sends."""
    words = ["frontal chest x-ray, <bacterial>", "--embedding", SHIPPED, "-n", "1", "--seed", "300", "--out", tmp_path]
    assert main(["generate", *map(str, words)]) == 0
    capsys.readouterr()
    image = Image.open(tmp_path / "0000.png").convert("RGB")
    bare = tmp_path / "bare"
    bare.mkdir()
    Image.frombytes("RGB", image.size, image.tobytes()).save(bare / "a.png")
    image.resize((64, 64)).save(bare / "b.jpg", quality=60)
    image.crop((6, 6, 121, 121)).save(bare / "c.jpg", quality=90)
    image.crop((2, 10, 117, 125)).save(bare / "d.jpg", quality=90)
    (bare / "e.png").write_bytes(png(side=128))
    found = report(capsys, bare, "--release", SHIPPED)
    assert [one["verdict"] for one in found["files"]] == ["synthetic"] * 4 + ["not known"]
    for one in found["files"][:4]:
        (layer,) = one["layers"]
        assert layer["layer"] == "mark" and layer["embeddings"] == [artifact.read(SHIPPED).digest]
        assert layer["seed"] == 300 % 256 and layer["chance"] <= 1e-6 and one["releases"]


def test_what_cannot_be_read_is_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.png").write_bytes(mark_png(png())[:700])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.dcm").write_bytes(b"no DICOM")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    found = report(capsys, tmp_path, "--base", "builtin-xray")
    said = {one["file"]: one for one in found["files"]}
    assert said["broken.png"]["verdict"] == "synthetic", "its metadata is whole"
    assert all(said[name]["verdict"] == "not known" for name in ("empty.jpg", "text.dcm", "huge.png"))
    assert all("no mark was looked for" in one["note"] for one in found["files"])
    assert "too large to be decoded safely" in said["huge.png"]["note"]


@pytest.mark.parametrize("words", [["nowhere"], ["."], [".", "--release", "nowhere"]])
def test_nothing_to_look_at_is_a_usage_error(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--release" in words:
        (tmp_path / "a.png").write_bytes(png())
    assert main(["research", "detect", *words]) == 2


def test_a_person_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a\nb.png").write_bytes(mark_png(png(), embeddings=[artifact.read(SHIPPED).digest]))
    assert main(["research", "detect", str(tmp_path), "--release", str(SHIPPED), "--metadata-only"]) == 0
    said = capsys.readouterr().out
    assert "a?b.png" in said and "anybody can write or remove this" in said and "<bacterial>" in said
    assert "1 of 1 images are synthetic" in said


def test_a_dicom_file_says_so(tmp_path: Path) -> None:
    pixels, comment = np.zeros((16, 16), np.uint8), f"embhub embedding {'ab' * 32}"
    medical.write(tmp_path / "a.dcm", medical.dataset(pixels, SyntheticData="YES", ImageComments=comment))
    medical.write(tmp_path / "b.dcm", medical.dataset(pixels, SyntheticData="NO"))
    one, other = detect(tmp_path, mark=False).files
    assert one.verdict == "synthetic" and one.unknown == ("ab" * 32,) and other.verdict == "not known"


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.integers(0, 1500), st.sampled_from([".png", ".jpg", ".dcm", ""]))
def test_bytes_of_anybody_never_break_it(tmp_path: Path, extra: bytes, place: int, suffix: str) -> None:
    whole = mark_png(png(), embeddings=["ab" * 32])
    file = tmp_path / f"file{suffix}"
    file.write_bytes(whole[:place] + extra + whole[place + len(extra) :])
    (one,) = detect(file, mark=False).files
    assert one.verdict in ("synthetic", "not known")
