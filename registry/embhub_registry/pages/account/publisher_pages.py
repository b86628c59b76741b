"""`/account/publishers`: which jobs in CI may publish in the person's namespaces by their own tokens."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from embhub_registry.database.people import workloads as rows
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import malformed
from embhub_registry.pages.account import form_pages
from embhub_registry.people import auth
from embhub_registry.people.login import workloads
from embhub_registry.wire import forms
from embhub_registry.wire.request_context import base_url, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

HERE = "/account/publishers"
SHOWN_ENDED = 10


async def publishers(request: Request) -> Response:
    """`GET /account/publishers`: the trusted publishers of the person's namespaces, and a form for another one."""
    account, db = form_pages.person(request).account, registry_of(request).database.connection()
    mine = _namespaces(account)
    found = rows.list_all(db) if account.admin else [one for name in mine for one in rows.list_all(db, name)]
    return form_pages.answer(
        request, "people/publishers.html", account=account, in_force=[one for one in found if one.ended is None],
        ended=[one for one in found if one.ended is not None][:SHOWN_ENDED], namespaces=mine,
        audience=base_url(request),
    )  # fmt: skip


async def add(request: Request) -> Response:
    """`POST /account/publishers/add`."""
    form = await forms.read_person(request, back=HERE)
    claims: dict[str, str] = {}
    for line in form.field("claims").splitlines():
        name, equals, value = line.partition("=")
        if line.strip() and (not equals or name.strip() in claims):
            raise malformed(
                "write each claim once, on a line of its own, as name=value", "for example repository_id=123456"
            )
        if line.strip():
            claims[name.strip()] = value
    await threaded(
        workloads.register, registry_of(request), form.account, repository=form.field("repository").strip()[:200],
        issuer=form.field("issuer"), audience=form.field("audience"), claims=claims,
        scope=form.field("scope") or "publish",
    )  # fmt: skip
    return form_pages.go(HERE)


async def end(request: Request) -> Response:
    """`POST /account/publishers/end`: one, with the access tokens that it was given."""
    form = await forms.read_person(request, back=HERE)
    await threaded(workloads.end, registry_of(request), form.account, form.field("publisher")[:40])
    return form_pages.go(HERE)


def _namespaces(account: Account) -> list[str]:
    """Where the person may register one, with all that their roles allow: the form asks again for a proof."""
    whole = forms.with_all_rights(account)
    return [name for name in account.namespaces if auth.may(whole, name, "trust-workloads")]
