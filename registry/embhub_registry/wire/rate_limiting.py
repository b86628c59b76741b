"""Every request is paced once, before anything looks at its address: by its token if that is good, else by its address.

A header that holds no good token is worth as much as none. What costs the registry seconds of CPU is paced a second
time, by what it cost (`run_paced`).
"""

from __future__ import annotations

import time
from asyncio import Semaphore
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import Scope, Send

from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError, bad_token
from embhub_registry.people import auth
from embhub_registry.people.rate_limits import RateLimiter
from embhub_registry.storage.audit.actors import name_present
from embhub_registry.storage.folder import Registry
from embhub_registry.storage.usage_counters import UsageCounters
from embhub_registry.wire.refusing_middleware import RefusingMiddleware
from embhub_registry.wire.session_cookies import session_of

UNPACED = {"/healthz", "/readyz", "/metrics"}  # who watches must not be turned away

P = ParamSpec("P")
T = TypeVar("T")
Caller = Account | RequestDeniedError | None


class RateLimitMiddleware(RefusingMiddleware):
    """Refuses with 429 what comes faster than the settings `rate.…` say."""

    def admit(self, scope: Scope, send: Send) -> Send:
        """Raise what refuses the request."""
        check(scope)
        return send


def caller_of(scope: Scope) -> Caller:
    """The account that the request's token, or a browser's session, is of, or why it is of none; None without either.

    It is looked up once a request: one read by primary key.
    """
    state = scope.setdefault("state", {})
    if "caller" not in state:
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        registry: Registry = scope["app"].state.registry
        try:
            db = registry.database.connection()
            state["caller"] = auth.authenticate(db, None if sent is None else sent.decode("latin-1"))
            if sent is None and (session := session_of(scope)) is not None:
                state["caller"] = session.account
        except RequestDeniedError as denied:
            state["caller"] = denied
    found: Caller = state["caller"]
    return found


def check_again(scope: Scope) -> None:
    """Look the caller up anew, once a body has arrived: who sends slowly may have been shut out meanwhile.

    Raises:
        RequestDeniedError: 401 where the token or session is of no account now, or of one that changed.
    """
    state = scope.get("state", {})
    before = state.pop("caller", None)
    if not isinstance(before, Account):
        return
    state.pop("session", None)
    after = caller_of(scope)
    if isinstance(after, RequestDeniedError):
        raise after
    if after != before:
        raise bad_token("the account or its rights changed while the body arrived")


async def run_paced(request: Request, gate: Semaphore, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in a thread behind `gate`; its CPU time is taken from what the caller may use.

    Raises:
        RequestDeniedError: 429 where the caller has used that up.
    """
    scope, caller = request.scope, caller_of(request.scope)
    account = caller if isinstance(caller, Account) else None
    pace: RateLimiter = scope["app"].state.pace

    def timed() -> T:
        started = time.thread_time()
        try:
            return work(*args, **kwargs)
        finally:
            pace.note_work(scope, account, time.thread_time() - started)

    pace.check_work(scope, account)
    async with gate:
        pace.check_work(scope, account)  # others of the same caller may have worked while this one waited
        return await run_in_threadpool(timed)


def check(scope: Scope) -> None:
    """Take one request out of what the caller may send, and note whose it is.

    Raises:
        RequestDeniedError: 429.
    """
    if scope["path"] in UNPACED and not any(name == b"authorization" for name, _ in scope["headers"]):
        return
    caller = caller_of(scope)
    pace: RateLimiter = scope["app"].state.pace
    if isinstance(caller, Account):
        scope["state"]["user"] = caller.user
        name_present(caller.user)
        usage_counters: UsageCounters = scope["app"].state.usage_counters
        usage_counters.used(caller.token_id)
        pace.check_account(scope, caller)
    else:
        pace.check_address(scope)
