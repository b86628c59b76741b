"""A card is whole or refused with everything that is wrong; what can be computed is never asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings

from embhub.artifact import embedding, fingerprint
from embhub.cards import card, card_draft
from embhub.cards.card import BadCardError
from embhub.cards.card_schema import FIELDS, REQUIRED
from tests.support import cards
from tests.support.quick import examples


def _yaml(values: dict[str, Any]) -> bytes:
    return yaml.safe_dump(values, allow_unicode=True).encode()


def test_a_complete_card_is_read() -> None:
    found = card.parse_yaml(_yaml(cards.complete()))
    assert found.to_dict() == card.parse(found.to_dict()).to_dict()
    assert (found.name, found.n_patients, found.base_model.family) == ("prostate-csPCa", "50-100", "sd2")


@settings(max_examples=examples(40))
@given(cards.cards())
def test_any_sound_card_round_trips_through_yaml(values: dict[str, Any]) -> None:
    found = card.parse(values)
    assert card.parse_yaml(_yaml(found.to_dict())) == found


def test_everything_missing_is_listed_at_once() -> None:
    with pytest.raises(BadCardError) as caught:
        card.parse_yaml(b"schema: embhub.card/1\nlicence:\n")
    missing = {problem.split(" ")[0] for problem in caught.value.problems}
    assert missing == set(REQUIRED) - {"schema"}
    for problem in caught.value.problems:
        assert problem in caught.value.message
        assert FIELDS[problem.split(" ")[0]] in problem


def test_every_fault_is_listed_with_the_missing_ones() -> None:
    values = cards.complete(
        name=None, version="1.0", modality=["XRAY"], licence="free", privacy="epsilon=2", token="<X>"
    )
    values["colour"] = "blue"
    with pytest.raises(BadCardError) as caught:
        card.parse(values)
    named = {problem.split(" ")[0].split(":")[0].split(".")[0] for problem in caught.value.problems}
    assert named == {"name", "version", "modality", "licence", "privacy", "token", "colour"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema": "embhub.card/2"}, "schema"),
        ({"name": "../x"}, "name"),
        ({"version": "1.0"}, "version"),
        ({"version": "01.0.0"}, "version"),
        ({"version": "1.٣.0"}, "version"),  # a digit, and none of ours
        ({"version": 1.0}, "version"),
        ({"description": "TODO"}, "placeholder"),
        ({"description": " x"}, "white space"),
        ({"description": "a\x1b[31m"}, "printed"),
        ({"description": ""}, "description"),
        ({"description": "x" * 4001}, "description"),
        ({"publisher": "two\nlines"}, "one line"),
        ({"authors": []}, "authors"),
        ({"authors": "one"}, "authors"),
        ({"licence": "CC"}, "SPDX"),
        ({"licence_link": "javascript:alert(1)"}, "licence_link"),
        ({"licence_link": "https://a.example/) [x](https://b.example"}, "licence_link"),
        ({"token": "<CSPCA>"}, "upper-case"),
        ({"vectors": []}, "vectors"),
        ({"modality": ["MRI"]}, "0008,0060"),
        ({"modality": []}, "modality"),
        ({"anatomy": []}, "anatomy"),
        ({"anatomy": [{"code": "prostate", "display": "prostate"}]}, "RadLex"),
        ({"finding": [{"system": "SNOMED CT", "code": "12", "display": "x"}]}, "SNOMED CT"),
        ({"finding": [{"system": "mine", "code": "12", "display": "x"}]}, "finding"),
        ({"n_patients": 0}, "whole number"),
        ({"n_patients": True}, "whole number"),
        ({"n_patients": "about 50"}, "range"),
        ({"n_patients": "100-50"}, "range"),
        ({"n_images": 3.0}, "whole number"),
        ({"population": {"sex": {"male": 9}}}, "under 10"),
        ({"population": {"sex": {"male": 0}}}, "under 10"),
        ({"population": {"sex": {"male": "<5"}}}, "under 10"),
        ({"population": {"sex": {"male": 40, "female": "<10"}}, "n_patients": 45}, "gives away"),
        ({"population": {"sex": {"male": 40, "female": "<10"}}, "n_patients": "45-49"}, "gives away"),
        ({"population": {"sex": {"male": 40, "female": "<10"}}, "n_patients": "40-48"}, "gives away"),
        (
            {"population": {"sex": {"male": 40, "female": "<10"}}, "max_images_per_patient": 1, "n_images": 45},
            "gives away",
        ),
        ({"population": {"sex": {"male": 38, "female": 41}}, "n_patients": "75-79"}, "it is 79 to 79"),
        ({"population": {"sex": {"male": "5-14"}}}, "under 10"),
        ({"population": {"sex": {"male": 49, "female": "<10"}}, "n_patients": "40-50"}, "gives away"),
        ({"population": {"sex": {"male": 40, "female": "<10"}}, "n_patients": "49-70"}, "gives away"),
        ({"population": {"sex": {"male": 40, "female": "<10", "unknown": "<10"}}, "n_patients": 58}, "gives away"),
        (
            {
                "population": {"sex": {"male": 40, "female": 17}, "age_bands": {"<65": 50, ">=65": "<10"}},
                "n_patients": "50-100",
            },
            "gives away",
        ),
        ({"population": {"postcodes": {"6525": 40}}}, "postcodes"),
        ({"acquisition": {"serial_number": "1"}}, "serial_number"),
        ({"acquisition": {"years": "last year"}}, "years"),
        ({"deidentification": {"profile": ["basic"], "pixel_review": "manual"}}, "CID 7050"),
        ({"deidentification": {"profile": ["113100"], "pixel_review": "yes"}}, "pixel_review"),
        ({"privacy": {"epsilon": 2}}, "cannot recompute"),
        ({"audit": {"verdict": "passed", "suite": "quick", "power": "x"}}, "audit.verdict"),
        ({"base_model": {"id": "/home/me/base"}}, "base_model.id"),
        ({"evaluation": [{"task": "t", "dataset": "d", "metric": "m", "value": 1, "interval": [1]}]}, "interval"),
    ],
)
def test_each_wrong_field_is_named(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadCardError, match=problem) as caught:
        card.parse(cards.complete(**change))
    assert len(caught.value.problems) <= 5
    assert caught.value.hint


def test_codes_and_years_need_no_quotes() -> None:
    text = _yaml(cards.complete()).decode().replace("'399068003'", "399068003").replace("'113100'", "113100")
    text = text.replace("years: 2015-2020", "years: 2015")
    found = card.parse_yaml(text.encode())
    assert (found.finding[0].code, found.deidentification.profile[0]) == ("399068003", "113100")
    assert found.acquisition is not None
    assert found.acquisition.years == "2015"


def test_two_hidden_groups_or_a_declared_range_hide_each_other() -> None:
    hidden = {"male": 40, "female": "<10"}
    card.parse(cards.complete(population={"sex": hidden}, n_patients="40-49"))
    card.parse(cards.complete(population={"sex": hidden | {"unknown": "<10"}}, n_patients=45))
    card.parse(cards.complete(population={"sex": {"male": "40-44", "female": "30-34"}}, n_patients="70-79"))
    card.parse(cards.complete(population={"sex": {"male": 40, "female": 38}}, n_patients=78))


@pytest.mark.parametrize(
    "data", [b"", b"- a", b"a: *b", b"schema: x\nschema: y", b"\xff", b"a: !!python/name:os.system", b"x" * 70_000]
)
def test_what_is_no_yaml_of_a_card(data: bytes) -> None:
    with pytest.raises(BadCardError):
        card.parse_yaml(data)


def test_a_card_cannot_be_changed() -> None:
    found = card.parse(cards.complete())
    with pytest.raises(ValueError, match="frozen"):
        found.version = "2.0.0"  # type: ignore[misc]  # a card is frozen, which is tested here


def test_every_field_says_what_it_asks_for() -> None:
    assert all(FIELDS.values())


BASE = {
    "schema": "embhub.base/1",
    "prediction_type": "epsilon",
    "encoders": {
        "text_encoder": {
            "kind": "clip",
            "dim": 4,
            "vocabulary": "0a",
            "table": [1.0],
            "deep": [1.0],
            "body": {"matrices": [1.0]},
        }
    },
    "denoiser": {"tensors": "0b", "probe": [1.0], "body": {"matrices": [1.0]}},
}


def _embedding(base: dict[str, Any] | None = BASE) -> embedding.Embedding:
    rows = {"emb_params": np.zeros((2, 4))}
    return embedding.build(rows, token="<cspca>", base=base, base_name="owner/name", training={})


def test_a_draft_holds_what_can_be_computed_and_asks_for_the_rest() -> None:
    values, questions = card_draft.draft(
        _embedding(),
        defaults={"publisher": "Hospital A", "licence": "CC-BY-4.0", "n_images": 1},
        facts={"n_images": 30, "base_model": {"family": "sd1", "licence": "MIT"}},
    )
    assert values["token"] == "<cspca>"
    assert values["vectors"] == [{"encoder": "text_encoder", "count": 2, "dim": 4}]
    assert values["base_model"]["fingerprint"] == fingerprint.digest(BASE)
    assert values["base_model"]["id"] == "owner/name"
    assert (values["publisher"], values["n_images"]) == ("Hospital A", 30)
    asked = {question.split(": ")[0] for question in questions}
    assert asked == (set(REQUIRED) - set(values)) | {"base_model.revision"}
    assert not asked & {"token", "vectors", "privacy", "publisher", "licence", "name", "version", "schema"}


def test_what_the_file_says_wins_over_what_anybody_says() -> None:
    lie = {"token": "<other>", "privacy": "differential", "base_model": {"fingerprint": "f" * 64}}
    values, _ = card_draft.draft(_embedding(), defaults=lie, facts=lie)
    assert (values["token"], values["privacy"]) == ("<cspca>", "none")
    assert values["base_model"]["fingerprint"] == fingerprint.digest(BASE)


def test_an_unknown_base_is_said_to_be_unknown() -> None:
    values, _ = card_draft.draft(_embedding(None), defaults={}, facts={})
    assert values["base_model"]["fingerprint"] == "unknown"


def test_a_written_draft_asks_until_it_is_answered() -> None:
    answers = cards.complete()
    values, questions = card_draft.draft(
        _embedding(), defaults={}, facts={"base_model": {"family": "sd1", "revision": "1", "licence": "MIT"}}
    )
    written = card_draft.write_draft(values, questions)
    with pytest.raises(BadCardError) as caught:
        card.parse_yaml(written)
    assert {problem.split(" ")[0] for problem in caught.value.problems} == {
        question.split(": ")[0] for question in questions
    }
    text = written.decode()
    for question in questions:
        field, meaning = question.split(": ", 1)
        assert f"# {meaning}\n{field}:\n" in text
        answer = yaml.safe_dump({field: answers[field]}, default_flow_style=True, width=10**6).strip()[1:-1]
        text = text.replace(f"\n{field}:\n", f"\n{answer}\n")
    assert card.parse_yaml(text.encode()).token == "<cspca>"
