"""What a person's groups at the provider give here: read anew at each login, taken away as well as given."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from embhub.formats.names import namespace_fault
from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts, logins
from embhub_registry.database.people import sessions as rows
from embhub_registry.database.standing import offboarding
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people.names import RESERVED, RESERVED_USERS, check_user
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry


def settle(registry: Registry, issuer: str, claims: Mapping[str, Any], groups: Sequence[str]) -> int:
    """The account of somebody at the provider, with the roles of their groups; it is made where it is new.

    Roles that the operator gave in namespaces that no rule names stay. Roles that groups gave go with their rule.

    Raises:
        RequestDeniedError: 403 where none of the groups has a role here; what they gave before is gone then.
    """
    rules = parse_rules(configuration.read(registry.database.connection(), "oidc.groups"))
    wanted = roles_of(rules, groups)
    subject = str(claims["sub"])
    events: list[tuple[str, dict[str, Any]]] = []
    with registry.database.writing() as db:
        user_id = logins.find_identity(db, issuer, subject)
        _refuse_left(db, user_id)
        if user_id is None and wanted:
            user_id = _make(db, issuer, subject, claims, wanted, events)
        elif user_id is not None:
            _change(db, user_id, {namespace for _, namespace, _ in rules}, wanted, events)
    if events:
        registry.audit_log.write_all(events)
    if user_id is None or not accounts.roles_of(registry.database.connection(), user_id):
        raise RequestDeniedError(
            403, "login", "none of your groups has a role at this registry", "ask its operator which groups have one"
        )
    return user_id


def _refuse_left(db: Connection, user_id: int | None) -> None:
    row = None if user_id is None else rows.find_user(db, user_id)
    if row is not None and row["left_at"] is not None:
        raise RequestDeniedError(403, "login", "this account has left", "ask the registry's operator")


def parse_rules(setting: object) -> list[tuple[str, str, str]]:
    """Group, namespace and role of each rule of `oidc.groups`."""
    assert isinstance(setting, tuple)  # noqa: S101  # the only kind that this setting has
    found = []
    for rule in setting:
        group, _, given = rule.rpartition("=")
        namespace, _, role = given.partition(":")
        if namespace not in RESERVED and not namespace_fault(namespace):
            found.append((group, namespace, role))
    return found


def roles_of(rules: Sequence[tuple[str, str, str]], groups: Sequence[str]) -> dict[str, str]:
    """The role in each namespace; where several groups give one, the first rule's."""
    wanted: dict[str, str] = {}
    for group, namespace, role in rules:
        if group in groups:
            wanted.setdefault(namespace, role)
    return wanted


def _make(
    db: Connection, issuer: str, subject: str, claims: Mapping[str, Any], wanted: Mapping[str, str],
    events: list[tuple[str, dict[str, Any]]],
) -> int:  # fmt: skip
    name, moment = _free_name(db, claims), stamp()
    for namespace in wanted:
        accounts.add_namespace(db, namespace, now=moment)
    home = next(iter(wanted))
    user_id = accounts.add_user(db, name=name, namespace=home, role=wanted[home], now=moment)
    for namespace, role in wanted.items():
        accounts.set_membership(db, user_id, namespace, role, now=moment, given_by="provider")
    logins.add_identity(db, issuer, subject, user_id, now=moment)
    events.append(("user-added", {"user": name, "by": "provider", "issuer": issuer, "roles": dict(wanted)}))
    return user_id


def _change(
    db: Connection, user_id: int, ruled: set[str], wanted: Mapping[str, str],
    events: list[tuple[str, dict[str, Any]]],
) -> None:  # fmt: skip
    user = rows.find_user(db, user_id)
    assert user is not None  # noqa: S101  # an identity refers to it
    before, moment = accounts.roles_of(db, user_id), stamp()
    if not before:
        _revoke(db, user["name"], events)
    for namespace, role in wanted.items():
        if before.get(namespace) not in (role, "admin"):  # an admin was made by the operator
            accounts.add_namespace(db, namespace, now=moment)
            accounts.set_membership(db, user_id, namespace, role, now=moment, given_by="provider")
            fields = {"user": user["name"], "namespace": namespace, "role": role, "before": before.get(namespace)}
            events.append(("member-set", {**fields, "by": "provider"}))
    for namespace in sorted((ruled | accounts.given_by_provider(db, user_id)) - set(wanted)):
        if namespace in before and before[namespace] != "admin":
            accounts.remove_membership(db, user_id, namespace)
            events.append(("member-removed", {"user": user["name"], "namespace": namespace, "by": "provider"}))
    left = accounts.roles_of(db, user_id)
    if user["namespace"] not in left:
        if left:
            accounts.set_home(db, user_id, min(left))
        else:
            rows.end_all(db, user_id)
            _revoke(db, user["name"], events)


def _revoke(db: Connection, user: str, events: list[tuple[str, dict[str, Any]]]) -> None:
    """Tokens of an account without a role speak for nobody, and do not speak again with its next role."""
    if count := accounts.revoke_tokens(db, user=user, now=stamp()):
        events.append(("token-revoked", {"user": user, "which": user, "count": count, "by": "provider"}))


def _free_name(db: Connection, claims: Mapping[str, Any]) -> str:
    """A user name like the one at the provider that nobody here has; not that of an operator at a shell either."""
    said = str(claims.get("preferred_username") or "").partition("@")[0].lower()
    stem = re.sub(r"[^a-z0-9._-]+", "-", said).strip("-._")[:50].rstrip("-._") or "member"
    number, name = 1, stem
    while (
        name in RESERVED_USERS | {"root"}
        or accounts.find_user(db, name) is not None
        or (offboarding.is_erased(db, name))
    ):
        number += 1
        name = f"{stem}-{number}"
    return check_user(name)
