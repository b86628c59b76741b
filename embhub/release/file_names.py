"""What the files of a release may be called, and how large and how many they may be. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from embhub.artifact import embedding
from embhub.trust import bundle

EMBEDDING = "learned_embeds.safetensors"
CARD = "README.md"
AUDIT = "audit.json"
SAMPLES = "samples.png"
STUDY = "study.json"  # who joined the study that an embedding is the outcome of, and who consented to the file
PUBLISH_BUNDLE = "attestations/publish.sigstore.json"
AUDIT_BUNDLE = "attestations/audit.sigstore.json"
MODEL_BUNDLE = "attestations/model.sigstore.json"
SOURCE_BUNDLE = "attestations/source.sigstore.json"  # the publish attestation of what a port was ported from
AUDIT_DESIGN = "attestations/audit-design.sigstore.json"  # of an audit that was registered before it ran
AUDIT_RESULT = "attestations/audit-result.sigstore.json"
LIMITS: Mapping[str, int] = MappingProxyType(
    {
        EMBEDDING: embedding.MAX_BYTES,
        CARD: 256_000,
        AUDIT: 2_000_000,
        SAMPLES: 512_000,
        STUDY: 400_000,
        PUBLISH_BUNDLE: bundle.MAX_BYTES,
        AUDIT_BUNDLE: bundle.MAX_BYTES,
        MODEL_BUNDLE: bundle.MAX_BYTES,
        SOURCE_BUNDLE: bundle.MAX_BYTES,
    }
)
FILES = tuple(LIMITS)
OCI_LAYOUT = "oci-layout"  # is in a folder that holds a release in another form
MOST_ATTESTATIONS = 32  # bundles in a release; as many log proofs beside them
_NAME = r"attestations/[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?"
_BUNDLE = re.compile(rf"{_NAME}\.sigstore\.json")
_PROOF = re.compile(rf"{_NAME}\.tlog-proof")
_APPROVAL = re.compile(r"attestations/approval\.[1-9][0-9]?\.sigstore\.json")
_OF_AN_AUDITOR = re.compile(r"attestations/audit\.(.+)\.sigstore\.json")


def limit_of(name: str) -> int | None:
    """The most bytes that a file of this name may have in a release; None where a release holds no such file."""
    if name in LIMITS:
        return LIMITS[name]
    return bundle.MAX_BYTES if _BUNDLE.fullmatch(name) or _PROOF.fullmatch(name) else None


def is_attestation(name: str) -> bool:
    """Whether this is the name of a bundle, of whatever predicate type."""
    return _BUNDLE.fullmatch(name) is not None


def approval_bundle(number: int) -> str:
    """Where the registry puts an approval: it numbers them from 1."""
    return f"attestations/approval.{number}.sigstore.json"


def is_approval(name: str) -> bool:
    """Whether this is the name of an approval's bundle."""
    return _APPROVAL.fullmatch(name) is not None


def is_log_proof(name: str) -> bool:
    """Whether this is the name of a transparency log's proof beside a bundle."""
    return _PROOF.fullmatch(name) is not None


def audit_bundle_of(namespace: str) -> str:
    """Where an auditor's attestation stands; the publisher's own is `AUDIT_BUNDLE`."""
    return f"attestations/audit.{namespace}.sigstore.json"


def auditor_in(name: str) -> str | None:
    """The namespace of the auditor whose attestation has this file name, or None."""
    found = _OF_AN_AUDITOR.fullmatch(name)
    return found[1] if found else None


def too_many(names: Iterable[str]) -> str | None:
    """Why these are more attestations, or more log proofs, than a release may hold; or None."""
    held = list(names)
    for what, kind in (("attestations", is_attestation), ("log proofs", is_log_proof)):
        if (count := sum(map(kind, held))) > MOST_ATTESTATIONS:
            return f"{count} {what}, at most {MOST_ATTESTATIONS} are taken"
    return None


def in_order(names: Iterable[str]) -> list[str]:
    """The fixed names first, in the order of `LIMITS`, then further attestations by name."""
    given = set(names)
    return [name for name in LIMITS if name in given] + sorted(given - LIMITS.keys())
