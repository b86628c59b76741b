"""Our own addresses under /embhub/v1: what became of a release, what is said of its bytes, and taking one back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from embhub.trust import kinds
from embhub.trust.kinds import Kind
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import malformed
from embhub_registry.people import auth
from embhub_registry.repositories import attesting, audit_designs, base_reports, evaluations, studies, yanking
from embhub_registry.storage.folder import Registry
from embhub_registry.wire.limits import bodies
from embhub_registry.wire.request_context import account_of, address_of, member_of, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

_DIGEST = re.compile(r"[0-9a-f]{64}")
_Answer = Callable[[Registry, Account | None, str], dict[str, Any]]
_Take = Callable[[Registry, Account, str, dict[str, Any]], dict[str, Any]]
FRESH = {"Cache-Control": "no-cache"}
PRIVATE = {"Cache-Control": "private, no-store"}
STUDIES = "/embhub/v1/studies"


async def status(request: Request) -> Response:
    """`GET /embhub/v1/status/{id}`: what was yanked or deleted, with the reason; for who may see the repository."""
    account = account_of(request)
    found = await threaded(yanking.status, registry_of(request), account, *address_of(request))
    return JSONResponse(found, headers=FRESH)


def _statements(
    kind: Kind, says: str, answer: _Answer, take: _Take, *, doing: str, scope: str = "attest", limit: int = bodies.SMALL
) -> Route:
    """A list of signed statements about an embedding, or a base's fingerprint, by its SHA-256; `POST` adds one."""

    async def handle(request: Request) -> Response:
        account = account_of(request)
        digest = _digest(request, "an embedding, or a base,")
        if request.method == "POST":
            member = auth.require_somewhere(member_of(request, doing), scope)
            document = await bodies.read_json(request, limit=limit)
            return JSONResponse(await threaded(take, registry_of(request), member, digest, document))
        return JSONResponse(await threaded(answer, registry_of(request), account, digest), headers=FRESH)

    path = f"/embhub/v1/{kind.listed.name}/{{digest}}"
    handle.__doc__ = f"`GET {path}`: {says}, with the signatures."
    return Route(path, handle, methods=["GET", "POST"])


STATEMENTS = [
    _statements(
        kinds.AUDIT, "who audited these bytes, under whatever name", attesting.answer, attesting.attest,
        doing="attesting an audit",
    ),
    _statements(
        kinds.DESIGN, "which audits of these bytes were registered",
        audit_designs.answer, audit_designs.take,
        doing="registering an audit",
    ),
    _statements(
        kinds.EVALUATION, "what those who pulled found of these bytes", evaluations.answer, evaluations.take,
        doing="publishing an evaluation", scope="evaluate", limit=kinds.EVALUATION.bytes,
    ),
    _statements(
        kinds.BASE_REPORT, "what became of running embhub on the base with this fingerprint", base_reports.answer,
        base_reports.take, doing="reporting on a base", scope="evaluate", limit=kinds.BASE_REPORT.bytes,
    ),
]  # fmt: skip


async def all_studies(request: Request) -> Response:
    """`GET /embhub/v1/studies`: the studies that name a namespace of the caller; `POST` proposes one."""
    if request.method == "POST":
        member = auth.require_somewhere(member_of(request, "proposing a study"), "publish")
        document = await bodies.read_json(request, limit=kinds.STUDY.bytes)
        return JSONResponse(await threaded(studies.propose, registry_of(request), member, document), headers=PRIVATE)
    member = member_of(request, "reading studies")
    return JSONResponse(await threaded(studies.listing, registry_of(request), member), headers=PRIVATE)


async def one_study(request: Request) -> Response:
    """`GET /embhub/v1/studies/{digest}`: a study, and what was signed about it."""
    member, digest = member_of(request, "reading a study"), _digest(request, "a study")
    return JSONResponse(await threaded(studies.answer, registry_of(request), member, digest), headers=PRIVATE)


async def change_study(request: Request) -> Response:
    """`POST /embhub/v1/studies/{digest}/join`, or `/withdraw`: a site's signed word on a study."""
    member = auth.require_somewhere(member_of(request, "taking part in a study"), "take-part")
    digest = _digest(request, "a study")
    document = await bodies.read_json(request, limit=kinds.STUDY.bytes)
    take = studies.join if request.url.path.endswith("/join") else studies.withdraw
    return JSONResponse(await threaded(take, registry_of(request), member, digest, document), headers=PRIVATE)


OF_STUDIES = [
    Route(STUDIES, all_studies, methods=["GET", "POST"]),
    Route(STUDIES + "/{digest}", one_study, methods=["GET"]),
    Route(STUDIES + "/{digest}/join", change_study, methods=["POST"]),
    Route(STUDIES + "/{digest}/withdraw", change_study, methods=["POST"]),
]


async def yank(request: Request) -> Response:
    """`POST /embhub/v1/yank/{id}` with `reason`, `scope` and `version` or `revision`; `DELETE` lifts the yank."""
    account, registry = member_of(request, "yanking a release"), registry_of(request)
    namespace, name = address_of(request)
    yanking.find_for(registry.database.connection(), account, namespace, name)  # who may not sends no body
    body = await bodies.read_json(request)
    which = {name: _text(body, name) for name in ("version", "revision")}
    if request.method == "DELETE":
        found = await threaded(yanking.unyank, registry, account, namespace, name, **which)
    else:
        reason, scope = _text(body, "reason") or "", _text(body, "scope") or "release"
        found = await threaded(yanking.yank, registry, account, namespace, name, reason=reason, scope=scope, **which)
    return JSONResponse(found, headers=FRESH)


def _digest(request: Request, what: str) -> str:
    digest = str(request.path_params["digest"])
    if not _DIGEST.fullmatch(digest):
        raise malformed(f"{what} is named by a SHA-256 in lower-case hex")
    return digest


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise malformed(f"`{name}` must be text")
    return value
