"""What an operator does from the command line; a running server sees each change at its next request."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from embhub.errors import UsageError
from embhub.formats import instants
from embhub.trust import keyring as keyrings
from embhub.trust import p256
from embhub.trust.origin import origin_of
from embhub_registry.database.clock import now, stamp
from embhub_registry.database.people import accounts
from embhub_registry.database.standing import offboarding
from embhub_registry.operation.keyrings import key_requests, keyring_changes
from embhub_registry.people import access_tokens, auth
from embhub_registry.people.names import check_display, check_namespace, check_user
from embhub_registry.repositories import advisories, stolen_keys
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log

RAISED_BY = 1000  # versions of a keyring: more changes than are made between a backup and its restore
TOKEN_DAYS = 90  # lifetime of an access token unless another is asked for; None is without an end


def add_user(
    registry: Registry, name: str, *, namespace: str, role: str, days: int | None = TOKEN_DAYS, scope: str | None = None
) -> dict[str, Any]:
    """Create a user, the namespace where it is new, and a first token.

    Raises:
        UsageError: a bad name, the user exists or somebody who left had its name, or the scope is wider than the role.
    """
    check_user(name)
    check_namespace(namespace)
    with registry.database.writing() as db:
        if accounts.find_user(db, name) is not None:
            raise UsageError(f"the user {name!r} exists", f"for another token: `token new {name}`")
        if offboarding.is_erased(db, name):
            raise UsageError("somebody who has left had this name", "choose another one: commits still show it")
        created = accounts.add_namespace(db, namespace, now=stamp())
        user_id = accounts.add_user(db, name=name, namespace=namespace, role=role, now=stamp())
        token = access_tokens.add(db, user_id, days, scope=scope)
    registry.audit_log.write("user-added", user=name, namespace=namespace, role=role, token_id=token["token_id"])
    return {"user": name, "namespace": namespace, "namespace_created": created, "role": role, **token}


def new_token(
    registry: Registry, user: str, *, days: int | None = TOKEN_DAYS, scope: str | None = None, unlimited: bool = False
) -> dict[str, Any]:
    """Another token for a user; the ones before stay good until they are revoked or expire.

    Without `scope` it may do all that the user may. `unlimited`: rate limits do not hold for it (a mirror's).

    Raises:
        UsageError: no such user, or the scope is wider than the user's roles.
    """
    with registry.database.writing() as db:
        row = accounts.find_user(db, user)
        if row is None:
            raise UsageError(f"there is no user {user!r}", "`user list` shows them")
        token = access_tokens.add(db, row["id"], days, scope=scope, unlimited=unlimited)
    registry.audit_log.write(
        "token-added", user=user, token_id=token["token_id"], expires=token["expires"], scope=token["scope"],
        unlimited=unlimited or None,
    )  # fmt: skip
    return {"user": user, **token}


def revoke_token(registry: Registry, which: str) -> dict[str, Any]:
    """Revoke one token by its id or its text, or every token of a user.

    Raises:
        UsageError: nothing in force goes by that name.
    """
    with registry.database.writing() as db:
        if which.startswith(auth.PREFIX):
            account = accounts.find_account(db, auth.digest(which))
            which = account.token_id if account else "(unknown token)"
        count = accounts.revoke_tokens(db, token_id=which, user=which, now=stamp())
    if not count:
        raise UsageError(f"no token in force goes by {which!r}", "`token list` shows ids and users")
    registry.audit_log.write("token-revoked", which=which, count=count)
    return {"revoked": count, "which": which}


def list_users(registry: Registry) -> dict[str, Any]:
    """Accounts with their roles: `role` in their own namespace, `memberships` in every one."""
    rows = accounts.list_users(registry.database.connection())
    return {"users": [{**dict(row), "memberships": json.loads(row["memberships"])} for row in rows]}


def list_tokens(registry: Registry) -> dict[str, Any]:
    """Tokens with their state in a word, newest first."""
    rows = []
    for row in accounts.list_tokens(registry.database.connection()):
        rows.append({**dict(row), "unlimited": bool(row["unlimited"]), "state": access_tokens.state(row)})
    return {"tokens": rows}


def rotate_token(registry: Registry, token_id: str, *, grace_hours: float = 0.0) -> dict[str, Any]:
    """A new token in place of one: same user, scope and length of life; the old one ends after `grace_hours`.

    Raises:
        UsageError: no such token in force.
    """
    with registry.database.writing() as db:
        old = accounts.find_token(db, token_id)
        if old is None or old["revoked"] or (old["expires"] or "9") <= stamp():
            raise UsageError(f"no token in force has the id {token_id!r}", "`token list` shows ids")
        if old["only_repository"]:
            raise UsageError(
                f"{token_id!r} is a workload's token", "it ends by itself; end its rule: `repo publisher end`"
            )
        days = None
        if old["expires"]:
            life = datetime.fromisoformat(old["expires"]) - datetime.fromisoformat(old["created"])
            days = max(1, math.ceil(life / timedelta(days=1)))
        new = access_tokens.add(db, old["user_id"], days, scope=old["scope"], unlimited=bool(old["unlimited"]))
        ends = stamp(now() + timedelta(hours=grace_hours))
        if grace_hours > 0:
            accounts.end_token(db, token_id, ends)
        else:
            accounts.revoke_tokens(db, token_id=token_id, now=stamp())
    registry.audit_log.write("token-rotated", user=old["user"], old=token_id, token_id=new["token_id"], old_ends=ends)
    return {"user": old["user"], **new, "replaces": token_id, "old_ends": ends}


def add_key(registry: Registry, file: Path, *, namespace: str, role: keyrings.Role, name: str = "") -> dict[str, Any]:
    """Accept a public key for a namespace: a new version of the keyring, signed by the root key.

    Raises:
        UsageError: not a readable file, a bad namespace, or a key that is there in another role.
        VerificationError: not an ECDSA P-256 public key.
    """
    check_namespace(namespace)
    if name:
        check_display(name)
    key = key_requests.public_key(file)
    fingerprint = p256.fingerprint(key)
    added = keyrings.MemberKey(
        fingerprint=fingerprint,
        public_key_pem=p256.public_pem(key),
        role=role,
        added=instants.write(now()),
    )
    created = False
    with registry.database.writing() as db:
        keyring = keyring_changes.latest(registry)
        if fingerprint in registry.root().fingerprints:
            raise UsageError(f"{fingerprint} is a root key", "a member's key is another one: `embhub key new NAME`")
        _check_in_force(keyring, fingerprint)
        for member in keyring.members:
            for present in member.keys:
                if present.fingerprint == fingerprint and not _may_join(member, present, namespace, role):
                    raise UsageError(
                        f"{fingerprint} is a {present.role} key of {member.namespace!r} already",
                        "a key has one namespace, an auditor's no other role: make one, `embhub key new NAME`",
                    )
        created = accounts.add_namespace(db, namespace, now=stamp())
        members = [m for m in keyring.members if m.namespace != namespace]
        before = next((m for m in keyring.members if m.namespace == namespace), None)
        member = keyrings.Member(
            namespace=namespace,
            name=name or (before.name if before else None),
            keys=(*(before.keys if before else ()), added),
        )
        sequence = tuple(sorted([*members, member], key=lambda m: m.namespace))
        stored = keyring_changes.store(registry, db, keyring.model_copy(update={"members": sequence}))
    _log(registry, "key-added", stored, namespace=namespace, role=role, fingerprint=fingerprint)
    return {
        "fingerprint": fingerprint, "namespace": namespace, "namespace_created": created, "role": role,
        **stored.facts(),
    }  # fmt: skip


def remove_key(registry: Registry, fingerprint: str) -> dict[str, Any]:
    """Take a key out of the keyring for good: nothing that it signed counts any more, and nobody can bring it back.

    Raises:
        UsageError: no such key, or one that is revoked or removed already.
    """
    with registry.database.writing() as db:
        keyring = keyring_changes.latest(registry)
        _check_in_force(keyring, fingerprint)
        members = [replace_keys(m, [k for k in m.keys if k.fingerprint != fingerprint]) for m in keyring.members]
        if members == list(keyring.members):
            raise UsageError(f"the keyring has no key {fingerprint}", "`key list` shows them")
        row = keyrings.Revocation(fingerprint=fingerprint, date=instants.write(now()), reason="left")
        left = keyring.model_copy(
            update={"members": tuple(m for m in members if m.keys), "revoked": _with(keyring.revoked, row)}
        )
        stored = keyring_changes.store(registry, db, left, without=fingerprint)
    _log(registry, "key-removed", stored, fingerprint=fingerprint)
    return {"fingerprint": fingerprint, "date": row.date, **stored.facts()}


def _with(rows: Sequence[keyrings.Revocation], row: keyrings.Revocation) -> tuple[keyrings.Revocation, ...]:
    others = (one for one in rows if one.fingerprint != row.fingerprint)
    return tuple(sorted([*others, row], key=lambda one: one.fingerprint))


def revoke_key(registry: Registry, fingerprint: str, *, reason: keyrings.Reason) -> dict[str, Any]:
    """Say in the keyring's next version that a key signs no more: `lost`, `stolen` or `superseded`.

    A revocation is final; only a graver reason may take its place, when a lost key turns out to be stolen, say.

    Raises:
        UsageError: no such key, or it is revoked already for no milder reason.
    """
    with registry.database.writing() as db:
        keyring = keyring_changes.latest(registry)
        if fingerprint not in keyring.fingerprints():
            raise UsageError(f"the keyring has no key {fingerprint}", "`key list` shows them")
        before = keyring.revocation_of(fingerprint)
        if before is not None and keyrings.REASONS.index(reason) <= keyrings.REASONS.index(before.reason):
            raise UsageError(f"{fingerprint} is revoked already: {before.reason} on {before.date}", "nothing to do")
        revocation = keyrings.Revocation(
            fingerprint=fingerprint,
            date=before.date if before is not None and reason == "lost" else instants.write(now()),
            reason=reason,
        )
        revoked = _with(keyring.revoked, revocation)
        stored = keyring_changes.store(
            registry, db, keyring.model_copy(update={"revoked": revoked}), without=fingerprint
        )
    _log(registry, "key-revoked", stored, fingerprint=fingerprint, reason=reason)
    stolen_keys.catch_up(registry)
    advisories.publish_if_possible(registry)
    return {"fingerprint": fingerprint, "reason": reason, "date": revocation.date, **stored.facts()}


def raise_keyring(
    registry: Registry, *, to: int | None = None, online: dict[str, keyrings.NamedKey] | None = None
) -> dict[str, Any]:
    """The same keyring anew, with a version far above the one before: after a restore, above any that sites saw.

    `online` are new online keys, by their purpose; the log's key is named along with them.

    Raises:
        UsageError: `to` is no higher version.
    """
    with registry.database.writing() as db:
        keyring = keyring_changes.latest(registry)
        target = keyring.version + RAISED_BY if to is None else to
        if not keyring.version < target < 2**53:
            raise UsageError(
                f"the keyring has version {keyring.version}: {target} is not above it", "`key list` shows the version"
            )
        following = keyring
        if online is not None:
            log = registry.private_keys.make_log_keys(origin_of(keyring.registry))
            following = keyring.model_copy(update={"online": online, "log": log})
        stored = keyring_changes.store(registry, db, following, raised_to=target)
    _log(registry, "keyring-raised", stored, before=keyring.version)
    return {**stored.facts(), "before": keyring.version}


def list_keys(registry: Registry) -> dict[str, Any]:
    """The keyring, without the PEM texts; `revoked` is null or says why and since when.

    `pending`: whether it holds changes that the root has still to sign.
    """
    keyring = keyring_changes.latest(registry)
    rows = [
        {
            "namespace": m.namespace, "role": k.role, "fingerprint": k.fingerprint, "added": k.added,
            "revoked": _why(keyring.revocation_of(k.fingerprint)),
        }
        for m in keyring.members
        for k in m.keys
    ]  # fmt: skip
    return {"registry": keyring.registry, "keyring_version": keyring.version, "keys": rows,
            "pending": keyring != registry.trust().keyring}  # fmt: skip


def _log(registry: Registry, event: str, stored: keyring_changes.Next, **facts: Any) -> None:
    """The change in the audit log, and a timestamp for the new keyring where this machine has the key for one."""
    registry.audit_log.write(event, **facts, keyring=stored.version, pending=stored.pending or None)
    registry.renew_timestamp()
    registry_log.publish_if_possible(registry)


def _why(revocation: keyrings.Revocation | None) -> dict[str, str] | None:
    return None if revocation is None else {"reason": revocation.reason, "date": revocation.date}


def _check_in_force(keyring: keyrings.Keyring, fingerprint: str) -> None:
    if revocation := keyring.revocation_of(fingerprint):
        raise UsageError(
            f"{fingerprint} is revoked: {revocation.reason} on {revocation.date}",
            "this is final, and stays in the keyring: make a new key, `embhub key new NAME`",
        )


def _may_join(member: keyrings.Member, present: keyrings.MemberKey, namespace: str, role: str) -> bool:
    """A publisher's key may also withdraw, in its own namespace; nothing else is shared."""
    return member.namespace == namespace and {present.role, role} == {"publish", "withdraw"}


def replace_keys(member: keyrings.Member, keys: list[keyrings.MemberKey]) -> keyrings.Member:
    """The same member with other keys."""
    return member.model_copy(update={"keys": tuple(keys)})
