"""What a browser is shown by a closed registry: how to get an access token, and nothing that the registry holds.

The page carries its style, because the address of the style sheet is closed too. A refusal is
shown without the database, so that it is also what a browser gets while the database does not answer.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.pages import rendering
from embhub_registry.wire.closed_reading import is_closed
from embhub_registry.wire.request_context import base_url, registry_of
from embhub_registry.wire.return_paths import login_address, same_address


def applies(request: Request) -> bool:
    """Whether the registry is closed and the caller has shown no good access token."""
    known = getattr(request.state, "user", None)
    return not known and is_closed(registry_of(request).database.connection())


def answer(request: Request, denied: RequestDeniedError, headers: dict[str, str]) -> Response:
    """The refusal as a page of its own; of the database only 401 reads, which names the registry's address."""
    style = rendering.static_file("style.css").decode()
    addresses = {
        "url": base_url(request) if denied.status == 401 else "",
        "login_address": login_address(request),
        "again": same_address(request) if denied.status == 503 else "",
    }
    text = rendering.render("closed.html", denied=denied, style=style, **addresses)
    safe = {"Content-Security-Policy": rendering.policy_for(text), "Vary": "Accept, Authorization"}
    return Response(text, status_code=denied.status, media_type="text/html", headers=safe | headers)
