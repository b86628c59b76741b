"""`/login/device`: a person approves the access token that a program asks for (RFC 8628)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from embhub_registry.database import Row
from embhub_registry.pages.account import form_pages, login_pages
from embhub_registry.people import access_tokens
from embhub_registry.people.login import devices
from embhub_registry.wire import forms
from embhub_registry.wire.registry_api import device_api
from embhub_registry.wire.request_context import registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded


async def device(request: Request) -> Response:
    """`GET`: asks for the code, or, with `?code=`, says what the program asks for. `POST`: the person's answer."""
    if request.method == "POST":
        return await _answer(request)
    account = form_pages.person(request).account
    typed, row = request.query_params.get("code", "")[:20], None
    if typed:
        await threaded(login_pages.pacing_of(request).take, request.scope, None)
        row = await threaded(devices.find, registry_of(request), typed)
    return _page(request, typed, row, problem="" if row or not typed else devices.no_request().message,
                 reachable=bool(row and row["scope"] in access_tokens.offered_scopes(account)))  # fmt: skip


async def _answer(request: Request) -> Response:
    typed = request.query_params.get("code", "")[:20]
    form = await forms.read_person(request, back=f"{device_api.PAGE}?code={typed}")
    await threaded(login_pages.pacing_of(request).take, request.scope, None)
    approve = form.field("answer") == "approve"
    row = await threaded(devices.answer, registry_of(request), form.account, form.field("code")[:20], approve=approve)
    return form_pages.answer(request, "login/device_done.html", row=row, approved=approve)


def _page(request: Request, typed: str, row: Row | None, *, problem: str, reachable: bool) -> Response:
    return form_pages.answer(
        request, "login/device.html", status=404 if problem else 200, typed=typed, row=row, problem=problem,
        reachable=reachable, action=device_api.PAGE,
    )  # fmt: skip
