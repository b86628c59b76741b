"""What `doctor` finds in the database: schema, clock, what ends, what is overdue, and the last backup.

Limits are those of the alerts (`registry/deploy/monitoring/alerts.yml`): what has ended is a failure, what ends soon is
a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from embhub.errors import ConfigError
from embhub.formats import instants
from embhub_registry.database import schema
from embhub_registry.database.clock import stamp
from embhub_registry.database.dialects import SQLITE
from embhub_registry.database.logs import outbox, root_rows
from embhub_registry.database.people import ended_tokens, login_limits
from embhub_registry.database.standing import tombstones
from embhub_registry.operation.facts.findings import Finding, Subject, failed, ok, warning, words
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.timestamps import RENEWED_EVERY

CLOSE, APART = timedelta(seconds=5), timedelta(minutes=1)  # a login code is good for half a minute
KEYRING_ENDS, TIMESTAMP_ENDS = timedelta(days=30), timedelta(days=2)
BACKUP_OLD, BACKUP_LOST = timedelta(hours=26), timedelta(days=7)
UNSIGNED = timedelta(minutes=10)
LATE, LATE_REMOVAL = timedelta(minutes=10), timedelta(days=1)  # turns are seconds apart
SERVER = "is a server running? its log names the event `upkeep failed` with the reason"


def schema_of(registry: Registry) -> Finding:
    """Whether the database's schema is this program's.

    Raises:
        DatabaseUnavailableError: it cannot be reached.
    """
    try:
        lacking = schema.pending(registry.database)
    except ConfigError as error:
        return failed("schema", error.message, error.hint)
    if lacking:
        return warning(
            "schema", schema.plan(lacking, registry.database),
            "the next command of this release migrates: docs/how-to/upgrade-a-registry.md",
        )  # fmt: skip
    return ok("schema", f"at {schema.known_steps(registry.database.dialect)[-1].name}, as this program has it")


def apart(check: str, difference: timedelta, whose: str) -> Finding:
    """A finding on two clocks, by how much this machine's is ahead."""
    way = "ahead of" if difference > timedelta() else "behind"
    seen = f"this machine's clock is {words(difference)} {way} {whose}"
    if abs(difference) <= CLOSE:
        return ok(check, f"this machine's clock is {whose}, to {CLOSE.seconds} seconds")
    advice = "set both by NTP: `timedatectl` says whether a machine does"
    return (failed if abs(difference) > APART else warning)(check, seen, advice)


def database_clock(subject: Subject) -> Iterator[Finding]:
    """This machine's clock against the database's."""
    if subject.registry.database.dialect is SQLITE:
        yield ok("database-clock", "the database is a file here, and has no clock of its own")
        return
    there = login_limits.engine_milliseconds(subject.registry.database.connection()) / 1000
    yield apart("database-clock", subject.now - datetime.fromtimestamp(there, UTC), "the database's")


def root(subject: Subject) -> Iterator[Finding]:
    """Since when the root's keys are the same. No age is too old: whether a key leaked, nobody sees by it."""
    registry = subject.registry
    changed = root_rows.root_changed(registry.database.connection())
    since = datetime.fromisoformat(changed or registry.setting("created"))
    kept = "its private key is in this folder" if registry.private_keys.root_is_here else "no private key of it is here"
    keys = len(registry.root().keys)
    yield ok("root", f"number of keys: {keys}, unchanged for {words(subject.now - since)}; {kept}")


def keyring(subject: Subject) -> Iterator[Finding]:
    """How long the signed keyring is good for."""
    advice = "sign a new one: `keyring propose`, `sign` and `install`"
    yield _ends("keyring", subject.age("keyring_expiry"), KEYRING_ENDS, advice)


def timestamp(subject: Subject) -> Iterator[Finding]:
    """How long the signed timestamp is good for, and whether a server still signs one each day."""
    advice = "serve with the key `timestamp.pem` that the keyring names: sites refuse a registry without a timestamp"
    age = subject.age("timestamp_expiry")
    found = root_rows.timestamp(subject.registry.database.connection())
    signed = subject.now - instants.read(found[0]) if found else None
    if signed is not None and age is not None and age < timedelta() and signed > RENEWED_EVERY + LATE:
        yield warning("timestamp", f"signed {words(signed)} ago, and not each day", advice)
    else:
        yield _ends("timestamp", age, TIMESTAMP_ENDS, advice)


def _ends(check: str, past: timedelta | None, soon: timedelta, advice: str) -> Finding:
    if past is None:
        return failed(check, "none is signed", advice)
    if past >= timedelta():
        return failed(check, f"ended {words(past)} ago", advice)
    return (warning if -past < soon else ok)(check, f"ends in {words(past)}", *([advice] if -past < soon else []))


def log(subject: Subject) -> Iterator[Finding]:
    """Whether what was stored gets into the signed log."""
    entries, waiting = subject.fact("log_entries") or 0, subject.fact("log_pending_entries") or 0
    age = subject.age("log_head")
    seen = f"{entries:,.0f} entries, {waiting:,.0f} of them not signed yet"
    advice = "serve with the log's keys; a server's log says why it does not sign"
    if waiting and (age is None or age > UNSIGNED):  # without an age nothing was ever signed on this machine
        yield (warning if age is None else failed)("log", seen, advice)
    else:
        yield ok("log", seen)


def upkeep(subject: Subject) -> Iterator[Finding]:
    """Whether a server's turns do what is due: tokens end, and the bytes of what was deleted go."""
    db, late = subject.registry.database.connection(), []
    ended, due = ended_tokens.oldest_ended(db), tombstones.oldest_due(db)
    if ended is not None and ended < stamp(subject.now - LATE):
        late.append(f"a token that ended on {ended[:16]} is not retired")
    if due is not None and due < stamp(subject.now - LATE_REMOVAL):
        late.append(f"deleted files that were due on {due[:16]} are not removed")
    probed = subject.registry.setting("ready.probed")
    seen = f"a server was last asked for /readyz on {probed[:16]}" if probed else "no server was ever asked for /readyz"
    yield failed("upkeep", "; ".join(late), SERVER) if late else ok("upkeep", f"nothing is overdue; {seen}")


def deliveries(subject: Subject) -> Iterator[Finding]:
    """Whether webhooks and mail go out."""
    db = subject.registry.database.connection()
    oldest = outbox.oldest_due(db, now=stamp(subject.now))
    waiting, tried, disabled = outbox.count_waiting(db), outbox.count_failed(db), outbox.count_disabled_webhooks(db)
    seen = f"{waiting} wait, {tried} of them after a failure; {disabled} webhooks are disabled"
    if oldest is not None and oldest < stamp(subject.now - LATE):
        yield failed("deliveries", f"{seen}; due since {oldest[:16]}", SERVER)
    elif tried or disabled:
        yield warning("deliveries", seen, "ask the owners of the webhooks, or look at the mail server")
    else:
        yield ok("deliveries", seen)


def backup(subject: Subject) -> Iterator[Finding]:
    """How old the last complete `backup make` is."""
    age, created = subject.age("backup"), datetime.fromisoformat(subject.registry.setting("created"))
    advice = "`backup make`, and its timer: docs/how-to/back-up-a-registry.md"
    if subject.registry.database.dialect is not SQLITE:
        advice += "; copies by PostgreSQL's own tools are not seen here"
    if age is not None and age <= BACKUP_OLD:
        yield ok("backup", f"the last one was complete {words(age)} ago")
        return
    lost = age > BACKUP_LOST if age is not None else subject.now - created > BACKUP_OLD
    seen = f"the last one was complete {words(age)} ago" if age is not None else "there was none yet"
    yield (failed if lost else warning)("backup", seen, advice)
