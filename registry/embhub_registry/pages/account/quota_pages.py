"""`/account/quotas`: how much a namespace may hold, changed by admins of the registry."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from embhub_registry.database.people import accounts
from embhub_registry.database.releases import usage
from embhub_registry.http_errors import malformed
from embhub_registry.pages.account import form_pages
from embhub_registry.people import auth
from embhub_registry.storage import quotas
from embhub_registry.wire import forms
from embhub_registry.wire.request_context import registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

HERE = "/account/quotas"


async def limits(request: Request) -> Response:
    """`/account/quotas?namespace=`: `GET` shows what it holds and may hold, `POST` changes its own limits."""
    namespace = request.query_params.get("namespace", "")[:200]
    here = f"{HERE}?{urlencode({'namespace': namespace})}"
    if request.method == "POST":
        form = await forms.read_person(request, back=here)
        account = auth.require(form.account, form.account.namespace, "operate")
        wanted = {kind: _read(form.field(kind)) for kind in quotas.KINDS}
        await threaded(quotas.change, registry_of(request), _known(request, namespace), wanted, by=account.user)
        return form_pages.go(here)
    account = form_pages.person(request).account
    auth.require(forms.with_all_rights(account), account.namespace, "operate")
    db, namespace = registry_of(request).database.connection(), _known(request, namespace)
    own = usage.own_limits(db, namespace)
    used = await threaded(lambda: {kind: usage.measure(db, namespace, kind) for kind in quotas.KINDS})
    return form_pages.answer(
        request, "people/quotas.html", namespace=namespace, action=here, own=own, used=used, kinds=quotas.KINDS,
        defaults=quotas.defaults(db), most_digits=quotas.MOST_DIGITS,
    )  # fmt: skip


def _known(request: Request, namespace: str) -> str:
    if not accounts.namespace_exists(registry_of(request).database.connection(), namespace):
        raise form_pages.unknown("namespace")
    return namespace


def _read(text: str) -> int | None:
    """A limit as somebody typed it; None for the registry's."""
    digits = text.strip()
    if not digits:
        return None
    if not (digits.isascii() and digits.isdigit() and len(digits) <= quotas.MOST_DIGITS):
        raise malformed(
            f"a limit is a whole number of at most {quotas.MOST_DIGITS} digits", "leave it empty for the registry's"
        )
    return int(digits)
