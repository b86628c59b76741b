"""Moving `main` back to an earlier good release: the operator's cure where a thief's release stands on top."""

from __future__ import annotations

from typing import Any

from embhub.release import verification
from embhub.release.file_names import limit_of
from embhub.release.files import Release
from embhub_registry.admission.listing import describe
from embhub_registry.admission.rules import Admitted
from embhub_registry.database.clock import now
from embhub_registry.database.releases import repositories
from embhub_registry.database.standing import yanks
from embhub_registry.http_errors import RequestDeniedError, no_repository, no_revision
from embhub_registry.people.names import is_commit
from embhub_registry.repositories import advisories, audit_standing, deletion, repos, withdrawals
from embhub_registry.repositories.yanking import check_reason
from embhub_registry.storage.folder import Registry


def move(registry: Registry, full_name: str, commit: str, *, reason: str) -> dict[str, Any]:
    """Point `main` to a commit that holds a good release. Commits and versions stay, so the next version is higher.

    Raises:
        RequestDeniedError: no such repository, commit or release; it is yanked, withdrawn or set aside; no reason.
        VerificationError: the release does not verify with the present keyring.
    """
    namespace, name = deletion.split(full_name)
    reason = check_reason(reason)
    db = registry.database.connection()
    repository = repositories.find(db, namespace, name)
    if repository is None:
        raise no_repository(full_name)
    if not is_commit(commit):
        raise no_revision(full_name, commit)
    snapshot = repos.at(db, repository, commit, None)
    if snapshot.revision.release_version is None:
        raise RequestDeniedError(422, "revision", f"{commit} holds no release", "name a commit that published one")
    if marked := yanks.find(db, repository.id, commit):
        raise RequestDeniedError(422, "yanked", f"{commit} is not recommended: {marked.reason}", "name another commit")
    files = repos.files(registry, snapshot)
    release = Release.from_files({path: data for path, data in files.items() if limit_of(path) is not None})
    verified = verification.verify(release, trust=registry.trust(), repository=full_name, now=now())
    described = describe(full_name, files, Admitted(snapshot.revision.release_version, verified))
    with registry.database.writing() as writing:
        before = repositories.find_ref(writing, repository.id, repos.MAIN)
        repositories.set_ref(writing, repository.id, kind="branch", name=repos.MAIN, revision_id=commit)
        repositories.describe(writing, repository.id, described.summary, tags=described.tags, text=described.text)
        audit_standing.record(writing, verified, files, registry.trust().keyring)
        withdrawals.refresh(writing, repository.id)
    registry.audit_log.write("main-moved", repository=full_name, before=before, commit=commit, reason=reason)
    advisories.publish_if_possible(registry)
    return {"repository": full_name, "commit": commit, "version": snapshot.revision.release_version, "before": before}
