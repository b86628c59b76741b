"""`POST /oauth/token`: a workload's OIDC token for an access token (RFC 8693), as huggingface_hub asks for it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.people.login import workloads
from embhub_registry.people.login.login_pacing import LoginPacing
from embhub_registry.people.login.workloads import ExchangeError
from embhub_registry.storage.audit.batched_events import BatchedEvents
from embhub_registry.wire.limits import bodies
from embhub_registry.wire.request_context import fold_namespace, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

PATH = "/oauth/token"
GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
TYPES = ("urn:ietf:params:oauth:token-type:id_token", "urn:ietf:params:oauth:token-type:jwt")
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # a name
UNSTORED = {"Cache-Control": "no-store"}
AT_ONCE, SECONDS = 2, 10.0  # of one namespace, and of one issuer's host; how long the others wait for a place
_places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
WORDS = {
    "unsupported_grant_type": f"only {GRANT} is possible here",
    "invalid_request": "send subject_token (a signed JWT), its subject_token_type, and resource=NAMESPACE/NAME",
    # the same words whichever it was: a stranger learns neither what is registered nor that a repository exists
    "invalid_target": "no trusted publisher of this repository accepts this token",
    "invalid_grant": "no trusted publisher of this repository accepts this token",
}


async def token(request: Request) -> Response:
    """`grant_type`, `subject_token_type`, `subject_token` and `resource`: an access token, or why there is none."""
    pacing: LoginPacing = request.app.state.login_pacing
    pacing.exchange(request.scope)
    fields = await bodies.read_fields(request)
    asked = {name: values[0] for name, values in fields.items()}
    repository = _repository(asked.get("resource", ""))
    try:
        if asked.get("grant_type") != GRANT:
            raise ExchangeError("unsupported_grant_type", "another grant type")
        if asked.get("subject_token_type") not in TYPES or asked.get("requested_token_type", ACCESS_TOKEN) != (
            ACCESS_TOKEN
        ):
            raise ExchangeError("invalid_request", "another type of token")
        made = await _exchange(request, asked.get("subject_token", ""), repository)
    except ExchangeError as error:
        refusals: BatchedEvents = request.app.state.workload_refusals
        told = {"repository": repository, "detail": error.detail or None}
        refusals.note(details=told, code=error.code, reason=error.reason)
        code = "invalid_grant" if error.code == "invalid_target" else error.code
        body = {"error": code, "error_description": WORDS[error.code]}
        return JSONResponse(body, status_code=400, headers={**UNSTORED, "X-Error-Message": f"{code}: {WORDS[code]}"})
    answer = {
        "access_token": made.secret, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer",
        "expires_in": workloads.MINUTES * 60, "scope": made.publisher.scope, "resource": repository,
    }  # fmt: skip
    return JSONResponse(answer, headers=UNSTORED)


async def _exchange(request: Request, subject: str, repository: str) -> workloads.Issued:
    """In a thread, of which a namespace gets few and a host few: a provider that hangs delays its own jobs alone.

    Only an issuer that the repository trusts takes a place of its namespace. First the namespace's place, then the
    host's: who waits for a host holds up nobody else.
    """
    await threaded(workloads.find_rules, registry_of(request), subject, resource=repository)
    async with AsyncExitStack() as held:
        try:
            async with asyncio.timeout(SECONDS):
                await held.enter_async_context(_place(f"namespace {repository.partition('/')[0]}"))
                await held.enter_async_context(_place(f"host {workloads.issuer_host(subject)}"))
        except TimeoutError:
            raise RequestDeniedError(
                503, "busy", "many workloads wait for their provider", "try again in a moment"
            ) from None
        return await threaded(workloads.exchange, registry_of(request), subject, resource=repository)


def _place(whose: str) -> asyncio.Semaphore:
    found = _places.get(whose)
    if found is None:
        found = _places[whose] = asyncio.Semaphore(AT_ONCE)
    return found


def _repository(resource: str) -> str:
    """NAMESPACE/NAME as it is registered; what cannot be one stays, shortened, for the audit log."""
    namespace, slash, name = resource.strip().removeprefix("models/")[:200].partition("/")
    return f"{fold_namespace(namespace)}{slash}{name}"
