"""A release as a CycloneDX 1.7 bill of materials for machine learning (ECMA-424, cyclonedx.org). Pure."""

from __future__ import annotations

from typing import Any, Final

from embhub.evidence.boms.facts import Facts, Figure
from embhub.version import __version__

FILE: Final = "bom.cdx.json"
_MODEL, _BASE, _DATA = "embedding", "base-model", "training-data"


def build(facts: Facts) -> dict[str, Any]:
    """The document as plain data: the embedding, its base model, and its training images as facts of governance.

    The time in it is that of the publisher's signature, its serial number follows from the release.
    """
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": facts.number("cyclonedx").urn,
        "version": 1,
        "metadata": {
            "timestamp": facts.verified.created,
            "lifecycles": [{"phase": "post-build"}],
            "tools": {"components": [{"type": "application", "name": "embhub", "version": __version__}]},
            "component": _embedding(facts),
        },
        "components": [_base(facts), _data(facts)],
        "dependencies": [
            {"ref": _MODEL, "dependsOn": [_BASE, _DATA]},
            {"ref": _BASE, "dependsOn": []},
            {"ref": _DATA, "dependsOn": []},
        ],
    }


def _embedding(facts: Facts) -> dict[str, Any]:
    card, seen = facts.card, facts.verified
    group, _, name = seen.repository.partition("/")
    references = [{"type": "model-card", "url": facts.page}, {"type": "license", "url": card.licence_link}]
    if card.doi:
        references.append({"type": "citation", "url": f"https://doi.org/{card.doi}"})
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "supplier": {"name": card.publisher} | ({"url": [card.ror]} if card.ror else {}),
        "authors": [{"name": author} for author in card.authors],
        "publisher": card.publisher,
        "group": group,
        "name": name,
        "version": seen.version,
        "description": card.description,
        "hashes": [{"alg": "SHA-256", "content": seen.digest}],
        "licenses": [{"expression": card.licence}],
        "externalReferences": references,
        "modelCard": _model_card(facts),
        "properties": _properties(
            {
                "embhub:token": card.token,
                "embhub:signed-by": f"{seen.signer.namespace} {seen.signer.fingerprint}",
                "embhub:orcid": "; ".join(f"{author}: {orcid}" for author, orcid in (card.orcid or {}).items()),
            }
            | {f"embhub:training:{name}": value for name, value in facts.recipe.items()}
        ),
    }


def _model_card(facts: Facts) -> dict[str, Any]:
    card = facts.card
    return {
        "modelParameters": {
            "task": "text-to-image",
            "architectureFamily": card.base_model.family,
            "modelArchitecture": facts.architecture,
            "datasets": [{"ref": _DATA}],
            "inputs": [{"format": "text"}],
            "outputs": [{"format": "image"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": [_metric(figure) for figure in facts.figures]},
        "considerations": {
            "useCases": [card.intended_use],
            "technicalLimitations": [card.limitations],
            "ethicalConsiderations": [
                {"name": "use out of scope", "mitigationStrategy": card.out_of_scope},
                {"name": "differential privacy of the training", "mitigationStrategy": facts.privacy},
                {"name": "membership-inference audit", "mitigationStrategy": facts.audit},
            ],
        },
    }


def _metric(figure: Figure) -> dict[str, Any]:
    told: dict[str, Any] = {"type": figure.name, "value": figure.value, "slice": figure.of}
    if figure.low is not None and figure.high is not None:
        told["confidenceInterval"] = {"lowerBound": figure.low, "upperBound": figure.high}
    return told


def _base(facts: Facts) -> dict[str, Any]:
    base, found = facts.card.base_model, facts.base_address
    return {
        "type": "machine-learning-model",
        "bom-ref": _BASE,
        "name": base.id,
        "version": base.revision,
        "licenses": [{"expression": base.licence}],
        **({"purl": found} if found else {}),
        "properties": _properties({"embhub:family": base.family, "embhub:fingerprint": base.fingerprint}),
    }


def _data(facts: Facts) -> dict[str, Any]:
    card = facts.card
    party = [{"organization": {"name": card.publisher}}]
    return {
        "type": "data",
        "bom-ref": _DATA,
        "name": facts.dataset,
        "description": "They stay at the site, and are no part of the release.",
        "data": [
            {
                "type": "dataset",
                "name": facts.dataset,
                "classification": "not published",
                "sensitiveData": ["images of patients"],
                "governance": {"custodians": party, "owners": party},
                "contents": {"properties": _properties(facts.governance)},
            }
        ],
    }


def _properties(told: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in told.items() if value]
