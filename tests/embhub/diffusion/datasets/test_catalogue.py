"""The record for catalogues: as triples, against the SHACL shapes of HealthDCAT-AP, and what it does not make up.

The shapes are others' and not in the tree. EMBHUB_HEALTHDCAT_SHAPES names a folder with them (*.ttl), those of DCAT-AP
3.0.0 and of HealthDCAT-AP release 5. EMBHUB_HEALTHDCAT_SENSITIVE_SHAPES names one with stricter shapes for sensitive
data, those of the French health data hub, which the package `dh-healthdcat` brings; CI fetches it.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from embhub.artifact import embedding as artifact
from embhub.diffusion.datasets import catalogue
from embhub.diffusion.datasets.provenance import name_digest
from embhub.errors import ArtifactError, PrivacyError, UsageError
from tests.embhub.diffusion.datasets.conftest import Make
from tests.support import tools

rdflib = pytest.importorskip("rdflib", reason="mlcroissant brings it")
FACTS = """
title: Generated prostate MRI
description: Generated images of two classes, for research on classifiers.
identifier: https://data.hospital-a.example/generated-prostate-mri
access_url: https://data.hospital-a.example/generated-prostate-mri/access
access: NON_PUBLIC
legislation: [http://data.europa.eu/eli/reg/2025/327/oj]
health_category: [http://healthdata.ec.europa.eu/authority/health-category/OTHER]
publisher: {name: Hospital A, email: data@hospital-a.example}
access_body: {name: Health Data Access Body of Example, email: hdab@body.example}
contact: {name: Data office, email: data@hospital-a.example}
min_age: 40
"""


FURTHER = """
spatial: [http://publications.europa.eu/resource/authority/country/NLD]
purpose: [https://w3id.org/dpv#ScientificResearch]
health_theme: [http://www.wikidata.org/entity/Q181257]
sample_url: https://data.hospital-a.example/generated-prostate-mri/sample
"""
SHAPES = tools.needs("HealthDCAT-AP shapes", found="EMBHUB_HEALTHDCAT_SENSITIVE_SHAPES" in os.environ)


def complete(*, without: str = "") -> str:
    """All facts, also those that stricter catalogues ask for, but for the lines that begin with `without`."""
    page = "{homepage: https://data.hospital-a.example/, name: "
    more = "type: 'https://catalogue.example/type/hospital', note: A university hospital, trusted_data_holder: false, "
    text = FACTS.replace("{name: ", page).replace("publisher: {", "publisher: {" + more) + FURTHER
    return "\n".join(line for line in text.splitlines() if not without or not line.startswith(without))


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.yaml"
    path.write_text(FACTS)
    return path


def test_the_record_as_triples(make: Make, facts: Path, file: Path) -> None:
    folder = make(per_class=1, catalogue_facts=facts).folder
    graph = rdflib.Graph().parse(folder / catalogue.NAME, format="json-ld")
    dcat, dct = rdflib.Namespace("http://www.w3.org/ns/dcat#"), rdflib.DCTERMS
    health = rdflib.Namespace("http://healthdataportal.eu/ns/health#")
    (record,) = graph.subjects(rdflib.RDF.type, dcat.Dataset)
    assert str(graph.value(record, dct.type)).endswith("/dataset-type/SYNTHETIC_DATA")
    assert (
        int(graph.value(record, health.numberOfRecords)) == 2 and int(graph.value(record, health.minTypicalAge)) == 40
    )
    assert graph.value(record, health.maxTypicalAge) is None, "nobody said it"
    assert rdflib.URIRef(name_digest(artifact.read(file).digest)) in set(
        graph.objects(record, rdflib.PROV.wasDerivedFrom)
    )
    _check_shapes(graph)


@pytest.mark.parametrize("without", ["spatial", "purpose", "health_theme", "sample_url", ""])
@SHAPES
def test_with_all_facts_it_conforms_to_the_shapes_for_sensitive_data(make: Make, facts: Path, without: str) -> None:
    """Each optional fact that is left out is what the shapes miss: they do check."""
    import pyshacl

    facts.write_text(complete(without=without))
    graph = rdflib.Graph().parse(make(per_class=1, catalogue_facts=facts).folder / catalogue.NAME, format="json-ld")
    shapes = rdflib.Graph()
    for path in sorted(Path(os.environ["EMBHUB_HEALTHDCAT_SENSITIVE_SHAPES"]).glob("*.ttl")):
        shapes.parse(path)
    assert len(shapes) > 500
    passed, _, text = pyshacl.validate(graph, shacl_graph=shapes, inference="none", advanced=True)
    names = {"health_theme": "healthTheme", "purpose": "hasPurpose", "sample_url": "adms:sample"}
    assert passed if not without else not passed and names.get(without, without) in text, text


def test_the_size_is_that_of_the_files_and_facts_that_nobody_gave_are_left_out(make: Make, facts: Path) -> None:
    folder = make(per_class=1, catalogue_facts=facts).folder
    record = json.loads((folder / catalogue.NAME).read_bytes())
    files = [folder / "manifest.csv", *(folder / row["path"] for row in read_table(folder))]
    assert int(record["dcat:distribution"]["dcat:byteSize"]["@value"]) == sum(path.stat().st_size for path in files)
    assert not {"dct:spatial", "dpv:hasPurpose", "healthdcatap:healthTheme", "adms:sample"} & set(record)
    assert set(record["dct:publisher"]) == {"@type", "foaf:name", "dcat:contactPoint"}


def read_table(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as table:
        return list(csv.DictReader(table))


def _check_shapes(graph: Any) -> None:
    places = os.environ.get("EMBHUB_HEALTHDCAT_SHAPES")
    if not places:
        return
    import pyshacl

    shapes = rdflib.Graph()
    for path in sorted(Path(places).glob("*.ttl")):
        shapes.parse(path)
    for one in list(shapes.objects(None, rdflib.OWL.imports)):
        shapes.remove((None, rdflib.OWL.imports, one))  # they are here
    passed, _, text = pyshacl.validate(graph, shacl_graph=shapes, inference="none", advanced=True)
    assert passed, text
    graph.remove((None, rdflib.URIRef("http://healthdataportal.eu/ns/health#hdab"), None))
    assert not pyshacl.validate(graph, shacl_graph=shapes, inference="none", advanced=True)[0], "the shapes do check"


def test_every_fact_that_is_missing_is_named_before_anything_is_generated(
    make: Make, facts: Path, tmp_path: Path
) -> None:
    lines = [line for line in FACTS.splitlines() if not line.startswith(("access_body", "legislation"))]
    facts.write_text("\n".join(lines))
    with pytest.raises(ArtifactError, match=r"legislation.*access_body"):
        make(catalogue_facts=facts)
    assert not (tmp_path / "drawn").exists()


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("https://data.hospital-a.example/generated-prostate-mri/access", "javascript:alert(1)", ArtifactError),
        ("data@hospital-a.example", "'x> <y'", ArtifactError),
        ("min_age: 40", "min_age: -1", ArtifactError),
        ("two classes", "patient Pieter Jansen, born 1958-03-12", PrivacyError),
        ("title: Generated prostate MRI", "title: [", UsageError),
    ],
)
def test_what_is_no_fact(facts: Path, old: str, new: str, error: type[Exception]) -> None:
    facts.write_text(FACTS.replace(old, new))
    with pytest.raises(error):
        catalogue.read(facts)


@pytest.mark.thorough
def test_without_facts_there_is_no_record(make: Make) -> None:
    assert not (make(per_class=1).folder / catalogue.NAME).exists()
