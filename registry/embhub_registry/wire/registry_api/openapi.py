"""`/openapi.json`: every address in OpenAPI 3.1, made from the table of routes; it names nothing of this registry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from embhub_registry.wire.registry_api import embhub_api, review_api
from embhub_registry.wire.session_cookies import SESSION, is_form

PATH = "/openapi.json"
_PARAMETER = re.compile(r"\{(\w+)(:path)?\}")
_FILE = "/{revision}/{path:path}"
# Whom a request is from is of no matter there: a code or a signature counts, or it only reads.
_FOR_ANYBODY = frozenset(
    [
        "/api/validate-yaml", "/api/models/{namespace}/{name}/paths-info/{revision}", "/api/{rest:path}",
        "/{namespace}/{name}/info/{path:path}", "/embhub/v1/join", "/embhub/v1/device/code",
        "/embhub/v1/device/token", "/oauth/token", "/log/cosignature",
    ]
)  # fmt: skip
_READ_WITH_A_TOKEN = frozenset(
    [
        "/api/whoami-v2", "/api/settings/repositories", "/api/organizations/{namespace}/settings/repositories",
        "/api/models/{namespace}/{name}/auth-check/write",
        "/api/models/{namespace}/{name}/user-access-request/{status}",
    ]
)  # fmt: skip
_NEVER_THERE = frozenset(
    [
        "/datasets/{rest:path}", "/spaces/{rest:path}", "/api/{rest:path}", "/{name}/resolve" + _FILE,
        "/{namespace}/{name}/info/{path:path}",
    ]
)  # fmt: skip
_BODIES = {
    "/api/models/{namespace}/{name}/commit/{revision}": "application/x-ndjson",
    "/log/cosignature": "text/plain",
    "/oauth/token": "application/x-www-form-urlencoded",
}  # others are JSON, or forms of pages
_ANSWERS = {
    200: "Answered", 206: "The part of the file that was asked for",
    303: "Another page shows what comes next", 304: "The file has not changed", 307: "The same file by its commit",
    416: "The file has no such part",
}  # fmt: skip
"""What is said of each status that is no refusal."""
_ANY_REQUEST = (400, 401, 403, 404, 421, 429, 431, 503)
_GONE = (410,)  # where a repository is named that was deleted
_ANY_BODY = (408, 409, 413, 415, 422, 507)
_MORE = {
    **{"/{namespace}/{name}/" + word + _FILE: (206, 304, 307, 412, 416) for word in ("resolve", "raw", "blob")},
    "/api/models/{namespace}/{name}/commit/{revision}": (412,),
    "/api/repos/create": _GONE,
    "/api/repos/delete": _GONE,
    "/compare": _GONE,
    "/login/provider": (502,),
    "/login/provider/callback": (502,),
}


async def openapi(request: Request) -> Response:
    """`GET /openapi.json`: this document."""
    return Response(
        request.app.state.openapi, media_type="application/json", headers={"Cache-Control": "public, max-age=3600"}
    )


def encode(routes: Iterable[Route]) -> bytes:
    """The document of these routes as JSON."""
    return json.dumps(document(routes), separators=(",", ":")).encode()


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes, the operation of each method but HEAD."""
    refused = {"type": "object", "properties": {name: {"type": "string"} for name in ("error", "rule", "remedy")}}
    words = {"X-Error-Message": {"schema": {"type": "string"}}, "X-Error-Code": {"schema": {"type": "string"}}}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operations = paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {"parameters": list(_parameters(route))})
        for method in sorted((route.methods or {"GET"}) - {"HEAD"}):
            operations[method.lower()] = _operation(route, method)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "embhub registry",
            "version": "1",
            "description": "Every address of GET answers HEAD too. Bodies, parameters and refusals are described in "
            "docs/reference/registry-api.md; addresses of the Hub are as its stock clients use them.",
        },
        "paths": paths,
        "components": {
            "responses": {
                "Refused": {
                    "description": "Refused, with the rule that refused and the remedy; a page where HTML is asked for",
                    "headers": words,
                    "content": {"application/json": {"schema": refused}, "text/html": {}},
                }
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": SESSION},
            },
        },
    }


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name, of_segments in _PARAMETER.findall(route.path):
        words = {"description": "segments, divided by slashes"} if of_segments else {}
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}, **words}


def _operation(route: Route, method: str) -> dict[str, Any]:
    summary = (route.endpoint.__doc__ or "").partition("\n")[0]
    found: dict[str, Any] = {"summary": summary, "security": _security(route, method)}
    if method != "GET":
        found["requestBody"] = {"content": {_media(route): {"schema": {"type": "object"}}}}
    found["responses"] = {str(status): _response(status) for status in sorted(_statuses(route, method))}
    return found


def _security(route: Route, method: str) -> list[dict[str, list[str]]]:
    """A page's form needs a session and the rest that changes anything a token; who only reads may have either."""
    if _is_of_people(route):
        return [{}, {"session": []}] if route.path.startswith("/login") else [{"session": []}]
    is_read_with_one = route.path in _READ_WITH_A_TOKEN or route.path.startswith((review_api.PATH, embhub_api.STUDIES))
    if is_read_with_one or (method != "GET" and route.path not in _FOR_ANYBODY):
        return [{"token": []}]
    return [{}, {"token": []}, {"session": []}] if method == "GET" else [{}, {"token": []}]


def _is_of_people(route: Route) -> bool:
    """Whether it is a page for people who logged in, or who do so now; others are sent there (303)."""
    return is_form(route.path) or route.path == "/operator"


def _media(route: Route) -> str:
    return _BODIES.get(route.path, "application/x-www-form-urlencoded" if _is_of_people(route) else "application/json")


def _statuses(route: Route, method: str) -> set[int]:
    found = {*_ANY_REQUEST, *_MORE.get(route.path, ())}
    if "{name}" in route.path or route.path.startswith("/account/"):
        found.update(_GONE)
    if method != "GET":
        found.update(_ANY_BODY)
    if _is_of_people(route):
        found.add(303)
    return found if route.path in _NEVER_THERE else found | {200}


def _response(status: int) -> dict[str, Any]:
    words = _ANSWERS.get(status)
    return {"$ref": "#/components/responses/Refused"} if words is None else {"description": words}
