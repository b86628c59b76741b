"""The worker that empties the outbox: claims deliveries, makes them, and tries again later where that fails.

Several processes may do so at once: a delivery is claimed for `LEASE` by one of them. One that is killed between
sending and noting that sends again after: each message arrives at least once, under the same id.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from standardwebhooks import Webhook

from embhub_registry.database.clock import now, stamp
from embhub_registry.database.logs import outbox
from embhub_registry.database.logs.outbox import Delivery, Event
from embhub_registry.database.people import sessions
from embhub_registry.operation.background import mailing
from embhub_registry.people import auth, notifications, secret_box
from embhub_registry.people.secret_box import SealedElsewhereError
from embhub_registry.storage import outgoing
from embhub_registry.storage.audit.actors import Actor, acting
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.logs import log
from embhub_registry.storage.outgoing import SendingError

LEASE = timedelta(minutes=3)  # longer than any attempt
AT_ONCE, EACH = 8, 2
KEPT = timedelta(days=7)
DISABLED_AFTER = timedelta(days=2)  # of failures alone
# Seconds before the second attempt, the third, …, as Standard Webhooks recommends; then it is given up.
DELAYS = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
JITTER = 0.2
MOST_BYTES = 16_384  # of an answer, which nobody reads

Sending = Callable[[], object]


def run(
    registry: Registry, *, clock: Callable[[], datetime] = now, stopping: Callable[[], bool] = lambda: False
) -> int:  # fmt: skip
    """Make what is due, until nothing is, or the process is `stopping`; returns how many deliveries were tried."""
    count = 0
    while not stopping() and (batch := claim(registry, clock=clock)):
        prepared = [prepare(registry, delivery) for delivery in batch]
        with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="deliveries") as pool:
            trying = {pool.submit(_try, sending): one for one, sending in zip(batch, prepared, strict=True)}
            for tried in as_completed(trying):  # these threads never touch the database
                note(registry, trying[tried], tried.result(), clock=clock)
        count += len(batch)
    return count


def claim(registry: Registry, *, clock: Callable[[], datetime] = now) -> list[Delivery]:
    """Deliveries that are due, for this process alone; what is off waits, and what is a week old is forgotten."""
    if not outbox.any_due(registry.database.connection(), now=stamp(clock())):
        return []
    with registry.database.writing() as db:
        if gone := outbox.forget_old(db, before=stamp(clock() - KEPT)):
            log("warning", "messages were given up after a week", count=gone)
        return outbox.claim(db, now=stamp(clock()), until=stamp(clock() + LEASE), most=AT_ONCE, each=EACH)


def prepare(registry: Registry, delivery: Delivery) -> Sending:
    """What makes one delivery, without the database: nothing, where its receiver may not be told any more."""
    try:
        if not _may_be_told(registry, delivery):
            return _nothing
        return (_webhook if delivery.webhook_id else _mail)(registry, delivery)
    except SendingError as error:
        return partial(_raise, error)
    except Exception as error:  # noqa: BLE001  # a fault of ours must not stop the others
        return partial(_raise, _fault(error))


def note(registry: Registry, delivery: Delivery, error: SendingError | None, *, clock: Callable[[], datetime]) -> None:
    """Write down what came of a delivery."""
    if error is not None:
        _failed(registry, delivery, error, clock)
        return
    with registry.database.writing() as db:
        outbox.done(db, delivery.id)
        if delivery.webhook_id:
            outbox.note_success(db, delivery.webhook_id, now=stamp(clock()))


def _try(sending: Sending) -> SendingError | None:
    try:
        sending()
    except SendingError as error:
        return error
    except Exception as error:  # noqa: BLE001  # as above
        return _fault(error)
    return None


def _fault(error: Exception) -> SendingError:
    log("error", "a message could not be sent", reason=f"{type(error).__name__}: {error}")
    return SendingError("the registry failed at it; its operator's log says why")


def _raise(error: SendingError) -> None:
    raise error


def _nothing() -> None:
    pass


def delay(attempts: int) -> float | None:
    """Seconds until the next attempt after so many; None where there is none. Spread, so that many do not coincide."""
    if attempts > len(DELAYS):
        return None
    return DELAYS[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # no secret


def payload(event: Event) -> str:
    """What a webhook is sent (Standard Webhooks: `type`, `timestamp`, `data`)."""
    return json.dumps({"type": event.kind, "timestamp": event.created, "data": event.data}, sort_keys=True)


def _may_be_told(registry: Registry, delivery: Delivery) -> bool:
    db = registry.database.connection()
    account = auth.find_account(db, delivery.user_id)
    by_mail = delivery.webhook_id is None
    return account is not None and notifications.may_know(db, delivery.event, account, by_mail=by_mail)


def _webhook(registry: Registry, delivery: Delivery) -> Sending:
    db = registry.database.connection()
    row = outbox.find_webhook(db, str(delivery.webhook_id))
    if row is None or not notifications.webhooks_are_on(db):
        raise SendingError("webhooks are off at this registry")
    try:
        key = secret_box.open_sealed(registry, row["secret"], about=f"webhook {row['id']}")
    except SealedElsewhereError as error:
        raise SendingError("its secret was made on another machine: remove it, and add it again") from error
    body, moment = payload(delivery.event), datetime.now(UTC)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": delivery.event.id, "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(key).sign(delivery.event.id, moment, body),
    }  # fmt: skip
    return partial(post, row["url"], body.encode(), headers, allowed=outgoing.allowed_hosts(db))


def post(url: str, body: bytes, headers: Mapping[str, str], *, allowed: Sequence[str]) -> None:
    """One message to a webhook.

    Raises:
        SendingError: it did not answer with a status from 200 to 299; `gone` with 410.
    """
    answer = outgoing.ask(
        "webhook", url, method="POST", body=body, headers=headers, allowed=allowed, most_bytes=MOST_BYTES
    )
    if not 200 <= answer.status < 300:
        raise SendingError(f"it answered with status {answer.status}", gone=answer.status == 410)


def _mail(registry: Registry, delivery: Delivery) -> Sending:
    db = registry.database.connection()
    server, row = mailing.server_of(db), sessions.find_user(db, delivery.user_id)
    if server is None:
        raise SendingError("mail is off at this registry")
    if row is None or not row["mail"] or delivery.event.kind not in row["mail_kinds"].split():
        return _nothing  # not wanted any more
    name, url = registry.setting("name"), registry.setting("url")
    subject = notifications.subject_of(delivery.event)
    message = mailing.compose(
        server, row["mail"], name=name, subject=f"{name}: {subject}", lines=lines(delivery.event, url=url),
        message_id=delivery.event.id,
    )  # fmt: skip
    return partial(mailing.send, server, message)


def lines(event: Event, *, url: str) -> list[str]:
    """A mail's text: what happened, and where to look."""
    pages = {"access": "/account/access", "review": "/account/review"}
    page = pages.get(event.kind.partition(".")[0], f"/{event.repository or event.namespace}")
    subject = notifications.subject_of(event)
    return [
        f"{subject[:1].upper()}{subject[1:]}.", "", f"{url}{page}", "",
        f"When: {event.created}", "", f"What you get mail of: {url}/account/notifications",
    ]  # fmt: skip


def _failed(registry: Registry, delivery: Delivery, error: SendingError, clock: Callable[[], datetime]) -> None:
    wait = None if error.gone else delay(delivery.attempts)
    disabled = False
    with registry.database.writing() as db:
        if wait is None:
            outbox.done(db, delivery.id)
        else:
            outbox.try_later(db, delivery.id, due=stamp(clock() + timedelta(seconds=wait)))
        if delivery.webhook_id:
            since = clock() if error.gone else clock() - DISABLED_AFTER
            disabled = outbox.note_failure(
                db, delivery.webhook_id, error.reason, now=stamp(clock()), disable_since=stamp(since)
            )
    told: dict[str, Any] = {"event_id": delivery.event.id, "attempt": delivery.attempts, "reason": error.reason}
    log("warning", "a message was not delivered", webhook=delivery.webhook_id, given_up=wait is None, **told)
    if disabled:
        with acting(Actor("server", "server")):
            registry.audit_log.write("webhook-disabled", webhook=delivery.webhook_id, reason=error.reason)
