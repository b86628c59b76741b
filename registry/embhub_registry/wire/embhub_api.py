"""Our own addresses under /embhub/v1: what became of a release, and taking one back."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embhub_registry.http_errors import malformed
from embhub_registry.people import auth
from embhub_registry.repositories import attesting, audit_designs, evaluations, yanking
from embhub_registry.wire import bodies
from embhub_registry.wire.request_context import account_of, address_of, member_of, permitted, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

_DIGEST = re.compile(r"[0-9a-f]{64}")
FRESH = {"Cache-Control": "no-cache"}


async def status(request: Request) -> Response:
    """`GET /embhub/v1/status/{id}`: what was yanked or deleted, with the reason; for who may see the repository."""
    account = account_of(request)
    found = await threaded(yanking.status, registry_of(request), account, *address_of(request))
    return JSONResponse(found, headers=FRESH)


async def audits(request: Request) -> Response:
    """`GET /embhub/v1/audits/{digest}`: who audited these bytes, under whatever name, with the signatures.

    `POST` with an attestation's bundle adds one, of an auditor whose report the release has no room for.
    """
    account, digest = account_of(request), request.path_params["digest"]
    if not _DIGEST.fullmatch(digest):
        raise malformed("an embedding is named by its SHA-256 in lower-case hex")
    if request.method == "POST":
        member = auth.require_somewhere(member_of(request, "attesting an audit"), "attest")
        document = await bodies.read_json(request)
        return JSONResponse(await threaded(attesting.attest, registry_of(request), member, digest, document))
    return JSONResponse(await threaded(attesting.answer, registry_of(request), account, digest), headers=FRESH)


async def designs(request: Request) -> Response:
    """`GET /embhub/v1/designs/{digest}`: which audits of these bytes were registered, with the signatures.

    `POST` with a design and its notice registers one, before it runs; with a result, ends it.
    """
    digest = request.path_params["digest"]
    if not _DIGEST.fullmatch(digest):
        raise malformed("an embedding is named by its SHA-256 in lower-case hex")
    if request.method == "POST":
        member = auth.require_somewhere(member_of(request, "registering an audit"), "attest")
        document = await bodies.read_json(request)
        return JSONResponse(await threaded(audit_designs.take, registry_of(request), member, digest, document))
    return JSONResponse(await threaded(audit_designs.answer, registry_of(request), digest), headers=FRESH)


async def evaluated(request: Request) -> Response:
    """`GET /embhub/v1/evaluations/{digest}`: what those who pulled found of these bytes, with the signatures.

    `POST` with an evaluation's bundle publishes one, in the place of that namespace's earlier one.
    """
    account, digest = account_of(request), request.path_params["digest"]
    if not _DIGEST.fullmatch(digest):
        raise malformed("an embedding is named by its SHA-256 in lower-case hex")
    if request.method == "POST":
        member = auth.require_somewhere(member_of(request, "publishing an evaluation"), "evaluate")
        document = await bodies.read_json(request, limit=evaluations.MAX_BYTES)
        return JSONResponse(await threaded(evaluations.take, registry_of(request), member, digest, document))
    return JSONResponse(await threaded(evaluations.answer, registry_of(request), account, digest), headers=FRESH)


async def yank(request: Request) -> Response:
    """`POST /embhub/v1/yank/{id}` with `reason`, `scope` and `version` or `revision`; `DELETE` lifts the yank."""
    account, registry = permitted(request, "yank", "yanking a release"), registry_of(request)
    namespace, name = address_of(request)
    body = await bodies.read_json(request)
    which = {name: _text(body, name) for name in ("version", "revision")}
    if request.method == "DELETE":
        found = await threaded(yanking.unyank, registry, account, namespace, name, **which)
    else:
        reason, scope = _text(body, "reason") or "", _text(body, "scope") or "release"
        found = await threaded(yanking.yank, registry, account, namespace, name, reason=reason, scope=scope, **which)
    return JSONResponse(found, headers=FRESH)


def _text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise malformed(f"`{name}` must be text")
    return value
