"""Approvals of a release before it is published: an in-toto statement on every file, by digest. Pure.

`signed` is signed by the approver's own key. `registry` is the registry's word that somebody whom it had logged in
approved in its page: whoever runs the registry could write it. The two are never shown as one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

import rfc8785
from pydantic import Field

from embhub.formats import instants
from embhub.release.file_names import EMBEDDING, is_approval, is_log_proof
from embhub.trust import dsse, statement
from embhub.trust.statement import Digest, Origin, Predicate, Repository, Sha256, Statement, Version

TYPE = "https://embhub.org/attestation/approval/v1"
Kind = Literal["signed", "registry"]


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
    return {name: files[name] for name in sorted(files) if not is_approval(name) and not is_log_proof(name)}


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
    return statement.checked(Statement(files[EMBEDDING], TYPE, predicate), Approval)


def read(stated: Statement) -> Approval:
    """The facts of an approval.

    Raises:
        WrongPredicateError: a statement of another kind.
        MalformedStatementError: a member is missing or not of its form, or the digest is not that of the files.
    """
    found = statement.read_as(stated, TYPE, Approval)
    if digest_of(found.files) != found.release.sha256 or found.files.get(EMBEDDING) != stated.digest:
        raise statement.malformed("the digest is not that of the files")
    return found


def pseudonym(proposal: str, approver: str) -> str:
    """What an approval calls an approver: the same within one proposal, and unrelated to that of another."""
    return hashlib.sha256(f"{proposal}\n{approver}".encode()).hexdigest()[:16]


def sign(stated: Statement, *, key: dsse.Signer) -> dsse.Envelope:
    """The statement in a signed envelope."""
    return statement.sign(stated, key=key)
