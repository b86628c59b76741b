"""`/embhub/v1/advisories`: what is withdrawn, signed for programs, and as a feed for readers (Atom, RFC 4287)."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response

from embhub.trust.advisories import Advisories, Advisory
from embhub_registry.http_errors import RequestDeniedError
from embhub_registry.repositories import advisories
from embhub_registry.wire.request_context import base_url, registry_of
from embhub_registry.wire.request_context import run_in_threadpool as threaded

PATH = "/embhub/v1/advisories"
ATOM = "/embhub/v1/advisories.atom"
PAGE = "/trust/advisories"
FRESH = {"Cache-Control": "no-cache"}
NEWEST = 200  # entries of the Atom feed


async def signed(request: Request) -> Response:
    """`GET /embhub/v1/advisories`: the signed document (DSSE), which sites check against the keyring."""
    envelope = await threaded(advisories.current_envelope, registry_of(request))
    if envelope is None:
        raise RequestDeniedError(
            404, "advisories", "this registry has no key that signs advisories", "its operator makes one"
        )
    data = json.dumps(envelope.to_json(), separators=(",", ":")).encode()
    return Response(data, media_type="application/json", headers=FRESH)


async def atom(request: Request) -> Response:
    """`GET /embhub/v1/advisories.atom`: the same for feed readers, the newest first. Nothing here is signed."""
    found = await threaded(advisories.unsigned, registry_of(request))
    name = registry_of(request).setting("name")
    text = compose(found, name=name, url=base_url(request))
    return Response(text, media_type="application/atom+xml", headers=FRESH)


def compose(found: Advisories, *, name: str, url: str) -> str:
    """Write the Atom feed; its entries are named by their advisory."""
    newest = sorted(found.entries, key=_changed, reverse=True)[:NEWEST]
    updated = _changed(newest[0]) if newest else found.issued
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<id>{escape(url + ATOM)}</id><title>{escape(f'Withdrawals at {name}')}</title><updated>{updated}</updated>",
        f'<link rel="self" href="{escape(url + ATOM)}"/><link rel="alternate" href="{escape(url + PAGE)}"/>',
        f"<author><name>{escape(name)}</name></author>",
        *(_entry(entry, url) for entry in newest),
        "</feed>",
    ]
    return "\n".join(lines) + "\n"


def _entry(entry: Advisory, url: str) -> str:
    what = entry.repository or f"a repository of {entry.namespace}"
    title = f"{what} {entry.version or ''}".strip() + (": lifted" if entry.withdrawn_on else ": withdrawn")
    return (
        f"<entry><id>{escape(f'{url}{PATH}#{entry.id}')}</id><title>{escape(title)}</title>"
        f"<published>{entry.published}</published><updated>{_changed(entry)}</updated>"
        f'<link href="{escape(url + PAGE)}"/>'
        f"<summary>{escape(entry.sentence)}. SHA-256 {entry.digest}</summary></entry>"
    )


def _changed(entry: Advisory) -> str:
    return entry.withdrawn_on or entry.published
