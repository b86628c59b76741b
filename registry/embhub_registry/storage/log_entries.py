"""What goes into the log, in the transaction that stores it: either both are there, or neither.

Releases, audits, keyrings (which revoke keys), changes of their root, and advisories (which withdraw releases).
Timestamps do not: they change daily and decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from embhub.log import merkle
from embhub.log.leaves import Leaf
from embhub.release import file_names
from embhub.trust import bundle, dsse, logged, multisig, p256
from embhub.trust.keyring import KEYRING_TYPE, Keyring
from embhub.trust.multisig import SignedDocument
from embhub.trust.root_keys import RootChange, RootKeys
from embhub_registry.database import Connection
from embhub_registry.database.logs import log_rows


def add(db: Connection, leaf: Leaf) -> int:
    """The index of an entry, new or not."""
    data = leaf.to_bytes()
    return log_rows.append(db, data, hashed=merkle.leaf_hash(data))


def add_release(db: Connection, files: Mapping[str, bytes], keyring: Keyring) -> None:
    """The publish attestation of a release that was admitted, its audits', and approvals by keys of members."""
    for name in file_names.in_order(name for name in files if _is_logged(name)):
        add_bundle(db, files[name], keyring)


def add_bundle(db: Connection, data: bytes, keyring: Keyring) -> None:
    """An attestation, if a member of `keyring` signed it."""
    signed = bundle.parse(data)
    key = next((key for member in keyring.members for key in member.keys if key.fingerprint == signed.hint), None)
    if key is not None:
        add(db, logged.leaf_of(signed.envelope, key.public))


def add_keyring(db: Connection, envelope: bytes, root: RootKeys) -> None:
    """A keyring: an entry for each root key that signed it."""
    document = multisig.parse(envelope, payload_type=KEYRING_TYPE)
    for leaf in logged.leaves_of(document, (key.public for key in root.keys)):
        add(db, leaf)


def add_root_change(db: Connection, document: SignedDocument, change: RootChange) -> None:
    """A change of root, before the keyring that it came with: an entry for each key of both roots that signed it.

    A site that was not shown it finds the keys that it knows here, and so knows that a newer keyring is withheld.
    """
    for key in {key.fingerprint: key.public for root in (change.before, change.after) for key in root.keys}.values():
        for leaf in logged.leaves_of(document, (key,)):
            add(db, leaf)


def add_envelope(db: Connection, envelope: dsse.Envelope, public_key_pem: str) -> None:
    """What an online key signed: advisories."""
    add(db, logged.leaf_of(envelope, p256.read_public(public_key_pem)))


def _is_logged(name: str) -> bool:
    audit = file_names.AUDIT_BUNDLE, file_names.PUBLISH_BUNDLE
    others = file_names.auditor_in(name) is not None or file_names.is_approval(name)
    return file_names.is_attestation(name) and (name in audit or others)
