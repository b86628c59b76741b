"""What those who pulled a release found of it: in-toto statements with rounded figures, each signed by one site. Pure.

A registry hands them out and cannot invent one. Each is the claim of whoever signed it: nobody but that site can check
the figures, which are of its own patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from embhub.cards import published_evaluation
from embhub.cards.published_evaluation import Figures
from embhub.errors import ArtifactError
from embhub.formats import instants, names
from embhub.formats.plain_text import plain
from embhub.formats.validation import Repository, Version
from embhub.refusals import Finding, ReleaseRefusedError
from embhub.release.checks import signers
from embhub.trust import bundle, kinds, statement
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import Trust
from embhub.trust.statement import Origin, Predicate, Statement

CHECK = "evaluation"


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


class Evaluated(BaseModel):
    """One site's evaluation of an embedding, as its signed statement gives it.

    `own` where the release's publisher signed it. `institution` is the signer's name in the keyring of `registry`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    namespace: str
    institution: str
    own: bool
    repository: str
    version: str
    created: str
    registry: str
    fingerprint: str
    figures: Figures

    def in_words(self) -> str:
        """Who found what, and that it is their claim."""
        who = f"{self.namespace}, its publisher," if self.own else f"{self.namespace}"
        where = f"as {self.repository} {self.version}, {self.created[:10]}"
        return f"{who} evaluated these bytes ({where}), a claim that nobody checked: {self.figures.in_words()}"


class Removed(BaseModel):
    """An evaluation that the registry's operator removed, by the registry's word alone."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    namespace: Annotated[str, Field(max_length=100)]
    removed: Annotated[str, Field(max_length=40)]
    reason: Annotated[str, Field(max_length=1000)]

    def in_words(self) -> str:
        """Whose it was, when and why."""
        return f"an evaluation by {self.namespace} was removed by the registry's operator ({self.removed[:10]}): " + (
            self.reason
        )


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
    return statement.build(kinds.EVALUATION, Evaluation, digest, predicate)


def read_facts(payload: bytes) -> tuple[str, Evaluation, Figures]:
    """The SHA-256 of the embedding, the facts of its evaluation, and its figures.

    Raises:
        WrongPredicateError: a statement of another kind.
        MalformedStatementError: a member is missing, unknown or not of its form, the figures break a rule, or it is
            spelled in another way.
    """
    digest, facts = statement.read_exactly(payload, kinds.EVALUATION, Evaluation)
    try:
        return digest, facts, published_evaluation.parse(facts.figures)
    except ArtifactError as error:
        raise statement.malformed(error.message) from error


def read(data: bytes, *, digest: str, trusts: Sequence[Trust]) -> Evaluated:
    """One evaluation of the embedding with this SHA-256, its signature checked.

    Raises:
        ReleaseRefusedError: malformed, about other bytes, or by a key that may not sign it.
    """
    return _check(bundle.parse(data), digest=digest, trusts=trusts)


def _check(signed: Bundle, *, digest: str, trusts: Sequence[Trust]) -> Evaluated:
    subject, facts, figures = read_facts(signed.envelope.payload)
    if subject != digest:
        raise ReleaseRefusedError("an evaluation is about another embedding", "fetch it again")
    trust, key, _ = signers.find(signed, kinds.EVALUATION, trusts=trusts, registry=facts.registry)
    signers.check_in_use(kinds.EVALUATION, key, created=facts.created)
    return Evaluated(
        namespace=key.namespace, institution=key.name or key.namespace,
        own=key.namespace == names.namespace_of(facts.repository), repository=facts.repository, version=facts.version,
        created=facts.created, registry=trust.registry, fingerprint=key.fingerprint, figures=figures,
    )  # fmt: skip


def parse(
    data: bytes, *, digest: str, trusts: Sequence[Trust]
) -> tuple[tuple[Evaluated, ...], tuple[Removed, ...], int]:
    """A registry's answer to who evaluated these bytes, what was removed, and how many did not hold.

    Raises:
        ValueError: not such an answer, or one about other bytes.
    """
    found: list[Evaluated] = []
    removed, refused = [], 0
    for row in bundle.rows(data, kinds.EVALUATION, digest=digest):
        if row.get("bundle") is None:
            removed.append(Removed.model_validate(dict(row)))
            continue
        try:
            found.append(_check(bundle.held_in(row), digest=digest, trusts=trusts))
        except ReleaseRefusedError:
            refused += 1
    last = signers.last_words(
        found, of=lambda one: (one.namespace, one.repository), order=lambda one: instants.read(one.created)
    )  # fmt: skip
    return tuple(last), tuple(removed), refused


def say(found: Iterable[Evaluated], removed: Iterable[Removed]) -> list[Finding]:
    """A note on each, whatever it found."""
    texts = [*(one.in_words() for one in found), *(one.in_words() for one in removed)]
    return [Finding(CHECK, "note", plain(text)) for text in texts]
