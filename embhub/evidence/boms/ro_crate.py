"""A release as an RO-Crate 1.2 (w3id.org/ro/crate/1.2, JSON-LD): what its files are, beside the files. Pure.

Authors are entities where the card has their ORCID iD. Of others nobody said whether they are people: they are credited
by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from embhub.evidence.boms.facts import Facts
from embhub.release import files as release_files
from embhub.trust import bundle

FILE: Final = "ro-crate-metadata.json"
VERSION = "https://w3id.org/ro/crate/1.2"
_WHAT = {
    release_files.EMBEDDING: "the embedding",
    release_files.CARD: "the card: what the embedding shows, and under which conditions it may be used",
    release_files.AUDIT: "report of the publisher's membership-inference audit",
    release_files.SAMPLES: "contact sheet of generated images",
    release_files.STUDY: "record of the study: which sites joined it, and which consented to the embedding",
}
_TYPES = {
    ".safetensors": "application/octet-stream",
    ".md": "text/markdown",
    ".sigstore.json": bundle.MEDIA_TYPE,
    ".json": "application/json",
    ".png": "image/png",
    ".tlog-proof": "text/plain",
}


def build(facts: Facts, files: Mapping[str, bytes]) -> dict[str, Any]:
    """The metadata file as plain data. `files` are those of the release, which belong beside it.

    The time in it is that of the publisher's signature.
    """
    card, seen = facts.card, facts.verified
    publisher = {"@id": card.ror or "#publisher", "@type": "Organization", "name": card.publisher}
    people = [{"@id": orcid, "@type": "Person", "name": name} for name, orcid in (card.orcid or {}).items()]
    licence = {"@id": card.licence_link, "@type": "CreativeWork", "name": card.licence}
    parts = [_file(name, data) for name, data in files.items()]
    descriptor = {
        "@id": FILE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": VERSION},
    }
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"{seen.repository} {seen.version}",
        "description": card.description,
        "datePublished": seen.created,
        "version": seen.version,
        "url": facts.page,
        **({"identifier": f"https://doi.org/{card.doi}"} if card.doi else {}),
        "license": _at(licence),
        "publisher": _at(publisher),
        **({"author": [_at(one) for one in people]} if people else {}),
        "creditText": "; ".join(card.authors),
        "keywords": list(facts.domains),
        "hasPart": [_at(one) for one in parts],
    }
    return {"@context": f"{VERSION}/context", "@graph": [descriptor, root, *parts, publisher, *people, licence]}


def _at(entity: Mapping[str, str]) -> dict[str, str]:
    return {"@id": entity["@id"]}


def _file(name: str, data: bytes) -> dict[str, str]:
    paper = "signed attestation" if release_files.is_attestation(name) else "proof of the transparency log"
    return {
        "@id": name,
        "@type": "File",
        "name": name,
        "description": _WHAT.get(name, paper),
        "contentSize": str(len(data)),
        "encodingFormat": next(kind for ending, kind in _TYPES.items() if name.endswith(ending)),
        "sha256": release_files.digest(data),
    }
