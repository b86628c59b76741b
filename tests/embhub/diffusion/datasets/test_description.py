"""The description is Croissant, and the data sheet says what the images are and are not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from embhub.artifact import embedding as artifact
from embhub.diffusion.datasets import description
from embhub.diffusion.datasets.plan import PlannedClass
from embhub.diffusion.datasets.provenance import name_digest
from tests.embhub.diffusion.datasets.conftest import Make, write_embedding


@pytest.fixture
def folder(make: Make) -> Path:
    return make().folder


@pytest.mark.thorough
def test_croissant_by_its_own_validator(folder: Path) -> None:
    croissant = pytest.importorskip("mlcroissant", reason="the reference validator is an extra of dev")
    found = croissant.Dataset(folder / "croissant.json")
    assert not found.metadata.ctx.issues.errors
    assert found.metadata.ctx.is_v1_1()
    records = list(found.records("images"))
    assert [record["images/label"] for record in records] == [b"sick"] * 3 + [b"well"] * 3
    assert all((folder / record["images/path"].decode()).is_file() for record in records)
    assert isinstance(records[0]["images/seed"], int)


def test_croissant_names_the_manifest_by_digest(folder: Path) -> None:
    said = json.loads((folder / "croissant.json").read_text())
    table = (folder / "manifest.csv").read_bytes()
    assert said["distribution"][0]["sha256"] == hashlib.sha256(table).hexdigest()
    assert said["license"] == ["https://creativecommons.org/licenses/by/4.0/"]
    assert {field["name"] for field in said["recordSet"][0]["field"]} == set(table.decode().split("\n")[0].split(","))


def test_the_manifest_says_what_draws_an_image_again(folder: Path, file: Path) -> None:
    first = (folder / "manifest.csv").read_text().splitlines()
    assert first[0] == "path,label,seed,prompt,guidance,steps,embedding,base,sha256"
    assert artifact.read(file).digest in first[1] and artifact.read(file).digest not in first[-1]


def test_the_sheet(make: Make, base: Path, tmp_path: Path) -> None:
    odd = write_embedding(
        tmp_path / "b.safetensors", base, "<bb>", licence="CC-BY-NC-4.0", synthetic_data="research-only"
    )
    folder = make(classes=["a | b=mri <bb>"], embeddings=[str(odd)], per_class=1).folder
    sheet = (folder / "README.md").read_text()
    for words in (
        "drawn by a diffusion model", "Drawn is not the same as free of personal data", "`<bb>`", r"| a \| b | 1 | 1 |",
        "not audited", "not signed: nobody vouches", "for research only", "not for commercial use",
        "Diagnosis, or any decision about a patient", artifact.read(odd).digest,
    ):  # fmt: skip
        assert words in sheet, words


def test_a_class_counts_as_many_independent_images_as_it_has_noise_patterns() -> None:
    some = PlannedClass("a", "a", "mri", ())
    assert description.noise_patterns(some, {"per_class": 3, "seed": 0}) == 3
    patterns = {picture.seed % 256 for picture in some.pictures(400, 7)}
    assert 150 < description.noise_patterns(some, {"per_class": 400, "seed": 7}) == len(patterns) < 256


def test_provenance_and_terms_as_another_program_reads_them(make: Make, base: Path, tmp_path: Path) -> None:
    """As triples: what the JSON-LD context does not map is lost there."""
    rdflib = pytest.importorskip("rdflib", reason="mlcroissant brings it")
    odd = write_embedding(
        tmp_path / "b.safetensors", base, "<bb>", licence="CC-BY-NC-4.0", synthetic_data="research-only"
    )
    folder = make(classes=["sick=mri <bb>"], embeddings=[str(odd)], per_class=1).folder
    graph = rdflib.Graph().parse(folder / "croissant.json", format="json-ld")
    prov, odrl = rdflib.Namespace("http://www.w3.org/ns/prov#"), rdflib.Namespace("http://www.w3.org/ns/odrl/2/")
    (data_set,) = graph.subjects(rdflib.RDF.type, rdflib.URIRef("https://schema.org/Dataset"))
    digest = artifact.read(odd).digest
    named = {str(one) for one in graph.objects(data_set, prov.wasDerivedFrom)}
    assert named == {
        name_digest(digest),
        name_digest(json.loads((folder / "dataset.json").read_text())["base"]["fingerprint"]),
    }
    (activity,) = graph.objects(data_set, prov.wasGeneratedBy)
    assert {str(one) for one in graph.objects(activity, prov.used)} == named
    (offer,) = graph.objects(data_set, rdflib.URIRef("https://schema.org/usageInfo"))
    (permission,) = graph.objects(offer, odrl.permission)
    terms = {str(graph.value(one, odrl.rightOperand)) for one in graph.objects(permission, odrl.constraint)}
    assert terms == {f"http://purl.obolibrary.org/obo/DUO_{code}" for code in ("0000042", "0000046")}
    assert graph.value(offer, odrl.prohibition) is not None


@pytest.mark.thorough
def test_a_card_without_conditions_offers_no_more_than_it_says(folder: Path) -> None:
    offer = json.loads((folder / "croissant.json").read_text())["usageInfo"]
    assert "odrl:permission" not in offer and "odrl:prohibition" in offer


def test_a_digest_as_a_uri() -> None:
    """The example of RFC 6920, section 8.1: "Hello World!"."""
    digest = hashlib.sha256(b"Hello World!").hexdigest()
    assert name_digest(digest) == "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk"
