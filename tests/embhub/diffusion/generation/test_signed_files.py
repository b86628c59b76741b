"""`--c2pa` of `generate` and `dataset`, from the command line to what `embhub research detect` says."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from PIL import Image

from embhub.__main__ import main
from embhub.artifact import embedding as artifact
from embhub.artifact import fingerprint
from embhub.formats import synthetic_mark
from embhub.site.signing import keys
from tests.support import pipelines

DRAWING = ("--base", "base", "--steps", "2", "--guidance-scale", "2", "--device", "cpu")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, base: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with a key, a base and an embedding."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").symlink_to(base)
    rows = 3 * np.random.default_rng(0).normal(size=(2, pipelines.WIDTH))
    made = artifact.build({"emb_params": rows}, token="<a>", base=fingerprint.take(base), base_name="tiny", training={})
    (tmp_path / "a.safetensors").write_bytes(made.data)
    keys.generate("default")
    return tmp_path


def run(*words: str | Path, code: int = 0) -> None:
    assert main([str(word) for word in words]) == code


def said(path: Path) -> dict[str, Any]:
    """By another program."""
    with path.open("rb") as file, c2pa.Reader("image/png", file) as reader:
        found = json.loads(reader.json())
    assert found["validation_state"] == "Valid"
    manifest: dict[str, Any] = found["manifests"][found["active_manifest"]]
    return manifest


def assertion(manifest: dict[str, Any]) -> dict[str, Any]:
    (found,) = [one["data"] for one in manifest["assertions"] if one["label"] == "org.embhub.generation"]
    return dict(found)


def detected(path: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    run("research", "detect", path, "--metadata-only", "--json")
    files: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["files"]
    return files


def test_generate(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digest = artifact.read(folder / "a.safetensors").digest
    run(
        "generate", "mri, <a>", "--embedding", "a.safetensors", "-n", "2", *DRAWING, "--out", "out", "--c2pa", "default"
    )
    facts = assertion(said(folder / "out/0000.png"))
    assert facts["prompt"] == "mri, <a>" and facts["embeddings"] == [
        {"token": "<a>", "sha256": digest, "claim": "none"}
    ]
    assert facts["base"] == {"fingerprint": fingerprint.digest(fingerprint.take(folder / "base"))}, "no path of a base"
    manifest = json.loads((folder / "out/manifest.json").read_text())
    assert manifest["c2pa"] == {"signed_with": keys.load().fingerprint}
    assert synthetic_mark.read((folder / "out/0001.png").read_bytes()).embeddings == (digest,), "the XMP is there, too"
    for one in detected("out", capsys):
        (_, layer) = one["layers"]
        assert (layer["layer"], layer["valid"], layer["embeddings"]) == ("c2pa", True, [digest])
        assert layer["signer"] == "this-site"


def test_a_forged_image_is_named_and_says_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("generate", "mri", "-n", "1", *DRAWING, "--out", "out", "--c2pa", "default")
    image = folder / "out/0000.png"
    whole = image.read_bytes()
    packet = synthetic_mark.packet(base=fingerprint.digest(fingerprint.take(folder / "base")))
    image.write_bytes(whole.replace(packet, b" " * len(packet)))
    (one,) = detected("out", capsys)
    assert one["verdict"] == "not known", "neither layer says anything that holds"
    (layer,) = one["layers"]
    assert layer["valid"] is False and "changed after it was signed" in layer["says"] and "signer" not in layer


def test_series(folder: Path) -> None:
    run("generate", "mri", "--interpolate-to", "x-ray", "--series", "2", "-n", "1", *DRAWING, "--out", "out",
        "--c2pa", "default")  # fmt: skip
    for name in ("0000-000.png", "0000-001.png", "series.png"):
        assert assertion(said(folder / "out" / name))["interpolate_to"] == "x-ray"


def test_redrawing_says_nothing_of_the_patient_s_image(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "Jansen_Pieter.png")
    place = ("--from", "Jansen_Pieter.png", "--box", "4,4,8,8")
    run("generate", "mri", *place, *DRAWING, "--out", "out", "--c2pa", "default")
    image = folder / "out/0000.png"
    assert image.stat().st_mode & 0o777 == 0o600
    manifest = said(image)
    assert not manifest.get("ingredients") and "thumbnail" not in json.dumps(manifest)
    (action,) = manifest["assertions"][0]["data"]["actions"]
    assert action["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    data = image.read_bytes()
    for form in ((folder / "Jansen_Pieter.png").read_bytes(), pixels.tobytes()):
        digest = hashlib.sha256(form)
        assert digest.digest() not in data and digest.hexdigest().encode() not in data
    assert b"Jansen" not in data and str(folder).encode() not in data
    assert detected("out", capsys)[0]["verdict"] == "synthetic"


@pytest.mark.thorough
def test_a_data_set_has_one_manifest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["research", "dataset", "--class", "sick=mri, <a>", "--class", "well=mri", "--embedding", "a.safetensors",
             "--per-class", "2", "--allow-no-card", "<a>", *DRAWING, "--out", "made"]  # fmt: skip
    run(*words, "--c2pa", "default")
    (sidecar,) = folder.glob("made/*.c2pa")
    with (
        (folder / "made/manifest.csv").open("rb") as table,
        c2pa.Reader("text/csv", table, sidecar.read_bytes()) as one,
    ):
        assert one.get_validation_state() == "Valid"
        facts = assertion(one.get_active_manifest())
    assert [item["label"] for item in facts["classes"]] == ["sick", "well"] and facts["images"] == 4
    layers = [one["layers"][-1] for one in detected("made", capsys)]
    assert [(one["layer"], one["valid"], one["signer"]) for one in layers] == [("c2pa", True, "this-site")] * 4
    run(*words)
    assert sidecar.exists(), "the same images again: it still holds"
    image = folder / "made/sick/00000.png"
    with Image.open(io.BytesIO(image.read_bytes())) as opened:
        opened.transpose(Image.Transpose.ROTATE_180).save(image)
    changed = {one["file"]: one for one in detected("made", capsys)}["sick/00000.png"]
    assert changed["verdict"] == "not known" and "does not list this file" in changed["layers"][-1]["says"]


@pytest.mark.parametrize(("words", "code", "message"), [
    (["--c2pa", "other"], 7, "there is no key other"),
    (["--c2pa-certificate", "chain.pem"], 2, "without --c2pa"),
    (["--c2pa", "default", "--c2pa-certificate", "a.safetensors"], 2, "certificates"),
    (["--c2pa", "default", "--negative", "scan of Pieter Jansen, born 1958-03-12"], None, "names a person"),
])  # fmt: skip
def test_what_cannot_be_signed(
    words: list[str], code: int | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = main(["generate", "mri", *DRAWING, "--out", "out", *words])
    assert found == code if code is not None else found
    assert message in capsys.readouterr().err
    assert not Path("out").exists()
