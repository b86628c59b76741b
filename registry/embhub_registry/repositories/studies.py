"""Studies of several sites: who proposed, joined and withdrew, for the members of the namespaces that a study names.

To everybody else a study is absent: it names hospitals and a disease. What became of it is in its release, as
`study.json`. Nothing here is needed to verify a release; a registry adds that it was proposed here and nobody withdrew.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from embhub.formats import instants
from embhub.release.checks import study
from embhub.release.checks.study import Join, Said
from embhub.trust import bundle
from embhub.trust.bundle import Bundle
from embhub.trust.keyring import Trust
from embhub_registry.database import Connection
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.statements import study_rows
from embhub_registry.database.statements.study_rows import Kind, Signed, StudyRow
from embhub_registry.http_errors import RequestDeniedError, key_out_of_use, statement_refusals
from embhub_registry.people import auth, personal_data
from embhub_registry.storage import log_entries
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log

MOST_OPEN = 20
"""Studies of one namespace that are neither released nor withdrawn: each may bring two log entries a site."""
SLACK = timedelta(hours=1)
_EVENTS: dict[Kind, str] = {"proposal": "study-proposed", "join": "study-joined", "withdrawal": "study-withdrawn"}


def may_see(account: Account | None, row: StudyRow) -> bool:
    """Whether somebody is a member of a namespace that the study names, or an admin."""
    return account is not None and any(auth.may(account, name, "read-private") for name in row.namespaces)


def listing(registry: Registry, account: Account | None) -> dict[str, Any]:
    """The studies that the caller may see, the newest first, without what was signed."""
    db = registry.database.connection()
    return {"studies": [_facts(db, row) for row in study_rows.all_of(db) if may_see(account, row)]}


def answer(registry: Registry, account: Account | None, digest: str) -> dict[str, Any]:
    """A study with everything that was signed about it.

    Raises:
        RequestDeniedError: 404 where there is none that the caller may see.
    """
    db = registry.database.connection()
    row = _find(db, account, digest)
    signed = study_rows.statements(db, digest)

    def of(kind: Kind) -> dict[str, Any]:
        return {one.namespace: json.loads(one.bundle) for one in signed if one.kind == kind}

    (proposal,) = of("proposal").values()
    return {**_facts(db, row), "proposal": proposal, "joins": of("join"), "withdrawals": of("withdrawal")}


def propose(registry: Registry, account: Account, document: dict[str, Any]) -> dict[str, Any]:
    """Take a proposal. Returns what `answer` says then.

    Raises:
        RequestDeniedError: 422 for one that does not verify, is not dated now, seems to hold personal data, or names a
            site that is no namespace here; 403 for another namespace's, or where it has too many open ones; 409 for one
            that is there.
    """
    trust = registry.trust()
    with statement_refusals():
        signed = bundle.parse(json.dumps(document).encode())
        found = study.read_proposal(signed, trusts=[trust])
    auth.require(account, found.site, "publish")
    _check_new(found, trust)
    words = [found.plan.caption, found.plan.token, found.plan.base_name, *map(str, found.plan.recipe.values())]
    if persons := personal_data.find_in_words("\n".join(words)):
        raise RequestDeniedError(422, "personal-data", f"the study seems to hold personal data: {persons[0]}",
                                 "take it out of the caption or the recipe, and propose it anew")  # fmt: skip
    row = StudyRow(found.study, found.plan.repository, found.plan.sites, stamp())

    def put(db: Connection) -> None:
        if study_rows.find(db, row.digest) is not None:
            raise RequestDeniedError(409, "study", "this study was proposed already", "its digest names it")
        if unknown := [site for site in row.sites if not accounts.namespace_exists(db, site)]:
            raise RequestDeniedError(422, "study", f"there is no namespace {', '.join(unknown)} on this registry",
                                     "each site needs one before a study names it")  # fmt: skip
        if study_rows.count_open(db, row.coordinator) >= MOST_OPEN:
            raise RequestDeniedError(403, "quota", f"{row.coordinator} has {MOST_OPEN} studies without a release",
                                     "withdraw from one that will not be finished")  # fmt: skip
        study_rows.add(db, row)
        _keep(db, "proposal", found, signed, trust)

    return _store(registry, account, "proposal", found, put)


def join(registry: Registry, account: Account, digest: str, document: dict[str, Any]) -> dict[str, Any]:
    """Take a site's join. Returns what `answer` says then.

    Raises:
        RequestDeniedError: 404 where the caller may see no such study; 422 for a join that does not verify, is of
            another study or of no site of it; 403 for another namespace's; 409 where the site joined already, another
            has this key, somebody withdrew, or it is released. A site whose officer's key was revoked since signs the
            same key of the study anew, at any time.
    """
    trust, row = registry.trust(), _find(registry.database.connection(), account, digest)
    with statement_refusals():
        signed = bundle.parse(json.dumps(document).encode())
        found = study.read_join(signed, trusts=[trust])
    _check_place(found, digest, row.sites)
    auth.require(account, found.site, "take-part")
    _check_new(found, trust)

    def put(db: Connection) -> None:
        joined = {one.namespace: one for one in study_rows.statements(db, digest) if one.kind == "join"}
        before = joined.pop(found.site, None)
        if before is None:
            _check_open(db, digest)
        elif not _signs_anew(found, bundle.parse(before.bundle), trust):
            raise RequestDeniedError(409, "study", f"{found.site} joined already", "a site joins a study once")
        held = [study.key_in(bundle.parse(one.bundle)).public_numbers() for one in joined.values()]
        if found.key.public_numbers() in held:
            raise RequestDeniedError(409, "study", "another site joined with this key", "make a key for this study")
        _keep(db, "join", found, signed, trust)

    return _store(registry, account, "join", found, put)


def withdraw(registry: Registry, account: Account, digest: str, document: dict[str, Any]) -> dict[str, Any]:
    """Take the withdrawal of a site, or of the coordinator, which ends a study. Returns what `answer` says then.

    Raises:
        RequestDeniedError: 404, 422 and 403 as `join`; 409 where the namespace withdrew already, or a release is
            published, which is yanked instead.
    """
    trust, row = registry.trust(), _find(registry.database.connection(), account, digest)
    with statement_refusals():
        signed = bundle.parse(json.dumps(document).encode())
        found = study.read_withdrawal(signed, trusts=[trust])
    _check_place(found, digest, row.namespaces)
    auth.require(account, found.site, "take-part")
    _check_new(found, trust)

    def put(db: Connection) -> None:
        _check_unreleased(db, digest)
        if any((one.kind, one.namespace) == ("withdrawal", found.site) for one in study_rows.statements(db, digest)):
            raise RequestDeniedError(409, "study", f"{found.site} withdrew already", "no action needed")
        _keep(db, "withdrawal", found, signed, trust)

    return _store(registry, account, "withdrawal", found, put)


def standing(db: Connection, repository: str) -> dict[str, str | None]:
    """The studies whose release goes to a repository, by digest: who withdrew first, or None."""
    return {row.digest: study_rows.withdrew(db, row.digest) for row in study_rows.in_the_name_of(db, repository)}


def _signs_anew(found: Join, before: Bundle, trust: Trust) -> bool:
    revoked = trust.keyring.revocation_of(before.hint) is not None
    return revoked and study.key_in(before).public_numbers() == found.key.public_numbers()


def _check_place(found: Said, digest: str, namespaces: tuple[str, ...]) -> None:
    if found.study != digest:
        raise RequestDeniedError(422, "study", "the statement is about another study", "sign one for this study")
    if found.site not in namespaces:
        raise RequestDeniedError(422, "study", f"{found.site} is no site of this study", "its sites are fixed")


def _find(db: Connection, account: Account | None, digest: str) -> StudyRow:
    found = study_rows.find(db, digest)
    if found is None or not may_see(account, found):
        raise RequestDeniedError(404, "study", f"there is no study {digest} here", "check its digest")
    return found


def _facts(db: Connection, row: StudyRow) -> dict[str, Any]:
    return {
        "study": row.digest, "repository": row.repository, "sites": list(row.sites), "date": row.created,
        "joined": [one.namespace for one in study_rows.statements(db, row.digest) if one.kind == "join"],
        "withdrew": study_rows.withdrew(db, row.digest), "released": row.released,
    }  # fmt: skip


def _check_new(found: Said, trust: Trust) -> None:
    if trust.keyring.revocation_of(found.fingerprint) is not None:
        raise key_out_of_use(found.fingerprint)
    if abs(instants.read(found.created) - now()) > SLACK:
        raise RequestDeniedError(422, "date", f"the statement is dated {found.created}", "set your machine's clock")


def _check_open(db: Connection, digest: str) -> None:
    if who := study_rows.withdrew(db, digest):
        raise RequestDeniedError(409, "study", f"{who} withdrew from this study, which ended it", "propose another one")
    _check_unreleased(db, digest)


def _check_unreleased(db: Connection, digest: str) -> None:
    row = study_rows.find(db, digest)
    if row is None or row.released is not None:
        raise RequestDeniedError(
            409, "study", "a release of this study is published", "any of its sites may yank that release"
        )


def _keep(db: Connection, kind: Kind, found: Said, signed: Bundle, trust: Trust) -> None:
    data = bundle.to_json(signed.envelope)
    study_rows.sign(db, Signed(found.study, kind, found.site, stamp(), data))
    log_entries.add_bundle(db, data, trust.keyring)


def _store(registry: Registry, account: Account, kind: Kind, found: Said, put: Any) -> dict[str, Any]:
    registry.sequencer.run(put)
    registry_log.publish_if_possible(registry)
    registry.audit_log.write(
        _EVENTS[kind], user=account.user, namespace=found.site, study=found.study, key=found.fingerprint
    )
    return answer(registry, account, found.study)
