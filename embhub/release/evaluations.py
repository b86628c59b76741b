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

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

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


def read(stated: Statement) -> tuple[Evaluation, Figures]:
    """The facts of an evaluation, and its figures.

    Raises:
        WrongPredicateError: a statement of another kind.
        MalformedStatementError: a member is missing, unknown or not of its form, or the figures break a rule.
    """
    facts = statement.read_as(stated, TYPE, Evaluation)
    try:
        return facts, published_evaluation.parse(facts.figures)
    except ArtifactError as error:
        raise statement.malformed(error.message) from error


def sign(stated: Statement, *, key: dsse.Signer) -> dsse.Envelope:
    """The statement in a signed envelope."""
    return statement.sign(stated, key=key)
