"""`/account/access`: asking for the files of a gated repository, accepting its terms, and answering requests."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from embhub_registry.database import Connection
from embhub_registry.database.people import terms
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import access
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.pages.account import form_pages
from embhub_registry.people import auth
from embhub_registry.repositories import access as use_cases
from embhub_registry.repositories import repos
from embhub_registry.wire import forms
from embhub_registry.wire.request_context import registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

HERE = "/account/access"
ANSWERS = {"accept": "accepted", "decline": "rejected"}


async def requests(request: Request) -> Response:
    """`GET /account/access`: the person's own requests, and those that they may answer."""
    account, db = form_pages.person(request).account, registry_of(request).database.connection()
    answers = account.admin or any(_may_answer(account, namespace) for namespace in account.namespaces)
    return form_pages.answer(
        request, "people/access.html", account=account, own=access.find_own(db, account.user_id), answers=answers,
        waiting=_waiting(db, account),
    )  # fmt: skip


async def ask(request: Request) -> Response:
    """`/account/access/ask?repository=`: `GET` shows the terms, `POST` accepts them and asks."""
    name = request.query_params.get("repository", "")[:200]
    if request.method == "POST":
        return await _ask(request, name)
    account, db = form_pages.person(request).account, registry_of(request).database.connection()
    repository = repos.locate(db, account, *_split(name))
    if not repository.gated:
        raise RequestDeniedError(400, "access", f"{repository.full_name} is not gated", "open its page")
    found = access.find(db, repository.id, user_id=account.user_id)
    return form_pages.answer(
        request, "people/ask_access.html", account=account, repository=repository.full_name, found=found,
        due=terms.find_due(db, repository.id, account.user_id), opened=_may_read(db, repository, account),
        action=f"{HERE}/ask?repository={repository.full_name}",
    )  # fmt: skip


async def answer(request: Request) -> Response:
    """`POST /account/access/answer`: accepts or declines one request, with a reason."""
    form = await forms.read_person(request, back=HERE)
    status = ANSWERS.get(form.field("answer"))
    if status is None:
        raise malformed("accept or decline", "open the page again")
    reason = " ".join(form.field("reason").split())
    if status == "rejected" and not reason:
        raise malformed("say why you decline: the person who asked reads it", "go back, and give a reason")
    await threaded(
        use_cases.answer, registry_of(request), form.account, *_split(form.field("repository")[:200]),
        access_id=form.field("request")[:40], status=status, reason=reason,
    )  # fmt: skip
    return form_pages.go(HERE)


async def _ask(request: Request, name: str) -> Response:
    form = await forms.read_person(request, back=f"{HERE}/ask?repository={name}")
    accepted = None
    if form.field("accept") == "yes":
        version = form.field("version")
        if not (version.isascii() and version.isdigit() and len(version) < 10):
            raise malformed("the terms have a version")
        accepted = (int(version), form.field("digest"))
    await threaded(use_cases.ask, registry_of(request), form.account, *_split(name), accepted=accepted)
    return form_pages.go(HERE)


def _waiting(db: Connection, account: Account) -> list[dict[str, Any]]:
    if account.admin:
        return [dict(row) for row in access.find_waiting(db)]
    mine = [name for name in account.namespaces if _may_answer(account, name)]
    return [dict(row) for name in mine for row in access.find_waiting(db, name)]


def _may_answer(account: Account, namespace: str) -> bool:
    """With all that the person's roles allow: their form asks again for a proof."""
    return auth.may(forms.with_all_rights(account), namespace, "approve")


def _may_read(db: Connection, repository: Repository, account: Account) -> bool:
    try:
        use_cases.require_files(db, repository, account)
    except RequestDeniedError:
        return False
    return True


def _split(name: str) -> tuple[str, str]:
    namespace, _, short = name.partition("/")
    return namespace, short
