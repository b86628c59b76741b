"""The Hub's routes around gated repositories: asking for access, and answering."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embhub_registry.database.releases.access import STATUSES
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.repositories import access
from embhub_registry.wire.hub_api import hf_answers
from embhub_registry.wire.limits import bodies
from embhub_registry.wire.registry_api import terms_api
from embhub_registry.wire.request_context import (
    account_of,
    address_of,
    member_of,
    permitted,
    registry_of,
    repository_of,
)
from embhub_registry.wire.request_context import run_in_threadpool as threaded


async def requests(request: Request) -> Response:
    """`GET …/user-access-request/{status}`: `pending`, `accepted` or `rejected`."""
    status = request.path_params["status"]
    if status not in STATUSES:
        raise RequestDeniedError(
            404, "address", f"there are no requests called {status[:40]!a}", f"one of {', '.join(STATUSES)}"
        )
    account, namespace, name = account_of(request), *address_of(request)
    registry = registry_of(request)
    found = await threaded(
        lambda: access.list_requests(registry.database.connection(), account, namespace, name, status)
    )
    return JSONResponse([hf_answers.access_request(item) for item in found])


async def handle(request: Request) -> Response:
    """`POST …/user-access-request/handle`: `user` or `requestId`, and the new `status`."""
    account = permitted(request, "approve", "answering access requests")
    body = await bodies.read_json(request)
    user, access_id = _text(body, "user"), _text(body, "requestId")
    if (user is None) == (access_id is None):
        raise malformed("one of `user` and `requestId` says which request is meant")
    namespace, name = address_of(request)
    await threaded(
        access.answer, registry_of(request), account, namespace, name, user=user, access_id=access_id,
        status=_text(body, "status") or "", reason=_text(body, "rejectionReason") or "",
    )  # fmt: skip
    return JSONResponse({})


async def grant(request: Request) -> Response:
    """`POST …/user-access-request/grant`: lets `user` in."""
    account = permitted(request, "approve", "granting access")
    body = await bodies.read_json(request)
    user = _text(body, "user")
    if user is None:
        raise malformed("`user` must be an account's name")
    namespace, name = address_of(request)
    await threaded(access.grant, registry_of(request), account, namespace, name, user=user)
    return JSONResponse({})


async def ask(request: Request) -> Response:
    """`POST /{id}/ask-access`: the caller asks for the files, and accepts the terms that a JSON body names."""
    account = member_of(request, "asking for access")
    repository_of(request)
    accepted = await terms_api.read_acceptance(request)
    namespace, name = address_of(request)
    status = await threaded(access.ask, registry_of(request), account, namespace, name, accepted=accepted)
    return JSONResponse({"status": status})


def _text(body: dict[str, Any], name: str) -> str | None:
    found = body.get(name)
    if found is not None and not isinstance(found, str):
        raise malformed(f"`{name}` must be text")
    return found
