"""`/embhub/v1/device/…`: a program asks for an access token that a person approves in a page (RFC 8628)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from embhub_registry.http_errors import malformed
from embhub_registry.people.login import devices
from embhub_registry.people.login.devices import DeviceError
from embhub_registry.people.login.login_pacing import LoginPacing
from embhub_registry.people.rate_limits import host_of
from embhub_registry.wire.limits import bodies
from embhub_registry.wire.request_context import base_url, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

CODE, TOKEN = "/embhub/v1/device/code", "/embhub/v1/device/token"  # addresses
PAGE = "/login/device"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
UNSTORED = {"Cache-Control": "no-store"}


async def code(request: Request) -> Response:
    """`POST …/code` with `client`, `scope` and `days`: a device code, and what the person types where."""
    pacing: LoginPacing = request.app.state.login_pacing
    pacing.start_device(request.scope)
    fields = await bodies.read_fields(request)
    days = _one(fields, "days", "90")
    if not (days.isascii() and days.isdigit() and len(days) < 5):
        raise malformed("`days` is a number of days")
    begun = await threaded(
        devices.begin, registry_of(request), client=_one(fields, "client"), scope=_one(fields, "scope", "read"),
        days=int(days), address=host_of(request.scope),
    )  # fmt: skip
    page = base_url(request) + PAGE
    answer = {
        "device_code": begun.device_code, "user_code": begun.user_code, "verification_uri": page,
        "verification_uri_complete": f"{page}?code={begun.user_code}", "expires_in": begun.seconds,
        "interval": devices.INTERVAL,
    }  # fmt: skip
    return JSONResponse(answer, headers=UNSTORED)


async def token(request: Request) -> Response:
    """`POST …/token` with `grant_type` and `device_code`: the token once it is approved, or why there is none."""
    fields = await bodies.read_fields(request)
    if _one(fields, "grant_type") != GRANT:
        return JSONResponse({"error": "unsupported_grant_type"}, status_code=400, headers=UNSTORED)
    try:
        made = await threaded(devices.poll, registry_of(request), _one(fields, "device_code")[:200])
    except DeviceError as error:
        return JSONResponse({"error": error.code}, status_code=400, headers=UNSTORED)
    answer = {
        "access_token": made["token"], "token_type": "Bearer", "scope": made["scope"], "expires": made["expires"],
        "user": made["user"], "token_id": made["token_id"],
    }  # fmt: skip
    return JSONResponse(answer, headers=UNSTORED)


def _one(fields: dict[str, list[str]], name: str, otherwise: str = "") -> str:
    return fields.get(name, [otherwise])[0]
