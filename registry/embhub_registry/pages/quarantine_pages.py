"""`/account/quarantine`: setting a version aside while somebody looks at it, and showing it again, by admins."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from embhub.formats.names import version_order
from embhub_registry.admission import quarantining
from embhub_registry.database import quarantine as rows
from embhub_registry.database import repositories
from embhub_registry.database.accounts import Account
from embhub_registry.http_errors import malformed
from embhub_registry.pages import form_pages
from embhub_registry.people import auth
from embhub_registry.repositories import repos, yanking
from embhub_registry.wire import forms
from embhub_registry.wire.request_context import registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

HERE = "/account/quarantine"


async def quarantine(request: Request) -> Response:
    """`/account/quarantine?repository=`: `GET` shows a form and what is set aside, `POST` changes it."""
    name = request.query_params.get("repository", "")[:200]
    if request.method == "POST":
        return await _change(request, name)
    account, registry = form_pages.person(request).account, registry_of(request)
    namespace, _, short = name.partition("/")
    db = registry.database.connection()
    repository = repos.locate(db, account, namespace, short)
    auth.require(forms.with_all_rights(account), namespace, "quarantine")
    aside = rows.of(db, repository.id)
    hidden = {row.version for row in aside}
    versions = sorted(repositories.released_versions(db, repository.id), key=version_order, reverse=True)
    return form_pages.answer(
        request, "quarantine.html", repository=repository.full_name, namespace=namespace, aside=aside,
        versions=[version for version in versions if version not in hidden], longest=yanking.LONGEST_REASON,
        action=f"{HERE}?repository={repository.full_name}",
    )  # fmt: skip


def may_set_aside(account: Account) -> bool:
    """Whether the person's roles allow it: their form asks again for a proof."""
    return auth.may(forms.with_all_rights(account), account.namespace, "quarantine")


async def _change(request: Request, name: str) -> Response:
    here = f"{HERE}?repository={name}"
    form = await forms.read_person(request, back=here)
    namespace, _, short = name.partition("/")
    registry, revision = registry_of(request), form.field("revision") or None
    match form.field("change"):
        case "set":
            await threaded(
                quarantining.set_aside, registry, form.account, namespace, short, reason=form.field("reason"),
                version=form.field("version") or None,
            )  # fmt: skip
        case "lift" if revision is not None:
            await threaded(quarantining.lift, registry, form.account, namespace, short, revision=revision)
        case _:
            raise malformed("set a version aside, or show it again", "open the page again")
    return form_pages.go(here)
