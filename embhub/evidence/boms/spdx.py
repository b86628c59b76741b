"""A release as an SPDX 3.0.1 document (spdx.dev, JSON-LD) with the profiles AI and Software. Pure.

The profile Dataset is used and not claimed: it asks when the training images were made and released, and they are
published nowhere.
"""

from __future__ import annotations

from typing import Any, Final

from embhub.evidence.boms.facts import Facts, Figure
from embhub.version import __version__

FILE: Final = "bom.spdx3.json"
CONTEXT: Final = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
_NO_ASSERTION = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"
_CREATION = "_:creation"


def build(facts: Facts) -> dict[str, Any]:
    """The document as plain data: the embedding trained on a data set, and what it depends on.

    The time in it is that of the publisher's signature, its identifiers follow from the release.
    """
    at = facts.number("spdx").urn
    elements = [*_agents(facts, at), *_packages(facts, at), *_licences(facts, at)]
    elements += [
        _relation(at, "trained-on", f"{at}#embedding", "trainedOn", f"{at}#training-data"),
        _relation(at, "depends-on", f"{at}#embedding", "dependsOn", f"{at}#base-model"),
    ]
    creation = {
        "type": "CreationInfo",
        "@id": _CREATION,
        "specVersion": "3.0.1",
        "created": facts.verified.created,
        "createdBy": [f"{at}#publisher"],
        "createdUsing": [f"{at}#tool"],
    }
    document = _element("SpdxDocument", f"{at}#document", f"{facts.verified.repository} {facts.verified.version}") | {
        "profileConformance": ["core", "software", "simpleLicensing", "ai"],
        "rootElement": [f"{at}#embedding"],
        "element": [element["spdxId"] for element in elements],
    }
    return {"@context": CONTEXT, "@graph": [creation, document, *elements]}


def _element(kind: str, identifier: str, name: str) -> dict[str, Any]:
    return {"type": kind, "spdxId": identifier, "creationInfo": _CREATION, "name": name}


def _agents(facts: Facts, at: str) -> list[dict[str, Any]]:
    card = facts.card
    publisher = _element("Organization", f"{at}#publisher", card.publisher)
    if card.ror:
        publisher["externalIdentifier"] = [_identifier(card.ror, "https://ror.org")]
    authors = []
    for number, name in enumerate(card.authors, start=1):
        author = _element("Agent", f"{at}#author-{number}", name)
        if orcid := (card.orcid or {}).get(name):
            author["externalIdentifier"] = [_identifier(orcid, "https://orcid.org")]
        authors.append(author)
    return [publisher, *authors, _element("Tool", f"{at}#tool", f"embhub {__version__}")]


def _identifier(address: str, authority: str) -> dict[str, Any]:
    return {
        "type": "ExternalIdentifier",
        "externalIdentifierType": "other",
        "identifier": address,
        "issuingAuthority": authority,
    }


def _packages(facts: Facts, at: str) -> list[dict[str, Any]]:
    return [_embedding(facts, at), _base(facts, at), _data(facts, at)]


def _embedding(facts: Facts, at: str) -> dict[str, Any]:
    card, seen = facts.card, facts.verified
    told = _element("ai_AIPackage", f"{at}#embedding", seen.repository) | {
        "summary": card.description,
        "description": f"Not for: {card.out_of_scope}",
        "suppliedBy": f"{at}#publisher",
        "originatedBy": [f"{at}#author-{number}" for number, _ in enumerate(card.authors, start=1)],
        "releaseTime": seen.created,
        "verifiedUsing": [{"type": "Hash", "algorithm": "sha256", "hashValue": seen.digest}],
        "software_packageVersion": seen.version,
        "software_downloadLocation": facts.page,
        "software_primaryPurpose": "model",
        "ai_domain": list(facts.domains),
        "ai_hyperparameter": _entries(facts.recipe),
        "ai_informationAboutApplication": card.intended_use,
        "ai_informationAboutTraining": f"{facts.privacy} Audit: {facts.audit}",
        "ai_limitation": card.limitations,
        "ai_metric": _entries({f"{one.name} ({one.of})": _with_interval(one) for one in facts.figures}),
        "ai_modelDataPreprocessing": [card.preprocessing],
        "ai_typeOfModel": [facts.architecture, card.base_model.family],
        "ai_useSensitivePersonalInformation": "yes",
    }
    if card.doi:
        told["externalIdentifier"] = [_identifier(f"https://doi.org/{card.doi}", "https://doi.org")]
    return {name: value for name, value in told.items() if value != []}


def _with_interval(figure: Figure) -> str:
    return figure.value if figure.low is None else f"{figure.value} ({figure.low} to {figure.high})"


def _base(facts: Facts, at: str) -> dict[str, Any]:
    base, found = facts.card.base_model, facts.base_address
    return _element("ai_AIPackage", f"{at}#base-model", base.id) | {
        "comment": f"fingerprint {base.fingerprint}",
        "software_packageVersion": base.revision,
        "software_primaryPurpose": "model",
        **({"software_packageUrl": found} if found else {}),
        "ai_typeOfModel": [base.family],
    }


def _data(facts: Facts, at: str) -> dict[str, Any]:
    card = facts.card
    comment = "; ".join(f"{name}: {value}" for name, value in facts.governance.items())
    told = _element("dataset_DatasetPackage", f"{at}#training-data", facts.dataset) | {
        "comment": f"The images stay at the site, and are no part of the release. {comment}",
        "suppliedBy": f"{at}#publisher",
        "software_primaryPurpose": "data",
        "dataset_datasetType": ["image"],
        "dataset_anonymizationMethodUsed": [facts.governance["de-identification"]],
        "dataset_dataCollectionProcess": facts.governance["labels"],
        "dataset_dataPreprocessing": [card.preprocessing],
        "dataset_hasSensitivePersonalInformation": "yes",
        "dataset_intendedUse": card.intended_use,
    }
    if isinstance(card.images, int):  # a range or a least number is in the comment: no number stands for it here
        told["dataset_datasetSize"] = card.images
    return told


def _licences(facts: Facts, at: str) -> list[dict[str, Any]]:
    """What each was licensed under, by the card; what somebody else would conclude is not asserted."""
    told: list[dict[str, Any]] = []
    texts = {
        "embedding": (facts.card.licence, facts.card.licence_link),
        "base-model": (facts.card.base_model.licence, ""),
    }
    for name, (expression, link) in texts.items():
        licence = _element("simplelicensing_LicenseExpression", f"{at}#licence-of-{name}", expression)
        licence["simplelicensing_licenseExpression"] = expression
        if link and expression.startswith("LicenseRef-") and " " not in expression:
            licence["simplelicensing_customIdToUri"] = _entries({expression: link})
        told += [
            licence,
            _relation(at, f"declared-{name}", f"{at}#{name}", "hasDeclaredLicense", licence["spdxId"]),
            _relation(at, f"concluded-{name}", f"{at}#{name}", "hasConcludedLicense", _NO_ASSERTION),
        ]
    return told


def _relation(at: str, name: str, source: str, kind: str, target: str) -> dict[str, Any]:
    return {
        "type": "Relationship",
        "spdxId": f"{at}#{name}",
        "creationInfo": _CREATION,
        "from": source,
        "relationshipType": kind,
        "to": [target],
    }


def _entries(told: dict[str, str]) -> list[dict[str, str]]:
    return [{"type": "DictionaryEntry", "key": key, "value": value} for key, value in told.items()]
