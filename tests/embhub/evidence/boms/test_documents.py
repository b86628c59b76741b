"""Bills of materials: readable by the formats' own libraries, the same bytes each time, and no more than the card."""

from __future__ import annotations

import hashlib
import io
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import parse_eval_result_entries
from hypothesis import given, settings
from spdx_python_model import v3_0_1 as model

from embhub.cards import card
from embhub.evidence.boms import cyclonedx, hub_results, ro_crate, spdx
from embhub.evidence.boms.facts import Facts
from embhub.privacy import claim_or_none
from embhub.release import verification
from embhub.release.files import Release
from tests.support import cards
from tests.support.claims import make_claim, make_private_release
from tests.support.ports import make_ported_release
from tests.support.quick import examples
from tests.support.releases import NOW, make_release, make_trust

NAMED: dict[str, Any] = {
    "authors": ["Jane Smith", "Department of Radiology"],
    "orcid": {"Jane Smith": "https://orcid.org/0000-0002-1825-0097"},
    "ror": "https://ror.org/05wg1m734",
    "doi": "10.5281/zenodo.1234567",
}


def facts_of(release: Release) -> Facts:
    return Facts(verification.verify(release, trust=make_trust(), now=NOW))


@cache
def plain() -> Facts:
    return facts_of(make_release())


@cache
def private() -> Facts:
    return facts_of(make_private_release())


def with_card(**changes: Any) -> Facts:
    """The same release with another card: a document follows from what was verified, whatever it says."""
    return Facts(replace(plain().verified, card=card.parse(cards.complete(**changes))))


KINDS: dict[str, Callable[[], Facts]] = {
    "plain": plain,
    "private": private,
    "named": lambda: with_card(**NAMED),
    "another licence": lambda: with_card(licence="LicenseRef-Own", evaluation=None),
}


@cache
def validator() -> JsonStrictValidator:
    return JsonStrictValidator(SchemaVersion.V1_7)


def check_cyclonedx(facts: Facts) -> dict[str, Any]:
    document = cyclonedx.build(facts)
    fault = validator().validate_str(json.dumps(document))
    assert fault is None, fault
    refs = {document["metadata"]["component"]["bom-ref"], *(item["bom-ref"] for item in document["components"])}
    assert refs == {item["ref"] for item in document["dependencies"]}
    return document


def check_spdx(facts: Facts) -> dict[str, Any]:
    return check_spdx_of(spdx.build(facts))


def check_spdx_of(document: dict[str, Any]) -> dict[str, Any]:
    read = model.SHACLObjectSet()
    model.JSONLDDeserializer().read(io.BytesIO(json.dumps(document).encode()), read)
    known = {item["spdxId"] for item in document["@graph"] if "spdxId" in item}
    assert read.missing_ids == set(), "whatever is named is in the document, or an individual of SPDX"
    assert {item._id for item in read.foreach_type(model.Element)} >= known
    written = io.BytesIO()
    model.JSONLDSerializer().write(read, written)  # asks for every required property
    assert len(json.loads(written.getvalue())["@graph"]) == len(document["@graph"])
    return document


@pytest.mark.parametrize("kind", KINDS)
def test_cyclonedx_of_its_schema(kind: str) -> None:
    facts = KINDS[kind]()
    document = check_cyclonedx(facts)
    component = document["metadata"]["component"]
    assert component["hashes"] == [{"alg": "SHA-256", "content": facts.verified.digest}]
    assert document["metadata"]["timestamp"] == facts.verified.created
    assert document["components"][0]["licenses"] == [{"expression": facts.card.base_model.licence}]


@pytest.mark.parametrize("kind", KINDS)
def test_spdx_of_its_model(kind: str) -> None:
    facts = KINDS[kind]()
    graph = check_spdx(facts)["@graph"]
    relations = {item["relationshipType"]: item for item in graph if item["type"] == "Relationship"}
    at = graph[1]["rootElement"][0].removesuffix("#embedding")
    assert (relations["trainedOn"]["from"], relations["trainedOn"]["to"]) == (
        f"{at}#embedding",
        [f"{at}#training-data"],
    )
    assert relations["dependsOn"]["to"] == [f"{at}#base-model"]
    assert graph[0]["created"] == facts.verified.created


def test_the_checks_can_fail() -> None:
    broken = cyclonedx.build(plain())
    broken["metadata"]["component"]["modelCard"]["invented"] = 1
    assert validator().validate_str(json.dumps(broken)) is not None
    document = spdx.build(plain())
    document["@graph"][0]["created"] = "yesterday"
    with pytest.raises(ValueError):
        check_spdx_of(document)
    document = spdx.build(plain())
    del document["@graph"][0]["createdBy"]
    with pytest.raises(ValueError):
        check_spdx_of(document)
    document = spdx.build(plain())
    document["@graph"][-1]["to"] = ["urn:uuid:nowhere"]
    with pytest.raises(AssertionError):
        check_spdx_of(document)


@settings(max_examples=examples(10), deadline=None)
@given(cards.cards())
def test_any_card_makes_sound_documents(values: dict[str, Any]) -> None:
    facts = Facts(replace(plain().verified, card=card.parse(values)))
    check_cyclonedx(facts)
    check_spdx(facts)


@pytest.mark.parametrize("form", [cyclonedx, spdx])
def test_one_release_gives_one_document(form: Any) -> None:
    again = json.dumps(form.build(facts_of(make_release())))
    assert json.dumps(form.build(plain())) == again
    assert form.build(plain()) != form.build(private())


def test_numbers_follow_from_the_release() -> None:
    number = plain().number("cyclonedx")
    assert number.version == 5 and cyclonedx.build(plain())["serialNumber"] == f"urn:uuid:{number}"
    assert uuid.UUID(cyclonedx.build(private())["serialNumber"]) != number != plain().number("spdx")


def test_the_only_time_is_that_of_the_signature() -> None:
    for form in (cyclonedx, spdx):
        times = re.findall(r"\d{4}-\d\d-\d\dT[0-9:]+Z?", json.dumps(form.build(private())))
        assert set(times) == {private().verified.created}


@pytest.mark.parametrize("form", [cyclonedx, spdx])
def test_claim_and_audit_are_stated_as_they_are(form: Any) -> None:
    claim, said = private().card.privacy, json.dumps(form.build(private()), ensure_ascii=False)
    assert claim != "none"
    assert all(sentence in said for sentence in claim.words())
    assert "privacy.epsilon" in said and "privacy.delta" in said
    assert f"at least {claim.n_public}" in said, "the card's number of patients is the claim's, which is a lower bound"
    report = plain().verified.report
    assert report is not None
    open_ = json.dumps(form.build(plain()), ensure_ascii=False)
    assert report.statement in open_ and "trained without differential privacy" in open_
    assert "privacy.epsilon" not in open_


@pytest.mark.parametrize("form", [cyclonedx, spdx])
def test_beside_a_claim_for_images_their_number_is_the_least_that_there_are(form: Any) -> None:
    claim = make_claim(unit="image", max_images_per_unit=1)
    counts = {"n_images": claim.n_public, "n_patients": "1-50", "max_images_per_patient": "1-10"}
    described = card.parse({**private().card.to_dict(), "privacy": claim_or_none.plain(claim), **counts})
    said = form.build(Facts(replace(private().verified, card=described)))
    assert f"at least {claim.n_public}" in json.dumps(said) and "dataset_datasetSize" not in json.dumps(said)
    assert f"at least {claim.n_public} of 1-50 patients" in card.to_readme(described).decode()


@pytest.mark.parametrize("form", [cyclonedx, spdx])
def test_a_port_states_when_its_claim_holds(form: Any) -> None:
    said = json.dumps(form.build(facts_of(make_ported_release(make_private_release()))))
    assert "only if the port's publisher learned from images generated with the source and from nothing else" in said
    assert "port's publisher" not in json.dumps(form.build(private()))


@pytest.mark.parametrize("form", [cyclonedx, spdx])
def test_groups_of_patients_stay_in_the_card(form: Any) -> None:
    """What only the card breaks down is not spread further."""
    said = json.dumps(form.build(with_card()))
    assert "50-64" in json.dumps(with_card().card.to_dict()) and "50-64" not in said and "Siemens" not in said
    ranged = form.build(with_card(n_images="100-200"))
    assert "dataset_datasetSize" not in json.dumps(ranged) and "100-200" in json.dumps(ranged)


def test_identifiers_of_the_card_are_in_both() -> None:
    for form in (cyclonedx, spdx):
        said = json.dumps(form.build(with_card(**NAMED)))
        assert all(text in said for text in (NAMED["ror"], NAMED["doi"], "0000-0002-1825-0097"))


def test_a_base_of_the_hub_has_a_package_address() -> None:
    component = cyclonedx.build(with_card())["components"][0]
    revision = "5ede9e4bf3e3fd1cb0ef2f7a3fff13ee514fdf06"
    assert component["purl"] == f"pkg:huggingface/stabilityai/stable-diffusion-2-base@{revision}"
    assert "purl" not in cyclonedx.build(plain())["components"][0]


def test_the_hub_reads_the_figures_on_its_benchmarks() -> None:
    on_hub: dict[str, Any] = {
        "task": "Image classification",
        "dataset": "owner/set",
        "metric": "AUC",
        "value": 0.8,
        "interval": [0.7, 0.9],
    }
    elsewhere = on_hub | {"dataset": "our own test patients"}
    made = hub_results.build(with_card(evaluation=[on_hub, elsewhere]))
    (entry,) = parse_eval_result_entries(yaml.safe_load(yaml.safe_dump(made)))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("owner/set", "image_classification", 0.8)
    assert entry.notes == "AUC, interval 0.7 to 0.9" and entry.verify_token is None
    assert hub_results.build(with_card(evaluation=[elsewhere])) == []


def test_a_source_is_an_address_that_others_reach() -> None:
    seen = with_card(evaluation=[{"task": "a", "dataset": "b/c", "metric": "AUC", "value": 1.0}]).verified
    assert "source" not in hub_results.build(Facts(seen))[0]
    public = replace(seen, signer=replace(seen.signer, registry="https://hub.example.org"))
    assert hub_results.build(Facts(public))[0]["source"]["url"] == f"https://hub.example.org/{seen.repository}"


def test_a_crate_describes_each_file_of_the_release() -> None:
    release = make_release()
    graph = ro_crate.build(with_card(**NAMED), release.files)["@graph"]
    by_id = {entity["@id"]: entity for entity in graph}
    assert len(by_id) == len(graph), "each is described once"
    root = by_id["./"]
    assert [part["@id"] for part in root["hasPart"]] == list(release.files)
    for name, data in release.files.items():
        assert by_id[name]["sha256"] == hashlib.sha256(data).hexdigest() and by_id[name]["contentSize"] == str(
            len(data)
        )
    assert root["datePublished"] == plain().verified.created and root["identifier"].endswith(NAMED["doi"])
    for name, kind in {"license": "CreativeWork", "publisher": "Organization"}.items():
        assert by_id[root[name]["@id"]]["@type"] == kind
    assert [by_id[one["@id"]]["name"] for one in root["author"]] == ["Jane Smith"]
    assert root["creditText"] == "Jane Smith; Department of Radiology"
    assert "author" not in ro_crate.build(plain(), release.files)["@graph"][1]
