"""The URL table on one page, and what stands around every request."""

from __future__ import annotations

import asyncio
import time

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from embhub.errors import EmbhubError
from embhub_registry.database import DatabaseBusyError
from embhub_registry.operation import operator_page
from embhub_registry.operation.background import background_tasks
from embhub_registry.operation.observability import health
from embhub_registry.operation.observability.metrics import Metrics
from embhub_registry.pages import web  # fmt: skip
from embhub_registry.pages.account import (
    access_pages,
    account_pages,
    device_page,
    form_pages,
    login_pages,
    organisation_routes,
    quota_pages,
    review_pages,
    reviewer_pages,
    standing_pages,
)
from embhub_registry.pages.error_answers import failed, failed_early, refused
from embhub_registry.pages.lists import bases_page, feed, findings_page
from embhub_registry.pages.release import browser_preview
from embhub_registry.pages.release.verification_cache import VerificationCache
from embhub_registry.people.login import provider
from embhub_registry.people.login.failed_logins import FailedLogins
from embhub_registry.people.login.login_pacing import LoginPacing
from embhub_registry.people.rate_limits import RateLimiter, host_of
from embhub_registry.storage.audit.actors import ANONYMOUS, Actor, acting
from embhub_registry.storage.audit.batched_events import BatchedEvents
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.logs import within
from embhub_registry.storage.stores.blobs import MissingBlobError
from embhub_registry.storage.usage_counters import UsageCounters
from embhub_registry.wire import request_ids, request_log
from embhub_registry.wire.closed_reading import ClosedReadingMiddleware
from embhub_registry.wire.forms import ConfirmationNeededError
from embhub_registry.wire.host_header import AllowedHosts, HostMiddleware
from embhub_registry.wire.hub_api import downloads, hf_access, hf_api, hf_changes, not_offered, unnamespaced_ids
from embhub_registry.wire.hub_api.segmented_paths import SegmentedPathsMiddleware
from embhub_registry.wire.limits.commit_limiter import CommitLimiter
from embhub_registry.wire.limits.connection_count import ConnectionCount, ConnectionCountMiddleware
from embhub_registry.wire.limits.request_limits import RequestLimitsMiddleware
from embhub_registry.wire.rate_limiting import RateLimitMiddleware
from embhub_registry.wire.registry_api import (
    advisories_api,
    device_api,
    embhub_api,
    invites_api,
    log_api,
    openapi,
    review_api,
    security_txt,
    seen_api,
    terms_api,
    token_exchange,
)
from embhub_registry.wire.request_context import registry_of, run_in_threadpool
from embhub_registry.wire.store_reads import StoreReads

REPO = "/api/models/{namespace}/{name}"
PAGES = "/{namespace}/{name}"


async def trust(request: Request) -> Response:
    """What sites pin: the root's public key and the signed keyring."""
    document = await run_in_threadpool(registry_of(request).trust_export)
    return Response(document, media_type="application/json", headers={"Cache-Control": "no-cache"})


ROUTES = [
    Route("/healthz", health.healthz),
    Route("/readyz", health.readyz),
    Route("/metrics", health.metrics),
    Route(security_txt.PATH, security_txt.security_txt),
    Route(openapi.PATH, openapi.openapi),
    Route("/embhub/v1/trust", trust),
    Route(seen_api.PATH, seen_api.seen),
    Route(advisories_api.PATH, advisories_api.signed),
    Route(advisories_api.ATOM, advisories_api.atom),
    Route(invites_api.PATH, invites_api.join, methods=["POST"]),
    Route("/embhub/v1/status/{namespace}/{name}", embhub_api.status),
    Route("/embhub/v1/terms/{namespace}/{name}", terms_api.handle, methods=["GET", "PUT"]),
    *embhub_api.STATEMENTS,
    *embhub_api.OF_STUDIES,
    Route("/embhub/v1/yank/{namespace}/{name}", embhub_api.yank, methods=["POST", "DELETE"]),
    *review_api.ROUTES,
    Route(log_api.PREFIX + "/checkpoint", log_api.checkpoint),
    Route(log_api.PREFIX + "/cosignature", log_api.cosignature, methods=["POST"]),
    Route(log_api.PREFIX + "/proof/{hash}", log_api.proof),
    Route(log_api.PREFIX + "/tile/{path:path}", log_api.tile),
    # the Hub's wire
    Route("/api/whoami-v2", hf_api.whoami),
    Route("/api/repos/create", hf_changes.create_repo, methods=["POST"]),
    Route("/api/repos/delete", hf_changes.delete_repo, methods=["DELETE"]),
    Route("/api/validate-yaml", hf_changes.validate_yaml, methods=["POST"]),
    Route("/api/models", hf_api.list_models),
    Route("/api/models-tags-by-type", hf_api.tags_by_type),
    Route("/api/settings/repositories", hf_api.own_repositories),
    Route("/api/organizations/{namespace}/settings/repositories", hf_api.own_repositories),
    Route(REPO, hf_api.model_info),
    Route(REPO + "/revision/{revision}", hf_api.model_info),
    Route(REPO + "/settings", hf_changes.settings, methods=["PUT"]),
    Route(REPO + "/preupload/{revision}", hf_changes.preupload, methods=["POST"]),
    Route(REPO + "/commit/{revision}", hf_changes.commit, methods=["POST"]),
    Route(REPO + "/tree/{revision}", hf_api.tree),
    Route(REPO + "/tree/{revision}/{path:path}", hf_api.tree),
    Route(REPO + "/paths-info/{revision}", hf_api.paths_info, methods=["POST"]),
    Route(REPO + "/refs", hf_api.refs),
    Route(REPO + "/commits/{revision}", hf_api.history),
    Route(REPO + "/branch/{revision}", hf_changes.branch, methods=["POST", "DELETE"]),
    Route(REPO + "/tag/{revision}", hf_changes.tag, methods=["POST", "DELETE"]),
    Route(REPO + "/auth-check", hf_api.auth_check),
    Route(REPO + "/auth-check/write", hf_api.auth_check),
    Route(REPO + "/user-access-request/handle", hf_access.handle, methods=["POST"]),
    Route(REPO + "/user-access-request/grant", hf_access.grant, methods=["POST"]),
    Route(REPO + "/user-access-request/{status}", hf_access.requests),
    Route(PAGES + "/ask-access", hf_access.ask, methods=["POST"]),
    Route(PAGES + "/resolve/{revision}/{path:path}", downloads.resolve),
    Route(PAGES + "/raw/{revision}/{path:path}", downloads.resolve),
    Route(PAGES + "/blob/{revision}/{path:path}", downloads.resolve),
    Route(PAGES + "/info/{path:path}", not_offered.git, methods=["GET", "POST"]),
    # people in browsers, and the programs that they let in
    Route(device_api.CODE, device_api.code, methods=["POST"]),
    Route(device_api.TOKEN, device_api.token, methods=["POST"]),
    Route(token_exchange.PATH, token_exchange.token, methods=["POST"]),
    Route("/login", login_pages.login),
    Route("/login/code", login_pages.by_code, methods=["POST"]),
    Route("/login/passkey", login_pages.by_passkey, methods=["POST"]),
    Route("/login/passkey/answer", login_pages.passkey_answer, methods=["POST"]),
    Route("/login/provider", login_pages.at_provider, methods=["POST"]),
    Route(provider.CALLBACK, login_pages.provider_callback),
    Route("/login/link/{secret}", login_pages.link, methods=["GET", "POST"]),
    Route(device_api.PAGE, device_page.device, methods=["GET", "POST"]),
    Route(account_pages.TOKENS, account_pages.tokens),
    Route("/account/tokens", account_pages.make_token, methods=["POST"]),
    Route("/account/tokens/revoke", account_pages.revoke_token, methods=["POST"]),
    Route(account_pages.LOGIN, account_pages.login_methods),
    Route("/account/login/totp", account_pages.totp, methods=["POST"]),
    Route("/account/login/totp/answer", account_pages.totp_answer, methods=["POST"]),
    Route("/account/login/totp/remove", account_pages.remove_totp, methods=["POST"]),
    Route("/account/login/recovery-codes", account_pages.recovery_codes, methods=["POST"]),
    Route("/account/login/passkey", account_pages.passkey, methods=["POST"]),
    Route("/account/login/passkey/answer", account_pages.passkey_answer, methods=["POST"]),
    Route("/account/login/passkey/remove", account_pages.remove_passkey, methods=["POST"]),
    Route("/account/logout", account_pages.logout, methods=["POST"]),
    Route("/account/logout/everywhere", account_pages.logout_everywhere, methods=["POST"]),
    Route(access_pages.HERE, access_pages.requests),
    Route("/account/access/ask", access_pages.ask, methods=["GET", "POST"]),
    Route("/account/access/answer", access_pages.answer, methods=["POST"]),
    *review_pages.ROUTES,
    *reviewer_pages.ROUTES,
    *organisation_routes.ROUTES,
    Route(standing_pages.WITHDRAW, standing_pages.withdraw, methods=["GET", "POST"]),
    Route(standing_pages.QUARANTINE, standing_pages.quarantine, methods=["GET", "POST"]),
    Route(quota_pages.HERE, quota_pages.limits, methods=["GET", "POST"]),
    Route(operator_page.HERE, operator_page.operator),
    # the pages people look at
    Route("/", web.index),
    Route(feed.PATH, web.atom),
    Route(findings_page.PATH, web.findings),
    Route(bases_page.PATH, web.bases),
    Route("/compare", web.compare),
    Route("/trust", web.trust),
    Route("/trust/root.pem", web.root_key),
    Route("/trust/advisories", web.advisories),
    Route("/favicon.ico", web.favicon),
    Route("/robots.txt", web.robots),
    Route("/static/{file}", web.static),
    *browser_preview.ROUTES,
    Route("/datasets/{rest:path}", not_offered.unknown),
    Route("/spaces/{rest:path}", not_offered.unknown),
    Route("/api/{rest:path}", not_offered.unknown, methods=["GET", "POST", "PUT", "DELETE", "PATCH"]),
    Route("/{namespace}", web.namespace),
    Route(PAGES, web.embedding),
    Route(PAGES + "/commit/{revision}", web.embedding),
    Route(PAGES + "/tree/{revision}", web.embedding),
    Route(PAGES + "/tree/{revision}/{path:path}", web.embedding),
    Route(PAGES + "/commits/{revision}", web.embedding),
    Route(PAGES + "/audit/{revision}", web.audit),
    Route(PAGES + "/preview/{revision}", web.preview),
    Route("/{name}/resolve/{revision}/{path:path}", unnamespaced_ids.file),
]


def build(registry: Registry) -> Starlette:
    """The application over one opened registry."""

    app = Starlette(routes=ROUTES, lifespan=background_tasks.lifespan)
    app.router.redirect_slashes = False
    app.add_exception_handler(ConfirmationNeededError, form_pages.confirm_first)
    app.add_exception_handler(EmbhubError, refused)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(MissingBlobError, refused)
    app.add_exception_handler(Exception, failed)
    app.add_middleware(ClosedReadingMiddleware, refuse=refused)
    app.add_middleware(SegmentedPathsMiddleware)
    app.add_middleware(RateLimitMiddleware, refuse=refused)
    app.add_middleware(HostMiddleware, refuse=refused)
    app.add_middleware(RequestLimitsMiddleware, refuse=refused)
    app.add_middleware(ConnectionCountMiddleware, refuse=refused)
    app.add_middleware(RequestLogMiddleware)
    app.state.registry = registry
    app.state.openapi = openapi.encode(ROUTES)
    app.state.metrics = Metrics()
    app.state.readiness = health.Readiness()
    app.state.hosts = AllowedHosts(registry)
    app.state.crowd = ConnectionCount()
    app.state.pace = RateLimiter(registry)
    app.state.usage_counters = UsageCounters()
    app.state.attempts = FailedLogins()
    app.state.login_pacing = LoginPacing(registry.database)
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
        request_id = state["request_id"] = request_ids.choose(dict(scope["headers"]))

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = request_log.complete(message["headers"], request_id)
            await send(message)

        with within(id=request_id), acting(Actor(ANONYMOUS, host_of(scope))):
            try:
                await self.app(scope, receive, sending)
            except asyncio.CancelledError:  # this server ends, and the time that requests had is over
                if not status:
                    ending = DatabaseBusyError("this server is being stopped", "try again in a moment")
                    await (await refused(Request(scope, receive), ending))(scope, receive, sending)
                raise
            except Exception as error:
                if status:  # the answer has begun: nothing can be told any more
                    raise
                await (await failed_early(Request(scope, receive), error))(scope, receive, sending)
            finally:
                request_log.note(metrics, scope, status=status, started=started)
