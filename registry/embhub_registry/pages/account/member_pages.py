"""`/account/members`: for admins of the registry, who has an account, and letting somebody leave."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from embhub_registry.database import Connection
from embhub_registry.database.people import accounts, workloads
from embhub_registry.database.people.accounts import Account
from embhub_registry.http_errors import RequestDeniedError, forbidden, malformed
from embhub_registry.pages.account import form_pages
from embhub_registry.repositories import offboarding
from embhub_registry.wire import forms
from embhub_registry.wire.request_context import registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

HERE = "/account/members"


async def members(request: Request) -> Response:
    """`GET /account/members[?user=]`: the accounts; with `user`, what would end and what would stay."""
    account, registry = form_pages.person(request).account, registry_of(request)
    _require_admin(account)
    db, user = registry.database.connection(), request.query_params.get("user", "")[:64]
    if user and accounts.find_user(db, user) is None:
        raise form_pages.unknown("account")
    found = await threaded(offboarding.preview, registry, user) if user else None
    return form_pages.answer(
        request, "people/members.html", account=account, people=_people(db), chosen=found, itself=user == account.user
    )


async def offboard(request: Request) -> Response:
    """`POST /account/members/offboard`: one account, whose name the form repeats."""
    form = await forms.read_person(request, back=HERE)
    _require_admin(form.account)
    user = form.field("user")[:64]
    if not user or user != form.field("confirm").strip():
        raise malformed("type the name of the account to confirm", "go back, and type it")
    if user == form.account.user:
        raise RequestDeniedError(409, "members", "you cannot offboard yourself here", "ask another admin")
    done = await threaded(
        offboarding.leave, registry_of(request), user, hand_over_to=form.field("heir").strip() or None,
        keep=form.field("keep") == "yes", erase=form.field("erase") == "yes",
    )  # fmt: skip
    return form_pages.answer(request, "people/member_left.html", account=form.account, done=done)


def _require_admin(account: Account) -> None:
    if not account.admin:
        raise forbidden("only admins of the registry see its members", "ask its operator")


def _people(db: Connection) -> list[dict[str, Any]]:
    machines = {one.user for one in workloads.list_all(db)}
    return [
        {**dict(row), "roles": json.loads(row["memberships"])}
        for row in accounts.list_users(db)
        if row["name"] not in machines
    ]
