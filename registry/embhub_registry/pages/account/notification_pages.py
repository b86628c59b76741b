"""`/account/notifications`: what a person gets mail of, and their webhooks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from embhub_registry.database.logs import outbox
from embhub_registry.database.people import sessions
from embhub_registry.pages.account import form_pages
from embhub_registry.people import notifications, webhooks
from embhub_registry.wire import forms
from embhub_registry.wire.request_context import fold_namespace, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

HERE = "/account/notifications"
CHANGES = {"remove": webhooks.remove, "enable": webhooks.enable, "test": webhooks.test}


async def show(request: Request) -> Response:
    """`GET /account/notifications`."""
    account, db = form_pages.person(request).account, registry_of(request).database.connection()
    row = sessions.find_user(db, account.user_id)
    assert row is not None  # noqa: S101  # a session refers to it
    return form_pages.answer(
        request, "people/notifications.html", account=account, kinds=notifications.KINDS, mail=row["mail"],
        chosen=row["mail_kinds"].split(), mail_on=notifications.mail_is_on(db),
        webhooks_on=notifications.webhooks_are_on(db), webhooks=outbox.find_webhooks(db, account.user_id),
    )  # fmt: skip


async def choose_mail(request: Request) -> Response:
    """`POST /account/notifications/mail`: a checkbox for each kind of event."""
    form = await forms.read_person(request)
    await threaded(notifications.choose_mail, registry_of(request), form.account, _kinds(form))
    return form_pages.go(HERE)


async def add_webhook(request: Request) -> Response:
    """`POST /account/notifications/webhooks`: a new one; its secret is shown once."""
    form = await forms.read_person(request, back=HERE)
    made = await threaded(
        webhooks.add, registry_of(request), form.account, namespace=fold_namespace(form.field("namespace").strip()),
        url=form.field("url"), kinds=_kinds(form),
    )  # fmt: skip
    return form_pages.answer(request, "people/webhook_made.html", made=made)


async def change_webhook(request: Request) -> Response:
    """`POST /account/notifications/webhooks/{remove,enable,test}`: one of the person's own."""
    form = await forms.read_person(request, back=HERE)
    change = CHANGES.get(request.path_params["what"])
    if change is None:
        raise form_pages.unknown("page")
    await threaded(change, registry_of(request), form.account, form.field("webhook")[:40])
    return form_pages.go(HERE)


def _kinds(form: forms.Person) -> list[str]:
    return [kind for kind in notifications.KINDS if form.field(kind) == "yes"]
