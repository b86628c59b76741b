"""What a server does beside answering: store what it counted, remove bytes that are due, log the audit log's head."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool

from embhub.errors import EmbhubError
from embhub_registry.admission import approving
from embhub_registry.operation.background import deliveries, expiry
from embhub_registry.operation.background.log_sequencing import LogSequencing
from embhub_registry.repositories import advisories, deletion, stolen_keys
from embhub_registry.storage import outgoing
from embhub_registry.storage.audit.actors import Actor, acting
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import log_witnesses, registry_log
from embhub_registry.storage.logs import log

SECONDS = 5.0
DELIVER_SECONDS = 1.0
HEAD_EVERY = 720  # turns: an hour
MOST_REMOVED = 100  # objects a turn: each is a transaction, in which no push is stored


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Around the application's life: now and then while it serves, and once at its end."""
    registry: Registry = app.state.registry
    registry.database.limit_waits()
    log_head(registry)
    sequencing = await run_in_threadpool(LogSequencing.start_if_shared, registry)
    await run_in_threadpool(registry_log.publish_if_possible, registry)
    workers = [asyncio.create_task(_now_and_then(app, registry)), asyncio.create_task(_ask_witnesses(registry))]
    stopping = threading.Event()
    workers.append(asyncio.create_task(_deliver(registry, stopping.is_set)))
    yield
    stopping.set()
    for worker in workers:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker
    write(app, registry)
    log_head(registry)
    if sequencing is not None:
        await run_in_threadpool(sequencing.stop)


def write(app: Starlette, registry: Registry) -> None:
    """One turn. What fails is logged and left for the next. What one server does for all is that one's."""
    turns: tuple[Callable[[], object], ...] = (
        registry.database.stay_alone,
        lambda: app.state.usage_counters.write(registry.database),
        lambda: app.state.attempts.write(registry.audit_log),
        lambda: app.state.refusals.write(registry.audit_log),
        lambda: app.state.workload_refusals.write(registry.audit_log),
        lambda: app.state.reads.write(registry.audit_log),
        lambda: outgoing.SENT.write(registry.audit_log),
    )
    for_all: tuple[Callable[[], object], ...] = (
        lambda: expiry.retire_tokens(registry),
        lambda: expiry.forget_sessions(registry),
        lambda: expiry.forget_tries(registry),
        lambda: stolen_keys.catch_up(registry),
        lambda: approving.publish_due(registry, app.state.held_back),
        lambda: deletion.purge(registry, at_most=MOST_REMOVED),
    )
    signing: tuple[Callable[[], object], ...] = (  # for any server with the keys
        lambda: advisories.sign_due(registry),
        registry.renew_timestamp,
        lambda: registry_log.publish(registry),
    )
    with acting(Actor("server", "server")):
        for turn in (*turns, *signing, *(for_all if registry.runs_maintenance else ())):
            try:
                turn()
            except Exception as error:  # noqa: BLE001  # whatever it is, upkeep goes on
                app.state.metrics.upkeep_failed()
                _failed(error)


def _failed(error: Exception) -> None:
    """One line in the process's log: an error that nobody foresaw has its type in it."""
    known = isinstance(error, (EmbhubError, OSError))
    log("error", "upkeep failed", reason=str(error) if known else f"{type(error).__name__}: {error}")


def log_head(registry: Registry) -> None:
    """The audit log's head in the process's log: where that is sent elsewhere, a rewritten audit log shows."""
    try:
        head = registry.audit_log.head()
    except Exception as error:  # noqa: BLE001  # the database's server is away, say: the next turn logs it
        _failed(error)
        return
    log("info", "audit log head", head=f"{head.number}:{head.digest}")


async def _now_and_then(app: Starlette, registry: Registry) -> None:
    turn = 0
    while True:
        await asyncio.sleep(SECONDS)
        turn += 1
        await run_in_threadpool(write, app, registry)
        if turn % HEAD_EVERY == 0:
            await run_in_threadpool(log_head, registry)


async def _ask_witnesses(registry: Registry) -> None:
    """Apart from the rest, because a witness may be slow to answer."""
    while True:
        await asyncio.sleep(SECONDS)
        if not registry.runs_maintenance:
            continue
        try:
            await run_in_threadpool(log_witnesses.ask_all, registry)
        except Exception as error:  # noqa: BLE001  # the next turn tries again
            _failed(error)


async def _deliver(registry: Registry, stopping: Callable[[], bool]) -> None:
    """Apart from the rest, because receivers may be slow."""
    while True:
        await asyncio.sleep(DELIVER_SECONDS)
        try:
            await run_in_threadpool(deliveries.run, registry, stopping=stopping)
        except Exception as error:  # noqa: BLE001  # the next turn tries again
            _failed(error)
