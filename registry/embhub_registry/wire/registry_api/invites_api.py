"""`POST /embhub/v1/join`: an invitation's code for an account and its access token."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.people import invites
from embhub_registry.people.login.login_pacing import LoginPacing
from embhub_registry.wire.limits import bodies
from embhub_registry.wire.request_context import note_failure, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

PATH = "/embhub/v1/join"


async def join(request: Request) -> Response:
    """With `code` in JSON: the account, its namespace and role, and the token, once. Tries are paced by address."""
    pacing: LoginPacing = request.app.state.login_pacing
    await threaded(pacing.take, request.scope, None)
    body = await bodies.read_json(request)
    code = body.get("code")
    if not isinstance(code, str) or len(code) > 100:
        raise malformed("`code` must be the code of an invitation")
    try:
        made = await threaded(invites.use, registry_of(request), code)
    except RequestDeniedError:
        note_failure(request, "invitation")
        raise
    await threaded(pacing.give_back, request.scope, None)
    return JSONResponse(dict(made), headers={"Cache-Control": "no-store"})
