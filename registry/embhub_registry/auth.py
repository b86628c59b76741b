"""Who is calling and what they may do: bearer tokens, roles."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from embhub_registry.clock import stamp
from embhub_registry.database import Connection, accounts
from embhub_registry.denials import bad_token, forbidden, token_needed

ROLES = ("reader", "publisher", "auditor", "approver", "admin")
PREFIX = "emb_"


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
    """What is stored of a token."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def authenticate(db: Connection, authorization: str | None) -> accounts.Account | None:
    """The account that an `Authorization` header speaks for; None without one.

    Raises:
        Denied: 401 where a token was sent that is unknown, expired or revoked.
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
    if account.revoked is not None:
        raise bad_token("the token was revoked")
    if account.expires is not None and account.expires <= stamp():
        raise bad_token("the token has expired")
    return account


def may_read(account: accounts.Account | None, namespace: str, *, private: bool) -> bool:
    """Public repositories are everybody's; private ones the namespace's and the admins'."""
    return not private or (account is not None and (account.role == "admin" or account.namespace == namespace))


def require_member(
    account: accounts.Account | None, namespace: str, *, roles: tuple[str, ...], what: str
) -> accounts.Account:
    """The account, where it may do `what` in this namespace.

    Raises:
        Denied: 401 without a token, 403 for another namespace or a role that may not.
    """
    if account is None:
        raise token_needed(what)
    if account.role == "admin":
        return account
    if account.namespace != namespace:
        raise forbidden(
            f"{account.user} belongs to the namespace {account.namespace!r} and may not {what} in {namespace!r}",
            f"use {account.namespace}/NAME, or ask the registry's admin for an account in {namespace!r}",
            rule="namespace",
        )
    if account.role not in roles:
        raise forbidden(
            f"the role {account.role!r} of {account.user} may not {what}",
            f"ask the registry's admin for an account with the role {' or '.join(roles)}",
        )
    return account
