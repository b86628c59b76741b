"""`/account`: a person's access tokens, ways to log in, and sessions."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from embhub_registry.database.people import logins
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.pages.account import form_pages, login_pages
from embhub_registry.people import access_tokens
from embhub_registry.people.login import login_codes, passkeys, sessions
from embhub_registry.wire import forms, session_cookies
from embhub_registry.wire.request_context import base_url, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

TOKENS, LOGIN = "/account", "/account/login"
SHOWN_ENDED = 10  # tokens that have ended, of which a person sees the last


async def tokens(request: Request) -> Response:
    """`GET /account`: the person's access tokens, and a form for another one."""
    account, db = form_pages.person(request).account, registry_of(request).database.connection()
    found = access_tokens.list_own(db, account)
    ended = [row for row in found if row["state"] != "good"][:SHOWN_ENDED]
    return form_pages.answer(
        request, "people/account.html", account=account, ended=ended,
        tokens=[row for row in found if row["state"] == "good"], scopes=access_tokens.offered_scopes(account),
    )  # fmt: skip


async def make_token(request: Request) -> Response:
    """`POST /account/tokens`: a new token, shown once."""
    form = await forms.read_person(request, back=TOKENS)
    days = form.field("days")
    if not (days.isascii() and days.isdigit() and len(days) < 5):
        raise malformed("the lifetime is a number of days")
    made = await threaded(
        access_tokens.make_own, registry_of(request), form.account, purpose=form.field("purpose"),
        scope=form.field("scope"), days=int(days),
    )  # fmt: skip
    return form_pages.answer(request, "login/token_made.html", made=made)


async def revoke_token(request: Request) -> Response:
    """`POST /account/tokens/revoke`: one of the person's own tokens."""
    form = await forms.read_person(request, back=TOKENS)
    await threaded(access_tokens.revoke_own, registry_of(request), form.account, form.field("token")[:40])
    return form_pages.go(TOKENS)


async def login_methods(request: Request) -> Response:
    """`GET /account/login`: how the person logs in, and where they are logged in now."""
    session, db = form_pages.person(request), registry_of(request).database.connection()
    return form_pages.answer(request, "login/login_methods.html", session=session, **_methods(request, session.account),
                             sessions=sessions.list_sessions(db, session.account.user_id))  # fmt: skip


async def totp(request: Request) -> Response:
    """`POST /account/login/totp`: a new secret as a QR code; nothing is kept until its first code comes back."""
    form = await _own_login(request)
    proposed = await threaded(login_codes.propose, registry_of(request), form.account.user)
    return form_pages.answer(request, "login/totp.html", proposed=proposed)


async def totp_answer(request: Request) -> Response:
    """`POST /account/login/totp/answer`: keeps the secret if the code is right; shows the recovery codes once."""
    form = await _own_login(request)
    account = form.account
    codes = await threaded(
        login_codes.enrol, registry_of(request), account.user_id, account.user, sealed=form.field("sealed"),
        code=form.field("code"),
    )  # fmt: skip
    return form_pages.answer(request, "login/recovery_codes.html", codes=codes)


async def recovery_codes(request: Request) -> Response:
    """`POST /account/login/recovery-codes`: new ones in place of the old ones."""
    form = await _own_login(request)
    account = form.account
    codes = await threaded(login_codes.renew_recovery_codes, registry_of(request), account.user_id, account.user)
    return form_pages.answer(request, "login/recovery_codes.html", codes=codes)


async def remove_totp(request: Request) -> Response:
    """`POST /account/login/totp/remove`."""
    form = await forms.read_person(request, back=LOGIN)
    found = _methods(request, form.account)
    if not found["passkeys"] and not found["identity"]:
        raise _last_one()
    await threaded(login_codes.remove, registry_of(request), form.account.user_id, form.account.user)
    return form_pages.go(LOGIN)


async def passkey(request: Request) -> Response:
    """`POST /account/login/passkey`: a page whose script makes a passkey."""
    form = await _own_login(request)
    login_pages.pacing_of(request).start(request.scope)
    account = form.account
    ceremony = await threaded(
        passkeys.offer, registry_of(request), account.user_id, account.user, url=base_url(request)
    )
    return form_pages.answer(
        request, "login/passkey.html", ceremony=ceremony, action=f"{LOGIN}/passkey/answer", next="", new=True
    )


async def passkey_answer(request: Request) -> Response:
    """`POST /account/login/passkey/answer`: keeps the passkey that the browser made."""
    form = await _own_login(request)
    account = form.account
    await threaded(
        passkeys.register, registry_of(request), account.user_id, account.user, url=base_url(request),
        secret=form.field("secret"), answer=form.field("answer"), name=form.field("name"),
    )  # fmt: skip
    return form_pages.go(LOGIN)


async def remove_passkey(request: Request) -> Response:
    """`POST /account/login/passkey/remove`."""
    form = await forms.read_person(request, back=LOGIN)
    found = _methods(request, form.account)
    if len(found["passkeys"]) < 2 and not found["totp"] and not found["identity"]:
        raise _last_one()
    account = form.account
    await threaded(passkeys.remove, registry_of(request), account.user_id, account.user, form.field("passkey")[:400])
    return form_pages.go(LOGIN)


async def logout(request: Request) -> Response:
    """`POST /account/logout`: this session, or the one of the person's that the form names."""
    form = await forms.read_person(request)
    other = form.field("session")[:40]
    await threaded(sessions.end, registry_of(request), form.session, session_id=other or None)
    if other and other != form.session.id:
        return form_pages.go(LOGIN)
    return _out()


async def logout_everywhere(request: Request) -> Response:
    """`POST /account/logout/everywhere`: every session of the person."""
    form = await forms.read_person(request)
    await threaded(sessions.end_all, registry_of(request), form.account.user_id, user=form.account.user)
    return _out()


async def _own_login(request: Request) -> forms.Person:
    """The form of somebody who logs in here: an account of a provider has no second way in.

    Its groups are read at the provider, so that another way would outlast what the organisation takes away.
    """
    form = await forms.read_person(request, back=LOGIN)
    if logins.has_identity(registry_of(request).database.connection(), form.account.user_id):
        raise RequestDeniedError(
            409, "login", "you log in at your organisation's provider, and in no other way",
            "ask the provider for a second factor",
        )  # fmt: skip
    return form


def _out() -> Response:
    found = form_pages.go("/")
    session_cookies.drop(found, session_cookies.SESSION)
    return found


def _methods(request: Request, account: Account) -> dict[str, Any]:
    db = registry_of(request).database.connection()
    keys = [
        {**dict(row), "id": urlsafe_b64encode(row["credential"]).decode().rstrip("=")}
        for row in logins.find_passkeys(db, account.user_id)
    ]
    return {
        "account": account, "totp": logins.find_totp(db, account.user_id), "passkeys": keys,
        "codes_left": logins.count_recovery_codes(db, account.user_id),
        "identity": logins.has_identity(db, account.user_id),
    }  # fmt: skip


def _last_one() -> RequestDeniedError:
    return RequestDeniedError(409, "login", "this is your last way to log in", "set up another one first")
