"""A record of a data set for health-data catalogues: `dcat.jsonld`, by HealthDCAT-AP release 5 on DCAT-AP 3.

What embhub knows comes from the data set. What only people know (who publishes it, which body gives access, which law
applies) comes from a file in YAML. Nothing is guessed: a missing mandatory fact is named, and no record is written.
With the optional facts, too, the record conforms to stricter shapes for sensitive data, as the French health data hub
uses them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from embhub.cards.personal_data import personal_data
from embhub.diffusion.datasets.provenance import describe, name_digest
from embhub.diffusion.datasets.sources import Origin
from embhub.errors import ArtifactError, PrivacyError, UsageError
from embhub.formats import safe_yaml
from embhub.release import files as release_files

NAME = "dcat.jsonld"
_EU = "http://publications.europa.eu/resource/authority"
_HINT = "docs/how-to/make-a-data-set.md shows one"
_CONTEXT = {
    "adms": "http://www.w3.org/ns/adms#",
    "dcat": "http://www.w3.org/ns/dcat#",
    "dcatap": "http://data.europa.eu/r5r/",
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "healthdcatap": "http://healthdataportal.eu/ns/health#",
    "prov": "http://www.w3.org/ns/prov#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "spdx": "http://spdx.org/rdf/terms#",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}


def _address(text: str) -> str:
    if not text.startswith(("https://", "http://", "urn:")) or any(letter in text for letter in ' <>"{}|\\^`\n\t'):
        raise ValueError("must be an address (http://, https://) or a URN")
    return text


Text = Annotated[str, Field(min_length=1, max_length=2000)]
Address = Annotated[str, Field(min_length=8, max_length=500), AfterValidator(_address)]
Mail = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9.+_-]+@[A-Za-z0-9.-]+$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Agent(_Part):
    """An organisation, the mailbox of a role where it is reached, and its page."""

    name: Text
    email: Mail
    homepage: Address | None = None


class Publisher(Agent):
    """Who publishes: its kind by the catalogue's vocabulary, what it does, and whether it is a trusted data holder."""

    type: Address | None = None
    note: Text | None = None
    trusted_data_holder: bool | None = None


class Facts(_Part):
    """What only people know. Every field without a default is mandatory in HealthDCAT-AP for data that are not public.

    Catalogues of sensitive data ask for all the others but the ages: `spatial` (places that the patients are of),
    `purpose`, `health_theme`, each by the catalogue's vocabulary, `sample_url`, and all of each agent.
    """

    title: Text
    description: Text
    identifier: Address
    access_url: Address
    access: Literal["PUBLIC", "RESTRICTED", "NON_PUBLIC"]
    legislation: Annotated[tuple[Address, ...], Field(min_length=1, max_length=20)]
    health_category: Annotated[tuple[Address, ...], Field(min_length=1, max_length=20)]
    publisher: Publisher
    access_body: Agent
    contact: Agent
    min_age: int | None = Field(default=None, ge=0, le=130)
    max_age: int | None = Field(default=None, ge=0, le=130)
    spatial: Annotated[tuple[Address, ...], Field(max_length=20)] = ()
    purpose: Annotated[tuple[Address, ...], Field(max_length=20)] = ()
    health_theme: Annotated[tuple[Address, ...], Field(max_length=20)] = ()
    sample_url: Address | None = None


def read(path: Path) -> Facts:
    """The facts of a file.

    Raises:
        UsageError: no such file, or not YAML.
        ArtifactError: mandatory facts are missing, all named; or one is malformed.
        PrivacyError: a text looks like it names a patient.
    """
    try:
        values = safe_yaml.load(release_files.read_file(path, limit=safe_yaml.MAX_BYTES))
    except safe_yaml.YamlError as error:
        raise UsageError(f"{path} is not readable YAML: {error}", _HINT) from error
    if not isinstance(values, dict):
        raise UsageError(f"{path} is not a list of `field: value` lines", _HINT)
    try:
        facts = Facts.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        said = [f"{'.'.join(map(str, one['loc']))} ({one['msg'].removeprefix('Value error, ')})" for one in problems]
        raise ArtifactError(f"the catalogue record lacks: {'; '.join(said[:20])}", _HINT) from error
    if personal_data(f"{facts.title}\n{facts.description}\n{facts.publisher.note or ''}"):
        raise PrivacyError("the catalogue record looks like it names a person", "describe findings, never patients")
    return facts


def write(
    facts: Facts, origins: Sequence[Origin], plan: Mapping[str, Any], *, images: int, size: int, table: str
) -> bytes:
    """The record as JSON-LD.

    Args:
        facts: What only people know.
        origins: The embeddings.
        plan: The data set's plan, with its classes.
        images: How many there are.
        size: Bytes of the images and `manifest.csv` together.
        table: The SHA-256 of `manifest.csv`.
    """
    labels = [str(item["label"]) for item in plan["classes"]]
    laws = [_typed(law, "http://data.europa.eu/eli/ontology#LegalResource") for law in facts.legislation]
    record: dict[str, Any] = {
        "@context": _CONTEXT,
        "@id": facts.identifier,
        "@type": "dcat:Dataset",
        "dct:title": _english(facts.title),
        "dct:description": _english(facts.description),
        "dct:identifier": {"@value": facts.identifier, "@type": "xsd:anyURI"},
        "dct:accessRights": _typed(f"{_EU}/access-right/{facts.access}", "dct:RightsStatement"),
        "dct:type": _concept(f"{_EU}/dataset-type/SYNTHETIC_DATA", "synthetic data"),
        "dcat:theme": _concept(f"{_EU}/data-theme/HEAL", "Health"),
        "dcat:keyword": [_english(word) for word in dict.fromkeys(["synthetic", "medical images", *labels])],
        "dcatap:applicableLegislation": laws,
        "healthdcatap:healthCategory": [_concept(one, one.rpartition("/")[2]) for one in facts.health_category],
        "healthdcatap:hdab": _agent(facts.access_body),
        "healthdcatap:numberOfRecords": _count(images),
        "dct:publisher": _publisher(facts.publisher),
        "dcat:contactPoint": _contact(facts.contact),
        "dct:provenance": {
            "@type": "dct:ProvenanceStatement",
            "rdfs:label": _english(
                "Generated by a diffusion model with textual inversion embeddings; no image was taken of a patient."
            ),
        },
        **describe(origins, plan),
        "dcat:distribution": {
            "@id": name_digest(table),
            "@type": "dcat:Distribution",
            "dct:title": _english("images (PNG) and manifest.csv"),
            "dcat:accessURL": {"@id": facts.access_url, "@type": "rdfs:Resource"},
            "dcat:byteSize": _count(size),
            "dct:format": _typed(f"{_EU}/file-type/PNG", "dct:MediaTypeOrExtent"),
            "dcatap:applicableLegislation": laws,
            **_licence(origins),
            "dct:rights": {
                "@type": "dct:RightsStatement",
                "rdfs:label": _english(f"access: {facts.access.lower().replace('_', ' ')}"),
            },
        },
    }
    for name, age in (("minTypicalAge", facts.min_age), ("maxTypicalAge", facts.max_age)):
        if age is not None:
            record[f"healthdcatap:{name}"] = _count(age)
    record |= _for_sensitive_data(facts)
    return json.dumps(record, indent=1, ensure_ascii=False).encode() + b"\n"


def _for_sensitive_data(facts: Facts) -> dict[str, Any]:
    """The facts that only stricter catalogues ask for, those that were given."""
    found: dict[str, Any] = {}
    if facts.spatial:
        found["dct:spatial"] = [_typed(one, "dct:Location") for one in facts.spatial]
    if facts.purpose:
        found["dpv:hasPurpose"] = [_typed(one, "dpv:Purpose") for one in facts.purpose]
    if facts.health_theme:
        found["healthdcatap:healthTheme"] = [_concept(one, one.rpartition("/")[2]) for one in facts.health_theme]
    if facts.sample_url is not None:
        found["adms:sample"] = {
            "@type": "dcat:Distribution",
            "dct:title": _english("some of the images"),
            "dcat:accessURL": {"@id": facts.sample_url, "@type": "rdfs:Resource"},
        }
    return found


def _licence(origins: Sequence[Origin]) -> dict[str, Any]:
    """A distribution has at most one licence: that of the embeddings where it is one for all."""
    links = {origin.card.licence_link for origin in origins if origin.card is not None}
    return {"dct:license": _typed(links.pop(), "dct:LicenseDocument")} if len(links) == 1 else {}


def _publisher(agent: Publisher) -> dict[str, Any]:
    found = _agent(agent)
    if agent.type is not None:
        found["healthdcatap:publisherType"] = _concept(agent.type, agent.type.rpartition("/")[2])
    if agent.note is not None:
        found["healthdcatap:publisherNote"] = _english(agent.note)
    if agent.trusted_data_holder is not None:
        found["healthdcatap:trustedDataHolder"] = agent.trusted_data_holder
    return found


def _agent(agent: Agent) -> dict[str, Any]:
    found = {"@type": "foaf:Agent", "foaf:name": _english(agent.name), "dcat:contactPoint": _contact(agent)}
    if agent.homepage is not None:
        found |= {"foaf:homepage": {"@id": agent.homepage}, "foaf:mbox": {"@id": f"mailto:{agent.email}"}}
    return found


def _contact(agent: Agent) -> dict[str, Any]:
    found = {"@type": "vcard:Kind", "vcard:fn": agent.name, "vcard:hasEmail": {"@id": f"mailto:{agent.email}"}}
    return found if agent.homepage is None else {**found, "vcard:hasURL": {"@id": agent.homepage}}


def _typed(iri: str, kind: str) -> dict[str, Any]:
    return {"@id": iri, "@type": kind}


def _concept(iri: str, label: str) -> dict[str, Any]:
    return {**_typed(iri, "skos:Concept"), "skos:prefLabel": _english(label)}


def _english(text: str) -> dict[str, str]:
    return {"@value": text, "@language": "en"}


def _count(number: int) -> dict[str, Any]:
    return {"@value": str(number), "@type": "xsd:nonNegativeInteger"}
