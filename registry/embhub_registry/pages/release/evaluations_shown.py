"""What those who pulled a release found of it, as its page shows it: good or bad, each in its signer's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from embhub.cards.evaluation import HARMED, HELPED
from embhub.cards.published_evaluation import Area, Figures, Gain
from embhub.release.checks.evaluated import Evaluated
from embhub.release.files import EMBEDDING
from embhub.trust.keyring import Trust
from embhub_registry.database import Connection
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.statements.evaluation_rows import EvaluationRow
from embhub_registry.pages.lists.list_facts import Facts
from embhub_registry.repositories import evaluations
from embhub_registry.repositories.repos import Snapshot

_STYLES: Mapping[str, Literal["good", "bad"]] = {HELPED: "good", HARMED: "bad"}
SHORT = {HELPED: "it helped", HARMED: "it did harm"}
NOTHING = "no difference that it can show"


class EvaluationShown(Facts):
    """One site's evaluation. `figures` is None where the operator removed it; `reason` and `removed` say why and when.

    `own` where the release's publisher signed it, `earlier` where it is of other bytes: of another version.
    """

    namespace: str
    institution: str
    own: bool
    earlier: bool
    repository: str
    version: str
    date: str
    replaced: int
    fingerprint: str | None
    style: Literal["good", "weak", "bad"]
    short: str
    figures: Figures | None
    removed: str | None
    reason: str | None


def collect(db: Connection, snapshot: Snapshot, trust: Trust, *, reader: Account | None) -> tuple[EvaluationShown, ...]:
    """Those of these bytes first, then those of other versions of the repository; each part the newest first.

    What is in quarantine is left out for a `reader` who may not see it.
    """
    repository = snapshot.repository
    entry = repositories.find_entry(db, repository.id, snapshot.revision.id, EMBEDDING)
    if entry is None:
        return ()
    known = {member.namespace: member.name or member.namespace for member in trust.keyring.members}
    return tuple(
        _shown(row, found, known.get(row.namespace, row.namespace), earlier=row.digest != entry.digest)
        for row, found in evaluations.shown(db, entry.digest, repository, trust, reader=reader)
    )


def _shown(row: EvaluationRow, found: Evaluated | None, institution: str, *, earlier: bool) -> EvaluationShown:
    figures = found.figures if found else None
    outcome = figures.outcome if figures else ""
    return EvaluationShown(
        namespace=row.namespace, institution=institution, own=row.own, earlier=earlier, repository=row.repository,
        version=row.version, date=row.created, replaced=row.replaced,
        fingerprint=row.fingerprint if found else None, style=_STYLES.get(outcome, "weak"),
        short="removed by the registry’s operator" if figures is None else SHORT.get(outcome, NOTHING),
        figures=figures, removed=row.removed, reason=row.reason,
    )  # fmt: skip


def in_figures(found: Area | Gain) -> str:
    """A figure with its interval: `0.80 (0.75 to 0.90)`, gains with their sign."""
    low, high = found.interval
    if isinstance(found, Area):
        return f"{found.auc:.2f} ({low:.2f} to {high:.2f})"
    return f"{found.gain:+.2f} ({low:+.2f} to {high:+.2f})"
