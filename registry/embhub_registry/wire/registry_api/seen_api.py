"""`/embhub/v1/seen`: how a request looks to the server, by which its operator finds a proxy that forwards too little.

Callers learn of their own request alone. Under a name that is not the registry's the answer is 421, as everywhere.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

PATH = "/embhub/v1/seen"
FORWARDED_FOR = "x-forwarded-for"


async def seen(request: Request) -> Response:
    """`scheme` and `client` as the server takes them, and whether it believed the proxy's `X-Forwarded-For`.

    `forwarded` is `none` without that header, `believed` where the client's address is one of it, else `ignored`.
    """
    client = request.client.host if request.client else ""
    said = [part.strip() for line in request.headers.getlist(FORWARDED_FOR) for part in line.split(",")]
    forwarded = "none" if not said else "believed" if client in said else "ignored"
    answer = {"scheme": request.url.scheme, "client": client, "forwarded": forwarded}
    return JSONResponse(answer, headers={"Cache-Control": "no-store"})
