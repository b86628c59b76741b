"""The pages people look at: server-rendered, self-contained, every release verified before it is shown."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from embhub.errors import EmbhubError
from embhub.release.files import AUDIT, EMBEDDING
from embhub_registry.database.people import accounts
from embhub_registry.database.releases import repositories
from embhub_registry.http_errors import RequestDeniedError, malformed
from embhub_registry.pages import closed_page, rendering
from embhub_registry.pages.account import standing_pages
from embhub_registry.pages.lists import advisories_page, bases_page, feed, findings_page, list_page, trust_page
from embhub_registry.pages.release import (
    browser_preview,
    comparison,
    evaluations_shown,
    interval_figure,
    ledger_shown,
    release_page,
)
from embhub_registry.pages.release.page_facts import AuditPage, ComparisonPage, EmbeddingPage, ListPage, NamespacePage
from embhub_registry.pages.release.verification_cache import Judged, VerificationCache
from embhub_registry.repositories import access, repos
from embhub_registry.repositories import advisories as standing_advisories
from embhub_registry.repositories.repos import Snapshot
from embhub_registry.wire.rate_limiting import run_paced
from embhub_registry.wire.request_context import (
    account_of,
    base_url,
    registry_of,
    repository_of,
    revision_of,
    run_in_threadpool,
)
from embhub_registry.wire.return_paths import form_page, same_address
from embhub_registry.wire.session_cookies import session_of


async def index(request: Request) -> Response:
    """`/`: a search box, facets, and what was published, newest first."""
    asked = list_page.read(request.query_params)
    found = await _list(request, asked, account_of(request))
    feed_address = replace(asked, after=None, sort=list_page.NEWEST).address(path=feed.PATH)
    return rendering.answer(request, found, "lists/index.html", asked=asked, feed_address=feed_address)


async def atom(request: Request) -> Response:
    """`/feed.atom`: the list under its filters, as a feed of what everybody may see."""
    asked = replace(list_page.read(request.query_params), after=None, sort=list_page.NEWEST)
    found = await _list(request, asked, None)
    text = feed.compose(found, url=base_url(request), address=asked.address(path=feed.PATH))
    return Response(text, media_type="application/atom+xml", headers={"Cache-Control": "no-cache"})


async def _list(request: Request, asked: list_page.Asked, account: accounts.Account | None) -> ListPage:
    registry = registry_of(request)
    return await run_in_threadpool(
        lambda: list_page.collect(
            registry.database.connection(), asked, keyring=registry.trust().keyring, account=account,
            registry=registry.setting("name"),
        )
    )  # fmt: skip


async def findings(request: Request) -> Response:
    """`/findings`: what is offered by body region, and what nobody offers yet."""
    account, registry = account_of(request), registry_of(request)
    found = await run_in_threadpool(
        lambda: findings_page.collect(
            registry.database.connection(), account=account, registry=registry.setting("name")
        )
    )
    return rendering.answer(request, found, "lists/findings.html")


async def bases(request: Request) -> Response:
    """`/bases`: on which bases embhub was run, by whom, and which reports agree."""
    registry = registry_of(request)
    found = await run_in_threadpool(
        lambda: bases_page.collect(registry.database.connection(), registry.trust(), registry=registry.setting("name"))
    )
    return rendering.answer(request, found, "lists/bases.html")


async def namespace(request: Request) -> Response:
    """`/{namespace}`: whose keys sign for an organisation, what they may, and what it published."""
    account, registry, name = account_of(request), registry_of(request), request.path_params["namespace"]
    if not accounts.namespace_exists(registry.database.connection(), name):
        raise RequestDeniedError(
            404, "namespace", f"there is no namespace {name[:60]!a} here", "start from the list of embeddings"
        )

    def collect() -> NamespacePage:
        db, trust = registry.database.connection(), registry.trust()
        page = list_page.collect_namespace(
            db, name, keyring=trust.keyring, account=account, after=request.query_params.get("after"),
            registry=registry.setting("name"),
        )  # fmt: skip
        return page.model_copy(update={"ledger_heads": ledger_shown.collect(db, registry.blobs, trust, name)})

    return rendering.answer(request, await run_in_threadpool(collect), "lists/namespace.html")


async def embedding(request: Request) -> Response:
    """`/{namespace}/{name}`: one embedding. The Hub's links to its history and to a folder lead here too."""
    snapshot, account = _addressed(request)
    facts, judged = await _facts(request, snapshot, account)
    session = session_of(request.scope)
    own = session is not None and standing_pages.may(session.account, snapshot.repository.namespace, "yank")
    admin = session is not None and standing_pages.may(session.account, session.account.namespace, "quarantine")
    return rendering.answer(
        request, facts, "release/embedding.html", may_withdraw=own, may_set_aside=admin, **_drawings(judged)
    )  # fmt: skip


async def audit(request: Request) -> Response:
    """`/{namespace}/{name}/audit/{revision}`: the audit report as the core renders it, of a release that verifies."""
    snapshot, account = _addressed(request)
    access.require_files(registry_of(request).database.connection(), snapshot.repository, account)
    judged = await _judge(request, snapshot)
    report = judged.shown.audit if judged and judged.shown else None
    name, revision = snapshot.repository.full_name, snapshot.revision.id
    if report is None:
        raise RequestDeniedError(404, "audit", f"{name} has no audit report that verifies", "look at its page")
    closed = snapshot.repository.private or snapshot.repository.gated or snapshot.repository.disabled
    if closed or snapshot.set_aside:
        request.app.state.reads.note(repository=name, commit=revision, file=AUDIT)
    if rendering.wants_json(request):
        facts = AuditPage(
            registry=registry_of(request).setting("name"), id=name, revision=revision,
            audit=report.facts, document=f"/{name}/resolve/{revision}/{AUDIT}",
        )  # fmt: skip
        return rendering.answer(request, facts, "")
    headers = {"Content-Security-Policy": rendering.policy_for(report.page)}
    return Response(report.page, media_type="text/html", headers=headers)


async def preview(request: Request) -> Response:
    """`/{namespace}/{name}/preview/{revision}`: images that the reader's browser generates."""
    snapshot, account = _addressed(request)
    access.require_files(registry_of(request).database.connection(), snapshot.repository, account)
    judged = await _judge(request, snapshot)
    facts = await run_in_threadpool(browser_preview.collect, request, snapshot, judged.shown if judged else None)
    return rendering.answer(request, facts, "release/preview.html")


async def compare(request: Request) -> Response:
    """`/compare?with={id}&with={id}`: two embeddings side by side, or a form that asks which.

    `{id}@{revision}` is one version of it: a commit, a tag or a version's number.
    """
    asked = [name.strip() for name in request.query_params.getlist("with") if name.strip()][:3]
    if len(asked) > 2 or any(len(name) > 200 for name in asked):
        raise malformed("two embeddings can be compared", "choose two in the list of embeddings")
    name = registry_of(request).setting("name")
    if len(asked) < 2:
        empty = ComparisonPage(
            registry=name, asked=tuple(asked), ids=None, revisions=None, rows=(), same=0, different=0
        )
        return rendering.answer(request, empty, "release/compare.html")
    left, right = [(await _facts(request, *_named(request, name)))[0] for name in asked]
    return rendering.answer(request, comparison.compare(left, right), "release/compare.html")


async def trust(request: Request) -> Response:
    """`/trust`: the root key's fingerprint, how to compare it, and the members of the keyring."""
    registry = registry_of(request)
    found = await run_in_threadpool(
        lambda: trust_page.collect(registry.trust(), registry=registry.setting("name"), url=base_url(request))
    )
    return rendering.answer(request, found, "lists/trust.html")


async def advisories(request: Request) -> Response:
    """`/trust/advisories`: what was withdrawn at this registry."""
    registry = registry_of(request)
    found = await run_in_threadpool(
        lambda: advisories_page.collect(standing_advisories.unsigned(registry), registry=registry.setting("name"))
    )
    return rendering.answer(request, found, "lists/advisories.html")


async def root_key(request: Request) -> Response:
    """`/trust/root.pem`: the root's public key, for other programs."""
    pem = await run_in_threadpool(registry_of(request).setting, "root_key")
    return Response(pem, media_type="application/x-pem-file", headers={"Cache-Control": "no-cache"})


async def favicon(_request: Request) -> Response:
    """`/favicon.ico`: browsers ask for it unbidden; the mark is an SVG, which they take under this name too."""
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(rendering.static_file("mark.svg"), media_type="image/svg+xml", headers=headers)


async def robots(_request: Request) -> Response:
    """`/robots.txt`: pages may be indexed; files, reports and the API are not worth a crawler's time."""
    headers = {"Cache-Control": "public, max-age=86400"}
    return Response(rendering.ROBOTS, media_type="text/plain", headers=headers)


async def static(request: Request) -> Response:
    """`/static/{file}`: the style sheet, the scripts of pages, the mark."""
    name = request.path_params["file"]
    if name not in rendering.STATIC:
        raise RequestDeniedError(
            404, "address", "there is nothing at this address", "start from the list of embeddings"
        )
    headers = {"Cache-Control": "public, max-age=3600"}
    if name == browser_preview.WORKER:
        headers["Content-Security-Policy"] = browser_preview.WORKER_POLICY
    return Response(rendering.static_file(name), media_type=rendering.STATIC[name], headers=headers)


def error_page(request: Request, denied: RequestDeniedError, headers: dict[str, str]) -> Response:
    """A refusal for a person."""
    if closed_page.applies(request):
        return closed_page.answer(request, denied, headers)
    again = same_address(request) if denied.status == 503 else ""
    shown = {"denied": denied, "again": again, "form_page": "" if again else form_page(request)}
    return rendering.page(request, "error.html", shown, status=denied.status, headers=headers)


def _addressed(request: Request) -> tuple[Snapshot, accounts.Account | None]:
    """The commit in the address, where the caller may see it."""
    repository, account = repository_of(request)
    return repos.at(registry_of(request).database.connection(), repository, revision_of(request), account), account


def _named(request: Request, name: str) -> tuple[Snapshot, accounts.Account | None]:
    """The embedding of that name, at `@revision` or at its newest commit, where the caller may see it."""
    account, db = account_of(request), registry_of(request).database.connection()
    full_name, _, revision = name.partition("@")
    namespace, _, short = full_name.partition("/")
    return repos.at(db, repos.locate(db, account, namespace, short), revision or repos.MAIN, account), account


async def _facts(
    request: Request, snapshot: Snapshot, account: accounts.Account | None
) -> tuple[EmbeddingPage, Judged | None]:
    registry, judged = registry_of(request), await _judge(request, snapshot)
    opened = _may_read_files(request, snapshot, account)

    def collect() -> EmbeddingPage:
        db, trust = registry.database.connection(), registry.trust()
        page = release_page.collect(
            db, snapshot, judged, keyring=trust.keyring, opened=opened, reader=account,
            registry=registry.setting("name"), url=base_url(request),
            root=trust.root_fingerprint,
        )  # fmt: skip
        if not opened or page.state != "verified":
            return page
        return page.model_copy(update={"evaluations": evaluations_shown.collect(db, snapshot, trust, reader=account)})

    return await run_in_threadpool(collect), judged if opened else None


def _may_read_files(request: Request, snapshot: Snapshot, account: accounts.Account | None) -> bool:
    """Whether a gate, or an admin, keeps the caller from the files of a repository that it sees."""
    try:
        access.require_files(registry_of(request).database.connection(), snapshot.repository, account)
    except EmbhubError:
        return False
    return True


def _drawings(judged: Judged | None) -> dict[str, str | None]:
    report = judged.shown.audit if judged and judged.shown else None
    if report is None:
        return {"curve": None, "interval": None}
    return {"curve": report.curve, "interval": interval_figure.of(report.facts)}


async def _judge(request: Request, snapshot: Snapshot) -> Judged | None:
    """The verdict on a release, None where there is none; few are reached at a time, however many ask.

    Reaching one may take a second of CPU, which counts against who asked.
    """
    registry, state = registry_of(request), request.app.state
    judge: VerificationCache = state.verification_cache
    db = registry.database.connection()
    if repositories.find_entry(db, snapshot.repository.id, snapshot.revision.id, EMBEDDING) is None:
        return None
    found = await run_in_threadpool(judge.recall, registry, snapshot)
    if found is None:
        found = await run_paced(request, state.judging, judge.judge, registry, snapshot)
    return found
