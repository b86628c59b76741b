"""Releases whose only good signature is a stolen key's: its thief could have made them, so they count for nothing.

They are judged as a site judges them that pulls: an independent auditor's countersignature lets a release stand.
"""

from __future__ import annotations

from embhub.errors import EmbhubError
from embhub.refusals import ReleaseRefusedError
from embhub.release import verification
from embhub.release.file_names import limit_of
from embhub.release.files import Release
from embhub.trust import bundle
from embhub.trust.keyring import Trust
from embhub_registry.database import Connection, DatabaseBusyError, DatabaseUnavailableError
from embhub_registry.database.clock import now
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories
from embhub_registry.database.standing import yanks
from embhub_registry.repositories import repos, withdrawals
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.stores.blobs import MissingBlobError

JUDGED = "stolen_keys_judged"  # the setting with the fingerprints that the table was made for


def catch_up(registry: Registry) -> None:
    """Judge every release by the keys that are known as stolen, where one was reported since the last time.

    After each new keyring, when a registry is opened, and by the server every few seconds: nothing is read but a
    setting where nothing changed.
    """
    trust = registry.trust()
    stolen = {row.fingerprint: row.date for row in trust.keyring.revoked if row.reason == "stolen"}
    said = " ".join(sorted(stolen))
    if (registry.setting(JUDGED) or "") == said:
        return
    signers: dict[str, str] = {}
    verdicts: dict[tuple[int, str], str] = {}  # of each commit: the stolen key that made it worthless, or ""

    def judge(db: Connection) -> list[tuple[int, str, str, str]]:
        found = []
        for row in yanks.signed_commits(db):
            commit = int(row["repository_id"]), str(row["revision_id"])
            if commit not in verdicts:
                signer = _signer(registry, row["publish"], signers)
                bad = signer in stolen and not _stands(registry, row["namespace"], row["name"], commit[1], trust)
                verdicts[commit] = signer if bad else ""
            if key := verdicts[commit]:
                found.append((*commit, key, stolen[key]))
        return found

    judge(registry.database.connection())  # most of the work, while others may write
    with registry.database.writing() as db:
        if registry.trust().keyring.version != trust.keyring.version:
            return  # who stored the newer keyring judges by it, or the server does within seconds
        for repository_id in sorted(yanks.replace_stolen(db, judge(db))):  # with what was pushed meanwhile
            withdrawals.refresh(db, repository_id)
        accounts.write_setting(db, JUDGED, said)


def _stands(registry: Registry, namespace: str, name: str, commit: str, trust: Trust) -> bool:
    """Whether a site would take this release nevertheless, under its standard policy."""
    db = registry.database.connection()
    repository = repositories.find(db, namespace, name)
    if repository is None:
        return False
    try:
        files = repos.files(registry, repos.at(db, repository, commit, repos.OPERATOR))
        release = Release.from_files({path: data for path, data in files.items() if limit_of(path) is not None})
        verification.verify(release, trust=trust, repository=repository.full_name, now=now())
    except (DatabaseBusyError, DatabaseUnavailableError):
        raise  # it says nothing of the release
    except (EmbhubError, MissingBlobError, OSError):
        return False
    return True


def _signer(registry: Registry, digest: str, known: dict[str, str]) -> str:
    """The fingerprint that an attestation names; admission checked its signature. "" where the file is lost."""
    if digest not in known:
        try:
            known[digest] = bundle.parse(registry.blobs.get(digest)).hint
        except (ReleaseRefusedError, MissingBlobError, OSError):
            known[digest] = ""  # `check` names what is lost
    return known[digest]
