"""c2pa's own library, and how it is set here: no network, no thumbnails."""

from __future__ import annotations

from typing import Any, Final

from embhub.errors import UsageError
from embhub.project import how_to_install

ACTIONS: Final = "c2pa.actions.v2"
ASSERTION: Final = "org.embhub.generation"
"""Labels of the assertions that embhub writes."""
WRITING: Final[dict[str, Any]] = {
    "version": 1,
    "builder": {"thumbnail": {"enabled": False}, "created_assertion_labels": [ACTIONS, "c2pa.actions", ASSERTION]},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": True, "verify_trust": True},
}
"""What was signed is verified at once."""
_EMAIL_PROTECTION, _DOCUMENT_SIGNING, _C2PA_SIGNING = "1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1"


def reading(anchors: str) -> dict[str, Any]:
    """Settings to read with; a signer counts as trusted where its chain ends in one of `anchors` (PEM)."""
    allowed = "\n".join((_EMAIL_PROTECTION, _DOCUMENT_SIGNING, _C2PA_SIGNING))
    trust = {"trust": {"user_anchors": anchors, "trust_config": allowed}} if anchors else {}
    return {"version": 1, "verify": WRITING["verify"], **trust}


def load() -> Any:
    """The library. Raises UsageError where it is not installed."""
    try:
        import c2pa
    except ImportError as error:
        raise UsageError("C2PA manifests need c2pa-python", how_to_install("c2pa")) from error
    return c2pa
