"""Facts as a page or as JSON, static files, and the policies that browsers keep."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from itertools import groupby
from operator import attrgetter
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from embhub.audits import explanation
from embhub_registry.database.clock import now
from embhub_registry.pages.release import evaluations_shown
from embhub_registry.pages.wordings import AUDITS, audit_badge
from embhub_registry.wire.forms import token_for
from embhub_registry.wire.request_context import base_url, registry_of
from embhub_registry.wire.return_paths import login_address
from embhub_registry.wire.session_cookies import session_of

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
STATIC = {
    "style.css": "text/css",
    "copy.js": "text/javascript",
    "passkey.js": "text/javascript",
    "preview.js": "text/javascript",
    "preview_worker.js": "text/javascript",
    "reviewer.js": "text/javascript",
    "mark.svg": "image/svg+xml",
    "without-and-with.webp": "image/webp",
}
CRAWLED_BY_NOBODY = ("/api/", "/embhub/", "/login", "/compare", "/*/resolve/", "/*/raw/", "/*/blob/")
ROBOTS = "User-agent: *\n" + "".join(f"Disallow: {path}\n" for path in CRAWLED_BY_NOBODY)
_STYLES = re.compile(r'<style[^>]*>(.*?)</style>|style="([^"]*)"', re.DOTALL)


def answer(request: Request, facts: BaseModel, template: str, **drawn: Any) -> Response:
    """The facts in the form that was asked for; `drawn` are drawings of them, for the page alone."""
    if wants_json(request):
        body = facts.model_dump_json(by_alias=True, indent=1)
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-cache", "Vary": "Accept"})
    return page(request, template, {"page": facts, **drawn})


def wants_json(request: Request) -> bool:
    """Whether a program asks: `?format=json`, or an Accept header that names JSON and not HTML."""
    accept = request.headers.get("accept", "")
    return request.query_params.get("format") == "json" or ("application/json" in accept and "text/html" not in accept)


def page(
    request: Request,
    template: str,
    context: dict[str, Any],
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """A template as an answer, under a policy that lets nothing in from elsewhere."""
    asked = [*((k, v) for k, v in request.query_params.multi_items() if k != "format"), ("format", "json")]
    session = session_of(request.scope)
    surroundings = {
        "viewer": session.account.user if session else "",
        "viewer_token": token_for(request)[0] if session else "",
        "registry_name": registry_of(request).setting("name"),
        "url": base_url(request),
        "login_address": login_address(request),
        "json_address": f"{quote(request.url.path)}?{urlencode(asked)}",
    }
    text = render(template, **surroundings | context)
    safe = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "Vary": "Accept, Cookie"}
    if session:  # the page names them, and its forms say in `Origin` where they come from
        safe |= {"Cache-Control": "private, no-store", "Referrer-Policy": "same-origin"}
    return Response(text, status_code=status, media_type="text/html", headers=safe | (headers or {}))


def render(template: str, **context: Any) -> str:
    """A template's text."""
    return _templates().get_template(template).render(**context)


def policy_for(html: str) -> str:
    """A policy under which a self-contained page shows its own styles, named by their digests, and nothing else."""
    styles = {css.encode() for found in _STYLES.findall(html) for css in found if css}
    digests = [f"'sha256-{base64.b64encode(hashlib.sha256(css).digest()).decode()}'" for css in sorted(styles)]
    allowed = " ".join(["'unsafe-hashes'", *digests])
    return f"default-src 'none'; style-src {allowed}; base-uri 'none'; frame-ancestors 'none'"


@cache
def static_file(name: str) -> bytes:
    """One of STATIC."""
    return resources.files("embhub_registry.pages").joinpath("static", name).read_bytes()


def ago(instant: str, moment: datetime) -> str:
    """How long before `moment` something was, as people say it."""
    passed = moment - datetime.fromisoformat(instant.replace("Z", "+00:00")).astimezone(UTC)
    minutes = int(passed / timedelta(minutes=1))
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{minutes} minute{'' if minutes == 1 else 's'} ago"
    hours = minutes // 60
    return f"{hours} hour{'' if hours == 1 else 's'} ago" if hours < 48 else f"{hours // 24} days ago"


def size_in_words(size: int) -> str:
    """Bytes as people read them."""
    return f"{size:,} bytes" if size < 10_000 else f"{size / 1000:,.0f} kB"


def storage_in_words(size: int) -> str:
    """Bytes of a disk or a quota, in units of a thousand."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size} bytes"


def plural(count: int, word: str, plural_form: str | None = None) -> str:
    """A count and what is counted."""
    return f"{count:,} {word if count == 1 else plural_form or explanation.plural(word)}"


def listed(words: Sequence[str]) -> str:
    """`embedding, its card and its audit report`."""
    *most, last = words
    return f"{', its '.join(most)} and its {last}" if most else last


def capital(text: str) -> str:
    """With a capital first, unless it begins with the name of a repository, which keeps its own case."""
    return text if "/" in text.partition(" ")[0] else text[:1].upper() + text[1:]


def sentence(text: str) -> str:
    """A message or hint as a sentence: a capital first, a full stop last, no back-ticks."""
    return capital(text).replace("`", "").rstrip(".") + "."


_section = attrgetter("section")


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("embhub_registry.pages"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["day"] = lambda text: str(text)[:10]
    environment.filters["ago"] = lambda text: ago(text, now())
    environment.filters["sentence"] = sentence
    environment.filters["capital"] = capital
    environment.filters["bytes"] = size_in_words
    environment.filters["plural"] = plural
    environment.filters["size"] = storage_in_words
    environment.filters["batches"] = lambda rows: [(name, list(part)) for name, part in groupby(rows, key=_section)]
    environment.filters["many"] = explanation.plural
    environment.filters["listed"] = listed
    environment.filters["in_figures"] = evaluations_shown.in_figures
    environment.globals["audits"] = AUDITS
    environment.globals["audit_badge"] = audit_badge
    return environment
