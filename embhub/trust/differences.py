"""What changed from one keyring to the next, in plain words, for the persons who sign and who take it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from embhub.trust.keyring import Keyring, RootKeys

Rights = dict[tuple[str, str], str]  # (namespace, fingerprint) -> its roles


def describe(before: Keyring | None, after: Keyring) -> list[str]:
    """One line for each change; none where nothing changed but version and dates, which `dates` tells."""
    lines = list(_root(before.root if before else None, after.root))
    lines += _online(before, after)
    old, new = rights(before), rights(after)
    for place in sorted(new.keys() | old.keys()):
        namespace, fingerprint = place
        if place not in old:
            lines.append(f"new key for {namespace}: {fingerprint} may {new[place]}")
        elif place not in new:
            removed = "key removed from" if fingerprint in after.removed() else "key gone, and not as removed, from"
            lines.append(f"{removed} {namespace}: {fingerprint} (could {old[place]})")
        elif old[place] != new[place]:
            lines.append(f"other roles in {namespace}: {fingerprint} may {new[place]}, before {old[place]}")
    lines += _revoked(before, after)
    return lines + list(_names(before, after))


def dates(before: Keyring | None, after: Keyring) -> str:
    """Version, and until when it is current."""
    earlier = f", before version {before.version} of {before.issued}" if before else ", the first one"
    return f"keyring version {after.version} of {after.issued}{earlier}; it expires on {after.expires}"


def rights(keyring: Keyring | None) -> Rights:
    """Which key has which roles in which namespace."""
    found: dict[tuple[str, str], list[str]] = {}
    for member in keyring.members if keyring else ():
        for key in member.keys:
            found.setdefault((member.namespace, key.fingerprint), []).append(key.role)
    return {place: " and ".join(sorted(roles)) for place, roles in found.items()}


def _root(before: RootKeys | None, after: RootKeys | None) -> Iterator[str]:
    if after is None or before == after:
        return
    listed = ", ".join(key.fingerprint for key in after.keys)
    if before is None:
        yield f"the root is {after.fingerprint} ({after.in_words()}: {listed})"
    else:
        yield (
            f"the root changes from {before.fingerprint} ({before.in_words()}) to {after.fingerprint}"
            f" ({after.in_words()}: {listed})"
        )


def _online(before: Keyring | None, after: Keyring) -> list[str]:
    old, new = ((ring.online if ring else None) or {} for ring in (before, after))
    lines = []
    for purpose in sorted(old.keys() | new.keys()):
        if purpose not in new:
            lines.append(f"no online key for {purpose} any more: {old[purpose].fingerprint}")
        elif purpose not in old or old[purpose].fingerprint != new[purpose].fingerprint:
            lines.append(f"online key for {purpose}: {new[purpose].fingerprint}")
    logs = [ring.log.vkey if ring and ring.log else None for ring in (before, after)]
    if logs[0] != logs[1]:
        lines.append(f"key of the transparency log: {logs[1] or 'none any more'}")
    second = [ring.log.mldsa if ring and ring.log else None for ring in (before, after)]
    if second[0] != second[1]:
        named = f"its SHA-256 is {hashlib.sha256(second[1].encode()).hexdigest()}" if second[1] else "none any more"
        lines.append(f"ML-DSA-44 key of the transparency log: {named}")
    return lines


def _revoked(before: Keyring | None, after: Keyring) -> list[str]:
    """Revocations that are new; a removal of a key that `before` lists is said with its namespace already."""
    old = {row.fingerprint: row for row in (before.revoked if before else ())}
    said = after.removed() & (before.fingerprints() if before else set())
    owner = {key.fingerprint: member.namespace for member in after.members for key in member.keys}
    return [
        f"key of {owner[row.fingerprint]} revoked as {row.reason} on {row.date}: {row.fingerprint}"
        if row.fingerprint in owner
        else f"key removed on {row.date}: {row.fingerprint}"
        for row in after.revoked
        if old.get(row.fingerprint) != row and row.fingerprint not in said
    ]


def _names(before: Keyring | None, after: Keyring) -> Iterator[str]:
    old = {member.namespace: member.name for member in (before.members if before else ())}
    for member in after.members:
        if member.namespace in old and old[member.namespace] != member.name:
            yield f"{member.namespace} is called {member.name!a} now, before {old[member.namespace]!a}"
