"""The figures an attestation repeats, and comparisons that verification makes; test_verification has the others."""

from __future__ import annotations

import json

import pytest

from embhub.refusals import AuditMismatchError, ClaimMismatchError
from embhub.release.checks import consistency
from embhub.trust import statement
from tests.support.releases import make_embedding, make_release

GOOD = make_release()
PUBLISH = statement.read_publish(statement.parse(GOOD.publish_bundle.envelope.payload))


def test_headline_survives_json() -> None:
    assert GOOD.audit is not None
    figures = consistency.headline(GOOD.audit)
    assert json.loads(json.dumps(figures)) == figures
    assert set(figures) == {"suite", "unit", "attack", "auc", "auc_interval", "p_value", "verdict"}


def test_whole_numbers_and_floats_are_one_number_in_json() -> None:
    facts = PUBLISH.model_copy(update={"recipe": {**GOOD.embedding.training, "steps": 200.0}})
    consistency.check_recipe(GOOD.embedding, publish=facts)
    with pytest.raises(ClaimMismatchError):
        consistency.check_recipe(
            GOOD.embedding, publish=PUBLISH.model_copy(update={"recipe": {**GOOD.embedding.training, "steps": True}})
        )


def test_report_says_consistent_and_not_true() -> None:
    assert GOOD.audit is not None
    audit, verdict = consistency.check_report(GOOD.audit, embedding=GOOD.embedding)
    assert "consistent" in audit.text
    assert GOOD.audit.statement in verdict.text
    with pytest.raises(AuditMismatchError):
        list(consistency.check_report(GOOD.audit, embedding=make_embedding(seed=2)))


def test_base_of_an_import_is_unknown() -> None:
    assert consistency.base_digest(make_embedding(base=None)) is None
