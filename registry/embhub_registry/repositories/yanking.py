"""Taking a release back: it stays where it is and readable, lists hide it, and who pulls it is told the reason."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from embhub.errors import UsageError
from embhub.release.checks import study
from embhub.release.files import STUDY
from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.database.standing import quarantine, tombstones, yanks
from embhub_registry.database.standing import withdrawals as withdrawal_rows
from embhub_registry.database.standing.yanks import Authority
from embhub_registry.database.statements import study_rows
from embhub_registry.http_errors import RequestDeniedError, forbidden, malformed, no_repository
from embhub_registry.people import auth, notifications, personal_data
from embhub_registry.people.names import is_commit
from embhub_registry.repositories import advisories, repos, withdrawals
from embhub_registry.storage.folder import Registry

LONGEST_REASON = 500


def yank(
    registry: Registry, account: Account | None, namespace: str, name: str, *, reason: str,
    version: str | None = None, revision: str | None = None, scope: str = "release",
) -> dict[str, Any]:  # fmt: skip
    """Take back a version, one commit, or (neither given) the newest release. `account` None is the operator.

    Who may yank in the namespace of another site of its study may take a release back too, by its bytes, and the
    operator alone lifts that. The reason names the site.

    `scope` is `release`, or `bytes`: then the same bytes are not admitted again either, a publisher's within their
    namespace, an operator's under any name. Returns the repository's `status`; to a site that may not read it, only
    what it says of the version or commit that was yanked.

    Raises:
        RequestDeniedError: not a publisher or approver of the namespace, nor of a site of the study, no such release or
            scope, no reason; or 409, the registry's list of withdrawals is full.
    """
    reason, scope = check_reason(reason), withdrawals.check_scope(scope)
    with registry.database.writing() as db:
        repository = find_for(db, account, namespace, name)
        authority = _authority(account, repository)
        kind, which = _which(db, repository, version, revision, refused=authority != "site")
        if account is not None and authority == "site":
            site = _site_of(registry, db, account, repository, which)
            reason = check_reason(f"{site}, a site of its study: {reason}")
            scope = "bytes"  # the publisher could push the same numbers as the next version
        author = account.user if account else yanks.OPERATOR
        new = yanks.add(db, repository.id, kind=kind, which=which, reason=reason, author=author, now=stamp(),
                        authority=authority, scope=scope)  # fmt: skip
        withdrawals.refresh(db, repository.id)
        if new:
            notifications.emit(
                db, "release.yanked", namespace=repository.namespace, repository=repository.full_name,
                private=repository.private, what=f"{kind} {which}",
            )  # fmt: skip
            advisories.check_room(db, publisher=authority != "operator")
    if new:
        registry.audit_log.write(
            "yanked", user=author, repository=repository.full_name, what=which, scope=scope, reason=reason
        )
    advisories.publish_if_possible(registry)
    said = standing(registry.database.connection(), repository)
    if authority == "site" and not auth.may_read(account, namespace, private=repository.private):
        own = [row for row in said["yanked"] if row[kind] == which]
        return {**said, "yanked": own, "quarantined": []}
    return said


def unyank(
    registry: Registry, account: Account | None, namespace: str, name: str, *,
    version: str | None = None, revision: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Recommend again what was taken back by the same version or commit. Returns the repository's `status`.

    A publisher lifts what the namespace itself took back; the operator, or an admin, lifts all, a site's too.

    Raises:
        RequestDeniedError: not a publisher or approver of the namespace, it was not taken back, or by others.
    """
    with registry.database.writing() as db:
        repository = _located(db, account, namespace, name)
        kind, which = _which(db, repository, version, revision, refused=True)
        operator = account is None or account.admin
        by = yanks.authorities(db, repository.id, kind=kind, which=which)
        if by and "publisher" not in by and not operator:
            who = "the registry's operator" if "operator" in by else "a site of its study"
            raise forbidden(
                f"{who} yanked {kind} {which} of {repository.full_name}",
                "ask the operator: a publisher lifts what the publisher yanked",
            )
        if not yanks.remove(db, repository.id, kind=kind, which=which, authority=None if operator else "publisher"):
            raise RequestDeniedError(
                404, "yank", f"{kind} {which} of {repository.full_name} is not yanked", "see its status"
            )
        withdrawals.refresh(db, repository.id)
    author = account.user if account else yanks.OPERATOR
    registry.audit_log.write("unyanked", user=author, repository=repository.full_name, what=which)
    advisories.publish_if_possible(registry)
    return standing(registry.database.connection(), repository)


def status(registry: Registry, account: Account | None, namespace: str, name: str) -> dict[str, Any]:
    """What became of a repository's releases: `yanked` commits with the reason, or the `tombstone` of all.

    `quarantined` names the commits that are set aside, without the reason: copies of the registry leave them out.

    Raises:
        RequestDeniedError: 404 where there is and was nothing that the caller may see.
    """
    db = registry.database.connection()
    found = repos.find(db, namespace, name)
    if found is not None and auth.may_read(account, namespace, private=found.private):
        return standing(db, found)
    buried = tombstones.find(db, namespace, name)
    if found is None and buried is not None and auth.may_read(account, namespace, private=buried.private):
        stone = {"reason": buried.reason, "date": buried.created, "releases": list(buried.releases)}
        return {"repository": buried.full_name, "yanked": [], "quarantined": [], "tombstone": stone}
    raise no_repository(f"{namespace}/{name}")


def allow(registry: Registry, digest: str, *, reason: str) -> dict[str, Any]:
    """End every withdrawal of these bytes; what was yanked stays yanked, its release alone.

    Raises:
        UsageError: not a SHA-256, or nothing withdrew these bytes.
        RequestDeniedError: no reason.
    """
    reason = check_reason(reason)
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise UsageError(
            "bytes are named by their SHA-256, 64 lower-case hex digits", "`curate digest list` shows them"
        )
    with registry.database.writing() as db:
        lifted = withdrawal_rows.lift_bytes(db, digest, now=stamp())
        if not lifted:
            raise UsageError(
                f"nothing withdraws the bytes {digest[:12]}…", "`curate digest list` shows what is withdrawn"
            )
        yanks.narrow(db, digest)
        holders = {holder[0] for holder in withdrawal_rows.holders(db, digest)}
        for repository_id in sorted(holders):
            withdrawals.refresh(db, repository_id)
        withdrawals.refresh_lists(db, holders)
    registry.audit_log.write("bytes-allowed", digest=digest, reason=reason, withdrawals=lifted)
    advisories.publish_if_possible(registry)
    return {"digest": digest, "lifted": lifted}


def list_withdrawn(registry: Registry) -> dict[str, Any]:
    """Bytes that may not be published, with who forbade them, where, and why."""
    rows = [
        row
        for row in withdrawal_rows.all_rows(registry.database.connection())
        if row.scope == "bytes" and not row.lifted
    ]
    keys = ("digest", "authority", "namespace", "repository", "version", "reason", "created")
    return {"withdrawn": [{key: getattr(row, key) for key in keys} for row in rows]}


def check_reason(reason: str) -> str:
    """The reason in one line; others read it.

    Raises:
        RequestDeniedError: 400 where there is none, or too much; 422 where it looks like it names a person.
    """
    reason = " ".join(reason.split())
    if not reason or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise malformed(
            f"a reason of 1 to {LONGEST_REASON} characters is needed", "say what users of this release must know"
        )
    if found := personal_data.find_in_words(reason):
        raise RequestDeniedError(422, "personal-data", f"the reason seems to hold personal data: {found[0]}",
                                 "others read it: leave names and dates of birth out")  # fmt: skip
    return reason


def _authority(account: Account | None, repository: Repository) -> Authority:
    if account is None or account.admin:
        return "operator"
    return "publisher" if auth.may(account, repository.namespace, "yank") else "site"


def find_for(db: Connection, account: Account | None, namespace: str, name: str) -> Repository:
    """The repository, for who may yank there: its namespace's, or those of a site of a study that was released there.

    Raises:
        RequestDeniedError: as `repos.locate` and `auth.require`, of its own namespace.
    """
    found = repos.find(db, namespace, name) if account is not None else None
    if account is not None and found is not None and not auth.may(account, namespace, "yank"):
        # a repository that was made since, under a name that was freed, is not the study's
        named = study_rows.in_the_name_of(db, found.full_name)
        released = [row for row in named if row.released and row.released >= found.created]
        if any(auth.may(account, site, "yank") for row in released for site in row.sites):
            return found  # a private one too: they know of it, because they made what it holds
    return _located(db, account, namespace, name)


def _located(db: Connection, account: Account | None, namespace: str, name: str) -> Repository:
    """The repository, for who may yank in its namespace; None as account is the operator, who may."""
    if account is None:
        found = repositories.find(db, namespace, name)
        if found is None:
            raise no_repository(f"{namespace}/{name}")
        return found
    found = repos.locate(db, account, namespace, name)
    auth.require(account, namespace, "yank")
    return found


def _site_of(registry: Registry, db: Connection, account: Account, repository: Repository, which: str) -> str:
    """The site for which an account may yank this version or commit, by the study that its own files name.

    Raises:
        RequestDeniedError: 403, it is of no study, or of one of other sites.
    """
    for revision in repositories.all_revisions(db, repository.id):
        entry = repositories.find_entry(db, repository.id, revision.id, STUDY)
        if entry is None or which not in (revision.id, revision.release_version):
            continue
        sites = study.read_plan(registry.blobs.get(entry.digest)).sites
        if mine := [site for site in sites if auth.may(account, site, "yank")]:
            return mine[0]
    auth.require(account, repository.namespace, "yank")
    raise forbidden(f"{account.user} belongs to no site of the study of {which}", "ask its publisher")


def _which(
    db: Connection, repository: Repository, version: str | None, revision: str | None, *, refused: bool
) -> tuple[str, str]:
    """What is meant. What is not there is refused only where `refused`: a private repository's versions are no affair
    of the other sites of a study, and `_site_of` refuses all alike that are not the study's.
    """
    if version is not None and revision is not None:
        raise malformed("`version` and `revision` are two ways to say one thing", "give one of them")
    if revision is not None:
        known = is_commit(revision) and repositories.find_revision(db, repository.id, revision) is not None
        if refused and not known:
            raise RequestDeniedError(404, "revision", f"{repository.full_name} has no commit {revision[:60]!a}",
                         "give all 40 digits", code="RevisionNotFound")  # fmt: skip
        return "revision", revision
    released = repositories.released_versions(db, repository.id)
    version = version or repos.at(db, repository, repos.MAIN, repos.OPERATOR).revision.release_version
    if refused and version not in released:
        raise RequestDeniedError(404, "revision", f"{repository.full_name} has no release {version or ''}".rstrip(),
                     f"it has: {', '.join(sorted(released)) or 'none'}", code="RevisionNotFound")  # fmt: skip
    return "version", version or ""


def standing(db: Connection, repository: Repository) -> dict[str, Any]:
    """What `status` says of a repository that is there."""
    rows = [asdict(row) for row in yanks.of(db, repository.id)]
    aside = [{"revision": row.revision, "date": row.date} for row in quarantine.of(db, repository.id)]
    return {"repository": repository.full_name, "yanked": rows, "quarantined": aside, "tombstone": None}
