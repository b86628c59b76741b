"""A commit that is not published yet: kept apart, until its digest is approved or its embargo ends."""

from __future__ import annotations

import secrets

from embhub.release.checks import approvals
from embhub_registry.admission.storing import Judged, store
from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.statements import proposals
from embhub_registry.database.statements.proposals import Proposal
from embhub_registry.repositories import reviewing
from embhub_registry.storage import quotas
from embhub_registry.storage.folder import Registry


def keep(
    registry: Registry, author: Account, judged: Judged, *, needed: int, not_before: str | None
) -> Proposal | None:
    """Keep a change that admission took, in place of the author's open proposal there; None where the branch moved.

    The same files again, proposed by the same account, are the proposal that is open.

    Raises:
        RequestDeniedError: 403 where the author was shut out meanwhile.
    """
    change = judged.change
    repository = change.repository
    digest = approvals.digest_of({row.path: row.digest for row in change.rows})
    for present in proposals.open_of(registry.database.connection(), repository.id, author_id=author.user_id):
        same = (present.digest, present.branch, present.parent) == (digest, change.branch, change.head.id)
        if same and present.needed >= needed and present.not_before == not_before:
            return present
    made = Proposal(
        id=secrets.token_hex(20), repository_id=repository.id, namespace=repository.namespace, name=repository.name,
        branch=change.branch, parent=change.head.id, digest=digest, version=judged.admitted.version or None,
        author=author.user, author_id=author.user_id, caller=change.caller, admin=change.admin, title=change.title,
        message=change.message, created=stamp(), needed=needed, not_before=not_before,
    )  # fmt: skip
    replaced: list[Proposal] = []

    def add(db: Connection) -> bool:
        reviewing.require_same_role(db, author, change.caller)
        if repositories.find_ref(db, repository.id, change.branch) != change.head.id:
            return False
        if proposals.required(db, repository.namespace, repository.name) > needed:
            return False
        for before in proposals.open_of(db, repository.id, author_id=author.user_id):
            if before.branch == change.branch:
                reviewing.end(db, before, state="replaced", by=author.user, reason="a newer push replaced it")
                replaced.append(before)
        proposals.add(db, made, change.rows)
        quotas.check(db, repository.namespace, "bytes")
        if needed:
            reviewing.tell(db, "review.requested", made)
        return True

    if not store(registry, judged, add):
        return None
    for before in replaced:
        reviewing.note(registry, "proposal-replaced", before, user=author.user, by=made.id)
    reviewing.note(registry, "release-proposed", made, user=author.user, needed=needed, not_before=not_before)
    return made
