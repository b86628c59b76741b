"""`/operator`: for admins of the registry, its health, storage, log, keys and notifications on one page."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from embhub_registry.operation.facts import operator_facts
from embhub_registry.operation.observability.health import Readiness, is_ready
from embhub_registry.pages.account import form_pages
from embhub_registry.people import auth
from embhub_registry.storage import quotas
from embhub_registry.wire import forms
from embhub_registry.wire.request_context import registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

HERE = "/operator"


async def operator(request: Request) -> Response:
    """`GET /operator`: what the registry's operator looks at. It changes nothing."""
    account, registry = form_pages.person(request).account, registry_of(request)
    auth.require(forms.with_all_rights(account), account.namespace, "operate")
    readiness: Readiness = request.app.state.readiness
    checks = await readiness.look(registry)
    facts = await threaded(operator_facts.collect, registry)
    return form_pages.answer(
        request, "lists/operator.html", account=account, checks=checks, facts=facts, kinds=quotas.KINDS,
        ready=is_ready(checks, is_shared=registry.leadership is not None),
    )  # fmt: skip
