"""Evaluations of a release by those who pulled it: an in-toto statement with figures that are rounded. Pure.

It is the claim of whoever signed it. Nobody but that site can check the figures: they are of its own patients.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from embhub.cards import published_evaluation
from embhub.cards.published_evaluation import Figures
from embhub.errors import ArtifactError
from embhub.formats import instants
from embhub.trust import dsse, statement
from embhub.trust.statement import Origin, Predicate, Repository, Statement, Version

TYPE = "https://embhub.org/attestation/evaluation/v1"
MAX_BYTES = 12_000
"""Of a bundle."""


class Evaluation(Predicate):
    """`evaluation/v1`: what the signer's own evaluation of the subject found.

    Unknown members are refused, other than in the statements beside it: nothing may leave a site, or stay at a
    registry, that these rules say nothing of.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    registry: Origin
    repository: Repository
    version: Version
    figures: dict[str, Any]
    tool: Annotated[str, Field(pattern=r"^embhub [0-9A-Za-z.+-]{1,40}$")]
    created: instants.Instant


def build(
    digest: str,
    figures: Figures,
    *,
    registry: str,
    repository: str,
    version: str,
    tool: str,
    created: datetime,
) -> Statement:
    """The statement by which a site publishes what it found of the embedding with this SHA-256.

    Raises:
        MalformedStatementError: an origin, name or version that no reader would accept.
    """
    predicate = {
        "registry": registry,
        "repository": repository,
        "version": version,
        "figures": figures.to_json(),
        "tool": tool,
        "created": instants.write(created),
    }
    return statement.checked(Statement(digest, TYPE, predicate), Evaluation)


def read(payload: bytes) -> tuple[str, Evaluation, Figures]:
    """The SHA-256 of the embedding, the facts of its evaluation, and its figures.

    The bytes are those of RFC 8785, the one spelling of a statement: another could carry what these rules forbid, in
    members beside the predicate, in digits that no parser keeps, or in white space.

    Raises:
        WrongPredicateError: a statement of another kind.
        MalformedStatementError: a member is missing, unknown or not of its form, the figures break a rule, or it is
            spelled in another way.
    """
    stated = statement.parse(payload)
    facts = statement.read_as(stated, TYPE, Evaluation)
    try:
        figures = published_evaluation.parse(facts.figures)
        spelled = Statement(stated.digest, TYPE, stated.predicate).to_bytes()
    except ArtifactError as error:
        raise statement.malformed(error.message) from error
    if spelled != payload:
        raise statement.malformed("an evaluation has one spelling (RFC 8785), and no other members")
    return stated.digest, facts, figures


def sign(stated: Statement, *, key: dsse.Signer) -> dsse.Envelope:
    """The statement in a signed envelope."""
    return statement.sign(stated, key=key)
