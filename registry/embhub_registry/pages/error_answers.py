"""Every refusal and fault as an answer: JSON for programs, a page for people."""

from __future__ import annotations

import traceback

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embhub.errors import EmbhubError
from embhub_registry.database import DatabaseBusyError, DatabaseUnavailableError, StorageFullError
from embhub_registry.http_errors import BAD_CREDENTIALS, DISABLED, RequestDeniedError, header_text
from embhub_registry.pages import closed_page, web
from embhub_registry.storage.logs import log
from embhub_registry.storage.stores.blobs import DamagedBlobError, MissingBlobError
from embhub_registry.wire.session_cookies import is_form


async def refused(request: Request, error: Exception) -> Response:
    """Every refusal: JSON and the Hub's error headers for programs, a page for people."""
    match error:
        case RequestDeniedError():
            denied = error
        case StorageFullError():
            denied = RequestDeniedError(507, "storage", error.message, error.hint)
        case DatabaseBusyError():
            denied = RequestDeniedError(503, "busy", error.message, error.hint)
            denied.headers = {"Retry-After": "2"}
        case DatabaseUnavailableError():
            log("error", "the database cannot be reached", reason=error.detail)
            denied = RequestDeniedError(503, "database", error.message, error.hint)
            denied.headers = {"Retry-After": "5"}
        case EmbhubError():
            denied = RequestDeniedError(422, "refused", error.message, error.hint)
        case DamagedBlobError():
            log("error", "blob damaged", digest=str(error))
            denied = RequestDeniedError(
                503, "storage", "the registry's storage gave other bytes than were stored",
                "try again; if it stays, ask its operator to run `check`",
            )  # fmt: skip
            denied.headers = {"Retry-After": "30"}
        case MissingBlobError():
            log("error", "blob missing", digest=str(error))
            denied = RequestDeniedError(
                500, "storage", "the registry lost this file", "ask its operator to run `check`"
            )
        case HTTPException(status_code=404):
            denied = RequestDeniedError(
                404, "address", "there is nothing at this address", "start from the list of embeddings"
            )
        case HTTPException(status_code=405):
            denied = RequestDeniedError(
                405, "method", f"{request.method} is not possible here", "see docs/reference/registry-api.md"
            )
            denied.headers = dict(error.headers or {})
        case HTTPException():
            denied = RequestDeniedError(error.status_code, "request", str(error.detail), "")
        case _:
            raise error
    request.state.rule = denied.rule
    text = f"{denied.message}; {denied.hint}" if denied.hint else denied.message
    shown = hub_words(denied) or f"{denied.rule}: {text}"
    headers = denied.headers | {"X-Error-Message": header_text(shown), "Cache-Control": "no-store"}
    if denied.code:
        headers["X-Error-Code"] = denied.code
    if denied.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="embhub"'
    shows_page = request.method in ("GET", "HEAD") or is_form(request.url.path)
    if "text/html" in request.headers.get("accept", "") and shows_page:
        if isinstance(error, DatabaseBusyError | DatabaseUnavailableError):  # other pages read from it
            return closed_page.answer(request, denied, headers)
        return web.error_page(request, denied, headers)
    body = {"error": f"{denied.rule}: {denied.message}", "rule": denied.rule, "remedy": denied.hint, **denied.extra}
    return JSONResponse(body, status_code=denied.status, headers=headers)


async def failed(request: Request, error: Exception) -> Response:
    """A fault of ours: logged with its traceback, told without it."""
    log("error", "fault", path=request.url.path[:200], exception="".join(traceback.format_exception(error)))
    return await refused(
        request,
        RequestDeniedError(
            500, "fault", "the registry failed at this", "inform its operator; the server log has details"
        ),
    )


async def failed_early(request: Request, error: Exception) -> Response:
    """What failed before a route was found, where the database is read and nothing is written to it yet."""
    if isinstance(error, StorageFullError):  # its disk cannot be read, or has no room to sort
        error = DatabaseUnavailableError(
            "the registry's database cannot be read", "try again in a moment", detail=str(error.__cause__ or error)
        )
    if isinstance(error, DatabaseBusyError | DatabaseUnavailableError):
        return await refused(request, error)
    return await failed(request, error)


def hub_words(denied: RequestDeniedError) -> str:
    """The Hub's own sentence where stock clients tell a refusal by it, else nothing."""
    if denied.rule == "disabled":
        return DISABLED
    return BAD_CREDENTIALS if denied.status == 401 and not denied.code else ""
