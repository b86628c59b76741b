"""Evaluations for tests: figures that may be published, reports and cohorts as a site has them, signed statements."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from embhub.cards.evaluation import REAL_ALONE, STOPPED_EARLY, EvaluationReport
from embhub.cards.published_evaluation import Cohort, Figures, Images, parse
from embhub.release.checks import evaluated
from embhub.site.signing.keys import SigningKey
from embhub.trust import bundle, kinds, statement
from embhub.trust.statement import Statement
from tests.support import releases
from tests.support.servers import RunningRegistry

KEY = releases.make_key("the evaluator's own key")
EMBEDDING = "a" * 64
FIGURES: dict[str, Any] = {
    "dataset": "biparametric MRI of one centre", "finding": "csPCa", "classifier": "resnet18", "regime": "mixed",
    "seeds": 5, "real": 200, "drawn": 500, "patients": {"training": 120, "positive": 40, "negative": 60}, "step": 0.05,
    "real_alone": {"auc": 0.7, "interval": [0.6, 0.8]}, "with_generated": {"auc": 0.8, "interval": [0.7, 0.9]},
    "gains": [
        {"over": REAL_ALONE, "gain": 0.1, "interval": [0.05, 0.15], "outcome": "helped"},
        {"over": STOPPED_EARLY, "gain": 0.05, "interval": [0.0, 0.1], "outcome": "helped"},
    ],
    "outcome": "helped",
}  # fmt: skip
HARM: dict[str, Any] = {
    **FIGURES, "outcome": "did harm", "with_generated": {"auc": 0.6, "interval": [0.5, 0.7]},
    "gains": [{"over": REAL_ALONE, "gain": -0.1, "interval": [-0.2, -0.05], "outcome": "did harm"}],
}  # fmt: skip


def figures(**changes: Any) -> Figures:
    """Figures as they are published."""
    return parse({**FIGURES, **changes})


def signed(
    digest: str, *, key: SigningKey = KEY, repository: str = releases.REPOSITORY, version: str = "1.0.0",
    registry: str = releases.ORIGIN, created: datetime | None = None, found: Mapping[str, Any] = FIGURES,
    **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """A signed evaluation as it is sent; `found` and `more` are not checked here."""
    made = evaluated.build(
        digest, figures(), registry=registry, repository=repository, version=version, tool="embhub 0.1.0",
        created=created or datetime.now(UTC),
    )  # fmt: skip
    stated = Statement(digest, kinds.EVALUATION.type, {**made.predicate, "figures": dict(found), **more})
    document: dict[str, Any] = json.loads(bundle.to_json(statement.sign(stated, key=key)))
    return document


def report(
    *, auc: float = 0.7012, both: float = 0.8034, gain: float = 0.1022, embedding: str = EMBEDDING, **changes: Any
) -> EvaluationReport:
    """A whole evaluation of one arm, as `embhub evaluate` writes it."""
    common = {"delong": [0.6, 0.9], "patients": [0.6, 0.9], "seeds": [0.6, 0.9], "each_seed": [0.71234, 0.69871]}
    difference = {
        "real": 205, "arm": "synthetic", "drawn": 500, "gain": gain, "delong_p": 0.01, "outcome": "helped",
        **{**common, "delong": [0.01, 0.2], "patients": [0.01, 0.2], "seeds": [0.01, 0.2]},
        "interval": [0.0321, 0.1733],
    }  # fmt: skip
    document = {
        "embhub": "0.1.0", "dataset": "images of the site", "positive": "csPCa", "negative": ["normal"],
        "unit": "patient", "seeds": 2,
        "classifier": {"name": "small", "steps": 10, "batch": 8, "rate": 0.1, "resolution": 64, "mirrored": True},
        "real": {"images": 240, "positives": 120, "patients": 126},
        "test": {"images": 100, "positives": 40, "patients": 100},
        "arms": [{"name": "synthetic", "images": 500, "positives": 250, "embeddings": [embedding]}],
        "aucs": [
            {"real": 205, "arm": "", "drawn": 0, "auc": auc, "interval": [auc - 0.08, auc + 0.08], **common},
            {"real": 205, "arm": "synthetic", "drawn": 500, "auc": both, "interval": [both - 0.08, both + 0.08],
             **common},
        ],
        "differences": [difference, {**difference, "over": "plain words of Jan Jansen"}],
        **changes,
    }  # fmt: skip
    return EvaluationReport.model_validate_json(json.dumps(document))


def cohort(
    *, training: tuple[int, int] = (63, 63), test: tuple[int, int] = (40, 60), images: int = 1, prefix: str = "",
) -> Cohort:  # fmt: skip
    """Patients by class, each with as many images."""

    def people(name: str, count: int) -> dict[str, Images]:
        people = (f"{prefix}{name}{number}" for number in range(count))
        return {one: Images(images, f"images of {one}") for one in people}

    return Cohort(
        (people("a", training[0]), people("b", training[1])),
        (people("c", test[0]), people("d", test[1])),
        min(training),
    )


def publish(
    registry: RunningRegistry, digest: str, *, namespace: str = "umcu", key: SigningKey = KEY, **changes: Any
) -> None:  # fmt: skip
    """Publish an evaluation as a new account of `namespace`, whose key is added."""
    registry.add_key(key, namespace=namespace, role="evaluate")
    token = registry.add_user(f"evaluator-of-{namespace}", namespace=namespace, role="reader")
    made = signed(digest, key=key, **changes)
    answer = registry.request("POST", f"/embhub/v1/evaluations/{digest}", token=token, json_body=made)
    assert answer.status == 200, answer.body
