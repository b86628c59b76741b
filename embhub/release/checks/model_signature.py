"""A release's signature in the format of OpenSSF model signing (OMS 1.0), by the publisher's key. Pure.

The stock tool `model_signing verify key` checks it without embhub. It covers the bytes of the files outside
`attestations/`, and neither registry, name, version nor privacy claim: our own statement covers those.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from embhub.refusals import DigestMismatchError, Finding, UnknownSignerError, WrongPredicateError
from embhub.release import files as release_files
from embhub.release.checks.further_attestations import MODEL_SIGNATURE
from embhub.release.files import Release
from embhub.trust import bundle, dsse, p256
from embhub.trust.statement import Statement

CHECK = "model-signature"
IGNORED = ("attestations",)
_HINT = "the publisher has to sign anew (`embhub sign`); do not use this one"


def build(files: Mapping[str, bytes], *, repository: str, key: dsse.Signer) -> bytes:
    """The bundle over a release's files; its key hint is the one that model signing compares."""
    digests = {name: release_files.digest(data) for name, data in sorted(files.items()) if not _is_ignored(name)}
    predicate = {
        "serialization": {
            "method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": list(IGNORED),
        },
        "resources": [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in digests.items()],
    }  # fmt: skip
    signed = Statement(_root(digests.values()), MODEL_SIGNATURE, predicate, repository)
    envelope = dsse.sign(signed.to_bytes(), key=key)
    document = {
        "mediaType": bundle.MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint_of(key.public_pem)}, "tlogEntries": []},
        "dsseEnvelope": {**envelope.to_json(), "signatures": [{**envelope.to_json()["signatures"][0], "keyid": ""}]},
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"


def hint_of(pem: str) -> str:
    """The key hint of model signing: SHA-256 of the public key's PEM, in hex."""
    return hashlib.sha256(pem.encode("ascii")).hexdigest()


def check(release: Release, *, publisher: p256.PublicKey, findings: list[Finding]) -> None:
    """Whether the model signature, where there is one, is the publisher's and about these files.

    Raises:
        MalformedBundleError, WrongPredicateError: it is no such signature.
        UnknownSignerError, BadSignatureError: the key that signed the release did not sign it.
        DigestMismatchError: it is about other files.
    """
    attestation = release.model_bundle
    if attestation is None:
        return
    if attestation.hint != hint_of(p256.public_pem(publisher)):
        raise UnknownSignerError("the model signature names another key than the publish attestation", _HINT)
    dsse.verify(attestation.envelope, public_key=publisher)
    signed = attestation.statement
    if signed.predicate_type != MODEL_SIGNATURE:
        raise WrongPredicateError(f"{release_files.MODEL_BUNDLE} holds a statement of another type", _HINT)
    named = _resources(signed.predicate.get("resources"))
    if release_files.EMBEDDING not in named or _root(named.values()) != signed.digest:
        raise DigestMismatchError("the model signature does not name the files that it is about", _HINT)
    for name, digest in named.items():
        if name not in release.files or release_files.digest(release.files[name]) != digest:
            raise DigestMismatchError(f"the model signature is about another {ascii(name)[1:-1][:60]}", _HINT)
    text = f"the OpenSSF model signature covers {len(named)} files, by the same key"
    findings.append(Finding(CHECK, "ok", text))


def _resources(rows: Any) -> dict[str, str]:
    if not isinstance(rows, list):
        return {}
    found: dict[str, str] = {}
    for row in rows:
        name, digest = (row.get("name"), row.get("digest")) if isinstance(row, dict) else (None, None)
        if (
            not isinstance(name, str)
            or not isinstance(digest, str)
            or name in found
            or row.get("algorithm") != "sha256"
        ):
            return {}
        found[name] = digest
    return found


def _root(digests: Any) -> str:
    whole = hashlib.sha256()
    for digest in digests:
        try:
            whole.update(bytes.fromhex(digest))
        except ValueError:
            return ""
    return whole.hexdigest()


def _is_ignored(name: str) -> bool:
    return name.partition("/")[0] in IGNORED
