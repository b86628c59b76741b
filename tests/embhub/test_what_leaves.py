"""Everything that `push` sends, recorded on the wire and unwrapped, holds nothing that says whose images there were."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from embhub.artifact import embedding
from embhub.audits.report import AuditReport
from embhub.client.publishing import push as publishing
from embhub.diffusion.copying.outcome import check_to_file
from embhub.diffusion.outputs import audit_to_file
from embhub.formats import safe_yaml
from embhub.images.inspections import near_duplicates as likeness
from embhub.images.pixels import digest, read_pixels
from embhub.options.audit import AuditOptions
from embhub.phantoms import write_dataset
from embhub.site import config
from embhub.site.memory import runs
from embhub.site.memory import secret as site_secret
from embhub.site.signing import keys
from tests.support import pipelines, traffic
from tests.support.releases import make_card
from tests.support.servers import RunningRegistry, running_registry
from tests.support.sites import Site
from tests.support.training import train

PATIENTS = 40  # a private split is drawn anew each time: of these fewer than ten train once in 600,000
TAGS = {  # what DICOM headers and EXIF hold, as converters copy them into PNG and JPEG
    "PatientName": "QUILLFEATHER^THEODORA",
    "PatientID": "MRN-5518207734",
    "PatientBirthDate": "19480723",
    "AccessionNumber": "ACC-90471-KX",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.77120993",
    "InstitutionName": "Saint Wystan Infirmary",
    "DeviceSerialNumber": "SN-MAGNETOM-448120",
}
EXIF = {0x010E: "ImageDescription", 0x013B: "Artist", 0xA431: "BodySerialNumber"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pipelines.write(tmp_path_factory.mktemp("bases") / "tiny-base")


def plant(folder: Path) -> dict[str, bytes]:
    """Images whose names, metadata and manifest name patients; returns all that must stay, by name."""
    write_dataset(folder / "drawn", "prostate-cspca", images=PATIENTS, patients=PATIENTS, normals=0, seed=0)
    secrets: dict[str, bytes] = {}
    rows = []
    for number, source in enumerate(sorted((folder / "drawn").rglob("*.png"))):
        patient, name = f"kq{number:03d}wexford{number * 7919}", f"vr{number:03d}lindisfarne"
        with Image.open(source) as image:
            path = save(image.convert("RGB"), folder / "images" / name, jpeg=number % 2 == 1)
        rows.append([path.name, patient, "finding", TAGS["AccessionNumber"]])
        secrets |= {f"patient {number}": patient.encode(), f"name {number}": name.encode()}
        secrets |= traffic.hashes_of(path)
        for word in (patient, name):
            for kind in ("sha256", "md5"):
                secrets[f"{kind} of {word}"] = hashlib.new(kind, word.encode()).digest()
        secrets[f"our digest {number}"] = digest(read_pixels(path, "image"))
        grey = read_pixels(path, "image").convert("L")
        secrets[f"our likeness {number}"] = np.packbits(likeness.difference_hash(grey) > 0).tobytes()
    with (folder / "images" / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "patient_id", "label", "accession"], *rows])
    secrets |= {name: value.encode() for name, value in TAGS.items()}
    return secrets


def save(image: Image.Image, path: Path, *, jpeg: bool) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    for tag in EXIF:
        exif[tag] = TAGS["DeviceSerialNumber"] if tag == 0xA431 else TAGS["PatientName"]
    if jpeg:
        path = path.with_suffix(".jpg")
        image.save(path, quality=95, exif=exif, comment=TAGS["PatientID"].encode())
        return path
    texts = PngImagePlugin.PngInfo()
    for name, value in TAGS.items():
        texts.add_text(name, value)
    path = path.with_suffix(".png")
    image.save(path, exif=exif, pnginfo=texts)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "private", [False, pytest.param(True, marks=pytest.mark.thorough)], ids=["plain", "with a claim"]
)
def test_nothing_of_a_patient_is_sent(
    registry: RunningRegistry, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    name = "private" if private else "plain"
    with traffic.recorded(registry.url) as (middle, sent):
        site = Site(tmp_path / "saintwystan", middle.url, registry.add_user(name, namespace=name)).enter(monkeypatch)
        registry.add_key(keys.generate("default"), namespace=name)
        secrets = plant(site.folder)
        file = site.folder / "stripes.safetensors"
        choices = (
            {"epsilon": 4.0, "n_public": 10, "subspace_dim": 4, "batch_size": 5} if private else {"num_vectors": 2}
        )
        train(
            site.folder / "images", out=file, token="<cspca>", caption="prostate mri, {}", base=base, device="cpu",
            steps=4, holdout=0.4, seed=918273645546372 if not private else None, **choices,
        )  # fmt: skip
        audit_to_file(file, AuditOptions(out=site.folder / "on-site.json" if private else None), device="cpu")
        if private:  # whose patients' scores stay; what goes out is an audit of made-up vectors
            audit_to_file(file, AuditOptions(suite="mechanism"))
        artifact = embedding.read(file)
        report = AuditReport.parse(file.with_name("stripes.audit.json").read_bytes())
        drawn = {}
        if private:  # under the claim a sheet of samples goes along, and no verdict on anybody's images
            check_to_file(file, sheet=True, n=2, base=str(base), device="cpu")
            said = safe_yaml.load(file.with_name("stripes.samples.json").read_bytes())
            drawn = {"samples": {name: value for name, value in said.items() if name != "schema"}}
        card = make_card(artifact, report=report, name="stripes", n_patients="10-50", n_images="10-50",
                         max_images_per_patient=5, **drawn)  # fmt: skip
        file.with_name("stripes.card.yaml").write_bytes(safe_yaml.dump(card))
        assert not sent, "nothing may be sent before `push`"
        publishing.push(file, f"{name}/stripes", message="first release", confirm=lambda question: True)

    run = runs.find(artifact.digest)
    assert run is not None and len(run.members) + len(run.holdout) == PATIENTS
    secrets |= {
        "where it lies": str(tmp_path).encode(),
        "folder": b"saintwystan",
        "site key": (config.paths().config / "commitment.key").read_bytes(),
        "budget key": site_secret.derive_key("budget"),
    }
    if not private:
        secrets["training seed"] = b"918273645546372"
    if private:
        held = AuditReport.parse((site.folder / "on-site.json").read_bytes())
        figures = json.dumps(held.attack("loss-difference").auc_interval, separators=(",", ":"))
        assert figures.encode() in held.to_bytes()
        secrets |= {"figures of the patients": figures.encode()}
    assert traffic.search(sent, secrets) == set()

    seen = {"token": b"<cspca>", "digest": bytes.fromhex(artifact.digest), "file": artifact.data,
            "card": b"clinically significant", "message": b"first release"}  # fmt: skip
    if private:
        seen["sheet"] = file.with_name("stripes.samples.png").read_bytes()
    assert traffic.search(sent, seen) == set(seen), "the recording has all that was sent"


def test_the_search_finds_what_is_wrapped(tmp_path: Path) -> None:
    """Whatever a digest or a name is wrapped in, as bodies, attestations and headers wrap things."""
    path = save(Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)), tmp_path / "x", jpeg=False)
    secrets = {**traffic.hashes_of(path), "name": TAGS["PatientName"].encode()}
    for name, secret in secrets.items():
        for wrapped in (
            secret,
            secret.hex().encode(),
            secret.hex().upper().encode(),
            b'{"content": "' + base64.b64encode(b"some words " + secret + b" and more") + b'"}',
            base64.urlsafe_b64encode(secret),
            base64.b64encode(b'{"payload": "' + base64.b64encode(b"header" + secret.hex().encode()) + b'"}'),
            "".join(f"%{byte:02x}" for byte in secret).encode(),
        ):
            assert name in traffic.search([b"POST /api HTTP/1.1\r\n\r\n" + wrapped], {name: secret}), wrapped
    assert traffic.search([b"POST /api HTTP/1.1\r\n\r\nnothing of it"], secrets) == set()
