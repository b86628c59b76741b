"""`/embhub/v1/terms/{id}`: reading and writing the terms of a gated repository; and reading what a request accepts."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embhub_registry.http_errors import malformed
from embhub_registry.repositories import terms
from embhub_registry.wire.limits import bodies
from embhub_registry.wire.request_context import account_of, address_of, permitted, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

FRESH = {"Cache-Control": "no-cache"}


async def handle(request: Request) -> Response:
    """`GET`: the terms in force, for who may see the repository. `PUT` with `text`: a new version."""
    namespace, name = address_of(request)
    if request.method == "PUT":
        keeper = permitted(request, "settings", "writing terms")
        body = await bodies.read_json(request)
        text = body.get("text")
        if not isinstance(text, str):
            raise malformed("`text` must be the terms as text, empty to end them")
        found = await threaded(terms.write, registry_of(request), keeper, namespace, name, text)
    else:
        found = await threaded(terms.show, registry_of(request), account_of(request), namespace, name)
    return JSONResponse(found, headers=FRESH)


async def read_acceptance(request: Request) -> tuple[int, str] | None:
    """Version and digest of the terms that a request for access accepts; None where it accepts none.

    Stock clients send no body, and a browser a form; only JSON is looked at.

    Raises:
        RequestDeniedError: 400 where it cannot be read.
    """
    if not request.headers.get("content-type", "").startswith("application/json"):
        await bodies.read(request)
        return None
    body = await bodies.read_json(request)
    return _acceptance(body.get("terms"))


def _acceptance(said: Any) -> tuple[int, str] | None:
    match said:
        case None:
            return None
        case {"version": int() as version, "sha256": str() as digest} if type(version) is int:
            return version, digest
    raise malformed('`terms` must name what is accepted: {"version": …, "sha256": …}')
