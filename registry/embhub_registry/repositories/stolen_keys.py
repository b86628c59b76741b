"""Releases whose only good signature is a stolen key's: its thief could have made them, so they count for nothing.

An independent auditor's good countersignature lets a release stand, as it does for the sites that pull it.
"""

from __future__ import annotations

from embhub.refusals import ReleaseRefusedError
from embhub.trust import bundle
from embhub.trust.keyring import Keyring
from embhub_registry.database import Connection, accounts, forgeable
from embhub_registry.repositories import withdrawals
from embhub_registry.storage.blobs import MissingBlobError
from embhub_registry.storage.folder import Registry

JUDGED = "stolen_keys_judged"  # the setting with the fingerprints that the table was made for


def refresh(registry: Registry, db: Connection, keyring: Keyring) -> None:
    """Judge every release by the keys that are known as stolen, within the transaction that stores this keyring.

    Nothing is read where no key was reported stolen since the last time.
    """
    stolen = {row.fingerprint: row.date for row in keyring.revoked if row.reason == "stolen"}
    if (accounts.read_setting(db, JUDGED) or "") == (said := " ".join(sorted(stolen))):
        return
    owners = {key.fingerprint: member.namespace for member in keyring.members for key in member.keys}
    signers: dict[str, str] = {}
    found = []
    for row in forgeable.signed_commits(db):
        signer = _signer(registry, row["publish"], signers)
        if signer not in stolen:
            continue
        auditor = _signer(registry, row["audit"], signers) if row["audit"] else ""
        if auditor in owners and auditor not in stolen and owners[auditor] != row["namespace"]:
            continue
        found.append((int(row["repository_id"]), str(row["revision_id"]), signer, stolen[signer]))
    for repository_id in sorted(forgeable.replace(db, found)):
        withdrawals.refresh(db, repository_id)
    accounts.write_setting(db, JUDGED, said)


def catch_up(registry: Registry) -> None:
    """The same when a registry is opened: for keys that were reported stolen under an earlier release."""
    keyring = registry.trust().keyring
    said = " ".join(sorted(keyring.stolen()))
    if (registry.setting(JUDGED) or "") != said:
        with registry.database.writing() as db:
            refresh(registry, db, keyring)


def _signer(registry: Registry, digest: str, known: dict[str, str]) -> str:
    """The fingerprint that an attestation names; admission checked its signature. "" where the file is lost."""
    if digest not in known:
        try:
            known[digest] = bundle.parse(registry.blobs.get(digest)).hint
        except (ReleaseRefusedError, MissingBlobError, OSError):
            known[digest] = ""  # `check` names what is lost
    return known[digest]
