"""Reports on bases for tests: what a run finds, and statements as a site signs them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from embhub.release.checks import base_report
from embhub.release.checks.base_report import CHECKS, SUBJECT, Report, Unsigned
from embhub.site.signing.keys import SigningKey
from embhub.trust import bundle, kinds, statement
from embhub.trust.bundle import Bundle
from embhub.trust.statement import Statement
from tests.support import releases
from tests.support.servers import RunningRegistry

FINGERPRINT = "b" * 64
DOCUMENT: dict[str, Any] = {
    "base": {
        "name": "stable-diffusion-v1-5/stable-diffusion-v1-5", "revision": "0" * 40, "family": "sd",
        "pipeline": "StableDiffusionPipeline",
        "components": {"unet": "UNet2DConditionModel", "text_encoder": "CLIPTextModel"},
    },
    "program": {
        "embhub": "0.1.0", "build": None, "torch": "2.13.0+cu126", "diffusers": "0.42.1", "transformers": "5.24.0",
    },
    "machine": {"device": "NVIDIA A100-SXM4-80GB", "precision": "float32", "peak_bytes": 6_900_000_000},
    "phantoms": "c" * 64,
    "checks": [
        {"name": name, "outcome": "passed", "figures": {"seconds": 1.5} if name == "loads" else {}, "fault": None}
        for name in CHECKS
    ],
}  # fmt: skip


def report(*failed: str, **changes: Any) -> Report:
    """A report on SD 1.5; `failed` are the checks that did not pass."""
    document = json.loads(json.dumps({**DOCUMENT, **changes}))
    for check in document["checks"]:
        if check["name"] in failed:
            check.update(outcome="failed", figures={}, fault="RuntimeError")
    return Report.model_validate_json(json.dumps(document))


def unsigned(*failed: str, **changes: Any) -> bytes:
    """The file of a report that nobody signed."""
    return Unsigned(fingerprint=FINGERPRINT, report=report(*failed, **changes)).to_bytes()


def signed(
    *failed: str, key: SigningKey = releases.SITE, fingerprint: str = FINGERPRINT, registry: str = releases.ORIGIN,
    created: datetime | None = None, **changes: Any,
) -> Bundle:  # fmt: skip
    """A signed report."""
    moment = created or datetime.now(UTC)
    made = base_report.build(fingerprint, report(*failed, **changes), registry=registry, created=moment)
    return bundle.parse(bundle.to_json(statement.sign(made, key=key)))


def forged(key: SigningKey = releases.SITE, **members: Any) -> Bundle:
    """A signed statement of this type with other members, which no rule here looked at."""
    facts = {"registry": releases.ORIGIN, "report": DOCUMENT, "created": "2026-11-20T10:30:00Z", **members}
    made = Statement(FINGERPRINT, kinds.BASE_REPORT.type, facts, SUBJECT)
    return bundle.parse(bundle.to_json(statement.sign(made, key=key)))


def publish(
    registry: RunningRegistry, *failed: str, token: str, fingerprint: str = FINGERPRINT, **changes: Any
) -> None:
    """Send a report as the account of `token`."""
    made = sent(signed(*failed, fingerprint=fingerprint, **changes))
    answer = registry.request("POST", f"/embhub/v1/base-reports/{fingerprint}", token=token, json_body=made)
    assert answer.status == 200, answer.body


def sent(found: Bundle) -> dict[str, Any]:
    """As it goes over the wire."""
    document: dict[str, Any] = json.loads(bundle.to_json(found.envelope))
    return document
