"""The outbox: events, and the deliveries of them that are still to be made; webhooks and mail addresses.

An event is written in the transaction in which it happens, so that none is lost and none is told that was undone. A
delivery is claimed for a while by one process; where that is killed, another one claims it after.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from embhub_registry.database.connection import Connection, Row


@dataclass(frozen=True)
class Event:
    """What happened. `private` says whether the repository was private then."""

    id: str
    kind: str
    namespace: str
    repository: str
    private: bool
    created: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Delivery:
    """One that this process has claimed: by webhook, or by mail to `user_id`."""

    id: str
    event: Event
    webhook_id: str | None
    user_id: int
    attempts: int


def add_event(
    db: Connection, kind: str, *, namespace: str, repository: str, private: bool, data: Mapping[str, Any], now: str,
    user_id: int | None = None,
) -> int:  # fmt: skip
    """Note an event for every webhook and person that wants it; returns how many those are. Without any it is nothing.

    With `user_id` that person gets a mail, and no other.
    """
    hooks = [
        row["id"]
        for row in db.execute("SELECT id, kinds FROM webhook WHERE namespace = ? AND disabled IS NULL", (namespace,))
        if kind in row["kinds"].split()
    ]
    people = [row["id"] for row in _mailed(db, namespace, user_id) if kind in row["mail_kinds"].split()]
    if not hooks and not people:
        return 0
    event_id = f"evt_{secrets.token_hex(12)}"
    db.execute(
        "INSERT INTO event (id, kind, namespace, repository, private, created, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (event_id, kind, namespace, repository, int(private), now, json.dumps(dict(data), sort_keys=True)),
    )
    for hook in hooks:
        _add_delivery(db, event_id, now=now, webhook_id=hook)
    for person in people:
        _add_delivery(db, event_id, now=now, user_id=person)
    return len(hooks) + len(people)


def _mailed(db: Connection, namespace: str, user_id: int | None) -> list[Row]:
    if user_id is not None:
        statement = "SELECT id, mail_kinds FROM user WHERE id = ? AND mail <> '' AND disabled IS NULL"
        return db.execute(statement, (user_id,)).fetchall()
    statement = (
        "SELECT user.id, mail_kinds FROM user JOIN membership ON membership.user_id = user.id"
        " WHERE membership.namespace = ? AND mail <> '' AND disabled IS NULL ORDER BY user.id"
    )
    return db.execute(statement, (namespace,)).fetchall()


def add_test(db: Connection, webhook_id: str, *, namespace: str, now: str) -> None:
    """Note an event that only this webhook is told of."""
    event_id = f"evt_{secrets.token_hex(12)}"
    db.execute(
        "INSERT INTO event (id, kind, namespace, repository, private, created, data)"
        " VALUES (?, 'test', ?, '', 0, ?, ?)",
        (event_id, namespace, now, json.dumps({"namespace": namespace})),
    )
    _add_delivery(db, event_id, now=now, webhook_id=webhook_id)


def _add_delivery(
    db: Connection, event_id: str, *, now: str, webhook_id: str | None = None, user_id: int | None = None
) -> None:  # fmt: skip
    db.execute(
        "INSERT INTO delivery (id, event_id, webhook_id, user_id, due) VALUES (?, ?, ?, ?, ?)",
        (secrets.token_hex(12), event_id, webhook_id, user_id, now),
    )


def oldest_due(db: Connection, *, now: str) -> str | None:
    """Since when the delivery waits that is due longest; None where none is."""
    found = db.execute(f"SELECT min(due) {_DUE}", (now,)).fetchone()  # a constant
    return None if found is None else cast("str | None", found[0])


def any_due(db: Connection, *, now: str) -> bool:
    """Whether something is to be delivered. Nothing is locked."""
    return db.execute(f"SELECT 1 {_DUE} LIMIT 1", (now,)).fetchone() is not None


def claim(db: Connection, *, now: str, until: str, most: int, each: int) -> list[Delivery]:
    """Claim deliveries that are due, until a moment; at most `each` of one webhook, so that a slow one holds up few."""
    rows = db.execute(
        "SELECT delivery_id FROM (SELECT delivery.id AS delivery_id, due, row_number() OVER"  # noqa: S608  # constants
        f" (PARTITION BY delivery.webhook_id ORDER BY due, delivery.id) AS place {_DUE}) AS waiting"
        " WHERE place <= ?2 ORDER BY due, delivery_id LIMIT ?3",
        (now, each, most),
    ).fetchall()
    claimed = []
    for row in rows:
        db.execute("UPDATE delivery SET leased = ?, attempts = attempts + 1 WHERE id = ?", (until, row[0]))
        found = db.execute(
            "SELECT delivery.id, webhook_id, COALESCE(delivery.user_id, webhook.user_id) AS user_id, attempts, event.id"
            " AS event_id, kind, event.namespace, repository, private, event.created, data FROM delivery"
            " JOIN event ON event.id = event_id LEFT JOIN webhook ON webhook.id = webhook_id WHERE delivery.id = ?",
            (row[0],),
        ).fetchone()
        event = Event(found["event_id"], found["kind"], found["namespace"], found["repository"], bool(found["private"]),
                      found["created"], json.loads(found["data"]))  # fmt: skip
        claimed.append(Delivery(found["id"], event, found["webhook_id"], found["user_id"], found["attempts"]))
    return claimed


_DUE = (
    "FROM delivery LEFT JOIN webhook ON webhook.id = delivery.webhook_id"
    " WHERE due <= ?1 AND leased <= ?1 AND webhook.disabled IS NULL"
)


def done(db: Connection, delivery_id: str) -> None:
    """It was delivered, or will not be: forget it, and its event once nobody else waits for that."""
    row = db.execute("DELETE FROM delivery WHERE id = ? RETURNING event_id", (delivery_id,)).fetchone()
    if row is not None:
        db.execute(
            "DELETE FROM event WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM delivery WHERE event_id = ?1)", (row[0],)
        )


def try_later(db: Connection, delivery_id: str, *, due: str) -> None:
    """It failed: it is due again at a moment."""
    db.execute("UPDATE delivery SET due = ?, leased = '' WHERE id = ?", (due, delivery_id))


def count_waiting(db: Connection) -> int:
    """How many deliveries wait."""
    return int(db.execute("SELECT count(*) FROM delivery").fetchone()[0])


def count_failed(db: Connection) -> int:
    """How many of them were tried, and are to be tried again."""
    return int(db.execute("SELECT count(*) FROM delivery WHERE attempts > 0 AND leased = ''").fetchone()[0])


def count_disabled_webhooks(db: Connection) -> int:
    """How many webhooks failed until they were disabled."""
    return int(db.execute("SELECT count(*) FROM webhook WHERE disabled IS NOT NULL").fetchone()[0])


def forget_old(db: Connection, *, before: str) -> int:
    """Forget events from before a moment, delivered or not; returns how many deliveries went with them."""
    count = int(
        db.execute("SELECT count(*) FROM delivery JOIN event ON event.id = event_id WHERE created < ?", (before,))
        .fetchone()[0]
    )  # fmt: skip
    if count:
        db.execute("DELETE FROM event WHERE created < ?", (before,))
    return count


def add_webhook(
    db: Connection, identity: str, user_id: int, *, namespace: str, url: str, secret: bytes, kinds: Sequence[str],
    now: str,
) -> None:  # fmt: skip
    """Remember a webhook; its secret comes encrypted."""
    db.execute(
        "INSERT INTO webhook (id, user_id, namespace, url, secret, kinds, created) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (identity, user_id, namespace, url, secret, " ".join(kinds), now),
    )


def find_webhook(db: Connection, identity: str) -> Row | None:
    """One, or None."""
    return cast("Row | None", db.execute("SELECT * FROM webhook WHERE id = ?", (identity,)).fetchone())


def find_webhooks(db: Connection, user_id: int) -> list[Row]:
    """An account's webhooks, oldest first, with how many deliveries wait."""
    return db.execute(
        "SELECT webhook.*, (SELECT count(*) FROM delivery WHERE webhook_id = webhook.id) AS waiting FROM webhook"
        " WHERE user_id = ? ORDER BY created, id",
        (user_id,),
    ).fetchall()


def remove_webhook(db: Connection, identity: str, user_id: int) -> bool:
    """Forget one of an account's webhooks and what waits for it; False where it has none such."""
    return db.execute("DELETE FROM webhook WHERE id = ? AND user_id = ?", (identity, user_id)).rowcount == 1


def remove_webhooks(db: Connection, user_id: int) -> int:
    """Forget all of an account's webhooks; returns how many."""
    return db.execute("DELETE FROM webhook WHERE user_id = ?", (user_id,)).rowcount


def note_success(db: Connection, identity: str, *, now: str) -> None:
    """A webhook took a delivery."""
    db.execute(
        "UPDATE webhook SET delivered = ?, failing_since = NULL, problem = '' WHERE id = ?", (now, identity)
    )  # fmt: skip


def note_failure(db: Connection, identity: str, problem: str, *, now: str, disable_since: str) -> bool:
    """A webhook did not; it is disabled where it has failed since before `disable_since`. Whether it now is."""
    db.execute(
        "UPDATE webhook SET failing_since = COALESCE(failing_since, ?), problem = ? WHERE id = ?",
        (now, problem, identity),
    )
    statement = "UPDATE webhook SET disabled = ? WHERE id = ? AND disabled IS NULL AND failing_since <= ?"
    return db.execute(statement, (now, identity, disable_since)).rowcount == 1


def enable_webhook(db: Connection, identity: str, user_id: int) -> bool:
    """Let a disabled one of an account be told again; False where it has none such."""
    statement = (
        "UPDATE webhook SET disabled = NULL, failing_since = NULL, problem = ''"
        " WHERE id = ? AND user_id = ? AND disabled IS NOT NULL"
    )
    return db.execute(statement, (identity, user_id)).rowcount == 1


def set_mail(db: Connection, user_id: int, *, address: str) -> None:
    """Where an account gets mail; empty for none."""
    db.execute("UPDATE user SET mail = ? WHERE id = ?", (address, user_id))


def set_mail_kinds(db: Connection, user_id: int, kinds: Sequence[str]) -> None:
    """What an account gets mail of."""
    db.execute("UPDATE user SET mail_kinds = ? WHERE id = ?", (" ".join(kinds), user_id))
