"""The application: what stands around every request, and how errors are answered."""

from __future__ import annotations

import asyncio
import time
import traceback

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embhub.errors import EmbhubError
from embhub_registry.database import DatabaseBusyError, DatabaseUnavailableError, StorageFullError
from embhub_registry.http_errors import BAD_CREDENTIALS, DISABLED, RequestDeniedError
from embhub_registry.operation import background_tasks, health
from embhub_registry.operation.metrics import Metrics
from embhub_registry.pages import (
    form_pages,
    web,
)  # fmt: skip
from embhub_registry.pages.verification_cache import VerificationCache
from embhub_registry.people.failed_logins import FailedLogins
from embhub_registry.people.login_pacing import LoginPacing
from embhub_registry.people.rate_limits import RateLimiter, host_of
from embhub_registry.routes import ROUTES
from embhub_registry.storage.actors import ANONYMOUS, Actor, acting
from embhub_registry.storage.batched_events import BatchedEvents
from embhub_registry.storage.blobs import BlobStoreError, DamagedBlobError, MissingBlobError
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.logs import log, within
from embhub_registry.storage.usage_counters import UsageCounters
from embhub_registry.wire import (
    request_ids,
)
from embhub_registry.wire.closed_reading import ClosedReadingMiddleware
from embhub_registry.wire.commit_limiter import CommitLimiter
from embhub_registry.wire.forms import ConfirmationNeededError
from embhub_registry.wire.host_header import AllowedHosts, HostMiddleware
from embhub_registry.wire.rate_limiting import RateLimitMiddleware
from embhub_registry.wire.request_limits import RequestLimitsMiddleware
from embhub_registry.wire.response_cache import ResponseCache, ResponseCacheMiddleware
from embhub_registry.wire.segmented_paths import SegmentedPathsMiddleware
from embhub_registry.wire.session_cookies import is_form
from embhub_registry.wire.store_reads import StoreReads


def build(registry: Registry) -> Starlette:
    """The application over one opened registry."""

    app = Starlette(routes=ROUTES, lifespan=background_tasks.lifespan)
    app.router.redirect_slashes = False
    app.add_exception_handler(ConfirmationNeededError, form_pages.confirm_first)
    app.add_exception_handler(EmbhubError, refused)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(MissingBlobError, refused)
    app.add_exception_handler(Exception, failed)
    app.add_middleware(ResponseCacheMiddleware)
    app.add_middleware(ClosedReadingMiddleware, refuse=refused)
    app.add_middleware(SegmentedPathsMiddleware)
    app.add_middleware(RateLimitMiddleware, refuse=refused)
    app.add_middleware(HostMiddleware, refuse=refused)
    app.add_middleware(RequestLimitsMiddleware, refuse=refused)
    app.add_middleware(RequestLogMiddleware)
    app.state.registry = registry
    app.state.metrics = Metrics()
    app.state.readiness = health.Readiness()
    app.state.hosts = AllowedHosts(registry)
    app.state.pace = RateLimiter(registry)
    app.state.usage_counters = UsageCounters()
    app.state.responses = ResponseCache()
    app.state.attempts = FailedLogins()
    app.state.login_pacing = LoginPacing()
    app.state.refusals = BatchedEvents("refused")
    app.state.reads = BatchedEvents("file-read")
    app.state.workload_refusals = BatchedEvents("workload-refused")
    app.state.verification_cache = VerificationCache()
    app.state.judging = asyncio.Semaphore(2)
    app.state.parsing = asyncio.Semaphore(1)
    app.state.commit_limiter = CommitLimiter()
    app.state.store_reads = StoreReads()
    app.state.held_back = {}  # proposals whose embargo ended and that could not be published, until when
    return app


async def refused(request: Request, error: Exception) -> Response:
    """Every refusal: JSON and the Hub's error headers for programs, a page for people."""
    match error:
        case RequestDeniedError():
            denied = error
        case StorageFullError():
            denied = RequestDeniedError(507, "storage", error.message, error.hint)
        case DatabaseBusyError():
            denied = RequestDeniedError(503, "busy", error.message, error.hint)
            denied.headers = {"Retry-After": "2"}
        case DatabaseUnavailableError():
            log("error", "the database cannot be reached", reason=error.detail)
            denied = RequestDeniedError(503, "database", error.message, error.hint)
            denied.headers = {"Retry-After": "5"}
        case BlobStoreError():
            log("error", "object store", reason=error.message)
            denied = RequestDeniedError(
                503, "storage", "the registry's object store does not answer", "try again in a moment"
            )
            denied.headers = {"Retry-After": "5"}
        case EmbhubError():
            denied = RequestDeniedError(422, "refused", error.message, error.hint)
        case DamagedBlobError():
            log("error", "blob damaged", digest=str(error))
            denied = RequestDeniedError(
                503, "storage", "the registry's object store gave other bytes than were stored",
                "try again; if it stays, ask its operator to run `check`",
            )  # fmt: skip
            denied.headers = {"Retry-After": "30"}
        case MissingBlobError():
            log("error", "blob missing", digest=str(error))
            denied = RequestDeniedError(
                500, "storage", "the registry lost this file", "ask its operator to run `check`"
            )
        case HTTPException(status_code=404):
            denied = RequestDeniedError(
                404, "address", "there is nothing at this address", "start from the list of embeddings"
            )
        case HTTPException(status_code=405):
            denied = RequestDeniedError(
                405, "method", f"{request.method} is not possible here", "see docs/reference/registry-api.md"
            )
            denied.headers = dict(error.headers or {})
        case HTTPException():
            denied = RequestDeniedError(error.status_code, "request", str(error.detail), "")
        case _:
            raise error
    request.state.rule = denied.rule
    text = f"{denied.message}; {denied.hint}" if denied.hint else denied.message
    shown = hub_words(denied) or f"{denied.rule}: {text}"
    headers = denied.headers | {"X-Error-Message": header_text(shown), "Cache-Control": "no-store"}
    if denied.code:
        headers["X-Error-Code"] = denied.code
    if denied.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="embhub"'
    shows_page = request.method in ("GET", "HEAD") or is_form(request.url.path)
    is_page = "text/html" in request.headers.get("accept", "") and shows_page
    if is_page and denied.rule != "database":  # a page reads from it
        return web.error_page(request, denied, headers)
    body = {"error": f"{denied.rule}: {denied.message}", "rule": denied.rule, "remedy": denied.hint, **denied.extra}
    return JSONResponse(body, status_code=denied.status, headers=headers)


async def failed(request: Request, error: Exception) -> Response:
    """A fault of ours: logged with its traceback, told without it."""
    log("error", "fault", path=request.url.path[:200], exception="".join(traceback.format_exception(error)))
    return await refused(
        request,
        RequestDeniedError(
            500, "fault", "the registry failed at this", "inform its operator; the server log has details"
        ),
    )


def hub_words(denied: RequestDeniedError) -> str:
    """The Hub's own sentence where stock clients tell a refusal by it, else nothing."""
    if denied.rule == "disabled":
        return DISABLED
    return BAD_CREDENTIALS if denied.status == 401 and not denied.code else ""


def header_text(text: str) -> str:
    """A message as a header can carry it: one line of printable ASCII, of bounded length."""
    line = " ".join(text.split()).encode("ascii", "replace").decode()
    return line if len(line) <= 1500 else line[:1497] + "..."


class RequestLogMiddleware:
    """One log line and one id a request, without query or token; headers that browsers heed; 500 in JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        metrics: Metrics = scope["app"].state.metrics
        metrics.begun()
        state = scope.setdefault("state", {})
        request_id = state["request_id"] = request_ids.choose(scope["headers"])

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name.lower() for name, _ in message["headers"]}
                named = (request_ids.HEADER, request_id.encode())
                message["headers"] = [
                    *message["headers"], named, *(pair for pair in SAFE_HEADERS if pair[0] not in present)
                ]  # fmt: skip
            await send(message)

        try:
            with within(id=request_id), acting(Actor(ANONYMOUS, host_of(scope))):
                await self.app(scope, receive, sending)
        except asyncio.CancelledError:  # this server ends, and the time that requests had is over
            if not status:
                ending = DatabaseBusyError("this server is being stopped", "try again in a moment")
                await (await refused(Request(scope, receive), ending))(scope, receive, sending)
            raise
        except Exception as error:
            if status:  # the answer has begun: nothing can be told any more
                raise
            answer = refused if isinstance(error, DatabaseUnavailableError) else failed  # before any route was found
            with within(id=request_id):
                await (await answer(Request(scope, receive), error))(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - started
            metrics.answered(scope, status=status, seconds=seconds, rule=state.get("rule"))
            log(
                "info" if status < 500 else "error", "request", method=scope["method"], path=scope["path"][:200],
                status=status, ms=round(seconds * 1000, 1), user=state.get("user"),
                rule=state.get("rule"), client=(scope.get("client") or [None])[0], id=request_id,
            )  # fmt: skip


SAFE_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
