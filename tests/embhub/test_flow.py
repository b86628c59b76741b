"""The main job by the commands that a person types: train to push at one hospital, pull to generate at another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embhub.__main__ import main
from embhub.formats import safe_yaml
from embhub.site.memory import secret
from embhub.site.signing import keys
from tests.support.servers import RunningRegistry, start_registry
from tests.support.sites import Site, open_site

ANSWERS = {
    "description": "Stripes.",
    "authors": ["Radiology"],
    "publisher": "Radboud",
    "contact_role": "research data office",
    "licence": "CC-BY-4.0",
    "licence_link": "https://creativecommons.org/licenses/by/4.0/",
    "modality": ["MR"],
    "anatomy": [{"system": "RadLex", "code": "RID343", "display": "prostate"}],
    "finding": [],
    "labels": {"source": "drawn", "annotators": "a script"},
    "preprocessing": "none",
    "deidentification": {"profile": ["not-dicom"], "pixel_review": "not-needed"},
    "legal_basis": "none needed: drawn",
    "consent_or_waiver": "none needed: drawn",
    "ethics_ref": "none needed: drawn",
    "intended_use": "testing",
    "out_of_scope": "the care of patients",
    "limitations": "stripes only",
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    running = start_registry(tmp_path_factory.mktemp("registry"))
    yield running
    running.stop()


@pytest.fixture
def site(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Site:
    name = request.node.name.replace("_", "-")[:30].strip("-")
    found = open_site(registry, tmp_path / "a", namespace=name, user=name).enter(monkeypatch)
    (found.folder / "home/config").mkdir(parents=True)
    (found.folder / "home/config/config.yaml").write_text(f"namespace: {name}\n")
    return found


def run(*words: str | Path, code: int = 0) -> None:
    assert main([str(word) for word in words]) == code, words


def accept_key(registry: RunningRegistry, namespace: str) -> None:
    run("key", "new")
    registry.add_key(keys.load(), namespace=namespace)


def answer(card: Path, **more: object) -> None:
    said = safe_yaml.load(card.read_bytes())
    card.write_bytes(safe_yaml.dump({**said, **ANSWERS, **more}))


def stripes(folder: Path, patients: int) -> None:
    rows = ["path,patient_id,label"]
    folder.mkdir()
    for number in range(2 * patients):
        pixels = np.zeros((64, 64), np.uint8)
        pixels[:, number % 7 :: 7] = 255
        pixels[number % 64, :] = 90
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
        rows.append(f"{number:03}.png,p{number // 2},{'stripes' if number % 2 else 'other'}")
    (folder / "m.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.slow
def test_two_hospitals(
    registry: RunningRegistry,
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    namespace = "test-two-hospitals"
    stripes(site.folder / "images", patients=12)
    accept_key(registry, namespace)
    words = ["--token", "<stripes>", "--caption", "axial mri, {}", "--steps", "3", "--num-vectors", "2", "--seed", "1"]
    words += ["--base", "builtin"]
    run("train", "images", "--manifest", "images/m.csv", "--where", "label=stripes", "--holdout", "0.5", *words,
        "--out", "stripes.safetensors")  # fmt: skip
    run("card", "init", "stripes.safetensors")
    answer(Path("stripes.card.yaml"), n_patients="5-10")
    # A secret seed finds a leak in such a file by chance, now and then. With this one the AUC was .25, p .93.
    monkeypatch.setattr(secret, "derive_seed", lambda facts: 0)
    run("audit", "stripes.safetensors", "--report", "evidence")
    assert "not evidence of safety" in capsys.readouterr().out
    assert "leave the hospital?" in Path("evidence/index.html").read_text()
    assert Path("stripes.audit.html").read_text().startswith("<!doctype html>")
    run("sign", "stripes.safetensors", code=3)  # the card says that nothing was audited
    run("card", "init", "stripes.safetensors")  # keeps the answers, takes over the verdict
    assert safe_yaml.load(Path("stripes.card.yaml").read_bytes())["n_patients"] == "5-10"
    run("sign", "stripes.safetensors")
    run("push", "stripes.safetensors")
    run("show", f"{namespace}/stripes", code=7)  # this site trusts nobody yet, not even itself

    Site(tmp_path / "b", registry.url).enter(monkeypatch)
    run("trust", "add", registry.url, "--fingerprint", registry.root_fingerprint)
    run("pull", f"{namespace}/stripes", "--policy", "strict", code=8)  # nobody independent confirmed it
    run("pull", f"{namespace}/stripes", "--require", "not-yanked,no-leak")
    capsys.readouterr()
    run("verify", "stripes", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["verified"] and found["verdict"] == "insufficient-evidence" and found["token"] == "<stripes>"
    for source, folder in ((f"{namespace}/stripes", "fetched"), ("stripes/stripes.safetensors", "kept")):
        run("export", source, "--to", "diffusers", "--out", folder)
    (fetched,), (kept,) = Path("fetched").iterdir(), Path("kept").iterdir()
    assert fetched.read_bytes() == kept.read_bytes()
    drawing = ["-n", "2", "--steps", "2", "--seed", "4"]
    for source in ("stripes", "stripes/stripes.safetensors", f"{namespace}/stripes"):
        run(
            "generate",
            "axial mri, <stripes>",
            "--embedding",
            source,
            *drawing,
            "--out",
            source.replace("/", "-") + "-out",
        )
    pictures = [Path(f"{name}-out/0001.png").read_bytes() for name in ("stripes", "stripes-stripes.safetensors")]
    assert pictures[0] == pictures[1]
    manifest = json.loads(Path("stripes-out/manifest.json").read_text())
    assert manifest["embeddings"] == [{"token": "<stripes>", "sha256": found["digest"]}]
    assert manifest["files"] == ["0000.png", "0001.png"]
    readme = Path("stripes/README.md")
    readme.write_bytes(readme.read_bytes().replace(b"stripes only", b"none at all!"))
    run("verify", "stripes", code=4)
    run("generate", "axial mri, <stripes>", "--embedding", "stripes", *drawing, "--out", "never", code=4)
    assert not Path("never").exists()


@pytest.mark.slow
def test_an_imported_embedding(registry: RunningRegistry, site: Site) -> None:
    """As AUTOMATIC1111 writes them, for a base that is not on this machine."""
    rows = torch.nn.Parameter(torch.randn(4, 1024, generator=torch.manual_seed(0)))
    torch.save({"string_to_param": {"*": rows}, "step": 100, "name": "prostate_pos"}, "prostate_pos.pt")
    accept_key(registry, "test-an-imported-embedding")
    words = ["--base-family", "sd2", "--token", "<cspca>"]
    run("import", "prostate_pos.pt", *words, "--out", "prostate-cspca.safetensors")
    run("import", "prostate_pos.pt", *words, "--out", "prostate-cspca.safetensors", code=2)
    run("card", "init", "prostate-cspca.safetensors")
    base = {"id": "stable-diffusion-2", "fingerprint": "unknown", "revision": "512-base-ema", "family": "sd2",
            "licence": "LicenseRef-creativeml-openrail-m"}  # fmt: skip
    answer(Path("prostate-cspca.card.yaml"), n_patients=50, n_images=100, max_images_per_patient=2, base_model=base)
    run("push", "prostate-cspca.safetensors")
    run("search", "cspca")
