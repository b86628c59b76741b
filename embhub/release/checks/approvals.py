"""Approvals of a release before it is published: an in-toto statement on every file, by digest, and who counts. Pure.

`signed` is signed by the approver's own key. `registry` is the registry's word that somebody whom it had logged in
approved in its page: whoever runs the registry could write it. The two are never shown as one. An approval that does
not fit counts for nothing, and says so; it makes no release unusable. The demands `approved` and `approved-by-key` ask
for one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import rfc8785
from pydantic import Field

from embhub.formats import instants
from embhub.formats.validation import Repository, Version
from embhub.refusals import (
    Finding,
    ReleaseRefusedError,
    UnknownSignerError,
    WrongRegistryError,
    WrongRepositoryError,
    WrongRoleError,
)
from embhub.release import files as release_files
from embhub.release.checks import signers
from embhub.trust import bundle, dsse, kinds, statement
from embhub.trust.statement import Digest, Origin, Predicate, Sha256, Statement

if TYPE_CHECKING:
    from embhub.release.checks.signers import Signer
    from embhub.release.files import Release
    from embhub.trust import p256
    from embhub.trust.bundle import Bundle
    from embhub.trust.keyring import KnownKey, Trust
    from embhub.trust.statement import Publish

Kind = Literal["signed", "registry"]
CHECK = "approval"
_HINT = "ask the release's publisher who approved it"
_COVERED = (
    release_files.EMBEDDING, release_files.CARD, release_files.AUDIT, release_files.SAMPLES,
    release_files.PUBLISH_BUNDLE,
)  # fmt: skip


class Approval(Predicate):
    """`approval/v1`: these files may be published under this name and version.

    `release` covers `files`, the SHA-256 of each file by name. `approver` is a pseudonym that differs between two
    approvers of one release; it is no account's name, because a signed file cannot be changed when somebody leaves.
    """

    registry: Origin
    repository: Repository
    version: Version
    release: Sha256
    files: Annotated[dict[str, Digest], Field(min_length=1, max_length=100)]
    kind: Kind
    approver: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    created: instants.Instant


def digest_of(files: Mapping[str, str]) -> str:
    """The digest that is approved: SHA-256 of the canonical JSON of every file's SHA-256 by name.

    Approvals and log proofs are left out, because they come after it.
    """
    return hashlib.sha256(rfc8785.dumps({"files": covered(files)})).hexdigest()


def covered(files: Mapping[str, str]) -> dict[str, str]:
    """What an approval covers of these files: all but approvals and log proofs."""
    later = (release_files.is_approval, release_files.is_log_proof)
    return {name: files[name] for name in sorted(files) if not any(is_later(name) for is_later in later)}


def build(
    files: Mapping[str, str],
    *,
    registry: str,
    repository: str,
    version: str,
    kind: Kind,
    approver: str,
    created: datetime,
) -> Statement:
    """The statement by which somebody approves a release; `files` are SHA-256 by name, the embedding among them.

    Raises:
        MalformedStatementError: an origin, name, version or digest that no reader would accept.
    """
    predicate = {
        "registry": registry,
        "repository": repository,
        "version": version,
        "release": {"sha256": digest_of(files)},
        "files": covered(files),
        "kind": kind,
        "approver": approver,
        "created": instants.write(created),
    }
    return statement.build(kinds.APPROVAL, Approval, files[release_files.EMBEDDING], predicate)


def read_facts(stated: Statement) -> Approval:
    """The facts of an approval.

    Raises:
        WrongPredicateError: a statement of another kind.
        MalformedStatementError: a member is missing or not of its form, or the digest is not that of the files.
    """
    found = statement.read_as(stated, kinds.APPROVAL, Approval)
    if digest_of(found.files) != found.release.sha256 or found.files.get(release_files.EMBEDDING) != stated.digest:
        raise statement.malformed("the digest is not that of the files")
    return found


def pseudonym(proposal: str, approver: str) -> str:
    """What an approval calls an approver: the same within one proposal, and unrelated to that of another."""
    return hashlib.sha256(f"{proposal}\n{approver}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Approved:
    """One approval that counts.

    Attributes:
        kind: `signed` by an approver's own key, or `registry`: its word that somebody whom it knows clicked.
        namespace: The approver's namespace.
        approver: A pseudonym, which differs between approvers of one release.
        fingerprint: The key that signed: the approver's own, or the registry's.
        created: When, by the statement.
        digest: The digest of all files that was approved.
    """

    kind: Kind
    namespace: str
    approver: str
    fingerprint: str
    created: str
    digest: str

    def in_words(self) -> str:
        """Who, when, what, and on whose word."""
        what = f"on {self.created[:10]}, digest {self.digest[:12]}…"
        if self.kind == "signed":
            return f"approved by {self.namespace}'s approver with the key {self.fingerprint}, {what}"
        return f"approved by an approver of {self.namespace} ({self.approver}), {what}, by the registry's word alone"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def find(
    release: Release, publish: Publish, *, keyring: Trust, publisher: Signer
) -> tuple[tuple[Approved, ...], list[Finding]]:
    """The approvals that count, each once, and a finding on every one."""
    found: dict[tuple[str, str], Approved] = {}
    findings: list[Finding] = []
    for name in sorted(filter(release_files.is_approval, release.files)):
        try:
            one = _read(release, name, publish, keyring=keyring, publisher=publisher)
        except ReleaseRefusedError as error:
            findings.append(Finding(CHECK, "warning", f"{name} counts for nothing: {error.message}"))
            continue
        who = (one.kind, one.fingerprint if one.kind == "signed" else one.approver)
        if who not in found:
            found[who] = one
            findings.append(Finding(CHECK, "ok" if one.kind == "signed" else "note", one.in_words()))
    return tuple(found.values()), findings


def approver_key(given: Bundle, keyring: Trust, *, namespace: str, created: str | None = None) -> KnownKey:
    """The key of an approver of `namespace` that signed, and is in use, or was when it signed at `created`.

    Raises:
        ReleaseRefusedError: as `signers.find` and `signers.check_in_use`.
    """
    _, key, _ = signers.find(given, kinds.APPROVAL, trusts=(keyring,), registry=None, of=namespace)
    signers.check_in_use(kinds.APPROVAL, key, created=created)
    return key


def _read(release: Release, name: str, publish: Publish, *, keyring: Trust, publisher: Signer) -> Approved:
    given = bundle.parse(release.files[name])
    facts = read_facts(given.statement)
    if facts.kind == "signed":
        key = approver_key(given, keyring, namespace=publisher.namespace, created=facts.created)
        if key.fingerprint == publisher.fingerprint:
            raise WrongRoleError("the key that signed the release approved it", _HINT)
    else:
        dsse.verify(given.envelope, public_key=_registry_key(given, keyring))
    if facts.registry != publish.registry:
        raise WrongRegistryError(f"it was made for the registry {facts.registry}", _HINT)
    if (facts.repository, facts.version) != (publish.repository, publish.version):
        raise WrongRepositoryError(f"it is about {facts.repository} {facts.version}", _HINT)
    for path in _COVERED:
        held = release.files.get(path)
        if facts.files.get(path) != (None if held is None else release_files.digest(held)):
            raise WrongRepositoryError(f"{path} is not the file that was approved", _HINT)
    return Approved(
        facts.kind, publisher.namespace, facts.approver, given.hint, facts.created, facts.release.sha256
    )  # fmt: skip


def _registry_key(given: Bundle, keyring: Trust) -> p256.PublicKey:
    named = (keyring.keyring.online or {}).get(kinds.APPROVAL.purpose or "")
    if named is None or named.fingerprint != given.hint:
        raise UnknownSignerError(f"the key {given.hint} is not the registry's", _HINT)
    return named.public


def missing(found: tuple[Approved, ...], *, by_key: bool) -> Iterator[str]:
    """Why a release does not meet the demand that somebody approved it."""
    if by_key and not any(one.kind == "signed" for one in found):
        yield "no approver's own key approved it" + (", only the registry says so" if found else "")
    elif not found:
        yield "nobody approved it before it was published"
