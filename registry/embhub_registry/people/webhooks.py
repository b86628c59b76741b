"""Webhooks of people: addresses that are told of a namespace's events, signed as Standard Webhooks has it."""

from __future__ import annotations

import base64
import secrets
from typing import Any
from urllib.parse import urlsplit

from embhub_registry.database.clock import stamp
from embhub_registry.database.logs import outbox
from embhub_registry.database.people import accounts
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people import notifications, secret_box
from embhub_registry.storage import outgoing
from embhub_registry.storage.folder import Registry

MOST = 20  # of an account
PREFIX = "whsec_"


def add(registry: Registry, account: Account, *, namespace: str, url: str, kinds: list[str]) -> dict[str, Any]:
    """A new webhook; its secret is in the answer, and nowhere else that could be read again.

    Raises:
        RequestDeniedError: 400 for an address or event that cannot be; 404 without such a namespace; 409 with too
            many, or where webhooks are off.
    """
    db = registry.database.connection()
    if not notifications.webhooks_are_on(db):
        raise _off()
    url = outgoing.check_url(url.strip(), what="a webhook", allowed=outgoing.allowed_hosts(db))
    chosen = notifications.check_kinds(kinds)
    if not chosen:
        raise malformed("choose at least one event")
    if not accounts.namespace_exists(db, namespace):
        raise RequestDeniedError(404, "namespace", f"there is no namespace {namespace[:60]!a}", "check the name")
    identity, key = f"wh_{secrets.token_hex(6)}", secrets.token_bytes(32)
    sealed = secret_box.seal(registry, key, about=f"webhook {identity}")
    with registry.database.writing() as writing:
        if len(outbox.find_webhooks(writing, account.user_id)) >= MOST:
            raise RequestDeniedError(409, "webhooks", f"an account has at most {MOST} webhooks", "remove one")
        outbox.add_webhook(
            writing, identity, account.user_id, namespace=namespace, url=url, secret=sealed, kinds=chosen, now=stamp()
        )
    host = urlsplit(url).hostname
    registry.audit_log.write("webhook-added", user=account.user, webhook=identity, namespace=namespace, host=host)
    return {"id": identity, "secret": PREFIX + base64.b64encode(key).decode(), "url": url, "namespace": namespace}


def remove(registry: Registry, account: Account, identity: str) -> None:
    """Forget one of the account's own, and what waits for it.

    Raises:
        RequestDeniedError: 404 where it has none such.
    """
    with registry.database.writing() as db:
        gone = outbox.remove_webhook(db, identity, account.user_id)
    if not gone:
        raise _none()
    registry.audit_log.write("webhook-removed", user=account.user, webhook=identity)


def enable(registry: Registry, account: Account, identity: str) -> None:
    """Let one of the account's own be told again that failed for too long.

    Raises:
        RequestDeniedError: 404 where it has none such.
    """
    with registry.database.writing() as db:
        done = outbox.enable_webhook(db, identity, account.user_id)
    if not done:
        raise _none()
    registry.audit_log.write("webhook-enabled", user=account.user, webhook=identity)


def test(registry: Registry, account: Account, identity: str) -> None:
    """Send one of the account's own a test.

    Raises:
        RequestDeniedError: 404 where it has none such; 409 where webhooks are off, or tests wait already.
    """
    with registry.database.writing() as db:
        if not notifications.webhooks_are_on(db):
            raise _off()
        mine = [row for row in outbox.find_webhooks(db, account.user_id) if row["id"] == identity]
        if not mine or mine[0]["disabled"]:
            raise _none()
        if mine[0]["waiting"] >= MOST:
            raise RequestDeniedError(409, "webhooks", "messages wait for this webhook already", "wait for them")
        outbox.add_test(db, identity, namespace=mine[0]["namespace"], now=stamp())


def _off() -> RequestDeniedError:
    return RequestDeniedError(409, "webhooks", "webhooks are off at this registry", "ask its operator")


def _none() -> RequestDeniedError:
    return RequestDeniedError(404, "webhook", "you have no such webhook", "the page lists yours")
