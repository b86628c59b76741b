"""The pages people look at: server-rendered, self-contained, every release verified before it is shown."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import Response

from embhub.cards.card_schema import Card
from embhub.cards.readme import VERDICT_WORDS
from embhub.cards.vocabulary import DEIDENTIFICATION, MODALITIES
from embhub.release import EMBEDDING
from embhub_registry import hf_api, repos
from embhub_registry.calls import account_of, base_url, registry_of, repository_of, revision_of, run_in_threadpool
from embhub_registry.database import accounts, repositories, search
from embhub_registry.denials import Denied
from embhub_registry.folder import Registry
from embhub_registry.judging import Judge, Judged
from embhub_registry.repos import Snapshot

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
STATIC = {"style.css": "text/css", "copy.js": "text/javascript", "mark.svg": "image/svg+xml"}
PAGE = 20
_STYLES = re.compile(r'<style[^>]*>(.*?)</style>|style="([^"]*)"', re.DOTALL)
BADGES = {
    "leak-detected": ("bad", "Audit: leak detected"),
    "no-leak-detected": ("good", "Audit: no leak detected"),
    "insufficient-evidence": ("weak", "Audit: insufficient evidence"),
    "not-audited": ("weak", "Not audited"),
}
PRIVACY = "Trained without differential privacy: no mathematical bound limits what the embedding tells about a patient."


async def index(request: Request) -> Response:
    """`/`: a search box and what was published, newest first."""
    return await _list(request, author=None)


async def namespace(request: Request) -> Response:
    """`/{namespace}`: what one organisation published."""
    name = request.path_params["namespace"]
    if not accounts.namespace_exists(registry_of(request).database.connection(), name):
        raise Denied(404, "namespace", f"there is no namespace {name[:60]!a} here", "start from the list of embeddings")
    return await _list(request, author=name)


async def embedding(request: Request) -> Response:
    """`/{namespace}/{name}`: one embedding."""
    repository, _ = repository_of(request)
    registry = registry_of(request)
    snapshot = repos.at(registry.database.connection(), repository, revision_of(request))
    judged = await _judge(request, snapshot)
    context = await run_in_threadpool(_describe, registry, snapshot, judged)
    return _page(request, "embedding.html", context | {"pinned": "revision" in request.path_params})


async def audit(request: Request) -> Response:
    """`/{namespace}/{name}/audit/{revision}`: the audit report as the core renders it, of a release that verifies."""
    repository, _ = repository_of(request)
    snapshot = repos.at(registry_of(request).database.connection(), repository, revision_of(request))
    judged = await _judge(request, snapshot)
    report = judged.shown.audit if judged and judged.shown else None
    if report is None:
        raise Denied(404, "audit", f"{repository.full_name} has no audit report that verifies", "look at its page")
    headers = {"Content-Security-Policy": _policy_for(report.page)}
    return Response(report.page, media_type="text/html", headers=headers)


async def static(request: Request) -> Response:
    """`/static/{file}`: the style sheet, the script of the copy buttons, the mark."""
    name = request.path_params["file"]
    if name not in STATIC:
        raise Denied(404, "address", "there is nothing at this address", "start from the list of embeddings")
    return Response(_static(name), media_type=STATIC[name], headers={"Cache-Control": "public, max-age=3600"})


def error_page(request: Request, denied: Denied, headers: dict[str, str]) -> Response:
    """A refusal for a person."""
    return _page(request, "error.html", {"denied": denied}, status=denied.status, headers=headers)


async def _list(request: Request, *, author: str | None) -> Response:
    account = account_of(request)
    asked = request.query_params
    text = asked.get("q", "")[:200]
    tags = [tag[:100] for tag in asked.getlist("tag")[:10]]
    query = search.Query(
        text=text, author=author, tags=tags, limit=PAGE, after=hf_api.read_cursor(asked.get("after")),
        reader=account.namespace if account else None, released=author is None,
    )  # fmt: skip

    def collect() -> dict[str, Any]:
        found = search.run(registry_of(request).database.connection(), query)
        shown, more = found[:PAGE], len(found) > PAGE
        cursor = hf_api.make_cursor(shown[-1].modified, shown[-1].id) if more else None
        return {"repositories": shown, "cursor": cursor}

    context = await run_in_threadpool(collect)
    return _page(request, "index.html", context | {"q": text, "tags": tags, "author": author, "badges": BADGES})


async def _judge(request: Request, snapshot: Snapshot) -> Judged | None:
    """The verdict on a release, None where there is none; few are reached at a time, however many ask."""
    registry, state = registry_of(request), request.app.state
    judge: Judge = state.judge
    entries = repositories.entries(registry.database.connection(), snapshot.repository.id, snapshot.revision.id)
    if not any(entry.path == EMBEDDING for entry in entries):
        return None
    found = await run_in_threadpool(judge.recall, registry, snapshot)
    if found is None:
        async with state.judging:
            found = await run_in_threadpool(judge.judge, registry, snapshot)
    return found


def _describe(registry: Registry, snapshot: Snapshot, judged: Judged | None) -> dict[str, Any]:
    db = registry.database.connection()
    repository, revision = snapshot.repository, snapshot.revision
    shown = judged.shown if judged else None
    versions = [r for r in repositories.history(db, repository.id, revision.id) if r.parent is not None]
    return {
        "repository": repository, "revision": revision, "judged": judged, "verified": shown,
        "card": shown.card if shown else None, "report": shown.audit if shown else None,
        "files": repositories.entries(db, repository.id, revision.id), "versions": versions,
        "rows": _rows(shown.card) if shown else [], "badges": BADGES, "privacy": PRIVACY, "words": VERDICT_WORDS,
    }  # fmt: skip


def _policy_for(page: str) -> str:
    """A policy under which a self-contained page shows its own styles, named by their digests, and nothing else."""
    styles = {css.encode() for found in _STYLES.findall(page) for css in found if css}
    digests = [f"'sha256-{base64.b64encode(hashlib.sha256(css).digest()).decode()}'" for css in sorted(styles)]
    allowed = " ".join(["'unsafe-hashes'", *digests])
    return f"default-src 'none'; style-src {allowed}; base-uri 'none'; frame-ancestors 'none'"


def _rows(card: Card) -> list[tuple[str, str]]:
    rows = [
        ("Publisher", card.publisher),
        ("Authors", "; ".join(card.authors)),
        ("Contact", card.contact_role),
        ("Licence", card.licence),
        ("Base model", f"{card.base_model.id}, revision {card.base_model.revision} ({card.base_model.family})"),
        ("Licence of the base model", card.base_model.licence),
        ("Vectors", ", ".join(f"{v.count} of {v.dim} numbers for {v.encoder}" for v in card.vectors)),
        ("Modality", ", ".join(MODALITIES[code] for code in card.modality)),
        ("Sequence", card.sequence or ""),
        ("View", card.view or ""),
        ("Anatomy", ", ".join(f"{c.display} ({c.system} {c.code})" for c in card.anatomy)),
        ("Finding", ", ".join(f"{c.display} ({c.system} {c.code})" for c in card.finding) or "none (healthy)"),
        (
            "Training data",
            f"{card.n_images} images of {card.n_patients} patients, at most {card.max_images_per_patient} each",
        ),
        ("Labels", f"{card.labels.source}; {card.labels.annotators}"),
        ("Preprocessing", card.preprocessing),
        ("De-identification", ", ".join(DEIDENTIFICATION[code] for code in card.deidentification.profile)),
        ("Pixel review", card.deidentification.pixel_review),
        ("Legal basis", card.legal_basis),
        ("Consent", card.consent_or_waiver),
        ("Ethics", card.ethics_ref),
        ("Made for", card.intended_use),
        ("Not for", card.out_of_scope),
        ("Limitations", card.limitations),
    ]
    return [(name, value) for name, value in rows if value]


def _page(
    request: Request,
    template: str,
    context: dict[str, Any],
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    registry = registry_of(request)
    text = (
        _templates()
        .get_template(template)
        .render(**context, registry_name=registry.setting("name"), url=base_url(request), path=request.url.path)
    )
    safe = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "Vary": "Accept"}
    return Response(text, status_code=status, media_type="text/html", headers=safe | (headers or {}))


@cache
def _static(name: str) -> bytes:
    return resources.files("embhub_registry").joinpath("static", name).read_bytes()


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("embhub_registry"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["day"] = lambda text: str(text)[:10]
    environment.filters["sentence"] = lambda text: text[:1].upper() + text[1:].replace("`", "").rstrip(".") + "."
    environment.filters["bytes"] = lambda size: f"{size:,} bytes" if size < 10_000 else f"{size / 1000:,.0f} kB"
    return environment
