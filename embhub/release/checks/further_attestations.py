"""Attestations that this version does not know: a release may hold them, and they decide nothing here. Pure.

What is written by later versions, or by other tools, must not make a release unusable. Whoever writes one that must not
be passed over says so in the signed predicate: `"critical": true`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from embhub.formats import strict_json
from embhub.formats.plain_text import plain
from embhub.refusals import CriticalAttestationError, Finding, MalformedBundleError, WrongPredicateError
from embhub.release import files as release_files
from embhub.release.files import Release
from embhub.trust import bundle, kinds

CHECK = "attestation"
MODEL_SIGNATURE = "https://model_signing/signature/v1.0"
_KNOWN = (
    release_files.PUBLISH_BUNDLE,
    release_files.AUDIT_BUNDLE,
    release_files.MODEL_BUNDLE,
    release_files.SOURCE_BUNDLE,
    release_files.AUDIT_DESIGN,
    release_files.AUDIT_RESULT,
)
_PLACES = {  # where statements of the types that this version knows stand
    kinds.PUBLISH.type: release_files.PUBLISH_BUNDLE,
    kinds.AUDIT.type: f"{release_files.AUDIT_BUNDLE} or {release_files.audit_bundle_of('NAMESPACE')}",
    MODEL_SIGNATURE: release_files.MODEL_BUNDLE,
    kinds.DESIGN.type: release_files.AUDIT_DESIGN,
    kinds.RESULT.type: release_files.AUDIT_RESULT,
    kinds.APPROVAL.type: release_files.approval_bundle(1),
}
_FAMILY = "application/vnd.dev.sigstore.bundle"


def check(release: Release) -> Iterator[Finding]:
    """A note on each attestation and log proof that is not checked.

    Raises:
        MalformedBundleError: a file is no Sigstore bundle.
        WrongPredicateError: a statement of a known type stands under another name than its own.
        CriticalAttestationError: its signer marked it critical, and this version cannot check it.
    """
    for name in sorted(release.files):
        if release_files.is_log_proof(name):
            yield Finding(CHECK, "note", f"{name}: a transparency log's proof, not checked by this version")
        elif release_files.is_attestation(name) and name not in _KNOWN and not _is_checked_elsewhere(name):
            yield _check(name, release.files[name])


def _is_checked_elsewhere(name: str) -> bool:
    return release_files.auditor_in(name) is not None or release_files.is_approval(name)


def _check(name: str, data: bytes) -> Finding:
    kind, critical = _read(name, data)
    if place := _PLACES.get(kind):
        raise WrongPredicateError(
            f"{name} is a statement of type {kind}, which stands in {place}", "fetch the release again"
        )
    what = f"predicate type {plain(kind)[:100]}" if kind else "a bundle of a form that this version does not read"
    if critical:
        raise CriticalAttestationError(
            f"{name}: {what}, not known to this version, and marked critical by its signer",
            "a newer embhub may know it: update, and verify again",
        )
    return Finding(CHECK, "note", f"{name}: {what}, not checked by this version")


def _read(name: str, data: bytes) -> tuple[str, bool]:
    """The predicate type and whether it is critical; "" where the bundle has another form than ours."""
    try:
        document = strict_json.read_object(data, limit=bundle.MAX_BYTES)
    except strict_json.JsonError as error:
        raise _malformed(name, str(error)) from error
    media_type = document.get("mediaType")
    if not isinstance(media_type, str) or not media_type.startswith(_FAMILY):
        raise _malformed(name, "its mediaType is not that of a Sigstore bundle")
    stated = _statement(document.get("dsseEnvelope"))
    kind, predicate = stated.get("predicateType"), stated.get("predicate")
    critical = isinstance(predicate, dict) and predicate.get("critical") is True
    return kind if isinstance(kind, str) else "", critical


def _statement(envelope: Any) -> dict[str, Any]:
    payload = envelope.get("payload") if isinstance(envelope, dict) else None
    if not isinstance(payload, str):
        return {}
    try:
        return strict_json.read_object(base64.b64decode(payload, validate=True), limit=bundle.MAX_BYTES)
    except (strict_json.JsonError, ValueError):
        return {}


def _malformed(name: str, reason: str) -> MalformedBundleError:
    return MalformedBundleError(f"{name} is no Sigstore bundle: {reason}", "fetch the release again")
