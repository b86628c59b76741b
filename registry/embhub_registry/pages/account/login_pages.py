"""`/login`: by a passkey, by a code, at a provider, by a one-time link. The same page asks again who somebody is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from embhub_registry.database.clock import stamp
from embhub_registry.database.people import logins
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.pages.account import form_pages
from embhub_registry.people import auth
from embhub_registry.people.login import known_devices, login_codes, passkeys, provider, sessions
from embhub_registry.people.login.login_codes import WrongCodeError
from embhub_registry.people.login.login_pacing import LoginPacing
from embhub_registry.people.login.sessions import NewSession
from embhub_registry.storage.audit.actors import name_present
from embhub_registry.wire import forms, return_paths, session_cookies
from embhub_registry.wire.request_context import base_url, note_failure, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

Given = ParamSpec("Given")
Result = TypeVar("Result")
AT_PROVIDER = asyncio.Semaphore(8)  # a provider that hangs holds no more threads than these


async def login(request: Request) -> Response:
    """`GET /login?next=`: the ways to log in; for somebody who is, the ways to confirm it."""
    return _page(request, request.query_params.get("next", ""))


async def by_code(request: Request) -> Response:
    """`POST /login/code` with `name`, `code`: TOTP or a recovery code."""
    form = await forms.read(request)
    name = form.session.account.user if form.session else form.field("name").strip().lower()[:64]
    pacing = pacing_of(request)
    device = known_devices.find(registry_of(request), name, session_cookies.read(request.scope, session_cookies.DEVICE))
    own = form.session.id if form.session else device
    whose: str | None = f"{name} in {own}" if own else name
    if login_codes.looks_like_recovery_code(form.field("code")):  # nobody guesses one
        whose = None
    shared = device is None  # others at its address do not lock it out either
    await threaded(pacing.take, request.scope, whose, shared=shared)
    try:
        made = await threaded(
            login_codes.log_in, registry_of(request), name, form.field("code").strip(), replaces=_replaced(form)
        )
    except WrongCodeError as error:
        note_failure(request, error.reason)
        wrong = "This name and code do not match. A code counts once: wait until the app shows the next one."
        return _page(request, form.field("next"), problem=wrong, status=403)
    await threaded(pacing.give_back, request.scope, whose, shared=shared)
    return _logged_in(request, made, form.field("next"))


async def by_passkey(request: Request) -> Response:
    """`POST /login/passkey`: a page whose script asks the browser for a passkey."""
    form = await forms.read(request)
    pacing_of(request).start(request.scope)
    ceremony = await threaded(passkeys.ask, registry_of(request), url=base_url(request))
    back = return_paths.remember(request, form.field("next"))
    return form_pages.answer(
        request, "login/passkey.html", ceremony=ceremony, action="/login/passkey/answer", next=back, new=False
    )


async def passkey_answer(request: Request) -> Response:
    """`POST /login/passkey/answer`: what the passkey signed."""
    form = await forms.read(request)
    try:
        made = await threaded(
            passkeys.log_in, registry_of(request), url=base_url(request), secret=form.field("secret"),
            answer=form.field("answer"), replaces=_replaced(form),
        )  # fmt: skip
    except WrongCodeError as error:
        note_failure(request, error.reason)
        wrong = "This passkey is not registered here, or it did not verify."
        return _page(request, form.field("next"), problem=wrong, status=403)
    return _logged_in(request, made, form.field("next"))


async def at_provider(request: Request) -> Response:
    """`POST /login/provider`: a page that goes on to the provider, because a form may lead nowhere else (CSP)."""
    form = await forms.read(request)
    pacing_of(request).start(request.scope)
    again = form.session.account.user_id if form.session else None
    flow = await _ask_provider(
        provider.begin, registry_of(request), url=base_url(request), user_id=again, replaces=_replaced(form),
        back=return_paths.remember(request, form.field("next")),
    )  # fmt: skip
    found = form_pages.answer(request, "login/onward.html", address=flow.address, title="To your organisation’s login")
    session_cookies.set_flow(found, flow.secret)
    return found


async def provider_callback(request: Request) -> Response:
    """`GET /login/provider/callback`: the provider sent the browser back, which brings the flow's cookie alone."""
    session_cookies.require_secure(request)
    secret = session_cookies.read(request.scope, session_cookies.FLOW)
    if not secret:
        raise provider.refused("this browser did not begin it, or it took too long")
    back = return_paths.remember(request, provider.back_of(secret))
    try:
        made = await _ask_provider(
            provider.finish, registry_of(request), dict(request.query_params), secret=secret, url=base_url(request)
        )
    except RequestDeniedError as error:
        if error.status == 403:
            note_failure(request, error.message)
        raise
    # The navigation comes from the provider, so that a redirect would not carry the new Strict cookie: a page goes on.
    found = form_pages.answer(request, "login/onward.html", address=back, title="You are logged in")
    session_cookies.set_session(found, made)  # and no more: accounts of a provider have no code here
    return found


async def _ask_provider(work: Callable[Given, Result], *args: Given.args, **choices: Given.kwargs) -> Result:
    """In a thread, of which the provider gets a few: the others answer while it is slow."""
    if AT_PROVIDER.locked():
        raise RequestDeniedError(503, "busy", "many logins wait for the provider", "try again in a moment")
    async with AT_PROVIDER:
        return await threaded(work, *args, **choices)


async def link(request: Request) -> Response:
    """`/login/link/{secret}`: `GET` asks whether to use the one-time link, `POST` uses it."""
    secret = request.path_params["secret"]
    if request.method != "POST":
        if not logins.link_holds(registry_of(request).database.connection(), auth.digest(secret), now=stamp()):
            note_failure(request, "a login link that does not hold")
            raise sessions.link_is_over()
        return form_pages.answer(request, "login/login_link.html", action=request.url.path)
    form = await forms.read(request)
    try:
        made = await threaded(sessions.use_link, registry_of(request), secret, replaces=_replaced(form))
    except RequestDeniedError as error:
        note_failure(request, error.message)
        raise
    return _logged_in(request, made, "/account/login")


def pacing_of(request: Request) -> LoginPacing:
    """The limits on logging in."""
    found: LoginPacing = request.app.state.login_pacing
    return found


def _replaced(form: forms.Submitted) -> str | None:
    return form.session.id if form.session else None


def _page(request: Request, back: str, *, problem: str = "", status: int = 200) -> Response:
    session = session_cookies.session_of(request.scope)
    db = registry_of(request).database.connection()
    return form_pages.answer(
        request, "login/login.html", status=status, next=return_paths.remember(request, back), problem=problem,
        provider=provider.host(registry_of(request)),
        elsewhere=session is not None and logins.has_identity(db, session.account.user_id),
    )  # fmt: skip


def _logged_in(request: Request, made: NewSession, back: str) -> Response:
    name_present(made.user)
    found = form_pages.go(return_paths.local_path(back, otherwise=return_paths.HOME))
    session_cookies.set_session(found, made)
    registry, held = registry_of(request), session_cookies.read(request.scope, session_cookies.DEVICE)
    if known_devices.find(registry, made.user, held) is None:
        session_cookies.set_device(found, known_devices.make(registry, made.user))
    return found
