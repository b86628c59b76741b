"""What happened to an embedding, newest first: versions, audits, withdrawals, approvals, keys. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from embhub.trust.keyring import Keyring
from embhub_registry.pages.release.page_facts import Audited, Event, Version, Yanked
from embhub_registry.pages.wordings import AUDITS

KEYS_KEPT = 40  # a keyring may hold many keys of one namespace
_ROLES = {
    "publish": "publishing",
    "audit": "auditing",
    "withdraw": "withdrawal",
    "approve": "approval",
    "evaluate": "evaluation",
}
_BY = {"operator": "the operator of this registry", "publisher": "its publisher", "site": "a site of its study"}


def collect(
    versions: Sequence[Version],
    audits: Sequence[Audited],
    taken_back: Sequence[tuple[Version, Yanked]],
    approved: Sequence[tuple[Version, str, int]] = (),
    *,
    namespace: str,
    keyring: Keyring,
) -> tuple[Event, ...]:
    """All events with a date; of the same moment, in the order version, audit, withdrawal, approval, key.

    `approved` are commits with the time of the last approval and how many there were.
    """
    events = [
        *_publications(versions),
        *(_audited(row) for row in audits),
        *(_withdrawn(version, yanked) for version, yanked in taken_back),
        *(_approval(*row) for row in approved),
        *_of_keys(namespace, keyring),
    ]
    return tuple(sorted(events, key=lambda event: event.date, reverse=True))


def _publications(versions: Sequence[Version]) -> Iterable[Event]:
    for item, before in zip_longest(versions, versions[1:]):
        said = f"Version {item.version}: {item.title}" if item.version else item.title
        yield Event(
            date=item.date, kind="version", text=said, address=item.address,
            before=before.revision if before and before.version and item.version else None, revision=item.revision,
        )  # fmt: skip


def _audited(row: Audited) -> Event:
    who = "its publisher" if row.own else f"{row.name}, an independent auditor"
    return Event(
        date=row.date,
        kind="audit",
        text=f"Audit by {who}: {AUDITS[row.verdict].short} ({row.repository} {row.version})",
    )


def _withdrawn(version: Version, yanked: Yanked) -> Event:
    which = f"Version {version.version}" if version.version else f"Commit {version.revision[:12]}"
    if yanked.by == "key-stolen":
        text = f"{which} counts no more: the key that signed it was stolen"
    else:
        text = f"{which} yanked by {_BY[yanked.by]}: {yanked.reason}"
    return Event(date=yanked.date, kind="withdrawal", text=text, address=version.address)


def _approval(version: Version, date: str, count: int) -> Event:
    which = f"Version {version.version}" if version.version else f"Commit {version.revision[:12]}"
    who = "an approver" if count == 1 else f"{count} approvers"
    text = f"{which} approved by {who} before it was published"
    return Event(date=date, kind="approval", text=text, address=version.address)


def _of_keys(namespace: str, keyring: Keyring) -> Iterable[Event]:
    revoked = {entry.fingerprint: entry for entry in keyring.revoked}
    member = next((member for member in keyring.members if member.namespace == namespace), None)
    newest = sorted(member.keys if member else (), key=lambda key: key.added, reverse=True)[:KEYS_KEPT]
    for key in newest:
        purpose = f"{_ROLES.get(key.role, key.role)} key of {namespace}"
        yield Event(date=key.added, kind="key", text=f"New {purpose}: {key.fingerprint}")
        if (end := revoked.get(key.fingerprint)) is not None:
            yield Event(date=end.date, kind="key", text=f"A {purpose} ended ({end.reason}): {key.fingerprint}")
