"""`/account/withdraw`: taking a version back with a reason, and recommending it again, by those who may publish it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from embhub.formats.names import version_order
from embhub_registry.database import repositories
from embhub_registry.database.accounts import Account
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.pages import form_pages
from embhub_registry.people import auth
from embhub_registry.repositories import repos, yanking
from embhub_registry.wire import forms
from embhub_registry.wire.request_context import registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

HERE = "/account/withdraw"


async def withdraw(request: Request) -> Response:
    """`/account/withdraw?repository=`: `GET` shows a form and what was withdrawn, `POST` changes it."""
    name = request.query_params.get("repository", "")[:200]
    if request.method == "POST":
        return await _change(request, name)
    account, registry = form_pages.person(request).account, registry_of(request)
    namespace, _, short = name.partition("/")
    db = registry.database.connection()
    repository = repos.locate(db, account, namespace, short)
    auth.require(forms.with_all_rights(account), namespace, "yank")
    versions = sorted(repositories.released_versions(db, repository.id), key=version_order, reverse=True)
    standing = await threaded(yanking.status, registry, account, namespace, short)
    return form_pages.answer(
        request, "withdraw.html", repository=repository.full_name, namespace=namespace, versions=versions,
        standing=_by_version(standing["yanked"]), longest=yanking.LONGEST_REASON, admin=account.admin,
        action=f"{HERE}?repository={repository.full_name}",
    )  # fmt: skip


def may_withdraw(account: Account, namespace: str) -> bool:
    """Whether the person's roles allow it: their form asks again for a proof."""
    return auth.may(forms.with_all_rights(account), namespace, "yank")


async def _change(request: Request, name: str) -> Response:
    here = f"{HERE}?repository={name}"
    form = await forms.read_person(request, back=here)
    namespace, _, short = name.partition("/")
    chosen = {"version": form.field("version") or None, "revision": form.field("revision") or None}
    match form.field("change"):
        case "withdraw":
            await threaded(
                yanking.yank, registry_of(request), form.account, namespace, short, reason=form.field("reason"),
                version=chosen["version"], scope=form.field("scope") or "release",
            )  # fmt: skip
        case "recommend":
            await threaded(_recommend, request, form.account, namespace, short, chosen)
        case _:
            raise malformed("withdraw a version, or recommend it again", "open the page again")
    return form_pages.go(here)


def _recommend(request: Request, account: Account, namespace: str, name: str, chosen: dict[str, str | None]) -> None:
    """What was withdrawn by its version, else what was withdrawn by its commit."""
    try:
        yanking.unyank(registry_of(request), account, namespace, name, version=chosen["version"])
    except RequestDeniedError as error:
        if error.rule != "yank" or chosen["revision"] is None:
            raise
        yanking.unyank(registry_of(request), account, namespace, name, revision=chosen["revision"])


def _by_version(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each version, whose commits were withdrawn together; commits without a version stand alone."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        found[(row["version"] or row["revision"], row["reason"])] = row
    return list(reversed(found.values()))
