"""What those who pulled a release found of it: signed claims, looked up by the embedding's digest. Pure.

A registry hands them out and cannot invent one. Their figures are checked by nobody but the site that signed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from embhub.cards.published_evaluation import Figures
from embhub.formats import instants, names, strict_json
from embhub.formats.plain_text import plain
from embhub.refusals import Finding, ReleaseRefusedError
from embhub.release import evaluations
from embhub.release.checks import signers
from embhub.trust import bundle, kinds
from embhub.trust.keyring import Trust

CHECK = "evaluation"
MOST = 50
MAX_BYTES = 1_000_000


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


def read(data: bytes, *, digest: str, trusts: Sequence[Trust]) -> Evaluated:
    """One evaluation of the embedding with this SHA-256, its signature checked.

    Raises:
        ReleaseRefusedError: malformed, about other bytes, or by a key that may not sign it.
    """
    signed = bundle.parse(data)
    subject, facts, figures = evaluations.read(signed.envelope.payload)
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
    document = strict_json.read_object(data, limit=MAX_BYTES)
    rows = document.get("evaluations")
    if document.get("embedding") != digest or not isinstance(rows, list) or len(rows) > MOST:
        raise ValueError("it is no list of evaluations of this embedding")
    found: dict[tuple[str, str], Evaluated] = {}
    removed, refused = [], 0
    for row in rows:
        if not isinstance(row, Mapping):
            raise ValueError("a row is no object")
        if row.get("bundle") is None:
            removed.append(Removed.model_validate(dict(row)))
            continue
        try:
            one = read(json.dumps(row["bundle"]).encode(), digest=digest, trusts=trusts)
        except ReleaseRefusedError:
            refused += 1
            continue
        before = found.get((one.namespace, one.repository))
        if before is None or instants.read(one.created) > instants.read(before.created):
            found[one.namespace, one.repository] = one
    return tuple(found.values()), tuple(removed), refused


def say(found: Iterable[Evaluated], removed: Iterable[Removed], refused: int) -> list[Finding]:
    """A note on each, whatever it found; a warning where some do not verify."""
    texts = [*(one.in_words() for one in found), *(one.in_words() for one in removed)]
    said = [Finding(CHECK, "note", plain(text)) for text in texts]
    if refused:
        text = f"the registry showed evaluations of these bytes that do not verify: {refused}, left out"
        said.append(Finding(CHECK, "warning", text))
    return said


def to_row(data: bytes) -> dict[str, Any]:
    """An evaluation's file as a row of the answer that `parse` reads."""
    return {"bundle": json.loads(data)}
