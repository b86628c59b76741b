"""`/account/review`: proposed releases with their evidence; approving one by its digest, or declining it."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from embhub.cards import samples
from embhub.release.files import EMBEDDING, SAMPLES
from embhub_registry.admission import approving
from embhub_registry.database.clock import stamp
from embhub_registry.database.people.accounts import Account
from embhub_registry.database.releases import repositories
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.pages import rendering
from embhub_registry.pages.account import form_pages
from embhub_registry.pages.release import interval_figure, release_page
from embhub_registry.pages.release.verification_cache import Judged, judge_files
from embhub_registry.pages.wordings import describe
from embhub_registry.people import auth
from embhub_registry.repositories import embargoes, near_copies, reviewer_links, reviewing
from embhub_registry.repositories.reviewing import Seen
from embhub_registry.repositories.yanking import LONGEST_REASON
from embhub_registry.wire import forms
from embhub_registry.wire.rate_limiting import run_paced
from embhub_registry.wire.request_context import path_of, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

HERE = "/account/review"
RULES = f"{HERE}/rules"


async def queue(request: Request) -> Response:
    """`GET /account/review`: what waits for an approval of this person, what they proposed, and what was decided."""
    account, registry = form_pages.person(request).account, registry_of(request)
    every = await threaded(lambda: reviewing.queue(registry.database.connection(), account))
    found = await threaded(lambda: [approving.with_good_keys(registry, seen) for seen in every])
    waiting = [seen for seen in found if seen.proposal.state == "open"]
    return form_pages.answer(
        request, "review/review_queue.html", account=account, admin=account.admin, now=stamp(),
        reviews=any(reviewing.is_reviewer(account, namespace) for namespace in account.namespaces),
        yours=[seen for seen in waiting if _may_approve(seen, account)],
        others=[seen for seen in waiting if not _may_approve(seen, account)],
        decided=[seen for seen in found if seen.proposal.state != "open"][:30],
    )  # fmt: skip


async def one(request: Request) -> Response:
    """`/account/review/{proposal}`: `GET` shows a proposal, `POST` approves it, declines it or moves its embargo."""
    if request.method == "POST":
        return await _decide(request, request.path_params["proposal"])
    seen, account = await _seen(request)
    here = f"{HERE}/{seen.proposal.id}"
    judged = await judge(request, seen, place=here)
    registry, which = registry_of(request), seen.proposal.repository_id
    repository = await threaded(lambda: repositories.find_by_id(registry.database.connection(), which))
    return form_pages.answer(
        request, "review/review.html", account=account, seen=seen, proposal=seen.proposal, now=stamp(),
        longest=LONGEST_REASON, repository=repository,
        may_approve=_may_approve(seen, account), own=seen.proposal.author_id == account.user_id,
        here=here, nearly=await nearly(request, seen), **await _links(request, seen, account),
        **evidence(request, seen, judged),
    )  # fmt: skip


async def file(request: Request) -> Response:
    """`GET /account/review/{proposal}/file/{path}`: a file of a proposal, to save; the sheet of samples is shown."""
    seen, _ = await _seen(request)
    path = path_of(request)
    return file_answer(path, await threaded(reviewing.read_entry, registry_of(request), seen, path))


def file_answer(path: str, data: bytes) -> Response:
    """A file to save, which no cache keeps; the sheet of samples is shown."""
    headers = {**form_pages.HEADERS, "Content-Security-Policy": "default-src 'none'; sandbox"}
    if path == SAMPLES:
        return Response(data, media_type="image/png", headers=headers)
    name = path.rpartition("/")[2]
    return Response(
        data, media_type="application/octet-stream",
        headers=headers | {"Content-Disposition": f'attachment; filename="{name}"'},
    )  # fmt: skip


async def audit(request: Request) -> Response:
    """`GET /account/review/{proposal}/audit`: the audit report of a proposal."""
    seen, _ = await _seen(request)
    return audit_answer(await judge(request, seen, place=f"{HERE}/{seen.proposal.id}"))


def audit_answer(judged: Judged | None) -> Response:
    """The audit report of a proposal, as a page of its own.

    Raises:
        RequestDeniedError: 404 where it has none that verifies.
    """
    report = judged.shown.audit if judged and judged.shown else None
    if report is None:
        raise RequestDeniedError(404, "audit", "this proposal has no audit report that verifies", "open its page")
    headers = {**form_pages.HEADERS, "Content-Security-Policy": rendering.policy_for(report.page)}
    return Response(report.page, media_type="text/html", headers=headers)


async def links(request: Request) -> Response:
    """`POST /account/review/{proposal}/links`: a link for an outside reviewer, shown once; or the end of one."""
    registry, proposal_id = registry_of(request), request.path_params["proposal"]
    here = f"{HERE}/{proposal_id}"
    form = await forms.read_person(request, back=here)
    if ended := form.field("link")[:40]:
        await threaded(reviewer_links.end, registry, form.account, proposal_id, ended)
        return form_pages.go(here)
    days = form.field("days")
    if not (days.isascii() and days.isdigit() and len(days) < 5):
        raise malformed("the lifetime is a number of days")
    made = await threaded(
        reviewer_links.make, registry, form.account, proposal_id, purpose=form.field("purpose"), days=int(days)
    )
    return form_pages.answer(request, "review/reviewer_link_made.html", made=made, back=here)


async def rules(request: Request) -> Response:
    """`/account/review/rules`: which releases need approval; an admin of the registry changes it."""
    registry = registry_of(request)
    if request.method == "POST":
        form = await forms.read_person(request, back=RULES)
        namespace, _, name = form.field("which").strip().partition("/")
        number = form.field("approvals")
        if number not in ("0", "1", "2"):
            raise malformed("choose 0, 1 or 2 approvals", "open the page again")
        signed = form.field("signed") == "yes"
        await threaded(reviewing.set_rule, registry, form.account, namespace, name, int(number), signed=signed)
        return form_pages.go(RULES)
    account = form_pages.person(request).account
    auth.require(forms.with_all_rights(account), account.namespace, "hide-released")
    found = await threaded(reviewing.rules, registry)
    return form_pages.answer(request, "review/review_rules.html", account=account, rules=found)


async def _decide(request: Request, proposal_id: str) -> Response:
    here = f"{HERE}/{proposal_id}"
    form = await forms.read_person(request, back=here)
    match form.field("answer"):
        case "approve":
            await threaded(
                approving.approve,
                registry_of(request),
                form.account,
                proposal_id,
                digest=form.field("digest"),
                embargo=form.field("not_before"),
                proved=True,  # `read_person` asked for it
            )
        case "decline":
            await threaded(
                reviewing.decline, registry_of(request), form.account, proposal_id, reason=form.field("reason")
            )
        case "embargo":
            until = form.field("until").strip()
            await threaded(embargoes.change, registry_of(request), form.account, proposal_id, until=until)
        case _:
            raise malformed("approve or decline", "open the page again")
    return form_pages.go(here)


async def _seen(request: Request) -> tuple[Seen, Account]:
    account, registry = form_pages.person(request).account, registry_of(request)
    proposal_id = request.path_params["proposal"]
    seen = await threaded(lambda: reviewing.see(registry.database.connection(), account, proposal_id))
    return await threaded(approving.with_good_keys, registry, seen), account


async def _links(request: Request, seen: Seen, account: Account) -> dict[str, Any]:
    """The links of an open proposal for the page, and whether this person may make and end them."""
    registry, found = registry_of(request), seen.proposal
    may = reviewer_links.is_publisher(account, found) or reviewing.is_reviewer(account, found.namespace)
    if found.state != "open":
        return {"may_link": False}
    listed = await threaded(lambda: reviewer_links.links(registry.database.connection(), account, found.id))
    lengths = {"most_days": reviewer_links.MOST_DAYS, "usual_days": reviewer_links.DAYS}
    return {"may_link": may, "links": listed, **lengths}


def _may_approve(seen: Seen, account: Account) -> bool:
    """Whether this person's approval is what it waits for: their form asks again for a proof."""
    found = seen.proposal
    mine = found.author_id == account.user_id or any(one.user_id == account.user_id for one in seen.approvals)
    return found.state == "open" and not mine and reviewing.is_reviewer(account, found.namespace)


async def judge(request: Request, seen: Seen, *, place: str) -> Judged | None:
    """The verdict on a proposal, reached anew: it is not kept, so that nothing of it is in a cache of pages."""
    if not any(entry.path == EMBEDDING for entry in seen.files):
        return None
    registry = registry_of(request)

    def work() -> Judged:
        files = {entry.path: registry.blobs.get(entry.digest) for entry in seen.files}
        return judge_files(registry, files, name=seen.proposal.full_name, place=place, report=f"{place}/audit")

    return await run_paced(request, request.app.state.judging, work)


async def nearly(request: Request, seen: Seen) -> tuple[str, ...]:
    """Of which withdrawn or leaking embeddings a proposal has the numbers or nearly, in words, as of this moment."""
    registry, name = registry_of(request), seen.proposal.full_name

    def work() -> tuple[str, ...]:
        files = {entry.path: registry.blobs.get(entry.digest) for entry in seen.files if entry.path == EMBEDDING}
        db, keyring = registry.database.connection(), registry.trust().keyring
        return near_copies.say_of(db, near_copies.of(files), repository=name, keyring=keyring)

    return await run_paced(request, request.app.state.judging, work)


def evidence(request: Request, seen: Seen, judged: Judged | None) -> dict[str, Any]:
    """The facts that the release's page will say, drawn from the files as they were proposed."""
    shown = judged.shown if judged else None
    if shown is None:
        return {"shown": None, "problem": judged.problem if judged else None}
    totals = release_page.totals_of(registry_of(request).database.connection(), seen.proposal.namespace)
    report = shown.audit.facts if shown.audit else None
    return {
        "shown": shown, "problem": None, "sentence": describe(shown.card), "provenance": shown.provenance,
        "privacy": release_page.privacy_of(shown.card, shown.provenance.signer.name, totals),
        "sections": release_page.sections_of(shown.card), "audit": report,
        "sheet": shown.sheet, "samples_alt": samples.ALT, "samples_caption": samples.caption(shown.card),
        "interval": interval_figure.of(report) if report else None,
    }  # fmt: skip


ROUTES = [
    Route(HERE, queue),
    Route(RULES, rules, methods=["GET", "POST"]),
    Route(HERE + "/{proposal}", one, methods=["GET", "POST"]),
    Route(HERE + "/{proposal}/links", links, methods=["POST"]),
    Route(HERE + "/{proposal}/audit", audit),
    Route(HERE + "/{proposal}/file/{path:path}", file),
]
