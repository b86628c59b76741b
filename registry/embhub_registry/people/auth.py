"""Who is calling and what they may do: bearer tokens, roles, scopes."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace

from embhub_registry.database import Connection
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts
from embhub_registry.database.people import sessions as session_rows
from embhub_registry.http_errors import bad_token, forbidden, token_needed
from embhub_registry.people.roles import ACTIONS, LIMITED_ACTIONS, SCOPES

PREFIX = "hf_emb_"


@dataclass(frozen=True)
class NewToken:
    """A token as it is shown once: `secret` is printed and forgotten."""

    id: str
    secret: str
    digest: bytes


def make_token() -> NewToken:
    """256 random bits, and the digest under which they are known."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return NewToken(id=secrets.token_hex(6), secret=secret, digest=digest(secret))


def digest(secret: str) -> bytes:
    """What is stored of a token, a cookie, a link or a code."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def authenticate(db: Connection, authorization: str | None) -> accounts.Account | None:
    """The account that an `Authorization` header speaks for; None without one.

    Raises:
        RequestDeniedError: 401 where a token was sent that is unknown, expired, revoked or of an account that is
        shut out.
    """
    if authorization is None:
        return None
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip() or len(secret) > 200:
        raise bad_token("send `Authorization: Bearer TOKEN`")
    sent = digest(secret.strip())
    account = accounts.find_account(db, sent)
    if account is None or not hmac.compare_digest(account.digest, sent):
        raise bad_token("this registry does not know the token")
    if account.expires is not None and (account.expires <= stamp() or account.revoked == account.expires):
        raise bad_token(f"the access token expired on {account.expires[:10]}")
    if account.revoked is not None:
        raise bad_token(f"the access token was revoked on {account.revoked[:10]}")
    if account.disabled is not None:
        raise bad_token("the account of this access token is disabled")
    return account


def narrowed(account: accounts.Account | None, repository: str | None) -> accounts.Account | None:
    """The account as it may act on `repository` (`namespace/name`, or None where the request is about none).

    A token that is good for one repository alone has no role in any namespace elsewhere.
    """
    if account is None or account.only is None or account.only == repository:
        return account
    return replace(account, role="", memberships={})


def may_read(account: accounts.Account | None, namespace: str, *, private: bool) -> bool:
    """Public repositories are everybody's; private ones the namespace's members' and the admins'."""
    return not private or (account is not None and may(account, namespace, "read-private"))


def readable(account: accounts.Account | None) -> tuple[str, ...]:
    """The namespaces whose private repositories are shown to the account in lists."""
    return tuple(n for n in account.namespaces if may(account, n, "read-private")) if account else ()


def find_account(db: Connection, user_id: int) -> accounts.Account | None:
    """An account with all that its roles may do now; None where it is gone, shut out or without a role."""
    row = session_rows.find_user(db, user_id)
    roles = accounts.roles_of(db, user_id)
    if row is None or row["disabled"] is not None or row["namespace"] not in roles:
        return None
    return accounts.Account(
        user_id, row["name"], row["namespace"], roles[row["namespace"]], "", b"", None, None, scope="admin",
        memberships=roles,
    )  # fmt: skip


def may(account: accounts.Account, namespace: str, action: str) -> bool:
    """Whether role and token allow an action of `roles.ACTIONS` in this namespace."""
    known = ACTIONS[action]
    if account.only is not None and action not in LIMITED_ACTIONS:
        return False
    return _reaches(account.scope, known.scope) and (account.admin or account.role_in(namespace) in known.roles)


def require(account: accounts.Account | None, namespace: str, action: str) -> accounts.Account:
    """The account, where it may do `action` in this namespace.

    Raises:
        RequestDeniedError: 401 without a token; 403 for another namespace, a role that may not, or a token of too
        small a scope.
    """
    known = ACTIONS[action]
    if account is not None and account.only is not None and (not account.role or action not in LIMITED_ACTIONS):
        raise forbidden(
            f"this token of {account.user} may publish in {account.only} alone, and may not {known.words} here",
            "use a token of a person", rule="scope",
        )  # fmt: skip
    return require_member(account, namespace, roles=known.roles, what=known.words, scope=known.scope)


def require_somewhere(account: accounts.Account, action: str) -> accounts.Account:
    """The account, where it may do `action` in one namespace at least: asked before a body says in which.

    Raises:
        RequestDeniedError: 403, as `require` says it of the account's own namespace.
    """
    if any(may(account, namespace, action) for namespace in account.namespaces):
        return account
    return require(account, account.namespace, action)


def require_author(account: accounts.Account | None, namespace: str) -> accounts.Account:
    """Who may send a commit to a repository of `namespace`: its publisher, or an auditor of any namespace.

    An independent audit comes from elsewhere; what an auditor may change is for admission to say.

    Raises:
        RequestDeniedError: neither.
    """
    if account is not None and "auditor" in account.roles and not may(account, namespace, "publish"):
        return require(account, audits_for(account), "attest")
    return require(account, namespace, "publish")


def audits_for(account: accounts.Account) -> str:
    """The namespace whose auditor the account is, its own first."""
    return next(name for name in account.namespaces if account.role_in(name) == "auditor")


def require_member(
    account: accounts.Account | None, namespace: str, *, roles: tuple[str, ...], what: str, scope: str = "publish"
) -> accounts.Account:
    """The account, where it has one of `roles` in this namespace and a token of `scope` at least.

    Raises:
        RequestDeniedError: 401 without a token; 403 for another namespace, a role that may not, or a token of too
        small a scope.
    """
    if account is None:
        raise token_needed(what)
    role = account.role_in(namespace)
    if not account.admin and role is None:
        raise forbidden(
            f"{account.user} belongs to {_listed(account.namespaces)} and may not {what} in {namespace!r}",
            f"use {account.namespace}/NAME, or ask the registry's admin for an account in {namespace!r}",
            rule="namespace",
        )
    if not account.admin and role not in roles:
        raise forbidden(
            f"the role {role!r} of {account.user} may not {what}",
            f"ask the registry's admin for an account with the role {' or '.join(roles or ('admin',))}",
        )
    if not _reaches(account.scope, scope):
        raise forbidden(
            f"this token of {account.user} has the scope {account.scope!r} and may not {what}",
            f"ask the registry's admin for one: `embhub-registry token new {account.user} --scope {scope}`",
            rule="scope",
        )
    return account


def _reaches(has: str, needed: str) -> bool:
    return SCOPES.index(has) >= SCOPES.index(needed)


def _listed(namespaces: tuple[str, ...]) -> str:
    return f"the namespace{'s' if len(namespaces) > 1 else ''} {', '.join(map(repr, namespaces))}"
