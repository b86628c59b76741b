"""`/account/withdraw`: taking a version back, by its publishers. `/account/quarantine`: setting it aside, by admins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from embhub.formats.names import version_order
from embhub_registry.admission import quarantining
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.database.releases.repositories import Repository
from embhub_registry.database.standing import quarantine as set_aside
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.pages.account import form_pages
from embhub_registry.people import auth
from embhub_registry.repositories import repos, yanking
from embhub_registry.storage.folder import Registry
from embhub_registry.wire import forms
from embhub_registry.wire.request_context import registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

WITHDRAW, QUARANTINE = "/account/withdraw", "/account/quarantine"


async def withdraw(request: Request) -> Response:
    """`/account/withdraw?repository=`: `GET` shows a form and what was withdrawn, `POST` changes it."""
    if request.method == "POST":
        return await _change(request, _change_yanks)
    account, repository, versions = _find(request, "yank")
    found = await threaded(yanking.status, registry_of(request), account, repository.namespace, repository.name)
    return _answer(
        request, "review/withdraw.html", repository, versions=versions, standing=_by_version(found["yanked"]),
        admin=account.admin,
    )  # fmt: skip


async def quarantine(request: Request) -> Response:
    """`/account/quarantine?repository=`: `GET` shows a form and what is set aside, `POST` changes it."""
    if request.method == "POST":
        return await _change(request, _change_quarantine)
    _, repository, versions = _find(request, "quarantine")
    aside = set_aside.of(registry_of(request).database.connection(), repository.id)
    hidden = {row.version for row in aside}
    shown = [version for version in versions if version not in hidden]
    return _answer(request, "review/quarantine.html", repository, versions=shown, aside=aside)


def may(account: Account, namespace: str, action: str) -> bool:
    """Whether the person's roles allow to `yank` or `quarantine`: their form asks again for a proof."""
    return auth.may(forms.with_all_rights(account), namespace, action)


def _name(request: Request) -> str:
    return request.query_params.get("repository", "")[:200]


def _find(request: Request, action: str) -> tuple[Account, Repository, list[str]]:
    """The person, who may do this, the repository that the address names, and its versions, the newest first."""
    account, db = form_pages.person(request).account, registry_of(request).database.connection()
    namespace, _, short = _name(request).partition("/")
    repository = repos.locate(db, account, namespace, short)
    auth.require(forms.with_all_rights(account), namespace, action)
    released = repositories.released_versions(db, repository.id)
    return account, repository, sorted(released, key=version_order, reverse=True)


def _answer(request: Request, template: str, repository: Repository, **facts: Any) -> Response:
    return form_pages.answer(
        request, template, repository=repository.full_name, namespace=repository.namespace,
        longest=yanking.LONGEST_REASON, action=f"{request.url.path}?repository={repository.full_name}", **facts,
    )  # fmt: skip


async def _change(request: Request, do: Callable[[Registry, forms.Person, str, str], object]) -> Response:
    """Do what the form says, in a thread, and show the page again."""
    here = f"{request.url.path}?repository={_name(request)}"
    form = await forms.read_person(request, back=here)
    namespace, _, short = _name(request).partition("/")
    await threaded(do, registry_of(request), form, namespace, short)
    return form_pages.go(here)


def _change_yanks(registry: Registry, form: forms.Person, namespace: str, name: str) -> None:
    version, revision = form.field("version") or None, form.field("revision") or None
    match form.field("change"):
        case "withdraw":
            yanking.yank(
                registry, form.account, namespace, name, reason=form.field("reason"), version=version,
                scope=form.field("scope") or "release",
            )  # fmt: skip
        case "recommend":  # what was withdrawn by its version, else what was withdrawn by its commit
            try:
                yanking.unyank(registry, form.account, namespace, name, version=version)
            except RequestDeniedError as error:
                if error.rule != "yank" or revision is None:
                    raise
                yanking.unyank(registry, form.account, namespace, name, revision=revision)
        case _:
            raise malformed("withdraw a version, or recommend it again", "open the page again")


def _change_quarantine(registry: Registry, form: forms.Person, namespace: str, name: str) -> None:
    version, revision = form.field("version") or None, form.field("revision") or None
    match form.field("change"):
        case "set":
            quarantining.set_aside(
                registry, form.account, namespace, name, reason=form.field("reason"), version=version
            )
        case "lift" if revision is not None:
            quarantining.lift(registry, form.account, namespace, name, revision=revision)
        case _:
            raise malformed("set a version aside, or show it again", "open the page again")


def _by_version(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each version, whose commits were withdrawn together; commits without a version stand alone."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        found[(row["version"] or row["revision"], row["reason"])] = row
    return list(reversed(found.values()))
