"""What keeps a registry under watch: does it answer, can it take work, how much does it do."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Mapping
from functools import partial

from anyio import CapacityLimiter, to_thread
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from embhub.errors import ConfigError, EmbhubError
from embhub_registry.database import DatabaseBusyError, DatabaseTakenError, StorageFullError, schema
from embhub_registry.database.clock import stamp
from embhub_registry.database.people import accounts
from embhub_registry.http_errors import forbidden, token_needed
from embhub_registry.operation.facts.registry_facts import HANGS
from embhub_registry.operation.observability.metrics import Metrics
from embhub_registry.people import secret_box
from embhub_registry.people.rate_limits import is_local
from embhub_registry.storage import configuration
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.log import registry_log
from embhub_registry.storage.log.log_publishing import AnotherLogError
from embhub_registry.wire.request_context import account_of, registry_of

PROBE_SECONDS = 5.0
SECONDS = 3.0  # that who asks waits: the probes of proxies give up after four or five
PATIENCE = 1.0  # seconds for other writers; one that takes longer is worth knowing of
# What is wrong there, and a server is ready all the same: most of what it is asked needs no writing.
_HARMLESS = frozenset({"writing"})
_OF_ONE_SERVER = frozenset({"disk"})  # of a registry that has one: of several, another may have room
NOW = {"Cache-Control": "no-store"}


class Readiness:
    """Whether work can be taken; looked at every few seconds at most, however many ask."""

    def __init__(self) -> None:
        self.draining = False
        self._found: tuple[float, dict[str, str]] | None = None
        self._looking: asyncio.Task[dict[str, str]] | None = None

    async def look(self, registry: Registry) -> dict[str, str]:
        """A word on each thing that must be right: `ok`, or what is not. It writes to the database.

        It ends within `SECONDS`: what hangs is told as what does not answer.
        """
        return await self._look(registry) | {"serving": "shutting down" if self.draining else "ok"}

    async def _look(self, registry: Registry) -> dict[str, str]:
        """What a thread found in the last seconds, or finds now; who asks meanwhile waits, and holds no thread."""
        if self._found is not None and time.monotonic() - self._found[0] <= PROBE_SECONDS:
            return self._found[1]
        if self._looking is None:
            self._looking = asyncio.create_task(self._run(registry))
        try:
            return await asyncio.wait_for(asyncio.shield(self._looking), SECONDS)
        except TimeoutError:
            return {"database": HANGS}

    async def _run(self, registry: Registry) -> dict[str, str]:
        try:
            # Not of the threads that answer requests: where all of those wait, this one says so.
            found = await to_thread.run_sync(_look, registry, limiter=CapacityLimiter(1), abandon_on_cancel=True)
            self._found = (time.monotonic(), found)
            return found
        finally:
            self._looking = None


def is_ready(found: Mapping[str, str], *, is_shared: bool) -> bool:
    """Whether requests are to be sent to a server: it can answer them, and no other one could do better.

    Args:
        found: What `Readiness.look` found.
        is_shared: Whether the registry may have several servers.
    """
    harmless = _HARMLESS if is_shared else _HARMLESS | _OF_ONE_SERVER
    return all(words == "ok" for name, words in found.items() if name not in harmless)


async def healthz(request: Request) -> Response:
    """Whether this process answers."""
    del request
    return PlainTextResponse("ok\n", headers=NOW)


async def readyz(request: Request) -> Response:
    """200 where requests are to be sent to this server, else 503; with a word on each thing that was looked at."""
    readiness: Readiness = request.app.state.readiness
    registry = registry_of(request)
    found = await readiness.look(registry)
    ready = is_ready(found, is_shared=registry.leadership is not None)
    return JSONResponse({"ready": ready, **found}, status_code=200 if ready else 503, headers=NOW)


async def metrics(request: Request) -> Response:
    """Prometheus' text; for this machine, an admin's token, or everybody where `metrics.public` says so."""
    registry, kept = registry_of(request), request.app.state
    if not is_local(request.scope) and not configuration.read(registry.database.connection(), "metrics.public"):
        account = account_of(request)
        if account is None:
            raise token_needed("reading metrics")
        if not (account.admin and account.scope == "admin"):
            raise forbidden("metrics are for admins", "use a token of an admin with the scope admin", rule="scope")
    counters: Metrics = kept.metrics
    looked = await kept.readiness.look(registry)
    checks = {name: words for name, words in looked.items() if name != "serving"}
    limiter = to_thread.current_default_thread_limiter()
    found = limiter.statistics()
    threads = {"busy": found.borrowed_tokens, "limit": limiter.total_tokens, "waiting": found.tasks_waiting}
    render = partial(counters.render, registry, serving=not kept.readiness.draining, checks=checks, threads=threads)
    text = await to_thread.run_sync(render, limiter=CapacityLimiter(1))  # also where all other threads wait
    return Response(text, media_type=CONTENT_TYPE_LATEST, headers=NOW)


def _look(registry: Registry) -> dict[str, str]:
    found = {"database": "ok", "schema": "ok", "disk": "ok"}
    try:
        writing = _writing(registry)
        least = configuration.number(registry.database.connection(), "ready.free_bytes")
        if shutil.disk_usage(registry.folder).free < least:
            found["disk"] = "nearly full"
        if registry.is_shared:
            found["logins"] = secret_box.problem(registry) or "ok"
        found["writing"] = writing
    except DatabaseTakenError:
        found["database"] = "taken by another process, or a newer release"
    except (EmbhubError, OSError):
        found["database"] = "cannot be read"
    with contextlib.suppress(EmbhubError, OSError):  # it can be why nothing can be written
        found["schema"] = _schema(registry)
    if registry.leadership is not None:
        found["log"] = _log(registry)
    return found


def _writing(registry: Registry) -> str:
    """Whether a row can be stored soon; raises what keeps this server from reading, too."""
    try:
        with registry.database.writing(patience=PATIENCE) as db:
            accounts.write_setting(db, "ready.probed", stamp())
    except DatabaseTakenError:
        raise
    except DatabaseBusyError:
        return "waits for other writers"
    except StorageFullError:
        return "disk full, or read-only"
    return "ok"


def _schema(registry: Registry) -> str:
    try:
        return "behind this program" if schema.pending(registry.database) else "ok"
    except ConfigError:
        return "ahead of this program"


def _log(registry: Registry) -> str:
    """Whether what another server signed continues what this one knew."""
    try:
        registry_log.follow(registry)
    except AnotherLogError:
        return "not the one that was signed before"
    except (EmbhubError, OSError):
        return "cannot be read"
    return "ok"
