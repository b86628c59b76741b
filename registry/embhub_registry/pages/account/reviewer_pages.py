"""`/login/reviewer`: one proposed release, for a reviewer with a link and without an account."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.pages.account import form_pages, login_pages, review_pages
from embhub_registry.repositories import reviewer_links, reviewing
from embhub_registry.repositories.reviewer_links import HOURS, PAGE
from embhub_registry.repositories.reviewing import Seen
from embhub_registry.wire import forms, session_cookies
from embhub_registry.wire.request_context import note_failure, path_of, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

# A Referer within this registry is its address alone: the pages of a link lead nowhere that they are known by.
_HEADERS = {"Referrer-Policy": "strict-origin", "X-Robots-Tag": "noindex"}


async def reviewer(request: Request) -> Response:
    """`GET` asks for the code of a link, or shows the release of the one that was entered; `POST` enters a code."""
    if request.method == "POST":
        return await _enter(request)
    cookie = session_cookies.read(request.scope, session_cookies.REVIEWER)
    if not cookie:
        return _hardened(form_pages.answer(request, "review/reviewer_code.html", action=PAGE, problem=""))
    try:
        link, seen = await threaded(reviewer_links.read_entered, registry_of(request), cookie)
    except RequestDeniedError as denied:
        said = form_pages.answer(request, "review/reviewer_code.html", action=PAGE, problem=denied.message, status=403)
        session_cookies.drop(said, session_cookies.REVIEWER)
        return _hardened(said)
    judged = await review_pages.judge(request, seen, place=PAGE)
    evidence = review_pages.evidence(request, seen, judged)
    return _hardened(
        form_pages.answer(
            request,
            "review/reviewer.html",
            link=link,
            seen=seen,
            proposal=seen.proposal,
            here=PAGE,
            nearly=await review_pages.nearly(request, seen),
            **evidence,
        )
    )


async def file(request: Request) -> Response:
    """`GET /login/reviewer/file/{path}`: a file of the release."""
    seen = await _seen(request)
    path = path_of(request)
    data = await threaded(reviewing.read_entry, registry_of(request), seen, path)
    return _hardened(review_pages.file_answer(path, data))


async def audit(request: Request) -> Response:
    """`GET /login/reviewer/audit`: the audit report of the release."""
    seen = await _seen(request)
    return _hardened(review_pages.audit_answer(await review_pages.judge(request, seen, place=PAGE)))


async def leave(request: Request) -> Response:
    """`POST /login/reviewer/leave`: this browser forgets the code."""
    await forms.read(request)
    found = form_pages.go(PAGE)
    session_cookies.drop(found, session_cookies.REVIEWER)
    return found


async def _enter(request: Request) -> Response:
    form = await forms.read(request)
    code = form.field("code").strip().rpartition("#")[2][:200]
    pacing = login_pages.pacing_of(request)
    await threaded(pacing.take, request.scope, None)
    try:
        cookie = await threaded(reviewer_links.open_by, registry_of(request), code)
    except RequestDeniedError as denied:
        note_failure(request, denied.message)
        raise
    await threaded(pacing.give_back, request.scope, None)
    found = form_pages.go(PAGE)
    session_cookies.set_reviewer(found, cookie, seconds=HOURS * 3600)
    return found


async def _seen(request: Request) -> Seen:
    cookie = session_cookies.read(request.scope, session_cookies.REVIEWER)
    if not cookie:
        raise reviewer_links.is_over()
    _, seen = await threaded(reviewer_links.read_entered, registry_of(request), cookie)
    return seen


def _hardened(answer: Response) -> Response:
    answer.headers.update(_HEADERS)
    return answer


ROUTES = [
    Route(PAGE, reviewer, methods=["GET", "POST"]),
    Route(PAGE + "/leave", leave, methods=["POST"]),
    Route(PAGE + "/audit", audit),
    Route(PAGE + "/file/{path:path}", file),
]
