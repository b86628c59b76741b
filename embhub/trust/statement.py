"""in-toto Statement v1 (https://github.com/in-toto/attestation) and the predicates that embhub signs.

Written as canonical JSON (RFC 8785); read in any spelling, unknown members ignored as the specification asks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from embhub.errors import ArtifactError
from embhub.formats import instants, strict_json
from embhub.formats.validation import Repository, Version, explain
from embhub.refusals import MalformedStatementError, WrongPredicateError
from embhub.trust import dsse, kinds
from embhub.trust.origin import origin_fault

if TYPE_CHECKING:
    from embhub.trust.kinds import Kind

TYPE = "https://in-toto.io/Statement/v1"
SUBJECT_NAME = "learned_embeds.safetensors"
NUMBERS = "embhubNumbers"  # of an in-toto digest set: `embhub.artifact.numbers`
MAX_BYTES = 48_000
MOST_HEADS = 64

_ABSOLUTE = re.compile(r"https?://[^\s/]+/\S+")
_HINT = "the publisher has to sign anew with `embhub sign`"


def _origin(text: str) -> str:
    if fault := origin_fault(text):
        raise ValueError(fault)
    return text


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Origin = Annotated[str, AfterValidator(_origin)]
PrivacyClaim = str | dict[str, Any]


class Predicate(BaseModel):
    """Facts of a statement: unknown members are ignored, as in-toto asks."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, defer_build=True)


class Sha256(Predicate):
    """An in-toto digest set with the one algorithm in use."""

    sha256: Digest


class LedgerHeads(Predicate):
    """The site's privacy ledger as its releases show it: an id, and a keyed hash of the ledger at each release.

    `heads` are those of the releases up to this one, the newest last, at most 64; `number` counts all of them.
    """

    id: Digest
    number: Annotated[int, Field(ge=1, le=10_000_000)]
    heads: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=MOST_HEADS, strict=False)]


class Publish(Predicate):
    """`publish/v1`: where, under which name and version a namespace publishes the subject, and what comes with it.

    Every member but `ledger` must be there; null says "none" out loud.
    """

    registry: Origin
    repository: Repository
    version: Version
    replaces: Digest | None  # of the embedding that this one supersedes
    card: Sha256
    audit: Sha256 | None
    base: Sha256 | None  # of the base model's fingerprint
    privacy: PrivacyClaim
    recipe: dict[str, Any]
    created: instants.Instant
    ledger: LedgerHeads | None = None


class MiaAudit(Predicate):
    """`mia-audit/v1`: a membership-inference audit of the subject, with the figures that its report leads with."""

    registry: Origin
    repository: Repository
    version: Version
    report: Sha256
    headline: dict[str, Any]
    created: instants.Instant


@dataclass(frozen=True)
class Statement:
    """What a statement says of its one subject. `digest` is the subject's SHA-256 in lower-case hex.

    `numbers` is the digest of an embedding's numbers alone, the second one of the subject; None where it has none.
    """

    digest: str
    predicate_type: str
    predicate: Mapping[str, Any]
    subject_name: str = SUBJECT_NAME
    numbers: str | None = None

    def to_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785).

        Raises:
            ArtifactError: a figure that JSON cannot carry exactly (an integer beyond 2^53, NaN).
        """
        second = {} if self.numbers is None else {NUMBERS: self.numbers}
        document: dict[str, Any] = {
            "_type": TYPE,
            "subject": [{"name": self.subject_name, "digest": {"sha256": self.digest, **second}}],
            "predicateType": self.predicate_type,
            "predicate": dict(self.predicate),
        }
        try:
            return rfc8785.dumps(document)
        except rfc8785.CanonicalizationError as error:
            raise ArtifactError(f"the statement cannot be written exactly: {error}") from error


def build_publish(
    digest: str,
    *,
    numbers: str | None = None,
    registry: str,
    repository: str,
    version: str,
    card_digest: str,
    audit_digest: str | None,
    base_digest: str | None,
    privacy: PrivacyClaim,
    recipe: Mapping[str, Any],
    created: datetime,
    replaces: str | None = None,
    ledger: LedgerHeads | None = None,
) -> Statement:
    """The statement by which `repository` at `registry`, an origin, publishes the embedding with this SHA-256.

    Raises:
        MalformedStatementError: an origin, name, version or digest that no reader would accept.
    """
    facts = {
        "registry": registry,
        "repository": repository,
        "version": version,
        "replaces": replaces,
        "card": {"sha256": card_digest},
        "audit": _reference(audit_digest),
        "base": _reference(base_digest),
        "privacy": privacy,
        "recipe": dict(recipe),
        "created": instants.write(created),
    }
    if ledger is not None:
        facts["ledger"] = ledger.model_dump(mode="json")
    return build(kinds.PUBLISH, Publish, digest, facts, numbers=numbers)


def build_audit(
    digest: str,
    *,
    numbers: str | None = None,
    registry: str,
    repository: str,
    version: str,
    report_digest: str,
    headline: Mapping[str, Any],
    created: datetime,
) -> Statement:
    """The statement by which a site, or an independent auditor, vouches for an audit report of this embedding.

    Raises:
        MalformedStatementError: an origin, name, version or digest that no reader would accept.
    """
    facts = {
        "registry": registry,
        "repository": repository,
        "version": version,
        "report": {"sha256": report_digest},
        "headline": dict(headline),
        "created": instants.write(created),
    }
    return build(kinds.AUDIT, MiaAudit, digest, facts, numbers=numbers)


def sign(statement: Statement, *, key: dsse.Signer) -> dsse.Envelope:
    """The statement in a signed envelope."""
    return dsse.sign(statement.to_bytes(), key=key)


def parse(payload: bytes) -> Statement:
    """Read a statement, the payload of an envelope.

    Raises:
        MalformedStatementError: not Statement v1, duplicate members, no or several subjects, a digest that is not
            64 lower-case hex digits, or a predicate type that is not an absolute URI.
    """
    try:
        document = strict_json.read_object(payload, limit=MAX_BYTES)
    except strict_json.JsonError as error:
        raise malformed(str(error)) from error
    if document.get("_type") != TYPE:
        raise malformed(f"_type is not {TYPE}")
    subjects = document.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
        raise malformed("there must be exactly one subject")
    name, digests = subjects[0].get("name", ""), subjects[0].get("digest")
    if not isinstance(name, str):
        raise malformed("the subject's name is not text")
    digest = digests.get("sha256") if isinstance(digests, dict) else None
    if not isinstance(digests, dict) or not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise malformed("the subject's digest is not a SHA-256 in lower-case hex")
    numbers = digests.get(NUMBERS)
    if numbers is not None and not (isinstance(numbers, str) and re.fullmatch("[0-9a-f]{64}", numbers)):
        raise malformed("the digest of the subject's numbers is not 64 lower-case hex digits")
    kind = document.get("predicateType")
    if not isinstance(kind, str) or not _ABSOLUTE.fullmatch(kind):
        raise malformed("predicateType is not an absolute URI")
    predicate = document.get("predicate")
    if not isinstance(predicate, dict):
        raise malformed("predicate is not an object")
    return Statement(digest, kind, predicate, name, numbers)


def read_publish(statement: Statement) -> Publish:
    """The facts of a `publish/v1` statement.

    Raises:
        WrongPredicateError: a statement of another kind.
        MalformedStatementError: a member is missing or not of its form.
    """
    return read_as(statement, kinds.PUBLISH, Publish)


def read_audit(statement: Statement) -> MiaAudit:
    """The facts of a `mia-audit/v1` statement.

    Raises:
        WrongPredicateError: a statement of another kind.
        MalformedStatementError: a member is missing or not of its form.
    """
    return read_as(statement, kinds.AUDIT, MiaAudit)


_Model = TypeVar("_Model", bound=Predicate)


def read_as(statement: Statement, kind: Kind, model: type[_Model]) -> _Model:
    """The facts of a statement of this kind. Raises as `read_publish`."""
    if statement.predicate_type != kind.type:
        raise WrongPredicateError(f"a statement of type {kind.type} is needed here, this one is another", _HINT)
    try:
        return model.model_validate(dict(statement.predicate))
    except ValidationError as error:
        raise malformed(f"predicate.{explain(error)}") from error


def read_exactly(payload: bytes, kind: Kind, model: type[_Model], *, name: str = SUBJECT_NAME) -> tuple[str, _Model]:
    """The subject's SHA-256 and the facts of a statement of this kind, from the bytes of RFC 8785 alone.

    Another spelling could carry what the model forbids: in members beside the predicate, in digits that no parser
    keeps, or in white space.

    Raises:
        WrongPredicateError: a statement of another kind.
        MalformedStatementError: a member is missing, unknown or not of its form, or it is spelled in another way.
    """
    stated = parse(payload)
    facts = read_as(stated, kind, model)
    try:
        spelled = Statement(stated.digest, kind.type, stated.predicate, name).to_bytes()
    except ArtifactError as error:
        raise malformed(error.message) from error
    if spelled != payload:
        raise malformed("it has one spelling (RFC 8785), and no other members")
    return stated.digest, facts


def build(
    kind: Kind,
    model: type[Predicate],
    digest: str,
    facts: Mapping[str, Any],
    *,
    numbers: str | None = None,
    name: str = SUBJECT_NAME,
) -> Statement:
    """A statement about the embedding, or what has this `name`, with this SHA-256, read once as every reader will.

    Raises:
        MalformedStatementError: a fact that no reader would accept.
    """
    made = Statement(digest, kind.type, facts, name, numbers)
    read_as(parse(made.to_bytes()), kind, model)
    return made


def _reference(digest: str | None) -> dict[str, str] | None:
    return None if digest is None else {"sha256": digest}


def malformed(reason: str) -> MalformedStatementError:
    """The error for a statement that breaks the rules, and why."""
    return MalformedStatementError(f"not a statement that embhub reads: {reason}", _HINT)
